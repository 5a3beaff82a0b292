//! Passes of the synchroniser against the tools that administrators use, over real sshds, as JSON lines on stdout.
//! Invariant: each tool has a target of its own, sees the same changes, starts with its connection open, is measured with all
//! processes that work for it (`group.rs`), and its result is compared with `rsync -nci`; ours and a peer take turns.
//! `cargo xtask bench sync` runs it and writes the table; `bench.rs` says what is done in which order.

#![expect(clippy::disallowed_macros, reason = "a bench talks to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "it makes the trees that it measures, and runs other tools")]

mod bench;
mod disk;
mod equal;
mod figure;
mod group;
mod leaves;
mod ours;
mod peers;
mod relay;
mod settings;
#[path = "../../../remote/tests/it/sshd.rs"]
#[expect(dead_code, reason = "the tests of `remote` need more of it")]
mod sshd;
mod tree;
mod way;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.split_first() {
        Some((role, rest)) if role == ours::ROLE => ours::serve(rest),
        _ => bench::Bench::new(settings::Settings::read(words)).run(),
    }
}
