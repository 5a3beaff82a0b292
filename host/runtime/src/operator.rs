//! `operator` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/operator.wit`.

use rehome_gatekeeper::types::OperatorAnswer;
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::operator::{Answer, Host};
use crate::bindings::rehome::phase::types::Failure;
use crate::convert::answered;
use crate::guest::Guest;

impl Host for Guest {
    async fn confirm(&mut self, key: String, question: String) -> Trapping<Result<Answer, Failure>> {
        answered(self.session()?.confirm(&key, &question).await)
    }

    async fn choose(
        &mut self,
        key: String,
        question: String,
        options: Vec<String>,
    ) -> Trapping<Result<Answer, Failure>> {
        answered(self.session()?.choose(&key, &question, &options).await)
    }

    async fn wait_until(&mut self, key: String, moment: u64) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.wait_until(&key, moment).await)
    }
}

impl From<OperatorAnswer> for Answer {
    fn from(OperatorAnswer { values, who, at }: OperatorAnswer) -> Self {
        Answer { values, who, at }
    }
}
