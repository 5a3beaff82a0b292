//! What rspamd itself says that it has learned.
//! See [`super::redis`] for what that is kept in.

use crate::harness::eventually;
use crate::lab::Machine;
use anyhow::{Context, Result};

/// From how many messages the Bayes classifier has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learned {
    /// Messages that were no spam.
    pub ham: u64,
    /// Messages that were.
    pub spam: u64,
}

/// Waits until rspamd has started, which takes it some seconds after a boot, and asks it.
///
/// # Errors
/// As [`learned`], or it does not start.
pub fn learned_when_up(machine: &Machine) -> Result<Learned> {
    eventually("rspamd's controller listens", || {
        Ok(machine.ssh(&["bash", "-c", ": </dev/tcp/127.0.0.1/11334"])?.status.success())
    })?;
    learned(machine)
}

/// As `rspamc stat` says. rspamd looks the numbers up when it starts and then every minute or so: after a change in
/// Redis they are to be waited for.
///
/// # Errors
/// rspamd does not answer, or says something else.
pub fn learned(machine: &Machine) -> Result<Learned> {
    let said = machine.sh("rspamc stat")?;
    let of = |class: &str| {
        let line = said.lines().find(|line| line.starts_with(&format!("Statfile: {class} ")));
        let number = line.and_then(|line| line.split_once("learned: ")?.1.split(';').next()?.parse().ok());
        number.with_context(|| format!("rspamc stat on {} says nothing of {class}:\n{said}", machine.name()))
    };
    Ok(Learned { ham: of("BAYES_HAM")?, spam: of("BAYES_SPAM")? })
}
