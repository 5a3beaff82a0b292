//! The gate of a side: what is approved, as a program that holds a restricted ssh key to it there (`rehome-gate`).
//! Invariant: it is made from the lock as it is now; a gate that was made from another one is told by its digest.

use rehome_gate::{Accounts, Gate, Grants, PROGRAM, Places, STATE};
use rehome_gatekeeper::types::SideName;
use rehome_gatekeeper::{DatabasePlace, RedisDoor};
use rehome_remote::Target;

use crate::approval::Approval;
use crate::error::{Error, Explanation, UsageError};
use crate::migration::Migration;
use crate::phases::Loader;
use crate::plan::{Plan, SidePlan};

/// A side's gate, to be installed there.
#[derive(Clone, Debug)]
pub struct SideGate {
    /// whose
    pub side: SideName,
    /// for root's sh there
    pub script: String,
    /// granted requests that it does not let pass; a line each
    pub beyond: Vec<String>,
    /// databases on it that the plan has no reading account with a password for
    pub without_reader: Vec<String>,
}

/// A gate that lets something else pass than is approved.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the gate on {side} was made for another approval than this one")]
pub struct OtherGate {
    /// whose
    pub side: SideName,
}

impl OtherGate {
    pub(crate) fn explain(&self) -> Explanation {
        Explanation::of(self.to_string())
            .line("it lets pass what was approved when it was made")
            .hint(format!("print it anew with `rehome gate {}` and install it there", self.side))
    }
}

impl Migration {
    /// The gate of a side, for the key in `key` (the text of a public key's file), with which `user` logs in; without one,
    /// whoever the plan has there.
    ///
    /// # Errors
    /// The phases are not approved as they are; the side is not reached over ssh; the key is none.
    pub fn gate(&self, loader: &dyn Loader, side: SideName, key: &str, user: Option<&str>) -> Result<SideGate, Error> {
        let approval = self.approval(loader)?;
        approval.require()?;
        let user = self.gate_user(side, user)?;
        let grants = grants(&self.plan, &approval, side);
        let mut accounts = Accounts::default();
        let mut without_reader = Vec::new();
        for database in &grants.databases {
            match self.plan.side(side).databases.get(database).cloned().unwrap_or_default() {
                DatabasePlace::MySql { reader: Some(reader), .. } if reader.password.is_some() => {
                    accounts.mysql.insert((database.clone(), reader.user));
                }
                DatabasePlace::Postgres { reader: Some(reader), .. } if reader.password.is_some() => {}
                _ => without_reader.push(database.clone()),
            }
        }
        let script = rehome_gate::install(&made(&grants), key, &user, &accounts).map_err(usage)?;
        Ok(SideGate { side, script, beyond: grants.beyond, without_reader })
    }

    /// A script that takes the gate of a side away.
    ///
    /// # Errors
    /// The side is not reached over ssh.
    pub fn without_gate(&self, side: SideName, user: Option<&str>) -> Result<String, Error> {
        let user = self.gate_user(side, user)?;
        rehome_gate::uninstall(&user).map_err(|why| usage(why).into())
    }

    fn gate_user(&self, side: SideName, user: Option<&str>) -> Result<String, UsageError> {
        let Target::Ssh { destination } = &self.plan.side(side).target else {
            return Err(usage(format!("[{side}] is not reached over ssh: there is no key to hold to anything")));
        };
        let named = destination.strip_prefix("ssh://").unwrap_or(destination).rsplit_once('@').map(|(user, _)| user);
        Ok(user.or(named).unwrap_or("root").to_owned())
    }
}

/// What the gate of a side lets pass.
fn grants(plan: &Plan, approval: &Approval, side: SideName) -> Grants {
    let there: &SidePlan = plan.side(side);
    let database = |name: &str| match there.databases.get(name).cloned().unwrap_or_default() {
        DatabasePlace::MySql { socket, .. } | DatabasePlace::Postgres { socket, .. } => Some(socket),
        DatabasePlace::Sqlite { .. } => None,
    };
    let redis = match &there.redis.door {
        RedisDoor::Port(port) => (None, Some(*port)),
        RedisDoor::Socket(path) => (Some(path.clone()), None),
    };
    let places = Places { database: &database, redis };
    let mut grants = Grants::default();
    for asking in &approval.phases {
        let granted = asking.grants();
        grants.add(asking.phase.id(), &asking.phase.filled, side, &|id| granted.contains(id), &places);
    }
    grants
}

fn made(grants: &Grants) -> Gate {
    rehome_gate::gate(grants, PROGRAM, STATE)
}

/// The digest of the gate that a side should have.
pub(crate) fn digest(plan: &Plan, approval: &Approval, side: SideName) -> String {
    made(&grants(plan, approval, side)).digest
}

fn usage(what: String) -> UsageError {
    UsageError { what, more: vec![], hint: None }
}
