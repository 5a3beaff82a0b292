//! The built binary, as a user types it: what it prints is compared with snapshots (paths, digests and times blanked out), and its
//! exit code with the table in `--help`. Needs the components that `cargo xtask build` makes.

mod approve;
mod demo;
mod errors;
mod gate;
mod gates;
mod help;
mod hostile;
mod phase;
mod rehome;
mod resolve;
mod verify;
