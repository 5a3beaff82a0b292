//! The crate against a real sshd, which each test starts for itself on loopback, and against this machine.
//! Invariant: nothing outside the test's own folder is read or written (but /run/sshd, which sshd wants), and every
//! process it started is gone afterwards, also after a failure. Start at `sshd.rs`.

mod commands;
mod connecting;
mod ending;
mod folder;
mod forwards;
mod losing;
mod sshd;
mod streams;
mod sudo;
