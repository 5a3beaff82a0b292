//! What rspamd learned and the keys that sign, on real machines: read with redis-cli, rspamc, openssl and rspamd itself, and
//! never by asking rehome. The phases are those of the example.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rehome_tests::lab::{Lab, LabSpec, Machine};
use rehome_tests::lab_tests;
use rehome_tests::oracle::listing::listing;
use rehome_tests::oracle::same;
use rehome_tests::process::run_with_input;

use crate::rehome::{Reach, Rehome, example};

pub(crate) fn tests() -> Vec<Trial> {
    lab_tests![
        training_keys_and_selectors_arrive_and_what_is_new_s_own_stays,
        trouble_with_rspamd_and_its_keys_is_found_before_anything_is_touched,
        undo_puts_back_what_rspamd_on_new_had,
        a_key_of_new_is_kept_aside_and_one_with_the_wrong_owner_is_mended,
        a_copy_that_was_killed_is_finished_by_the_next_apply
    ]
}

/// The phases of the example that are about rspamd.
fn plan() -> Result<String> {
    let whole = example(&Reach::Ssh("old"), &Reach::Local)?;
    let (head, phases) = whole.split_at(whole.find("[[phase]]").context("the example has no phases")?);
    let own = phases.split("[[phase]]").filter(|phase| phase.contains("component = \"rspamd\""));
    Ok(head.to_string() + &own.map(|phase| format!("[[phase]]{phase}")).collect::<String>())
}

fn start() -> Result<Lab> {
    Lab::start(&LabSpec::pair().ssh_keys_on("new"))
}

fn install(lab: &Lab) -> Result<Rehome<'_>> {
    let rehome = Rehome::install(lab.new(), &plan()?)?;
    rehome.approve()?;
    Ok(rehome)
}

/// Every key that matches, with its value, one a line; sorted.
const KEYS: &str = r"local lines = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
    local pairs = {}
    for at = 1, #value, 2 do pairs[#pairs + 1] = value[at] .. '=' .. value[at + 1] end
    table.sort(pairs); value = table.concat(pairs, ' ')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key); table.sort(value); value = table.concat(value, ' ')
  elseif kind == 'string' then value = redis.call('GET', key)
  else value = redis.call('DUMP', key) end
  lines[#lines + 1] = key .. ' ' .. kind .. ' ' .. redis.sha1hex(value)
end
table.sort(lines)
return table.concat(lines, '\n')";

fn redis(machine: &Machine, pattern: &str) -> Result<Vec<String>> {
    let done = machine.ssh(&["redis-cli", "--raw", "eval", KEYS, "0", pattern])?;
    let text = String::from_utf8(done.stdout)?;
    ensure!(done.status.success() && !text.starts_with("ERR"), "redis-cli on {}: {text}", machine.name());
    Ok(text.lines().filter(|line| !line.is_empty()).map(String::from).collect())
}

/// All that the phase must bring, in the words of rspamd's own names.
fn training(machine: &Machine) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for pattern in ["RS*", "BAYES_*_keys", "learned_ids"] {
        all.extend(redis(machine, pattern)?);
    }
    Ok(all)
}

/// What `rspamc stat` says was learned; rspamd counts anew every half minute.
fn stat(machine: &Machine) -> Result<String> {
    machine.sh("rspamc stat | grep ^Statfile | sed -E 's/^Statfile: ([A-Z_]+).*learned: ([0-9]+).*/\\1 \\2/' | sort | paste -sd' '")
}

fn stat_becomes(machine: &Machine, should: &str) -> Result<()> {
    rehome_tests::harness::eventually(&format!("rspamd on {} knows {should}", machine.name()), || {
        // While rspamd is reloaded its controller turns questions away.
        Ok(stat(machine).is_ok_and(|said| said.trim() == should))
    })
}

/// DKIM keys and the map: contents, owners, modes.
const FILES: &str = "cd /var/lib/rspamd/dkim && for f in $(ls); do echo \"$f $(stat -c '%U:%G %a' $f) $(sha256sum < $f)\"; done; \
    sort /etc/rspamd/dkim_selectors.map";

