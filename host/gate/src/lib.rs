//! The gate: a program for a side that holds a restricted ssh key of rehome's to what was approved, there. Whoever steals the
//! machine that rehome runs on can do no more to that side than the phases could.
//! Invariant: the program is made from grants alone; what it cannot hold a key to is listed ([`Grants::beyond`]), not let pass.
//! `grants` collects what is granted, `perl` writes it down, `gate.pl` is the program, `install` puts it there.

mod grants;
mod install;
mod perl;

pub use grants::{Grants, Places, Redis};
pub use install::{Accounts, install, uninstall};

use rehome_remote::programs as remote;
use rehome_sync::programs as sync;
use sha2::{Digest, Sha256};

/// Where it is installed.
pub const PROGRAM: &str = "/usr/local/sbin/rehome-gate";
/// Where it keeps what it saw first, and what requests yielded a moment ago; root alone.
pub const STATE: &str = "/var/lib/rehome-gate";

/// The program, and the digest by which rehome knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// perl
    pub program: String,
    /// SHA-256 in hexadecimal of the program without it
    pub digest: String,
}

/// The program for what is granted, installed at `program`, with its state in `state`: absolute paths.
pub fn gate(grants: &Grants, program: &str, state: &str) -> Gate {
    let programs = [
        &remote::wrapper(),
        remote::HOLD,
        remote::WHO,
        remote::END,
        remote::SOCKET,
        remote::RELAY,
        sync::agent(),
        remote::RECORD,
        remote::RECEIPT,
    ];
    let pieces = [
        ("@SELF@", perl::escaped(program)),
        ("@STATE@", perl::escaped(state)),
        ("@PATH@", perl::escaped(remote::PATH)),
        ("@GLOB@\n", sync::GLOB.to_owned()),
        ("@PROGRAMS@", programs.map(perl::text).join(", ")),
        ("@COMMANDS@", perl::list(grants.commands.iter().map(perl::command))),
        ("@TREES@", perl::list(grants.trees.iter().map(perl::tree))),
        ("@SOCKETS@", perl::list(grants.sockets.iter().map(|socket| format!("{} => 1", perl::text(socket))))),
        ("@REDIS@", grants.redis.as_ref().map_or_else(|| "undef".to_owned(), perl::redis)),
    ];
    // Each place is looked for in the program alone, never in what was filled in.
    let mut program = String::new();
    let mut rest = include_str!("gate.pl");
    while let Some((at, place, piece)) = next(rest, &pieces) {
        program.push_str(&rest[..at]);
        program.push_str(piece);
        rest = &rest[at + place.len()..];
    }
    program.push_str(rest);
    let digest: String = Sha256::digest(program.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    // The only one that is left; the texts of the tables are those of requests, in which it may stand too.
    Gate { program: program.replacen("my $DIGEST = '@DIGEST@';", &format!("my $DIGEST = '{digest}';"), 1), digest }
}

fn next<'a>(text: &str, pieces: &'a [(&'a str, String)]) -> Option<(usize, &'a str, &'a str)> {
    let found = pieces.iter().filter_map(|(place, piece)| Some((text.find(place)?, *place, piece.as_str())));
    found.min_by_key(|(at, ..)| *at)
}
