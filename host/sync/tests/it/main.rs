//! The crate on real file systems: each test makes its two trees, lets passes run over them, and looks with its own eyes
//! (and with rsync's). Invariant: nothing outside the test's own folder is touched, and that is removed, also on failure.
//! Start at `fixture.rs`; most tests run with hands in Rust and with perl ones (`by_local_hands`, `by_agents`).

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests look with other programs than ours, and tell why they are skipped"
)]

mod churn;
mod contents;
mod direct;
mod direct_agent;
mod files;
mod fixture;
mod hostile;
mod killed;
mod killed_anywhere;
mod maildir;
mod over_ssh;
mod passes;
mod remembering;
#[path = "../../../remote/tests/it/sshd.rs"]
#[expect(dead_code, reason = "the tests of `remote` need more of it than these")]
mod sshd;
