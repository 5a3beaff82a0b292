//! Sides, verbs, effects and stages: the words that manifests, plans, the journal and messages share.
//! One word per thing; each is written the same everywhere.

use serde::{Deserialize, Serialize};

/// One of the two machines of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideName {
    /// where everything is
    Old,
    /// where everything goes
    New,
}

/// What the host calls a phase for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// look for whatever would make `apply` fail
    Check,
    /// what `apply` would change
    Preview,
    /// do it
    Apply,
    /// compare both sides afterwards
    Verify,
    /// take it back
    Undo,
}

impl Verb {
    /// `check`, `preview` and `verify` can only read, whatever the component tries.
    pub fn only_reads(self) -> bool {
        !matches!(self, Verb::Apply | Verb::Undo)
    }
}

/// What a request does to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// changes nothing
    Read,
    /// safe to do twice
    Repeatable,
    /// is not
    Once,
}

/// Where in a migration a phase stands, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// before anything moves
    Prepare,
    /// while both sides work
    Copy,
    /// while mail is stopped
    Cutover,
    /// until the old side is quiet
    Settle,
    /// the end of the old side
    Retire,
}

/// The word for each variant: what serde reads and writes, what messages say.
#[macro_export]
macro_rules! shown_as_serialized {
    ($($type:ty: $($variant:ident $text:literal),+;)+) => {$(
        impl $type {
            /// The word for it, as in plan files and messages.
            pub fn as_str(self) -> &'static str {
                match self { $(<$type>::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(<$type>::$variant),)+
                    _ => Err(format!("`{text}` is none of {}", [$($text),+].join(", "))),
                }
            }
        }
    )+};
}
shown_as_serialized! {
    SideName: Old "old", New "new";
    Verb: Check "check", Preview "preview", Apply "apply", Verify "verify", Undo "undo";
    Effect: Read "read", Repeatable "repeatable", Once "once";
    Stage: Prepare "prepare", Copy "copy", Cutover "cutover", Settle "settle", Retire "retire";
}
