//! Certificates: certbot's tree goes from old to new, services of new serve it, and undo brings new's own back. What is
//! served is asked with openssl from outside, and trees are listed by the machines themselves, not by rehome.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::process::run;

use crate::rehome::Rehome;

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        certificates_move_with_their_links_and_services_serve_them_until_undo_brings_news_own_back,
        a_name_of_the_clients_in_no_certificate_is_found_before_the_migration
    ]
}

/// A plan of this phase alone, for mail programs that use these names.
fn plan(names: &str) -> String {
    format!(
        "[migration]\nname = \"in the lab\"\n[old]\nssh = \"root@old\"\n[new]\nlocal = true\n\n\
         [[phase]]\nid = \"certificates\"\ncomponent = \"certificates\"\nstage = \"copy\"\n[phase.config]\n\
         names = [{names}]\nnew-address = \"10.77.0.12\"\n"
    )
}

/// Every entry of certbot's tree but what is left alone: type, mode, owner, link, and the sum of each file.
fn tree(machine: &Machine, below: &str) -> Result<String> {
    machine.sh(&format!(
        "cd /etc/letsencrypt && find {below} \\( -type f -exec sha256sum {{}} + \\) , -printf '%P %y %m %u:%g %l\\n' | sort"
    ))
}

/// Names in the certificate that a port of new serves to who asks for `name`.
fn served(lab: &Lab, port: &str, name: &str) -> Result<String> {
    let starttls = if port == "25" { "-starttls smtp" } else { "" };
    let script = format!(
        "openssl s_client -connect 10.77.0.12:{port} {starttls} -servername {name} </dev/null 2>/dev/null | \
         openssl x509 -noout -ext subjectAltName"
    );
    let ran = run(lab.command("sh")?.args(["-c", &script]))?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

const MOVED: &str = "archive/mail.lab.test live/mail.lab.test renewal/mail.lab.test.conf renewal-hooks";

fn certificates_move_with_their_links_and_services_serve_them_until_undo_brings_news_own_back() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    // New has renewed its own once more often than old: certbot would deploy what has the highest number.
    lab.new().sh(
        "cd /etc/letsencrypt/archive/mail.lab.test && for f in cert chain fullchain privkey; do cp -p ${f}1.pem ${f}7.pem; done",
    )?;
    let (on_old, on_new) = (tree(lab.old(), MOVED)?, tree(lab.new(), ".")?);
    ensure!(on_old.contains("privkey.pem l 777 root:root ../../archive"), "the lab's tree has no links:\n{on_old}");
    let rehome = Rehome::install(lab.new(), &plan("\"mail.lab.test\", \"imap.lab.test\""))?;
    rehome.approve()?;
    let checked = rehome.expect(0, &["check"])?.stdout;
    ensure!(checked.contains("certbot on new"), "the lab has no certbot, and nobody says so:\n{checked}");
    let preview = rehome.expect(0, &["preview"])?.stdout;
    ensure!(preview.contains("mail.lab.test, imap.lab.test") && !preview.contains("irreversible"), "{preview}");
    for port in ["25", "993"] {
        ensure!(served(&lab, port, "imap.lab.test")?.contains("DNS:new.lab.test"), "port {port} before");
    }

    rehome.expect(0, &["apply"])?;
    let moved = tree(lab.new(), MOVED)?;
    ensure!(moved == on_old, "old has\n{on_old}\nnew has\n{moved}");
    for port in ["25", "993"] {
        let names = served(&lab, port, "imap.lab.test")?;
        ensure!(names.contains("DNS:imap.lab.test") && names.contains("DNS:mail.lab.test"), "port {port}: {names}");
    }
    ensure!(lab.new().sh("ls /etc/letsencrypt/live")?.contains("new.lab.test"), "new's own lineage is gone");
    let verified = rehome.expect(0, &["verify"])?.stdout;
    ensure!(verified.contains("port 993 of new, as imap.lab.test"), "{verified}");
    let journal = lab.new().sh("cd /root/rehome && grep -rla 'PRIVATE KEY' .rehome plan.lock || true")?;
    ensure!(journal.is_empty(), "private keys came into {journal}");

    rehome.expect(0, &["undo", "--yes"])?;
    let back = tree(lab.new(), ".")?;
    ensure!(back == on_new, "new had\n{on_new}\nand has\n{back}");
    for port in ["25", "993"] {
        ensure!(served(&lab, port, "imap.lab.test")?.contains("DNS:new.lab.test"), "port {port} after undo");
    }
    ensure!(tree(lab.old(), MOVED)? == on_old, "old's tree was changed");
    Ok(())
}

fn a_name_of_the_clients_in_no_certificate_is_found_before_the_migration() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().ssh_keys_on("new"))?;
    let rehome = Rehome::install(lab.new(), &plan("\"mail.lab.test\", \"smtp.lab.test\""))?;
    rehome.approve()?;
    let found = rehome.expect(3, &["check"])?;
    let said = found.stdout + &found.stderr;
    ensure!(said.contains("smtp.lab.test") && said.contains("is in no certificate of old"), "{said}");
    ensure!(said.contains("--cert-name mail.lab.test -d mail.lab.test -d imap.lab.test -d smtp.lab.test"), "{said}");
    // Another key in its place is found as well.
    lab.old().sh("cd /etc/letsencrypt/archive/mail.lab.test && cp privkey1.pem privkey2.pem")?;
    rehome.plan(&plan("\"mail.lab.test\""))?;
    rehome.approve()?;
    let found = rehome.expect(3, &["check"])?;
    let said = found.stdout + &found.stderr;
    ensure!(said.contains("archive/mail.lab.test/privkey2.pem is the key of another certificate"), "{said}");
    Ok(())
}
