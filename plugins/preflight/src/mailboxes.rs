//! Where Dovecot looks for mail: "the files are there, but mailboxes are empty", as a reader found. Old says it of some users
//! (`doveadm user`); new says it too where it knows them, else its settings and its user_query do.
//! Invariant: a path, a driver, a layout or a separator that is not the same is found before anything is copied.

use rehome_sdk::prelude::*;

use crate::by_hand::Dovecot;
use crate::place::{self, Place};
use crate::{Config, heard, requests};

/// Users to ask for: of so many domains, one each.
const SAMPLE: usize = 3;

pub(crate) fn check(config: &Config, old: &Dovecot, new: &Dovecot, found: &mut Findings) -> Result<(), Failure> {
    namespaces(old, new, found);
    let queries = [user_query(Side::Old)?, user_query(Side::New)?];
    for user in sample()? {
        let Some(before) = asked(Side::Old, &user)? else {
            found
                .warning(format!("mail of {user}"), "is not found on old: `doveadm user` does not know the user there");
            continue;
        };
        let after = match asked(Side::New, &user)? {
            Some(after) => Ok(after),
            None => expected(&user, &before, old, new, &queries),
        };
        let blockers = found.blockers().count();
        match after {
            Ok(after) => compare(&user, &before, &after, config, found),
            Err(why) => drop(
                found
                    .warning("mailboxes on new", why)
                    .hint("`doveadm user -f home USER` on both sides must say the same, once the accounts are copied"),
            ),
        }
        // One user shows it: the others would say the same.
        if found.blockers().count() > blockers {
            break;
        }
    }
    Ok(())
}

/// Some users of old, of different domains where there are some. Whoever lists them makes them known to this call.
fn sample() -> Result<Vec<String>, Failure> {
    let mut all = match heard(requests::exec::USERS.on(Side::Old).run())? {
        Ok(output) => output.lines(),
        Err(_) => Vec::new(),
    };
    if all.is_empty() {
        all =
            heard(requests::sql::SOME_USERS.on(Side::Old).rows())?.map(|rows| rows.texts("email")).unwrap_or_default();
    }
    let mut chosen: Vec<String> = Vec::new();
    for user in all {
        let Some((_, domain)) = user.split_once('@') else { continue };
        let is_new = !chosen.iter().any(|other| other.ends_with(&format!("@{domain}")));
        if is_new && chosen.len() < SAMPLE && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"@.-_+".contains(&b)) {
            chosen.push(user);
        }
    }
    Ok(chosen)
}

/// What Dovecot says of a user: none if it knows nobody of that name.
fn asked(side: Side, user: &str) -> Result<Option<Place>, Failure> {
    match heard(requests::exec::USER.on(side).run_with([user]))? {
        Ok(output) if output.status == 0 => Ok(Place::told(&output.lines(), user)),
        // Accounts that are not there yet, or a Dovecot that cannot be asked: then its settings are read.
        Ok(_) | Err(_) => Ok(None),
    }
}

fn user_query(side: Side) -> Result<Option<String>, Failure> {
    let lines = heard(requests::exec::USER_QUERY.on(side).run())?.map(|output| output.lines()).unwrap_or_default();
    Ok(place::user_query(&lines))
}

