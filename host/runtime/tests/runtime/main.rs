//! Components, called through a real runtime and a real session over two folders. Guests are written by hand, in WAT
//! (`rehome_hostile::guest`), so that each does exactly one wrong or one right thing; what is not about wasm is tested in the gatekeeper.

#![expect(clippy::disallowed_methods, reason = "tests look at files and start processes")]

mod cache;
mod calls;
mod components;
mod door;
mod limits;
mod refused;
mod session;
mod walk;
