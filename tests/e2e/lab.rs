//! The lab itself: its machines boot, its mail server is a real one, they reach each other as promised.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, libc_tree};
use rehome_tests::process::run;
use rehome_tests::seed::accounts;
use rehome_tests::{lab_tests, oracle};
use std::process::Command;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        old_and_new_are_running_mail_servers,
        new_is_configured_and_empty,
        a_machine_with_keys_reaches_the_others_as_root_and_as_admin,
        where_root_may_not_log_in_admin_may_use_sudo,
        a_second_lab_beside_the_first_is_another_world,
        commands_on_the_outside_know_machines_names_and_zones,
        files_go_there_and_back,
        a_binary_linked_against_the_libc_tree_runs_on_debian_11,
    ]
}

fn old_and_new_are_running_mail_servers() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair())?;
    for machine in lab.machines() {
        ensure!(machine.sh("systemctl is-system-running")?.trim() == "running");
        for port in [25, 143, 993, 4190] {
            ensure!(machine.port_is_open(port)?, "{}: port {port}", machine.name());
        }
        machine.sh("postfix check; doveconf -n >/dev/null; rspamadm configtest; redis-cli ping")?;
    }
    ensure!(lab.old().sh("cat /etc/debian_version")?.starts_with("11."));
    ensure!(lab.new().sh("cat /etc/debian_version")?.starts_with("12."));
    Ok(())
}

fn new_is_configured_and_empty() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    ensure!(oracle::database::rows(lab.new(), "mailserver")?.is_empty());
    let tables = lab.new().sh("mysql -N mailserver -e 'SHOW TABLES'")?;
    ensure!(tables == "virtual_aliases\nvirtual_domains\nvirtual_users\n", "{tables}");
    ensure!(lab.new().sh("find /var/vmail -type f -path '*/Maildir/*'")?.is_empty());
    Ok(())
}

fn a_machine_with_keys_reaches_the_others_as_root_and_as_admin() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().with_third().ssh_keys_on("new").ssh_keys_on("third"))?;
    let ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes";
    for machine in [lab.new(), lab.third()] {
        ensure!(machine.sh(&format!("{ssh} root@old.lab.test hostname"))?.trim() == "old");
        ensure!(machine.sh(&format!("{ssh} admin@10.77.0.11 sudo -n id -un"))?.trim() == "root");
    }
    ensure!(lab.third().sh("systemctl is-active postfix || true")?.trim() != "active");
    let without = lab.old().ssh(&["ssh", "-o", "BatchMode=yes", "root@new", "true"])?;
    ensure!(!without.status.success(), "old was given no key");
    Ok(())
}

fn where_root_may_not_log_in_admin_may_use_sudo() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only().root_login_off("old"))?;
    let root = lab.command("ssh")?.args(["-o", "BatchMode=yes", "root@old", "true"]).output()?;
    ensure!(!root.status.success(), "root could log in");
    // The lab's own commands go through admin and sudo there.
    ensure!(lab.old().sh("id -un; echo 'a  b'")? == "root\na  b\n");
    ensure!(lab.old().sh("mysql -N -e 'SELECT COUNT(*) FROM mailserver.virtual_users'")?.trim() == "30");
    let temporary = tempfile::tempdir()?;
    lab.old().pull("/etc/shadow", temporary.path())?;
    ensure!(temporary.path().join("shadow").exists());
    Ok(())
}

fn a_second_lab_beside_the_first_is_another_world() -> Result<()> {
    let (first, second) = (Lab::start(&LabSpec::new_only())?, Lab::start(&LabSpec::new_only())?);
    first.new().sh("echo first > /root/mark")?;
    second.new().sh("echo second > /root/mark")?;
    ensure!(first.new().sh("cat /root/mark")?.trim() == "first");
    ensure!(second.new().sh("cat /root/mark")?.trim() == "second");
    let id = |lab: &Lab| lab.new().sh("cat /etc/machine-id");
    ensure!(id(&first)? != id(&second)?);
    first.down()?;
    ensure!(second.new().sh("systemctl is-system-running")?.trim() == "running");
    Ok(())
}

