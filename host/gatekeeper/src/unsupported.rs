//! `redis` and `dns`: in the contract, and not served yet. Requests for them pass the door like all others, so that a phase
//! learns the same of its grants, and then answer `unsupported`.

use crate::door::{Call, Session};
use crate::types::{Failure, SideName};

impl Session {
    /// Any function of `redis`.
    pub async fn redis(&self, request: Option<&str>, _side: Option<SideName>) -> Result<(), Failure> {
        self.not_served("redis", request.map(|name| format!("redis-copy.{name}")), &[]).await
    }

    /// Any function of `dns`.
    pub async fn dns(&self, request: Option<&str>, values: &[String]) -> Result<(), Failure> {
        self.not_served("dns", request.map(|name| format!("record.{name}")), values).await
    }

    async fn not_served(&self, what: &str, request: Option<String>, values: &[String]) -> Result<(), Failure> {
        let answer = Failure::Unsupported(format!("this version of rehome does not serve `{what}` yet"));
        match request {
            None => {
                self.free();
                Err(answer)
            }
            Some(id) => {
                self.pass(Call { request: &id, side: None, values, input: None }, |_permit| async { Err(answer) }).await
            }
        }
    }
}
