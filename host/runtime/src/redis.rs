//! `redis` for components: only types are converted here. The contract is in `wit/redis.wit`.

use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::redis::{Differences, Host, Tally};
use crate::bindings::rehome::phase::types::{Failure, Side};
use crate::guest::Guest;

impl Host for Guest {
    async fn server_version(&mut self, name: String, on: Side) -> Trapping<Result<String, Failure>> {
        Ok(self.session()?.redis_version(&name, on.into()).await.map_err(Failure::from))
    }

    async fn copy(&mut self, name: String) -> Trapping<Result<Vec<Tally>, Failure>> {
        Ok(self.session()?.redis_copy(&name).await.map(tallies).map_err(Failure::from))
    }

    async fn count(&mut self, name: String, on: Side) -> Trapping<Result<Vec<Tally>, Failure>> {
        Ok(self.session()?.redis_count(&name, on.into()).await.map(tallies).map_err(Failure::from))
    }

    async fn compare(&mut self, name: String) -> Trapping<Result<Differences, Failure>> {
        let compared = self.session()?.redis_compare(&name).await;
        let differences = compared.map(|found| Differences {
            equal: found.equal,
            only_old: found.only_old,
            only_new: found.only_new,
            different: found.different,
        });
        Ok(differences.map_err(Failure::from))
    }

    async fn restore(&mut self, name: String) -> Trapping<Result<u64, Failure>> {
        Ok(self.session()?.redis_restore(&name).await.map_err(Failure::from))
    }
}

fn tallies(tallies: Vec<rehome_gatekeeper::types::Tally>) -> Vec<Tally> {
    tallies.into_iter().map(|tally| Tally { pattern: tally.pattern, keys: tally.keys }).collect()
}
