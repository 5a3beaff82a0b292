//! Unit tests of what is compared between the sides: settings made by hand, and where mail is looked for.

use super::tests::{DOVECOT, KNOWN, MAIN, check, host, troubles};
use super::*;
use rehome_sdk::files::{Entry, Kind};
use rehome_sdk::test::Host;
use serde_json::json;

fn files(host: &mut Host, side: Side, names: &'static [&'static str]) {
    host.list("etc", side).anew().by(move |values| {
        let below = names.iter().filter(|name| name.starts_with(&format!("{}/", values[0])));
        Ok(below.map(|name| entry(name)).collect())
    });
}

fn entry(name: &str) -> Entry {
    let path = name.as_bytes().to_vec();
    Entry { path, kind: Kind::File, size: 1, modified: 0, mode: 0o644, owner: "root".into(), links: 1 }
}

#[test]
fn what_old_sets_by_hand_and_new_lacks_is_named_with_how_to_set_it() {
    let mut host = host();
    host.exec("postfix-set", Side::Old).anew().says(&format!(
        "{MAIN}always_bcc = archive@example.org\nmyhostname = old.example.org\nsmtpd_tls_key_file = /etc/x.pem\nold_name = 7\n"
    ));
    host.exec("postfix-defaults", Side::Old).anew().says(&format!("{}old_name = 1\n", KNOWN.replace("HOST", "old")));
    let later = format!("{}new_name = ${{old_name?{{$old_name}}:{{1}}}}\n", KNOWN.replace("HOST", "new"));
    host.exec("postfix-defaults", Side::New).anew().says(&later);
    host.exec("postfix-services", Side::Old)
        .anew()
        .says("smtp inet n - y - - smtpd\nsubmission inet n - y - - smtpd\n");
    let found = troubles(&mut host);
    assert_eq!(
        found,
        [
            "warning Postfix setting always_bcc: is `archive@example.org` on old, and nothing, its default, on new",
            "warning Postfix setting old_name: is `7` on old; Postfix 3.7.11 calls it `new_name`",
            "warning Postfix service submission/inet: is in master.cf on old, and not on new: `submission inet n - y - - smtpd`",
        ]
    );
}

#[test]
fn a_password_in_a_setting_is_not_shown() {
    let mut host = host();
    let secret = format!("{MAIN}smtp_sasl_password_maps = static:me:hunter2\n");
    host.exec("postfix-set", Side::Old).anew().says(&secret);
    host.exec("postfix-defaults", Side::New)
        .anew()
        .says(&format!("{}smtp_sasl_password_maps =\n", KNOWN.replace("HOST", "new")));
    let found = check(&mut host);
    assert!(found.iter().any(|finding| finding.subject == "Postfix setting smtp_sasl_password_maps"), "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
}

#[test]
fn relay_restrictions_that_keep_a_server_from_sending_are_found_on_new_and_not_recommended_from_old() {
    let mut host = host();
    let readers = "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination\n";
    host.exec("postfix-set", Side::Old).anew().says(readers);
    let hint = check(&mut host).into_iter().find_map(|finding| finding.hint).unwrap_or_default();
    assert!(hint.contains("do not carry it over") && hint.contains("permit_mynetworks"), "{hint}");
    host.exec("postfix-set", Side::New).anew().says(readers);
    let found = troubles(&mut host);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("no permit_mynetworks") && found[0].contains("cannot send to the world"), "{found:?}");
    host.exec("postfix-set", Side::New)
        .anew()
        .says("smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated\n");
    assert!(
        troubles(&mut host)[1]
            .starts_with("blocker Postfix on new: smtpd_relay_restrictions lacks reject_unauth_destination")
    );
}

#[test]
fn files_of_the_operators_own_are_found_and_those_of_packages_are_not() {
    let mut host = host();
    files(
        &mut host,
        Side::Old,
        &["rspamd/options.inc", "rspamd/local.d/own.conf", "cron.d/backup", "postfix/transport.db"],
    );
    files(&mut host, Side::New, &["rspamd/options.inc"]);
    assert_eq!(
        troubles(&mut host),
        [
            "warning /etc/rspamd/local.d/own.conf: rspamd's settings, is on old alone",
            "warning /etc/cron.d/backup: a cron job, is on old alone",
        ]
    );
    // a file of a package that was changed
    host.exec("digest", Side::Old).anew().says("4567  x");
    let found = troubles(&mut host);
    assert!(
        found[0].starts_with("warning /etc/rspamd/options.inc: rspamd's settings, was changed on old"),
        "{found:?}"
    );
    // the same change on both sides
    host.exec("digest", Side::New).anew().says("4567  x");
    assert!(!troubles(&mut host)[0].contains("options.inc"));
}

