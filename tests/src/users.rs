//! Users at work while their server moves: over IMAP, with their passwords, by seeded chance. What a server told them
//! is done must be there at the end; `accounting.rs` counts it. `tests/lab/users.py` is what runs.

use crate::lab::{Lab, scripts};
use crate::seed::User;
use crate::traffic::Running;
use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

/// Users at work, and others who only log in and out, all the time. Dropped without [`People::stop`], they end too.
#[derive(Debug)]
pub struct People(Running<Change>);

/// One thing that a user did.
#[derive(Debug, Clone, Deserialize)]
pub struct Change {
    /// Login name.
    pub user: String,
    /// What.
    pub op: Op,
    /// The message's Message-ID, with its angle brackets.
    #[serde(default)]
    pub id: String,
    /// Where the message was.
    #[serde(default)]
    pub folder: String,
    /// Where it, or its copy, is now.
    #[serde(default)]
    pub to: String,
    /// The flag that it got.
    #[serde(default)]
    pub flag: String,
    /// `ok`, `refused` or `unknown`; for [`Op::End`] why the user stopped.
    pub state: String,
}

/// What a user can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// to another folder
    Move,
    /// to another folder, and here too
    Copy,
    /// sets a flag
    Flag,
    /// sets \Deleted
    Mark,
    /// removes what has \Deleted
    Expunge,
    /// files a mail of the user's own
    Append,
    /// the connection is lost: the cutover has begun
    End,
}

impl People {
    /// Lets `work` work on `host` until they lose their connection, and `knock` log in and out.
    ///
    /// # Errors
    /// Python cannot be started.
    pub fn start(lab: &Lab, host: &str, seed: u64, work: &[User], knock: &[User]) -> Result<Self> {
        let logins = |users: &[User]| -> Vec<(String, String)> {
            users.iter().map(|user| (user.email.clone(), user.password.clone())).collect()
        };
        let told = json!({ "seed": seed, "work": logins(work), "knock": logins(knock) });
        let mut command = lab.command("python3")?;
        command.arg(scripts().join("users.py")).arg(host);
        Ok(Self(Running::start(command, &format!("{told}\n"), |_| true)?))
    }

    /// How many changes have been made so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// Ends them, and gives all that was done.
    ///
    /// # Errors
    /// They ended otherwise.
    pub fn stop(self) -> Result<Vec<Change>> {
        self.0.stop()
    }
}
