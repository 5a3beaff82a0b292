//! `cargo xtask account`: the accounting alone, at any size and with any seed. A stranger's server sends mail while a server
//! moves in the lab, and each mail is accounted for. The test is `tests/e2e/accounting.rs`; this only sets its size.

use anyhow::bail;

use crate::cargo;
use crate::test::Lab;

/// The test that does it.
const TEST: &str = "accounting::each_mail_that_was_answered_for_is_where_it_belongs_once";

/// Move a server in the lab while mail flows in, and account for every mail
#[derive(clap::Args)]
pub struct AccountArgs {
    /// How many mails are sent, at least: they come until after the last phase
    #[arg(long, default_value_t = 240)]
    mails: u32,
    /// What users do, and which mail goes where
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: &AccountArgs) -> anyhow::Result<()> {
    let lab = match Lab::prepare() {
        Ok(lab) => lab,
        Err(reason) => bail!("no lab here: {reason:#}"),
    };
    let lab = lab.build()?;
    let mut command = cargo::workspace("test");
    command.envs(lab.environment());
    command.env("REHOME_ACCOUNT_MAILS", args.mails.to_string()).env("REHOME_ACCOUNT_SEED", args.seed.to_string());
    cargo::run(command.args(["--test", "e2e", "--", "--exact", TEST, "--nocapture"]))
}
