//! `redis` for components. In this version every function answers a failure: the door's own, or `unsupported`. The
//! contract is in `wit/redis.wit`.

use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::redis::{Differences, Host, Tally};
use crate::bindings::rehome::phase::types::{Failure, Side};
use crate::convert::unserved;
use crate::guest::Guest;

impl Host for Guest {
    async fn server_version(&mut self, on: Side) -> Trapping<Result<String, Failure>> {
        unserved("redis", self.session()?.redis(None, Some(on.into())).await)
    }

    async fn copy(&mut self, name: String) -> Trapping<Result<Vec<Tally>, Failure>> {
        unserved("redis", self.session()?.redis(Some(&name), None).await)
    }

    async fn count(&mut self, name: String, on: Side) -> Trapping<Result<Vec<Tally>, Failure>> {
        unserved("redis", self.session()?.redis(Some(&name), Some(on.into())).await)
    }

    async fn compare(&mut self, name: String) -> Trapping<Result<Differences, Failure>> {
        unserved("redis", self.session()?.redis(Some(&name), None).await)
    }
}