/// A mail that leaves this machine, as its Postfix and rspamd have made it.
fn sent(machine: &Machine, from: &str) -> Result<String> {
    // Held, so that it can be read at leisure; the postmaster's own queue is empty in a fresh lab.
    machine.sh(&format!(
        "postconf defer_transports=smtp && postfix reload 2>/dev/null; \
         printf 'From: {from}\\nTo: someone@elsewhere.lab.test\\nSubject: signed?\\n\\nA mail that leaves.\\n' | sendmail -f {from} someone@elsewhere.lab.test"
    ))?;
    let mut id = String::new();
    rehome_tests::harness::eventually("the mail is in the queue", || {
        id = machine.sh(
            "postqueue -j | sed -nE 's/.*\"queue_name\": \"deferred\".*\"queue_id\": \"([^\"]+)\".*/\\1/p' | head -n 1",
        )?;
        Ok(!id.trim().is_empty())
    })?;
    machine.sh(&format!("postcat -qhb {}", id.trim()))
}

/// What rspamd on this machine makes of a mail that came from outside.
fn judged(machine: &Machine, mail: &str) -> Result<String> {
    let words = ["rspamc", "-i", "192.0.2.77", "-F", "john@example.org", "symbols"];
    Ok(String::from_utf8_lossy(&machine.ssh_with_input(&words, mail.as_bytes())?.stdout).into_owned())
}

fn teach(machine: &Machine, kind: &str, token: &str) -> Result<()> {
    // rspamd may still be starting.
    rehome_tests::harness::eventually("rspamd answers", || Ok(machine.ssh(&["rspamc", "stat"])?.status.success()))?;
    machine.sh(&format!(
        "printf 'From: {token}@elsewhere.lab.test\\nTo: anna@example.org\\nSubject: {token}\\nMessage-ID: <{token}@lesson.lab.test>\\n\\n\
         words that only {token} has and nobody else would ever put together in a mail that long or longer\\n' > /tmp/{token} && \
         rspamc learn_{kind} /tmp/{token}"
    ))
    .map(drop)
}

fn training_keys_and_selectors_arrive_and_what_is_new_s_own_stays() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab)?;
    let (old, new) = (lab.old(), lab.new());
    let (files, own) = (old.sh(FILES)?, redis(new, "lab:own")?);
    ensure!(training(old)?.len() > 1000 && training(new)?.is_empty(), "the lab's training is not what it should be");
    rehome.expect(0, &["check"])?;
    rehome.expect(0, &["apply", "--until", "copy"])?;
    ensure!(training(old)? == training(new)?, "training differs after the first pass");
    rehome.expect(0, &["verify"])?;

    // Users go on teaching old: a warning until the second pass has brought it.
    teach(old, "ham", "later")?;
    // rspamd is late with its counts, and by them it is judged who is behind.
    stat_becomes(old, "BAYES_HAM 26 BAYES_SPAM 25")?;
    let warned = rehome.expect(0, &["verify"])?;
    ensure!(warned.stdout.contains("warning") && warned.stdout.contains("apply --again"), "{}", warned.stdout);
    // Mail still arrives on old, and Dovecot on new is closed to users in a cutover.
    new.sh("systemctl stop dovecot.socket dovecot.service")?;
    rehome.expect(0, &["apply"])?;
    rehome.expect(0, &["verify"])?;
    ensure!(training(old)? == training(new)?, "training differs after the second pass");
    same("files of rspamd", &diff(&files, &new.sh(FILES)?))?;
    ensure!(redis(new, "lab:own")? == own, "new's own key was touched");
    for machine in [old, new] {
        stat_becomes(machine, "BAYES_HAM 26 BAYES_SPAM 25")?;
    }

    let mail = sent(new, "john@example.org")?;
    let unfolded = mail.replace("\n\t", " ");
    ensure!(unfolded.contains("d=example.org; s=2024;"), "not signed with old's selector:\n{mail}");
    let symbols = judged(old, &mail)?;
    ensure!(symbols.contains("R_DKIM_ALLOW"), "the signature does not fit the published key:\n{symbols}\n{mail}");

    // What is lost on new afterwards is a mismatch.
    new.sh("redis-cli del learned_ids")?;
    let ran = rehome.expect(6, &["verify"])?;
    ensure!(ran.stdout.contains("1 missing on new"), "{}", ran.stdout);
    Ok(())
}

