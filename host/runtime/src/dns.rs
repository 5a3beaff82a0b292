//! `dns` for components: only types are converted here. The contract is in `wit/dns.wit`.

use wasmtime::Result as Trapping;

use rehome_gatekeeper::types as gate;

use crate::bindings::rehome::phase::dns::{Answer, Host, Rrset};
use crate::bindings::rehome::phase::types::Failure;
use crate::guest::Guest;

impl Host for Guest {
    async fn look_up(&mut self, name: String, values: Vec<String>) -> Trapping<Result<Vec<Answer>, Failure>> {
        let answers = self.session()?.look_up(&name, &values).await;
        Ok(answers.map(|answers| answers.into_iter().map(answer).collect()).map_err(Failure::from))
    }

    async fn planned(&mut self, name: String, values: Vec<String>) -> Trapping<Result<Rrset, Failure>> {
        Ok(self.session()?.planned(&name, &values).await.map(rrset).map_err(Failure::from))
    }

    async fn update(
        &mut self,
        name: String,
        values: Vec<String>,
        expected: Option<Rrset>,
    ) -> Trapping<Result<Rrset, Failure>> {
        let expected = expected.map(|Rrset { owner, kind, ttl, data }| gate::Rrset { owner, kind, ttl, data });
        let written = self.session()?.update(&name, &values, expected.as_ref()).await;
        Ok(written.map(rrset).map_err(Failure::from))
    }

    async fn restore(&mut self, name: String, values: Vec<String>) -> Trapping<Result<(), Failure>> {
        Ok(self.session()?.restore_record(&name, &values).await.map_err(Failure::from))
    }
}

fn rrset(rrset: gate::Rrset) -> Rrset {
    let gate::Rrset { owner, kind, ttl, data } = rrset;
    Rrset { owner, kind, ttl, data }
}

fn answer(answer: gate::DnsAnswer) -> Answer {
    Answer { server: answer.server, serial: answer.serial, rrset: answer.rrset.map(rrset) }
}
