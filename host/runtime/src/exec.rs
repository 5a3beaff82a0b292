//! `exec` for components: types are converted, the gatekeeper does the rest. The contract is in `wit/exec.wit`.

use rehome_gatekeeper::types::{ExecOutput, Failure as OurFailure, Moved as OurMoved};
use wasmtime::Result as Trapping;

use crate::bindings::rehome::phase::exec::{Host, Moved, Output};
use crate::bindings::rehome::phase::types::{Failure, Side};
use crate::convert::answered;
use crate::guest::Guest;

impl Host for Guest {
    async fn run(&mut self, name: String, on: Side, values: Vec<String>) -> Trapping<Result<Output, Failure>> {
        answered(self.session()?.run(&name, on.into(), &values).await)
    }

    async fn run_each(
        &mut self,
        name: String,
        on: Side,
        rows: Vec<Vec<String>>,
    ) -> Trapping<Result<Vec<Result<Output, Failure>>, Failure>> {
        let results = self.session()?.run_each(&name, on.into(), &rows).await;
        Ok(results.map(|results| results.into_iter().map(one).collect()).map_err(Into::into))
    }

    async fn run_with_rows(
        &mut self,
        name: String,
        on: Side,
        values: Vec<String>,
        rows: Vec<Vec<String>>,
    ) -> Trapping<Result<Output, Failure>> {
        answered(self.session()?.run_with_rows(&name, on.into(), &values, &rows).await)
    }

    async fn pipe(&mut self, name: String) -> Trapping<Result<Moved, Failure>> {
        answered(self.session()?.pipe(&name).await)
    }
}

fn one(result: Result<ExecOutput, OurFailure>) -> Result<Output, Failure> {
    result.map(Into::into).map_err(Into::into)
}

impl From<ExecOutput> for Output {
    fn from(ExecOutput { status, stdout, stderr }: ExecOutput) -> Self {
        Output { status, stdout, stderr }
    }
}

impl From<OurMoved> for Moved {
    fn from(OurMoved { bytes, source_status, sink_status }: OurMoved) -> Self {
        Moved { bytes, source_status, sink_status }
    }
}
