//! The phase against a scripted certbot, OpenSSL and DNS. The certificates are real ones, valid around November 2023, when
//! the test host's clock begins: `mail` (mail and imap), its successor `renewed`, `wildcard`, and new's `own`.

use rehome_sdk::dns::{Answer, Rrset};
use rehome_sdk::files::{Comparison, Entry, Kind};
use rehome_sdk::test::Host;
use serde_json::{Value, json};

use super::*;

const MAIL: &str = include_str!("fixtures/mail.pem");
const RENEWED: &str = include_str!("fixtures/renewed.pem");
const WILDCARD: &str = include_str!("fixtures/wildcard.pem");
const OWN: &str = include_str!("fixtures/own.pem");
const KEY: &str = include_str!("fixtures/mail-key.pub.pem");
const OTHER_KEY: &str = include_str!("fixtures/other-key.pub.pem");

fn config(names: &[&str]) -> Value {
    json!({ "names": names, "new-address": "192.0.2.12", "smtp-ports": [25] })
}

fn live(number: u32) -> String {
    format!(
        "/etc/letsencrypt/live:\ntotal 4\n-rw-r--r-- 1 root root 740  README\ndrwxr-xr-x 2 root root 4096  mail\n\n\
         /etc/letsencrypt/live/mail:\ntotal 0\n\
         lrwxrwxrwx 1 root root 30  cert.pem -> ../../archive/mail/cert{number}.pem\n\
         lrwxrwxrwx 1 root root 33  privkey.pem -> ../../archive/mail/privkey{number}.pem\n"
    )
}

fn entry(path: &str) -> Entry {
    let kind = Kind::File;
    Entry { path: path.into(), kind, size: 1, modified: 0, mode: 0o600, owner: "root".into(), links: 1 }
}

fn alike() -> Comparison {
    Comparison { examined: 30, missing: 0, missing_bytes: 0, extra: 0, different: 0, examples: vec![] }
}

fn differs(example: &str) -> Comparison {
    Comparison { different: 1, examples: vec![example.into()], ..alike() }
}

/// Old with `mail`, new with a lineage of the same name that is its own; certbot is installed on new.
fn host(of_old: &'static str, of_new: &'static str) -> Host {
    let mut host = Host::new(requests::MANIFEST);
    for (side, certificate) in [(Side::Old, of_old), (Side::New, of_new)] {
        host.list("whole", side).by(move |path| {
            let files = match (path[0].as_str(), side) {
                ("archive/mail", Side::Old) => &["archive/mail/cert2.pem", "archive/mail/privkey2.pem"][..],
                ("archive/mail", Side::New) => &["archive/mail/cert2.pem", "archive/mail/privkey2.pem"],
                ("accounts", Side::New) => &[],
                _ => &["accounts/acme"],
            };
            Ok(files.iter().map(|file| entry(file)).collect())
        });
        host.exec("live", side).says(&live(2));
        host.exec("certificate", side).says(certificate);
    }
    host.exec("public-key", Side::Old).says(KEY);
    host.exec("certbot", Side::New).says("/usr/bin/certbot\n");
    host.exec("packages", Side::New).says("ii  python3-certbot 2.1.0-4 all x\n");
    host.exec("paths", Side::Old).says("/var/www/html\n");
    host.exec("there", Side::New).says("directory\n");
    host.exec("active", Side::New).says("active\n");
    host.list("renewal", Side::Old).gives(vec![entry("mail.conf")]);
    host.read("renewal", Side::Old).gives(b"authenticator = webroot\nwebroot_path = /var/www/html,\n".to_vec());
    host.query("domains", Side::Old).holds(["name"], &[["example.org"]]);
    let data = vec!["10 mail.example.org.".to_string()];
    let mx = Rrset { owner: "example.org.".into(), kind: "MX".into(), ttl: 60, data };
    host.lookup("mx").gives(vec![Answer { server: "ns1".into(), serial: 1, rrset: Some(mx) }]);
    host.comparison("keep").gives(alike());
    host
}

