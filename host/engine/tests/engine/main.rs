//! The engine with components in plain Rust, between two folders. One binary, so that what the tests share is built once.

mod apply;
mod approval;
mod common;
mod gates;
mod plan;
mod preview;
mod resolve;
mod sides;
mod undo;
