//! Why a side cannot be claimed, as people read it: which machine, who has it, what the state and the side know, what to do.

use rehome_gatekeeper::clock::utc;
use rehome_gatekeeper::types::SideName;

use super::record::Record;
use crate::error::{Explanation, SideError};

/// What stands between a verb and the sides.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name them")]
pub enum SidesError {
    #[error("cannot use the {side} side: {source}")]
    Side { side: SideName, source: rehome_remote::Error },
    #[error("cannot use the record of this migration on {side} ({name})")]
    Record { side: SideName, name: String, said: String },
    #[error("a record on {side} ({name}) cannot be read")]
    Unreadable { side: SideName, name: String, id: String, ours: bool, why: String },
    #[error("{side} ({name}) is another machine than the one this migration began with")]
    Another { side: SideName, name: String, known: String, found: Option<String> },
    #[error("old ({old}) and new ({new}) are the same machine")]
    Same { old: String, new: String, id: String },
    #[error("somebody is at work on {side} ({name})")]
    AtWork { side: SideName, name: String, ours: bool, record: Box<Record> },
    #[error("{side} ({name}) was taken over")]
    TakenOver { side: SideName, name: String, known: u64, record: Box<Record> },
    #[error("{side} ({name}) is as it was before this migration was last at work there")]
    Restored { side: SideName, name: String, known: u64, found: Option<u64> },
    #[error("the records on {side} ({name}) change all the time")]
    Restless { side: SideName, name: String },
}

/// Enough of an id to tell two apart.
pub(crate) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn machine(id: Option<&str>) -> String {
    id.map_or_else(|| "has none".into(), |id| format!("{}…", short(id)))
}

impl SidesError {
    /// Whether another rehome has the sides.
    pub fn held(&self) -> bool {
        matches!(self, SidesError::AtWork { .. } | SidesError::TakenOver { .. })
    }

    pub(crate) fn explain(&self) -> Explanation {
        let said = Explanation::of(self.to_string());
        match self {
            SidesError::Side { .. } | SidesError::Record { .. } | SidesError::Unreadable { .. } => self.explain_record(),
            SidesError::Another { side, known, found, .. } => said
                .line(format!("its machine-id is {}, and was {}", machine(found.as_deref()), machine(Some(known))))
                .line("nothing was changed")
                .hint(format!(
                    "if that is not the machine you mean, correct [{side}] in the plan; if it was reinstalled, or restored \
                     elsewhere, and this migration is to go on with it: `rehome resolve machine {side}`"
                )),
            SidesError::Same { id, .. } => {
                let said = said.line(format!("both have the machine-id {}", machine(Some(id)))).line("nothing was changed");
                said.hint(
                    "correct [old] or [new] in the plan; if one machine is a copy of the other, give the new one an id of its \
                     own: `rm -f /etc/machine-id /var/lib/dbus/machine-id && systemd-machine-id-setup`, and restart it",
                )
            }
            SidesError::AtWork { side, ours, record, .. } => {
                let whose = if *ours { "this migration".into() } else { format!("migration `{}`", record.name) };
                said.line(format!("{whose} is under way there: {}", record.at()))
                    .line(format!("the record is /var/lib/rehome/{} on {side}; nothing was changed", record.migration))
                    .hint(
                        "let it come to its end (once it waits or has failed, the side is free); if you know that it is gone \
                         for good: `rehome apply --take-over` (or `rehome undo --take-over`)",
                    )
            }
            SidesError::TakenOver { known, record, .. } => {
                let by = match &record.taken {
                    Some(taken) => format!("{} at {}, whose state is {}", taken.who, utc(taken.at), taken.place),
                    None => record.at(),
                };
                let hint = if record.taken.is_some() {
                    "if this migration is to go on, and not that one: `rehome apply --take-over` (or `rehome undo --take-over`)"
                } else {
                    "go on over there, or bring that state's folder here: it knows what was done since; if it is lost: \
                     `rehome resolve journal`"
                };
                said.line(format!("by {by}"))
                    .line(format!("its epoch is {}; this state knows {known}", record.epoch))
                    .hint(hint)
            }
            SidesError::Restored { side, known, found, .. } => {
                let found = match found {
                    None => "it has no record of this migration any more".to_string(),
                    Some(found) => format!("its record knows {found} effects, and knew {known}"),
                };
                said.line(found).line("it was reinstalled or restored, or its record was removed; nothing was changed").hint(
                    format!(
                        "if this migration is to go on with it as it is: `rehome resolve machine {side}`, then `rehome verify` \
                         shows what is missing there"
                    ),
                )
            }
            SidesError::Restless { .. } => said.hint("other migrations work there; run the same command again"),
        }
    }

    fn explain_record(&self) -> Explanation {
        let headline = Explanation::of(self.to_string());
        match self {
            SidesError::Side { side, source } => {
                let lines = crate::error::causes(source);
                let mut lines = lines.lines().map(|line| line.trim_start().to_string());
                let mut said = Explanation::of(lines.next().unwrap_or_default());
                said.context.extend(lines);
                said.line(format!("it is the side [{side}] of the plan")).hint(source.remedy())
            }
            SidesError::Record { said, .. } => headline.line(said).line("nothing was begun there").hint(
                "rehome keeps one small file in /var/lib/rehome on each side: is there space, may root write there, is perl \
                 there?",
            ),
            SidesError::Unreadable { side, id, why, ours, .. } => {
                let said = headline.line(format!("/var/lib/rehome/{id}: {why}")).line("nothing was changed");
                said.hint(if *ours {
                    format!("`rehome resolve machine {side}` writes it anew")
                } else {
                    format!("look at that file on {side}; if no other migration uses that machine, remove it")
                })
            }
            _ => headline,
        }
    }
}

impl From<SidesError> for crate::error::Error {
    fn from(error: SidesError) -> Self {
        match error {
            SidesError::Side { side, source } => SideError { side, source }.into(),
            error => crate::error::Error::Sides(Box::new(error)),
        }
    }
}
