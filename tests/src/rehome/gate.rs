//! rehome by a key that old holds to what was approved: the gate installed as an administrator would, and an account of the
//! database that reads alone. With `REHOME_LAB_GATE=1` every test whose plan reaches old over ssh goes that way.

use super::{FOLDER, Rehome};
use anyhow::{Result, ensure};

/// Who reads the databases of old.
const READER: &str = "rehome_reader";
const PASSWORD: &str = "reads-and-no-more";
/// Names that plans of the lab have.
const DATABASES: [&str; 2] = ["mailserver", "roundcube"];

/// Whether all tests go through gates.
pub(super) fn everywhere() -> bool {
    std::env::var_os("REHOME_LAB_GATE").is_some_and(|value| !value.is_empty())
}

/// Where the plan reaches old over ssh: `root@old`.
fn destination(plan: &str) -> Option<&str> {
    plan.split_once("[old]\nssh = \"")?.1.split_once('"').map(|(destination, _)| destination)
}

/// The plan with an account that reads, where it names none for itself.
pub(super) fn with_reader(plan: &str) -> String {
    if destination(plan).is_none() || plan.lines().any(|line| line.starts_with("[old.database.")) {
        return plan.to_owned();
    }
    let mut tables = format!("[secret.reader]\nfile = \"{FOLDER}/reader.secret\"\n\n");
    for database in DATABASES {
        tables
            .push_str(&format!("[old.database.{database}]\nread-user = \"{READER}\"\nread-password = \"reader\"\n\n"));
    }
    plan.replacen("[[phase]]", &format!("{tables}[[phase]]"), 1)
}

/// Makes the key and the account, and installs the gate for what is approved now. From then on that key is all that rehome
/// has for old.
pub(super) fn install(rehome: &Rehome<'_>) -> Result<()> {
    let plan = rehome.machine.sh(&format!("cat {FOLDER}/plan.toml"))?;
    let Some(destination) = destination(&plan) else { return Ok(()) };
    let host = destination.rsplit_once('@').map_or(destination, |(_, host)| host);
    let reads: String =
        DATABASES.iter().map(|name| format!("GRANT SELECT, SHOW VIEW ON {name}.* TO {READER}@localhost; ")).collect();
    let account = format!("CREATE USER IF NOT EXISTS {READER}@localhost IDENTIFIED BY '{PASSWORD}'; {reads}");
    rehome.write("reader.secret", PASSWORD.as_bytes())?;
    rehome.write("account.sql", account.as_bytes())?;
    let sudo = if destination.starts_with("root@") { "" } else { "sudo -n " };
    // As an administrator does it, with a key of their own: `-F none`, for rehome's configuration knows only the gate's.
    rehome.machine.sh(&format!(
        "cd {FOLDER}; chmod 600 reader.secret; [ -e gate ] || ssh-keygen -q -t ed25519 -N '' -f gate; \
         admin='ssh -F none -o BatchMode=yes {destination}'; \
         [ -e account.done ] || $admin {sudo}mysql -f < account.sql; touch account.done; \
         ./rehome gate old --key gate.pub > gate.sh && $admin {sudo}sh < gate.sh && \
         printf 'Host {host}\\n IdentityFile {FOLDER}/gate\\n IdentitiesOnly yes\\n' > /root/.ssh/config"
    ))?;
    let held = rehome.machine.ssh(&["ssh", "-o", "BatchMode=yes", destination, "id"])?;
    ensure!(held.status.code() == Some(126), "that key may do what it likes: {held:?}");
    Ok(())
}