fn worst(found: &[Finding]) -> Vec<String> {
    let bad = found.iter().filter(|finding| matches!(finding.severity, Severity::Warning | Severity::Blocker));
    bad.map(|finding| format!("{}: {}", finding.subject, finding.text)).collect()
}

#[test]
fn a_good_tree_has_nothing_to_warn_of() {
    let found = host(MAIL, OWN).check::<Certificates>(config(&["mail.example.org", "imap.example.org"])).unwrap();
    assert_eq!(worst(&found), Vec::<String>::new());
}

#[test]
fn a_name_of_the_clients_that_no_certificate_is_for_is_a_blocker_with_the_command_that_helps() {
    let found = host(MAIL, OWN).check::<Certificates>(config(&["smtp.example.org"])).unwrap();
    let blocker = found.iter().find(|finding| finding.severity == Severity::Blocker).expect("a blocker");
    assert_eq!(blocker.subject, "smtp.example.org");
    let hint = blocker.hint.as_deref().unwrap();
    assert!(hint.contains("--cert-name mail -d mail.example.org -d imap.example.org -d smtp.example.org"), "{hint}");
}

#[test]
fn a_wildcard_covers_a_name_and_not_its_parent_and_one_that_runs_out_soon_is_warned_of() {
    let mut host = host(WILDCARD, OWN);
    let found = host.check::<Certificates>(config(&["imap.example.org", "example.org"])).unwrap();
    let all = worst(&found);
    assert!(all[0].starts_with("certificate mail on old: runs out on 2023-11-20"), "{all:?}");
    assert!(all[1].starts_with("example.org: is in no certificate"), "{all:?}");
    assert_eq!(all.len(), 2, "{all:?}");
    host.pass(30 * 86_400);
    let found = host.check::<Certificates>(config(&["imap.example.org"])).unwrap();
    assert!(worst(&found).iter().any(|text| text.contains("which has run out")), "{found:?}");
}

#[test]
fn a_key_of_another_certificate_is_a_blocker() {
    let mut host = host(MAIL, OWN);
    host.exec("public-key", Side::Old).anew().says(OTHER_KEY);
    let all = worst(&host.check::<Certificates>(config(&["mail.example.org"])).unwrap());
    assert!(all[0].contains("archive/mail/privkey2.pem is the key of another certificate"), "{all:?}");
}

#[test]
fn copies_in_place_of_links_and_links_that_lead_nowhere_are_found() {
    let mut host = host(MAIL, OWN);
    host.exec("live", Side::Old).anew().says(
        "/etc/letsencrypt/live/mail:\n-rw-r--r-- 1 root root 9  cert.pem\n-rw------- 1 root root 9  privkey.pem\n",
    );
    let all = worst(&host.check::<Certificates>(config(&["mail.example.org"])).unwrap());
    assert!(all[0].contains("live/mail/cert.pem is no link"), "{all:?}");
    assert!(host.calls().contains(&"exec.certificate on old: live/mail/cert.pem".to_string()));
    host.exec("live", Side::Old).anew().says(&live(9));
    host.exec("certificate", Side::Old).anew().fails(Failure::RefusedValue("no file".into()));
    let all = worst(&host.check::<Certificates>(config(&["mail.example.org"])).unwrap());
    assert!(all[0].contains("archive/mail/cert9.pem is not there"), "{all:?}");
}