fn diff(old: &str, new: &str) -> Vec<String> {
    let only = |a: &str, b: &str, word: &str| -> Vec<String> {
        a.lines().filter(|line| !b.lines().any(|other| other == *line)).map(|line| format!("{word}: {line}")).collect()
    };
    [only(old, new, "only on old"), only(new, old, "only on new")].concat()
}

/// One thing that would make the phase fail, or its work useless.
struct Trouble {
    what: &'static str,
    on: &'static str,
    break_it: &'static str,
    mend_it: &'static str,
    says: &'static [&'static str],
}

const TROUBLES: &[Trouble] = &[
    Trouble {
        what: "rspamd is stopped on new",
        on: "new",
        break_it: "systemctl stop rspamd",
        mend_it: "systemctl start rspamd",
        says: &["rspamd on new", "does not run"],
    },
    Trouble {
        what: "Redis is stopped on new",
        on: "new",
        break_it: "systemctl stop redis-server",
        mend_it: "systemctl start redis-server",
        says: &["Redis on new"],
    },
    Trouble {
        what: "a configuration that is not sound",
        on: "new",
        break_it: "echo 'path = {{{' > /etc/rspamd/local.d/greylist.conf",
        mend_it: "rm /etc/rspamd/local.d/greylist.conf",
        says: &["not sound", "rspamadm configtest"],
    },
    Trouble {
        what: "statistics in SQLite on old",
        on: "old",
        break_it: "sed -i 's/\"redis\"/\"sqlite3\"/' /etc/rspamd/local.d/classifier-bayes.conf",
        mend_it: "sed -i 's/\"sqlite3\"/\"redis\"/' /etc/rspamd/local.d/classifier-bayes.conf",
        says: &["Bayes classifier on old", "sqlite3", "statconvert"],
    },
    Trouble {
        what: "another database number on old",
        on: "old",
        break_it: "echo 'db = \"3\";' >> /etc/rspamd/local.d/redis.conf",
        mend_it: "sed -i '/^db/d' /etc/rspamd/local.d/redis.conf",
        says: &["database 3", "databases = [3]"],
    },
    Trouble {
        what: "new looks for no selector map",
        on: "new",
        break_it: "sed -i 's/^selector_map/#&/' /etc/rspamd/local.d/dkim_signing.conf",
        mend_it: "sed -i 's/^#selector_map/selector_map/' /etc/rspamd/local.d/dkim_signing.conf",
        says: &["`selector_map` is `not set` on new", "/etc/rspamd/dkim_selectors.map"],
    },
    Trouble {
        what: "no folder for keys on new",
        on: "new",
        break_it: "mv /var/lib/rspamd/dkim /var/lib/rspamd/away",
        mend_it: "mv /var/lib/rspamd/away /var/lib/rspamd/dkim",
        says: &["/var/lib/rspamd/dkim is not there", "install -d -o _rspamd"],
    },
    Trouble {
        what: "another key in DNS",
        on: "outside",
        break_it: "2024._domainkey.example.org. 3600 TXT \"v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG\"",
        mend_it: "",
        says: &["example.org", "publishes another key", "openssl pkey"],
    },
];

fn trouble_with_rspamd_and_its_keys_is_found_before_anything_is_touched() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab)?;
    rehome.expect(0, &["check"])?;
    for trouble in TROUBLES {
        match trouble.on {
            "outside" => publish(&lab, trouble.break_it)?,
            machine => lab.machine(machine).sh(trouble.break_it).map(drop)?,
        }
        let ran = rehome.run(&["check"])?;
        if trouble.on != "outside" {
            lab.machine(trouble.on).sh(trouble.mend_it)?;
        }
        let said = format!("{}{}", ran.stdout, ran.stderr);
        ensure!(ran.status == Some(3), "{}: ended with {:?}\n{said}", trouble.what, ran.status);
        for word in trouble.says {
            ensure!(said.contains(word), "{}: `{word}` is not said\n{said}", trouble.what);
        }
        if trouble.on != "outside" {
            rehome.expect(0, &["check"])?;
        }
    }
    rehome.expect(3, &["apply"])?;
    ensure!(training(lab.new())?.is_empty(), "a blocker did not stop `apply`");
    Ok(())
}

