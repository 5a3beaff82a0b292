//! A state that knows less than the sides do: its journal is damaged, gone, or an older copy. rehome does not guess which
//! phases were done then: it says what the records vouch for, and `rehome resolve journal` begins anew from there.

use rehome_gatekeeper::JournalError;
use rehome_gatekeeper::journal::RunState;
use rehome_gatekeeper::types::SideName;
use serde::Serialize;

use super::record::Record;
use super::{Known, Machine, PhaseRecord, whose};
use crate::error::{Error, Explanation};
use crate::migration::Migration;

/// What became of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// SQLite, or a row, says that its file is not what was written
    Damaged(String),
    /// there is none, and the sides know the migration
    Gone,
    /// it is a copy from before
    Older,
}

/// What a record says of the migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vouched {
    /// on which side
    pub side: SideName,
    /// "root@old"
    pub name: String,
    /// the record
    pub record: Record,
}

/// A state that cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", match lost {
    Lost::Damaged(_) => "the journal of this migration is damaged",
    Lost::Gone => "this migration was begun before, and its state is gone",
    Lost::Older => "the state of this migration is an older copy",
})]
pub struct Doubt {
    /// what became of it
    pub lost: Lost,
    /// what the sides know
    pub vouched: Vec<Vouched>,
    /// how far the journal that is here has come
    pub mark: u64,
}

impl Doubt {
    /// With the records of migration `id`.
    pub(crate) fn new(lost: Lost, machines: &[Machine], id: &str, mark: u64) -> Doubt {
        let vouched = machines.iter().filter_map(|machine| {
            let record = machine.seen.of(id)?.record.as_ref().ok()?.clone();
            Some(Vouched { side: machine.side, name: machine.name(), record })
        });
        Doubt { lost, vouched: vouched.collect(), mark }
    }

    /// The record that knows most.
    pub fn best(&self) -> Option<&Record> {
        self.vouched.iter().map(|vouched| &vouched.record).max_by_key(|record| (record.mark, record.epoch))
    }

    /// Whether somebody is at work on it.
    pub fn held(&self) -> bool {
        self.vouched.iter().any(|vouched| vouched.record.at_work)
    }

    pub(crate) fn explain(&self) -> Explanation {
        let mut said = Explanation::of(self.to_string());
        if let Lost::Damaged(how) = &self.lost {
            said = said.line(format!("SQLite says: {how}"));
        }
        said = self.lines().into_iter().fold(said, |said, line| said.line(line)).line("nothing was changed");
        said.hint(match self.lost {
            Lost::Gone if self.held() => {
                "if that rehome is gone for good, bring its state's folder here and type `rehome apply --take-over`; if that \
                 is lost: `rehome resolve journal`"
            }
            Lost::Gone => {
                "bring the folder `.rehome` back if you still have it; if it is lost: `rehome resolve journal` begins a new one \
                 from what the sides know (`rehome undo` of another plan between them would take its records away)"
            }
            Lost::Older => {
                "put the newest state in place if you have it; if it is lost: `rehome resolve journal` goes on from this one \
                 and what the sides know"
            }
            Lost::Damaged(_) => {
                "`rehome resolve journal` keeps the damaged one aside and begins a new one, with what can still be read of it"
            }
        })
    }

    /// What the sides vouch for.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Vouched { side, name, record } in &self.vouched {
            let knows = format!("{side} ({name}) knows it up to effect {}", record.mark);
            match &self.lost {
                Lost::Older => lines.push(format!("{knows}, the journal here ends at {}", self.mark)),
                _ => lines.push(knows),
            }
        }
        if let Some(best) = self.best() {
            let last = if best.at_work { "at work:" } else { "last at work:" };
            lines.push(format!("{last} {}", best.at()));
            for (heading, wanted) in [("done, say the sides", true), ("begun, say the sides", false)] {
                let named = phases(&best.phases, wanted);
                if !named.is_empty() {
                    lines.push(format!("{heading}: {}", named.join(", ")));
                }
            }
        } else {
            lines.push("the sides have no record of it".into());
        }
        lines
    }
}

fn phases(all: &[PhaseRecord], done: bool) -> Vec<String> {
    let named = all.iter().filter(|phase| match phase.state {
        RunState::Done => done,
        RunState::Undone => false,
        _ => !done,
    });
    named.map(|phase| phase.phase.clone()).collect()
}

impl Migration {
    /// What the sides know of a migration whose journal is damaged.
    pub(crate) async fn damaged(&self, error: &JournalError) -> Error {
        let lost = Lost::Damaged(error.to_string());
        let machines = match self.reach().await {
            Ok([old, new]) => {
                let machines = self.look_at(&old, &new).await;
                tokio::join!(old.close(), new.close());
                machines
            }
            Err(error) => Err(error),
        };
        match machines {
            Ok(machines) => self.doubt_of(lost, &machines).into(),
            Err(_) => Doubt::new(lost, &[], "", 0).into(),
        }
    }

    /// A doubt about a state that does not say which migration it is of: the sides do.
    pub(crate) fn doubt_of(&self, lost: Lost, machines: &[Machine]) -> Doubt {
        let known = Known::nothing(self.plan_stem(), self.place());
        let best =
            whose(machines, &known).max_by_key(|(_, record)| record.mark).map(|(_, record)| record.migration.clone());
        Doubt::new(lost, machines, &best.unwrap_or_default(), 0)
    }
}
