//! Components written by hand to do one wrong thing each. `guest` makes a component of a few lines of WAT; `corpus` is what
//! strangers could send: whoever runs it must lose one call, and nothing else.

pub mod corpus;
pub mod guest;