/// Replaces an RRset of the lab's zones.
fn publish(lab: &Lab, record: &str) -> Result<()> {
    let owner = record.split_whitespace().next().unwrap_or_default();
    let script = format!("server 10.77.0.1\nzone example.org.\ndel {owner} TXT\nadd {record}\nsend\n");
    let key = lab.tsig_key()?;
    run_with_input(lab.command("knsupdate")?.args(["-y", key.trim()]), script.as_bytes()).map(drop)
}

fn undo_puts_back_what_rspamd_on_new_had() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab)?;
    let (old, new) = (lab.old(), lab.new());
    // New has been taught a little, and signs for a domain of its own.
    teach(new, "spam", "newcomer")?;
    new.sh("echo 'own.example own' >> /etc/rspamd/dkim_selectors.map")?;
    let state = |machine: &Machine| -> Result<(Vec<String>, String)> { Ok((training(machine)?, machine.sh(FILES)?)) };
    let before = (state(old)?, state(new)?);
    let warned = rehome.expect(0, &["check"])?;
    ensure!(
        warned.stdout.contains("new was taught"),
        "that new's own training gives way is not said\n{}",
        warned.stdout
    );
    rehome.expect(0, &["apply"])?;
    let map = new.sh("cat /etc/rspamd/dkim_selectors.map")?;
    ensure!(map.contains("own.example own") && map.contains("example.net 2024"), "the map on new is\n{map}");
    ensure!(new.sh("redis-cli hget RS learns_spam")?.trim() == "25", "old's counts did not arrive");

    rehome.expect(0, &["undo", "--yes"])?;
    ensure!(state(new)? == before.1, "new is not what it was:\n{}", diff(&before.1.1, &new.sh(FILES)?).join("\n"));
    ensure!(state(old)? == before.0, "old was changed");
    stat_becomes(new, "BAYES_HAM 0 BAYES_SPAM 1")?;
    // And there again: nothing of the undo stands in the way.
    rehome.expect(0, &["apply"])?;
    ensure!(training(new)?.len() >= training(old)?.len(), "the training did not come again");
    Ok(())
}

fn a_key_of_new_is_kept_aside_and_one_with_the_wrong_owner_is_mended() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab)?;
    let (old, new) = (lab.old(), lab.new());
    // One key was made anew on new, another was copied by hand, as root and with its date.
    new.sh(
        "cd /var/lib/rspamd/dkim && rspamadm dkim_keygen -b 1024 -d example.org -s 2024 -k example.org.2024.key && \
         rsync -a root@old:/var/lib/rspamd/dkim/example.net.2024.key . && chown root:root example.net.2024.key && chmod 600 example.net.2024.key",
    )?;
    let made = new.sh("sha256sum < /var/lib/rspamd/dkim/example.org.2024.key")?;
    let warned = rehome.expect(0, &["check"])?;
    ensure!(warned.stdout.contains("other ones under the same names"), "{}", warned.stdout);
    let preview = rehome.expect(0, &["preview"])?;
    ensure!(preview.stdout.contains("irreversible"), "{}", preview.stdout);
    rehome.expect(0, &["apply"])?;
    same("files of rspamd", &diff(&old.sh(FILES)?, &new.sh(FILES)?))?;
    let aside = listing(new, &["/var/lib/rspamd/.rehome-aside"], &[])?;
    let kept = aside.0.keys().find(|path| path.ends_with("example.org.2024.key")).context("the former key is gone")?;
    ensure!(new.sh(&format!("sha256sum < {kept}"))? == made, "what was kept aside is another key");
    rehome.expect(0, &["verify"])?;
    Ok(())
}

fn a_copy_that_was_killed_is_finished_by_the_next_apply() -> Result<()> {
    let lab = start()?;
    let rehome = install(&lab)?;
    // The copy, and none of the looks that come before it.
    rehome.kill_after(&["apply"], &["\"request-began\"", "\"redis-copy.learned\"", "\"repeatable\""], "0.1")?;
    rehome.expect(0, &["apply"])?;
    ensure!(training(lab.old())? == training(lab.new())?, "training differs");
    rehome.expect(0, &["verify"])?;
    rehome.expect(0, &["undo", "--yes"])?;
    ensure!(training(lab.new())?.is_empty(), "undo left something behind");
    Ok(())
}