fn commands_on_the_outside_know_machines_names_and_zones() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    ensure!(run(lab.command("ssh")?.args(["old", "hostname"]))?.stdout == b"old\n");
    let mut plain = Command::new("sh");
    plain.args(["-c", "echo $WHO in $PWD; ip -o -4 addr show dev lab"]).env("WHO", "me").current_dir("/tmp");
    let said = String::from_utf8(run(&mut lab.in_namespace(&plain)?)?.stdout)?;
    ensure!(said.starts_with("me in /tmp\n") && said.contains("10.77.0.1/24"), "{said}");

    for zone in accounts().domains.iter().map(String::as_str).chain(["lab.test"]) {
        ensure!(lookup(&lab, zone, "MX")? == "10 mail.lab.test.\n", "{zone}");
    }
    let update = "server 10.77.0.1\nzone lab.test.\nupdate delete mail.lab.test. A\n\
                  update add mail.lab.test. 60 A 10.77.0.12\nsend\n";
    let key = lab.tsig_key()?;
    rehome_tests::process::run_with_input(lab.command("knsupdate")?.args(["-y", &key]), update.as_bytes())?;
    ensure!(lookup(&lab, "mail.lab.test", "A")? == "10.77.0.12\n");
    Ok(())
}

fn lookup(lab: &Lab, name: &str, kind: &str) -> Result<String> {
    let said = run(lab.command("kdig")?.args(["+short", "@10.77.0.1", name, kind]))?;
    Ok(String::from_utf8(said.stdout)?)
}

fn files_go_there_and_back() -> Result<()> {
    let lab = Lab::start(&LabSpec::new_only())?;
    let temporary = tempfile::tempdir()?;
    let (there, back) = (temporary.path().join("a b'c"), temporary.path().join("back"));
    std::fs::write(&there, b"\0bytes\xff")?;
    lab.new().push(&there, "/root/it's here")?;
    lab.new().pull("/root/it's here", &back)?;
    ensure!(std::fs::read(back)? == b"\0bytes\xff");
    let echoed = lab.new().ssh_with_input(&["cat"], b"\0in\xff")?;
    ensure!(echoed.stdout == b"\0in\xff");
    ensure!(lab.new().ssh(&["printf", "%s|", "", "a  b", "'$HOME'\n"])?.stdout == b"|a  b|'$HOME'\n|");
    ensure!(lab.new().ssh(&["sh", "-c", "exit 7"])?.status.code() == Some(7));
    let error = lab.new().sh("echo spoken >&2; false").expect_err("false fails");
    ensure!(error.to_string().contains("spoken") && error.to_string().contains("new"), "{error}");
    Ok(())
}

fn a_binary_linked_against_the_libc_tree_runs_on_debian_11() -> Result<()> {
    let lab = Lab::start(&LabSpec::old_only())?;
    let temporary = tempfile::tempdir()?;
    let (source, binary) = (temporary.path().join("main.rs"), temporary.path().join("hello"));
    // Threads, files, names and the clock: what made a program of Debian 12 ask for a newer libc.
    std::fs::write(
        &source,
        "fn main() { let a = std::thread::spawn(|| std::fs::metadata(\"/etc\").is_ok()).join().unwrap();\n\
         println!(\"{a} {:?}\", std::net::ToSocketAddrs::to_socket_addrs(\"localhost:25\").is_ok()); }\n",
    )?;
    let tree = libc_tree()?;
    let mut rustc = Command::new("rustc");
    rustc.arg(&source).arg("-o").arg(&binary);
    for argument in rehome_tests::lab::libc_link_arguments(&tree) {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    run(&mut rustc)?;
    lab.old().push(&binary, "/root/hello")?;
    ensure!(lab.old().sh("/root/hello")?.trim() == "true true");
    Ok(())
}
