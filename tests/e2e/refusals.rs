//! What rehome refuses, with nothing changed: what was not approved, what changed since, sides that are not who they were.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec};
use rehome_tests::lab_tests;
use rehome_tests::oracle::{database, same};

use crate::rehome::{Reach, Rehome, mail_only, up_to};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![what_is_not_approved_or_not_who_it_was_is_refused]
}

fn what_is_not_approved_or_not_who_it_was_is_refused() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().without_rspamd().with_third().ssh_keys_on("third"))?;
    let old = Reach::Ssh("old");
    let plan = up_to(&mail_only(&old, &Reach::Ssh("new"))?, "accounts")?;
    let rehome = Rehome::install(lab.third(), &plan)?;
    let before = database::dump(lab.new(), "mailserver")?;

    // never approved
    let refused = rehome.expect(8, &["apply"])?;
    ensure!(refused.stderr.contains("rehome approve"), "{}", refused.stderr);

    // approved, all but one request
    rehome.expect(0, &["approve", "--yes", "--deny", "accounts:copy.accounts"])?;
    let refused = rehome.run(&["apply"])?;
    ensure!(refused.status == Some(8) || refused.status == Some(1), "{refused:?}");
    for word in ["copy.accounts", "INSERT INTO virtual_users", "rehome approve"] {
        ensure!(refused.stderr.contains(word), "`{word}` is not shown:\n{}", refused.stderr);
    }

    // another file in the place of an approved component
    rehome.approve()?;
    rehome.machine.sh("cd /root/rehome/components && cp database.wasm /root/kept && cp confirm.wasm database.wasm")?;
    let refused = rehome.expect(8, &["apply"])?;
    ensure!(refused.stderr.contains("sha256") || refused.stderr.contains("changed"), "{}", refused.stderr);
    rehome.machine.sh("cp /root/kept /root/rehome/components/database.wasm && \
                       printf '\\0\\1x' >> /root/rehome/components/database.wasm")?;
    let refused = rehome.run(&["apply"])?;
    ensure!(refused.status != Some(0), "a component with a byte more was run: {refused:?}");
    rehome.machine.sh("cp /root/kept /root/rehome/components/database.wasm")?;

    // a host that does not answer, and one with another key
    rehome.plan(&plan.replace("root@old", "root@10.77.0.99"))?;
    rehome.approve()?;
    let refused = rehome.expect(1, &["apply"])?;
    ensure!(refused.stderr.contains("10.77.0.99"), "{}", refused.stderr);
    rehome.plan(&plan)?;
    rehome.approve()?;
    lab.old().sh("rm /etc/ssh/ssh_host_*_key* && ssh-keygen -A >/dev/null && systemctl restart ssh")?;
    let refused = rehome.expect(1, &["apply"])?;
    ensure!(refused.stderr.contains("host key") && refused.stderr.contains("root@old"), "{}", refused.stderr);

    same("the database of new", &database::diff(&before, &database::dump(lab.new(), "mailserver")?))
}
