//! `clock` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/clock.wit`.

use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::clock::Host;
use crate::bindings::rehome::phase::types::Failure;
use crate::convert::answered;
use crate::guest::Guest;

impl Host for Guest {
    fn now(&mut self) -> Trapping<u64> {
        Ok(self.session()?.now())
    }

    fn elapsed(&mut self) -> Trapping<u64> {
        Ok(self.session()?.elapsed())
    }

    async fn sleep(&mut self, milliseconds: u32) -> Trapping<Result<(), Failure>> {
        answered(self.session()?.sleep(milliseconds).await)
    }

    fn random(&mut self, length: u32) -> Trapping<Vec<u8>> {
        Ok(self.session()?.random(length))
    }
}
