//! What a link needs on a side only while it is made, and a command that removes it.
//! Invariant: the command runs however the making ends, also when the pass is dropped in the middle of it.
//! Used by `direct`; what a killed rehome leaves is up to the sweeps in `key.sh` and `grant.pl`.

use crate::escape;
use rehome_remote::{Command, Side};
use tokio::runtime::Handle;

/// Something to be removed.
pub(super) struct Trace {
    side: Side,
    /// How; none once it is done.
    command: Option<Command>,
}

impl Trace {
    pub(super) fn new(side: &Side, command: Command) -> Self {
        Self { side: side.clone(), command: Some(command) }
    }

    pub(super) async fn remove(mut self) -> Result<(), String> {
        let Some(command) = self.command.clone() else { return Ok(()) };
        let removed = run(&self.side, &command).await;
        self.command = None;
        let left =
            |why: String| format!("what was made for it could not be removed ({why}); it expires in five minutes");
        removed.map(drop).map_err(left)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let (Some(command), Ok(runtime)) = (self.command.take(), Handle::try_current()) {
            let side = self.side.clone();
            runtime.spawn(async move { run(&side, &command).await });
        }
    }
}

/// Runs one of the scripts of this folder, which says `no` and why when it declines. Returns what it printed.
pub(super) async fn run(side: &Side, command: &Command) -> Result<String, String> {
    let name = side.name();
    let output = side.run(command).await.map_err(|error| escape(error.to_string().as_bytes()))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if let Some(why) = printed.strip_prefix("no ") {
        return Err(format!("{name}: {}", escape(why.trim_end().as_bytes())));
    }
    if !output.success() {
        return Err(format!("{name}: {}", super::one_line(&output.stderr)));
    }
    Ok(printed)
}
