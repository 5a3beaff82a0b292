//! `journal` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/journal.wit`.

use rehome_gatekeeper::types as ours;
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::journal::{Host, Settlement};
use crate::bindings::rehome::phase::types::Failure;
use crate::convert::answered;
use crate::guest::Guest;

impl Host for Guest {
    async fn remember(&mut self, key: String, value: Vec<u8>) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.remember(&key, &value).await)
    }

    async fn recall(&mut self, key: String) -> Trapping<Result<Option<Vec<u8>>, Failure>> {
        answered(self.session()?.recall(&key).await)
    }

    async fn settle(&mut self, effect_id: u64, how: Settlement) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.settle(effect_id, how.into()).await)
    }
}

impl From<Settlement> for ours::Settlement {
    fn from(how: Settlement) -> Self {
        match how {
            Settlement::Done => ours::Settlement::Done,
            Settlement::NotDone => ours::Settlement::NotDone,
        }
    }
}