/// Where new would look for a user that it does not know yet.
fn expected(
    user: &str,
    before: &Place,
    old: &Dovecot,
    new: &Dovecot,
    queries: &[Option<String>; 2],
) -> Result<Place, String> {
    let set = |dovecot: &Dovecot, name: &str| dovecot.all.get(name).filter(|value| !value.is_empty()).cloned();
    let location = match (set(new, "mail_location"), set(new, "mail_driver"), set(new, "mail_path")) {
        (Some(location), ..) => location,
        (None, Some(driver), Some(path)) => format!("{driver}:{path}"),
        _ => return Err("new's Dovecot sets no mail_location: it would guess where mail is".into()),
    };
    let from_query = queries[1].as_deref().map(|query| (place::literal(query, "home"), place::literal(query, "mail")));
    let (mut home, mail) = from_query.unwrap_or_default();
    // `userdb { driver = static }` has it among its arguments.
    let arguments = new.all.iter().filter(|(name, _)| name.starts_with("userdb ") && name.ends_with("/args"));
    for (_, text) in arguments {
        home = home.or_else(|| text.split(' ').find_map(|word| word.strip_prefix("home=")).map(String::from));
    }
    let same_query = |a: &String, b: &String| place::is_same_query(a, b);
    if home.is_none() && queries[0].as_ref().zip(queries[1].as_ref()).is_some_and(|(a, b)| same_query(a, b)) {
        home = Some(before.home.clone());
    }
    let home = home.or_else(|| set(new, "mail_home"));
    match home {
        Some(home) => Ok(Place::made(&home, &mail.unwrap_or(location), user)),
        // Without `~` and `%h` in it, a location needs no home.
        None if !location.contains('~') && !location.contains("home") && !location.contains("%h") => {
            Ok(Place::made("", &location, user))
        }
        None => Err(format!(
            "where new's Dovecot {} looks for mail cannot be told before it knows the users: its user_query is not old's, which \
             is Dovecot {}",
            new.version, old.version
        )),
    }
}

fn compare(user: &str, before: &Place, after: &Place, config: &Config, found: &mut Findings) {
    let subject = format!("mail of {user}");
    if before.driver != after.driver {
        found
            .blocker(
                subject,
                format!(
                    "is kept as {} on old, and as {} on new: mailboxes would be empty",
                    before.driver, after.driver
                ),
            )
            .hint("this migration moves Maildirs: `mail_location = maildir:~/Maildir` on new, as the guide has it");
        return;
    }
    if before.driver != "maildir" {
        found
            .blocker(subject, format!("is kept as {} on both sides, and this migration moves Maildirs", before.driver))
            .hint("convert it on old first (`dsync`, doveadm-sync(1)), or move it by other means");
        return;
    }
    if before.path != after.path {
        let text = format!(
            "is in {} on old, and new would look for it in {}: the files would be there, and mailboxes empty",
            before.path, after.path
        );
        found.blocker(subject, text).hint(format!(
            "on new, set mail_location (conf.d/10-mail.conf) and the home of user_query (dovecot-sql.conf.ext) as on old: `{}` and home `{}`",
            before.location, before.home
        ));
        return;
    }
    if before.options != after.options {
        let text = format!(
            "is laid out by `{}` on old, and by `{}` on new",
            before.options.join(":"),
            after.options.join(":")
        );
        found.blocker(subject, text).hint(format!("`mail_location = {}` on new, as on old", before.location));
        return;
    }
    let vmail = config.vmail.trim_end_matches('/');
    if !before.path.starts_with(&format!("{vmail}/")) {
        found
            .blocker(subject, format!("is in {}, and the plan copies {vmail}", before.path))
            .hint("set `vmail` here, and `path` and `vmail` of the other phases, to where the mail is");
        return;
    }
    found.ok(subject, format!("is looked for in {} on both sides", after.path));
}

/// A separator or a prefix that is another one: mail programs see other folders, though every file is there.
fn namespaces(old: &Dovecot, new: &Dovecot, found: &mut Findings) {
    let is_place = |name: &str| {
        let end = name.rsplit('/').next().unwrap_or_default();
        name.starts_with("namespace ") && ["separator", "prefix", "location"].contains(&end)
    };
    for (name, before) in old.all.iter().filter(|(name, _)| is_place(name)) {
        let after = new.all.get(name).map_or("", String::as_str);
        // Maildir++ separates by dots where nothing is set.
        let plain = |value: &str| {
            if value.is_empty() && name.ends_with("/separator") { ".".to_string() } else { value.to_string() }
        };
        if plain(before) != plain(after) {
            found
                .blocker(
                    format!("Dovecot setting {name}"),
                    format!("is `{before}` on old, and `{after}` on new: mail programs would find other folders than they know"),
                )
                .hint("set it on new as it is on old (conf.d/10-mail.conf, or where old has it)");
        }
    }
}
