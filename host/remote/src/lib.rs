//! A side of a migration: this machine, a machine over ssh, or a folder standing in for a machine.
//! Invariant: a command's status is only ever what our wrapper on that side reported, and no call outlives its deadline.
//! Start at [`Side`]; the protocol of a command is in `wrapper.rs`, its life in `process.rs`, ssh in `master.rs`.

mod command;
mod control;
mod error;
mod forward;
mod frame;
mod machine;
mod master;
mod process;
mod quote;
mod relay;
mod route;
mod run;
mod side;
mod ssh_config;
mod ssh_said;
mod streams;
mod target;
mod text;
mod wrapper;

/// For `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    /// Words as a line for the shell of a side.
    pub fn line(words: &[&[u8]]) -> Vec<u8> {
        crate::quote::line(words.iter().copied())
    }
}

/// What rehome runs on a side for itself, beside what it was asked to: fixed texts, whose variable parts are arguments. A
/// gate (`rehome-gate`) compares them byte for byte.
pub mod programs {
    pub use crate::forward::SOCKET;
    pub use crate::machine::WHO;
    pub use crate::master::HOLD;
    pub use crate::relay::PERL as RELAY;
    pub use crate::wrapper::{END_SCRIPT as END, PATH};

    /// `/usr/bin/perl -e RECORD -- ROOT WORD…`: keeps small records in /var/lib/rehome; what they say is their writer's matter.
    pub const RECORD: &str = include_str!("record.pl");

    /// `/usr/bin/perl -e RECEIPT -- ROOT WORD…`: runs a command that leaves a receipt, in /var/lib/rehome/receipts, or looks for one.
    pub const RECEIPT: &str = include_str!("receipt.pl");

    /// `/bin/sh -c WRAPPER rehome TOKEN HOME COMMAND…`: around every command.
    pub fn wrapper() -> String {
        crate::wrapper::script()
    }
}

pub use command::{Command, Output};
pub use error::{Ended, Error};
pub use forward::{Endpoint, Forward};
pub use process::{Process, Running};
pub use route::Route;
pub use side::Side;
pub use ssh_config::QUICK_CIPHERS;
pub use target::{Options, Target};
