//! The project's lab and its oracles: real Debian mail servers to move, and ways to read them that do not ask rehome.
//! Whatever a lab makes on this machine is gone when its handle is dropped, or swept by the next lab's start.
//! Begin at [`lab::Lab`]; what tests look like is in `tests/e2e/`.

pub mod accounting;
pub mod harness;
pub mod lab;
pub mod oracle;
pub mod process;
pub mod rehome;
pub mod seed;
pub mod traffic;
pub mod users;
