//! Two old servers into one new one, by the two plans of the example: ids collide, both hand their mail on in the same
//! days, and neither touches what is the other's. Undo of the second leaves the first's users where they are.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::oracle::imap::{self, ServerDump};
use rehome_tests::oracle::roundcube::{self, People};
use rehome_tests::oracle::{redis, same};
use rehome_tests::seed::{Accounts, accounts, other_accounts};
use rehome_tests::traffic::{Sent, Traffic};
use rehome_tests::{harness, lab_tests};

use crate::rehome::{Reach, Rehome};
use crate::whole::{DAY, dig};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![two_old_servers_move_into_one_and_the_second_can_go_back]
}

/// The example's plan, with the lab's domains, names and addresses.
fn plan(which: &str, sides: &[String; 2], domains: &[String]) -> Result<String> {
    let path = format!("{}/../examples/two-into-one/{which}/plan.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let phases = &text[text.find("[[phase]]").context("the example has no phases")?..];
    let domains = format!("domains = {domains:?}");
    let phases = phases
        .replace("domains = [\"example.org\", \"example.net\"]", &domains)
        .replace("domains = [\"example.com\"]", &domains)
        .replace("192.0.2.11", "10.77.0.11")
        .replace("192.0.2.12", "10.77.0.12")
        .replace("192.0.2.15", "10.77.0.15")
        .replace("mail.example.org", "mail.lab.test")
        .replace("mail.example.com", "other.lab.test");
    let secret = "[secret.dns-update]\nfile = \"/root/rehome/dns-update.key\"\n";
    Ok(format!("[migration]\nname = \"{which}\"\n\n{}\n{}\n{secret}\n{phases}", sides[0], sides[1]))
}

fn reach(side: &str, how: &Reach<'_>) -> String {
    match how {
        Reach::Local => format!("[{side}]\nlocal = true\n"),
        Reach::Ssh(machine) | Reach::Sudo(machine) => format!("[{side}]\nssh = \"root@{machine}\"\n"),
    }
}

/// What one server's people have on a machine: mail as they see it, accounts and webmail as they mean it.
struct Belongings {
    mail: ServerDump,
    accounts: String,
    webmail: People,
}

impl Belongings {
    fn on(lab: &Lab, machine: &Machine, of: &Accounts) -> Result<Belongings> {
        Ok(Belongings {
            mail: imap::dump(lab, machine, &of.users)?,
            accounts: accounts_of(machine, of)?,
            webmail: webmail_of(machine, of)?,
        })
    }

    /// Everything is there, mail may have come.
    fn are_on(&self, lab: &Lab, machine: &Machine, of: &Accounts) -> Result<()> {
        let now = Belongings::on(lab, machine, of)?;
        let whose = format!("of {} on {}", of.domains.join(", "), machine.name());
        same(&format!("mail {whose}"), &self.mail.lost(&now.mail))?;
        ensure!(self.accounts == now.accounts, "accounts {whose}:\n{}\nbefore:\n{}", now.accounts, self.accounts);
        ensure!(!self.webmail.0.is_empty(), "nobody of {whose} used webmail: nothing is proven");
        same(&format!("webmail {whose}"), &self.webmail.diff(&now.webmail))
    }
}

fn list(of: &Accounts) -> String {
    of.domains.iter().map(|domain| format!("'{domain}'")).collect::<Vec<_>>().join(",")
}

fn accounts_of(machine: &Machine, of: &Accounts) -> Result<String> {
    let domains = list(of);
    machine.sh(&format!(
        "mysql -N mailserver -e \"SELECT d.name, u.email, u.password, u.quota FROM virtual_users u \
         JOIN virtual_domains d ON d.id = u.domain_id WHERE d.name IN ({domains}) ORDER BY u.email; \
         SELECT d.name, a.source, a.destination FROM virtual_aliases a JOIN virtual_domains d ON d.id = a.domain_id \
         WHERE d.name IN ({domains}) ORDER BY a.source, a.destination\""
    ))
}

/// Users of Roundcube with contacts, groups and identities, whatever IMAP server their machine names.
fn webmail_of(machine: &Machine, of: &Accounts) -> Result<People> {
    let mut all = roundcube::people(machine, &format!("{}.lab.test", machine.name()))?;
    let is_theirs = |user: &str| of.domains.iter().any(|domain| user.ends_with(&format!("@{domain}")));
    all.0.retain(|user, _| is_theirs(user));
    Ok(all)
}

fn users(of: &Accounts) -> Vec<&str> {
    of.users.iter().map(|user| user.email.as_str()).take(8).collect()
}

fn each_is_there_once(lab: &Lab, machine: &Machine, of: &Accounts, sent: &Sent) -> Result<()> {
    let dump = imap::dump(lab, machine, &of.users)?;
    ensure!(sent.accepted().count() > 3, "too few mails were accepted to prove anything: {sent:?}");
    for mail in sent.accepted() {
        let found = dump.count_of_subject(&mail.token);
        ensure!(found == 1, "{} to {} is on {} {found} times", mail.token, mail.recipient, machine.name());
    }
    Ok(())
}

/// What waited while Dovecot stood still on new, where Postfix then answers nobody, is tried at once.
fn queues_are_empty(machines: &[&Machine]) -> Result<()> {
    machines.iter().try_for_each(|machine| harness::flush(machine))
}

/// As far as the gate of a phase.
fn up_to(rehome: &Rehome<'_>, gate: &str) -> Result<()> {
    rehome.expect(5, &["apply"])?;
    let at = rehome.waits_at()?;
    ensure!(at == gate, "it waits at {at}, not at {gate}");
    Ok(())
}

fn to_the_watch(rehome: &Rehome<'_>) -> Result<()> {
    rehome.pass(DAY + 60);
    up_to(rehome, "downtime")?;
    rehome.expect(0, &["answer", "downtime", "go-on", "yes"])?;
    up_to(rehome, "watch")
}

fn exchange(lab: &Lab, domain: &str) -> Result<String> {
    Ok(dig(lab, &["+short", domain, "MX"])?.trim().to_string())
}

fn two_old_servers_move_into_one_and_the_second_can_go_back() -> Result<()> {
    let lab = Lab::start(&LabSpec::pair().with_other().ssh_keys_on("new").ssh_keys_on("other"))?;
    let (of_first, of_second) = (accounts(), other_accounts());
    let other = lab.machine("other");
    let ids = "mysql -N mailserver -e 'SELECT MIN(id) FROM virtual_users; SELECT MIN(id) FROM virtual_domains'";
    ensure!(lab.old().sh(ids)? == other.sh(ids)?, "the ids of the two old servers do not collide");
    let first = {
        let sides = [reach("old", &Reach::Ssh("old")), reach("new", &Reach::Local)];
        Rehome::install_whole(lab.new(), &plan("first", &sides, &of_first.domains)?, &lab.tsig_key()?)?
    };
    let second = {
        let sides = [reach("old", &Reach::Local), reach("new", &Reach::Ssh("new"))];
        Rehome::install_whole(other, &plan("second", &sides, &of_second.domains)?, &lab.tsig_key()?)?
    };

    // Neither plan moves what rspamd knows: what new's Redis has of its own stays.
    let own = redis::keys(lab.new(), 0)?.with_prefix("lab:");

    let firsts = Belongings::on(&lab, lab.old(), of_first)?;
    first.approve()?;
    up_to(&first, "dns-wait")?;
    to_the_watch(&first)?;
    firsts.are_on(&lab, lab.new(), of_first)?;

    // The second, while the first's users work and get mail, some of it still by their old server.
    second.approve()?;
    let stragglers = Traffic::start(&lab, lab.old(), "straggler", 1.0, &users(of_first))?;
    let newcomers = Traffic::start(&lab, lab.new(), "first", 1.0, &users(of_first))?;
    let seconds_mail = Traffic::start(&lab, other, "second", 1.0, &users(of_second))?;
    up_to(&second, "dns-wait")?;
    // A user of the first writes to one of the second, who still reads on the other server.
    lab.new().sh("printf 'Subject: from the first\\n\\nhello\\n' | sendmail -f anna@example.org anna@other.example")?;
    harness::eventually("mail from new arrives on other", || {
        Ok(other
            .sh("grep -rl --exclude='dovecot.index*' 'Subject: from the first' /var/vmail/other.example/anna || true")?
            .lines()
            .count()
            == 1)
    })?;
    let seconds = Belongings::on(&lab, other, of_second)?;
    to_the_watch(&second)?;
    let sent = [stragglers.stop()?, newcomers.stop()?, seconds_mail.stop()?];
    queues_are_empty(&[lab.old(), other, lab.new()])?;
    for (of, mails) in [(of_first, &sent[0]), (of_first, &sent[1]), (of_second, &sent[2])] {
        each_is_there_once(&lab, lab.new(), of, mails)?;
    }
    firsts.are_on(&lab, lab.new(), of_first)?;
    seconds.are_on(&lab, lab.new(), of_second)?;
    ensure!(exchange(&lab, "other.example")? == "10 mail.lab.test.", "{}", exchange(&lab, "other.example")?);
    for rehome in [&first, &second] {
        rehome.expect(0, &["verify"])?;
    }

    same("Redis on new", &own.diff(&redis::keys(lab.new(), 0)?.with_prefix("lab:")))?;
    both_end_and_the_second_goes_back(&lab, &first, &second, [&firsts, &seconds])
}

fn both_end_and_the_second_goes_back(
    lab: &Lab,
    first: &Rehome<'_>,
    second: &Rehome<'_>,
    [firsts, seconds]: [&Belongings; 2],
) -> Result<()> {
    let (of_first, of_second) = (accounts(), other_accounts());
    let other = lab.machine("other");
    for rehome in [first, second] {
        rehome.pass(7 * DAY + 600);
        rehome.expect(0, &["apply"])?;
    }
    for machine in [lab.old(), other, lab.new()] {
        let soft = machine.sh("postconf -h soft_bounce")?;
        ensure!(soft.trim() == "no", "soft_bounce on {} is {soft}", machine.name());
    }

    second.expect(5, &["undo", "--yes"])?;
    ensure!(second.waits_at()? == "dns-restore", "it waits at {}", second.waits_at()?);
    let late = Traffic::start(lab, lab.new(), "late", 2.0, &users(of_second))?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    let late = late.stop()?;
    queues_are_empty(&[lab.new()])?;
    second.pass(DAY);
    second.expect(5, &["undo"])?;
    second.pass(90);
    let said = second.expect(0, &["undo"])?;
    ensure!(exchange(lab, "other.example")? == "10 other.lab.test.", "{}", exchange(lab, "other.example")?);
    let words = "soft_bounce on new is `yes` again";
    ensure!(format!("{}{}", said.stdout, said.stderr).contains(words), "`{words}` is not said:\n{}", said.stderr);

    // The second's people read on their old server again, and have what came meanwhile.
    harness::eventually("Dovecot on other listens", || other.port_is_open(143))?;
    queues_are_empty(&[other, lab.new()])?;
    seconds.are_on(lab, other, of_second)?;
    each_is_there_once(lab, other, of_second, &late)?;
    ensure!(accounts_of(lab.new(), of_second)?.is_empty(), "accounts of the second are on new still");
    // And the first's have noticed nothing: mail, accounts and webmail are there, and mail goes on coming in.
    firsts.are_on(lab, lab.new(), of_first)?;
    let firsts_mail = Traffic::start(lab, lab.new(), "last", 2.0, &users(of_first))?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    let firsts_mail = firsts_mail.stop()?;
    queues_are_empty(&[lab.new()])?;
    each_is_there_once(lab, lab.new(), of_first, &firsts_mail)
}
