//! `dns` for components. In this version every function answers a failure: the door's own, or `unsupported`. The contract
//! is in `wit/dns.wit`.

use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::dns::{Answer, Host, Rrset};
use crate::bindings::rehome::phase::types::Failure;
use crate::convert::unserved;
use crate::guest::Guest;

impl Host for Guest {
    async fn look_up(&mut self, owner: String, kind: String) -> Trapping<Result<Vec<Answer>, Failure>> {
        unserved("dns", self.session()?.dns(None, &[owner, kind]).await)
    }

    async fn planned(&mut self, name: String, values: Vec<String>) -> Trapping<Result<Rrset, Failure>> {
        unserved("dns", self.session()?.dns(Some(&name), &values).await)
    }

    async fn update(
        &mut self,
        name: String,
        values: Vec<String>,
        _expected: Option<Rrset>,
    ) -> Trapping<Result<Rrset, Failure>> {
        unserved("dns", self.session()?.dns(Some(&name), &values).await)
    }

    async fn restore(&mut self, name: String, values: Vec<String>) -> Trapping<Result<(), Failure>> {
        unserved("dns", self.session()?.dns(Some(&name), &values).await)
    }
}
