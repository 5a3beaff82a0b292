//! `journal`: what a component remembers, and what it says of an outcome nobody knew.

use crate::door::Session;
use crate::types::{Failure, Settlement};

impl Session {
    /// `journal.remember`.
    pub async fn remember(&self, key: &str, value: &[u8]) -> Result<(), Failure> {
        self.free();
        if self.scope().verb.only_reads() {
            let failure = Failure::ReadOnly(format!("journal.remember under `{}`", self.scope().verb));
            return Err(self.refuse("journal.remember", failure).await);
        }
        if key.len() > 200 || value.len() > 64 << 10 {
            return Err(Failure::OverLimit(format!(
                "journal.remember: key of {} bytes, value of {} bytes; at most 200 and 65536",
                key.len(),
                value.len()
            )));
        }
        self.journaled(self.host().journal.remember(&self.scope().component, key, value).await)
    }

    /// `journal.recall`.
    pub async fn recall(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.free();
        self.journaled(self.host().journal.recall(&self.scope().component, key).await)
    }

    /// `journal.settle`.
    pub async fn settle(&self, effect_id: u64, how: Settlement) -> Result<(), Failure> {
        self.free();
        if self.scope().verb.only_reads() {
            let failure = Failure::ReadOnly(format!("journal.settle under `{}`", self.scope().verb));
            return Err(self.refuse("journal.settle", failure).await);
        }
        let settled = self.host().journal.settle(&self.scope().phase, effect_id, how == Settlement::Done).await;
        if self.journaled(settled)? {
            Ok(())
        } else {
            Err(Failure::NotFound(format!(
                "journal.settle: effect {effect_id} is not open in phase `{}`",
                self.scope().phase
            )))
        }
    }
}