#[test]
fn aliases_crontabs_packages_and_safe_keys_are_compared() {
    let mut host = host();
    host.exec("aliases", Side::Old).anew().says("postmaster: root\nroot: anna@example.org\n");
    host.list("crontabs", Side::Old).anew().gives(vec![entry("root")]);
    host.exec("packages", Side::Old).anew().says("postgrey\t1.36-5.2\nopendkim\t\n");
    host.exec("safe-keys", Side::Old).anew().says("RequireSafeKeys False\n");
    let found = troubles(&mut host);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "warning crontab of root: is on old alone");
    assert_eq!(found[1], "warning root in /etc/aliases: goes to `anna@example.org` on old, and is not there on new");
    assert!(found[2].starts_with("warning /etc/opendkim.conf: RequireSafeKeys is off on old"), "{found:?}");
    let notes = check(&mut host);
    assert!(notes.iter().any(|finding| finding.subject == "package postgrey"));
    assert!(!notes.iter().any(|finding| finding.subject == "package opendkim"), "it was removed");
}

#[test]
fn mailboxes_that_would_be_empty_are_found_before_anything_is_copied() {
    let mut host = host();
    let elsewhere = DOVECOT.replace("maildir:~/Maildir", "maildir:/var/vmail/%d/%n");
    host.exec("dovecot-all", Side::New).anew().says(&elsewhere);
    let found = troubles(&mut host);
    assert_eq!(
        found,
        [
            "blocker mail of john@example.org: is in /var/vmail/example.org/john/Maildir on old, and new would look for it in \
          /var/vmail/example.org/john: the files would be there, and mailboxes empty"
        ]
    );
    // a home that is another one
    host.exec("dovecot-all", Side::New).anew().says(DOVECOT);
    host.exec("user-query", Side::New).anew().says("user_query = SELECT '/srv/mail/%u' AS home FROM virtual_users\n");
    assert!(troubles(&mut host)[0].contains("new would look for it in /srv/mail/john@example.org/Maildir"));
    // and where new knows the user, what it says counts
    host.exec("user", Side::New).anew().says("home\t/var/vmail/example.org/john\nmail\tmaildir:~/Maildir\n");
    assert_eq!(troubles(&mut host), Vec::<String>::new());
}

#[test]
fn another_layout_driver_or_separator_is_found() {
    let mut host = host();
    for (location, word) in [("maildir:~/Maildir:LAYOUT=fs", "LAYOUT=fs"), ("sdbox:~/Maildir", "as sdbox on new")] {
        host.exec("dovecot-all", Side::New).anew().says(&DOVECOT.replace("maildir:~/Maildir", location));
        let found = troubles(&mut host);
        assert!(found[0].starts_with("blocker mail of john") && found[0].contains(word), "{found:?}");
    }
    host.exec("dovecot-all", Side::New).anew().says(&DOVECOT.replace("separator = ", "separator = /"));
    assert!(
        troubles(&mut host)[0]
            .starts_with("blocker Dovecot setting namespace inbox/separator: is `` on old, and `/` on new")
    );
    host.exec("dovecot-all", Side::New).anew().says(&DOVECOT.replace("separator = ", "separator = ."));
    assert_eq!(troubles(&mut host), Vec::<String>::new());
}

#[test]
fn a_broken_rspamd_is_found_and_a_plan_without_comparison_reads_no_settings() {
    let mut host = host();
    host.exec("rspamd-settings", Side::New).anew().ends(1, "syntax BAD", "");
    assert!(troubles(&mut host)[0].starts_with("blocker rspamd's settings on new"));
    let mut host = super::tests::host();
    host.exec("postfix-set", Side::Old).anew().says("always_bcc = x\n");
    let found = host.check::<Preflight>(json!({ "settings": false })).unwrap();
    assert!(!found.iter().any(|finding| finding.subject.contains("always_bcc")));
}