#[test]
fn a_renewal_that_new_could_not_do_is_warned_of() {
    let check = |host: &mut Host| worst(&host.check::<Certificates>(config(&["mail.example.org"])).unwrap());
    let mut without = host(MAIL, OWN);
    without.exec("certbot", Side::New).anew().ends(1, "", "No such file");
    assert!(check(&mut without)[0].starts_with("certbot on new: is not installed"));
    let mut webroot = host(MAIL, OWN);
    webroot.exec("there", Side::New).anew().ends(1, "", "No such file");
    assert!(check(&mut webroot)[0].contains("needs /var/www/html, which is not there"));
    let mut plugin = host(MAIL, OWN);
    plugin.read("renewal", Side::Old).anew().gives(b"authenticator = dns-ovh\n".to_vec());
    assert!(check(&mut plugin)[0].contains("needs the package python3-certbot-dns-ovh"));
    let mut standalone = host(MAIL, OWN);
    standalone.read("renewal", Side::Old).anew().gives(b"authenticator = standalone\n".to_vec());
    standalone.exec("http", Side::New).says("LISTEN 0 511 *:80 *:*\n");
    assert!(check(&mut standalone)[0].contains("already listens on port 80"));
}

#[test]
fn without_certbot_on_old_there_is_a_note_and_nothing_to_do() {
    let mut host = host(MAIL, OWN);
    host.list("whole", Side::Old).anew().fails(Failure::NotFound("/etc/letsencrypt".into()));
    let config = config(&["mail.example.org"]);
    let found = host.check::<Certificates>(config.clone()).unwrap();
    assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
    assert!(host.preview::<Certificates>(config.clone()).unwrap().changes.is_empty());
    host.apply::<Certificates>(config.clone()).unwrap();
    host.undo::<Certificates>(config).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn new_keeps_its_own_tree_before_the_first_file_is_replaced_and_services_reload() {
    let mut host = host(MAIL, OWN);
    host.comparison("certificates").gives(differs("live/mail/cert.pem: link")).gives(alike());
    host.apply::<Certificates>(config(&[])).unwrap();
    assert_eq!(
        host.effects(),
        [
            "exec.make-kept on new",
            "sync.keep",
            "sync.certificates",
            "exec.reload on new: postfix",
            "exec.reload on new: dovecot"
        ]
    );
    host.forget_calls();
    host.exec("certificate", Side::New).anew().says(MAIL);
    host.apply::<Certificates>(config(&[])).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
}

#[test]
fn a_higher_number_in_news_own_archive_is_moved_away_or_certbot_would_deploy_it() {
    let mut host = host(MAIL, OWN);
    host.list("whole", Side::New).anew().by(|path| {
        let name = if path[0] == "archive/mail" { "archive/mail/cert7.pem" } else { "accounts" };
        Ok(vec![entry(name)])
    });
    host.comparison("certificates").gives(alike());
    host.apply::<Certificates>(config(&[])).unwrap();
    let effects = host.effects();
    assert!(effects.contains(&"aside.leftovers on new: archive/mail".to_string()), "{effects:?}");
    let at = |what: &str| effects.iter().position(|effect| effect.starts_with(what)).expect("it was done");
    assert!(at("sync.keep") < at("aside.leftovers") && at("aside.leftovers") < at("sync.certificates"));
}

#[test]
fn a_service_that_does_not_run_is_not_reloaded_and_one_that_dies_of_it_is_named() {
    let mut stopped = host(MAIL, OWN);
    stopped.exec("active", Side::New).anew().ends(3, "inactive\n", "");
    stopped.comparison("certificates").gives(differs("x: content")).gives(alike());
    stopped.apply::<Certificates>(config(&[])).unwrap();
    assert!(!stopped.effects().iter().any(|effect| effect.starts_with("exec.reload")));

    let mut dies = host(MAIL, OWN);
    dies.comparison("certificates").gives(differs("x: content")).gives(alike());
    dies.exec("active", Side::New).anew().says("active\n").ends(3, "failed\n", "");
    let Err(Failure::Stopped(finding)) = dies.apply::<Certificates>(config(&[])) else { panic!("it went on") };
    assert_eq!(finding.subject, "postfix on new");
    // And the next apply reloads, though the tree is right by now.
    dies.exec("active", Side::New).anew().says("active\n");
    dies.exec("certificate", Side::New).anew().says(MAIL);
    dies.forget_calls();
    dies.apply::<Certificates>(config(&[])).unwrap();
    assert!(dies.effects().contains(&"exec.reload on new: dovecot".to_string()), "{:?}", dies.effects());
}

#[test]
fn a_certificate_that_new_renewed_since_is_not_replaced_and_verify_accepts_it() {
    let mut host = host(MAIL, MAIL);
    host.comparison("certificates").gives(alike());
    host.apply::<Certificates>(config(&[])).unwrap();
    host.exec("certificate", Side::New).anew().says(RENEWED);
    host.comparison("certificates").anew().gives(differs("live/mail/cert.pem: link"));
    host.forget_calls();
    let Err(Failure::Stopped(finding)) = host.apply::<Certificates>(config(&[])) else { panic!("it went on") };
    assert!(finding.text.contains("renewed on new"), "{finding:?}");
    assert_eq!(host.effects(), Vec::<String>::new());
    for name in ["served", "served-starttls"] {
        host.exec(name, Side::New).says(RENEWED);
    }
    assert_eq!(worst(&host.verify::<Certificates>(config(&[])).unwrap()), Vec::<String>::new());
}

#[test]
fn verify_believes_only_what_comes_over_the_wire() {
    let verify = |served: &str, imap: &str| {
        let mut host = host(MAIL, MAIL);
        host.comparison("certificates").gives(alike());
        host.exec("served", Side::New).says(imap);
        host.exec("served-starttls", Side::New).says(served);
        worst(&host.verify::<Certificates>(config(&["imap.example.org"])).unwrap())
    };
    assert_eq!(verify(MAIL, MAIL), Vec::<String>::new());
    assert_eq!(
        verify(MAIL, OWN),
        ["port 993 of new, as imap.example.org: serves a certificate for new.example.org: not for imap.example.org"]
    );
    assert!(
        verify(RENEWED, MAIL)[0].contains("port 25 of new, as mail.example.org: serves a certificate that is none")
    );
    assert!(verify("unexpected eof", MAIL)[0].contains("serves no certificate"));
}

#[test]
fn a_port_that_is_closed_until_the_cutover_is_no_mismatch() {
    let mut host = host(MAIL, MAIL);
    host.comparison("certificates").gives(alike());
    host.exec("served", Side::New).ends(1, "", "connect:errno=111\n");
    host.exec("served-starttls", Side::New).says(MAIL);
    let found = host.verify::<Certificates>(config(&[])).unwrap();
    assert!(found.iter().all(|finding| finding.severity != Severity::Blocker), "{found:?}");
    let said = worst(&found);
    assert!(said.iter().any(|text| text.contains("nobody listens there")), "{said:?}");
}

#[test]
fn a_file_of_old_that_is_missing_or_another_one_on_new_is_a_mismatch() {
    let mut host = host(MAIL, MAIL);
    host.comparison("certificates").gives(differs("archive/mail/privkey2.pem: content"));
    host.exec("served", Side::New).says(MAIL);
    host.exec("served-starttls", Side::New).says(MAIL);
    let all = worst(&host.verify::<Certificates>(config(&[])).unwrap());
    assert!(all[0].contains("archive/mail/privkey2.pem: content"), "{all:?}");
}

#[test]
fn undo_puts_news_own_tree_back_and_only_what_was_kept() {
    let mut host = host(MAIL, OWN);
    host.undo::<Certificates>(config(&[])).unwrap();
    assert_eq!(host.effects(), Vec::<String>::new());
    host.comparison("certificates").gives(differs("x: content")).gives(alike());
    host.apply::<Certificates>(config(&[])).unwrap();
    host.forget_calls();
    host.comparison("put-back").gives(alike());
    host.undo::<Certificates>(config(&[])).unwrap();
    assert_eq!(host.effects(), ["sync.put-back", "exec.reload on new: postfix", "exec.reload on new: dovecot"]);
    assert_eq!(host.remembered("kept").as_deref(), Some(""));
}
