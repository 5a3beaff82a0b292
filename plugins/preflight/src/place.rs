//! A user's mail location, resolved: driver, path, options. Pure; the variables are those of Dovecot 2.3 (`%d`, `%n`, `%u`,
//! `%h`, `%Ld`) and of 2.4 (`%{user | domain}`, `%{home}`).

/// Where a user's mail is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) driver: String,
    /// absolute where home is known
    pub(crate) path: String,
    /// `LAYOUT=fs`, `INBOX=…`; not where indexes lie, which are made anew
    pub(crate) options: Vec<String>,
    pub(crate) home: String,
    /// as it was written
    pub(crate) location: String,
}

impl Place {
    /// From what `doveadm user` prints: a field and its value a line. Dovecot 2.4 names driver and path apart.
    pub(crate) fn told(lines: &[String], user: &str) -> Option<Place> {
        let field = |name: &str| {
            let words = lines.iter().map(|line| line.split_once(char::is_whitespace).unwrap_or((line, "")));
            words.rev().find(|(field, _)| *field == name).map(|(_, value)| value.trim().to_string())
        };
        let home = field("home")?;
        let location = field("mail").or_else(|| Some(format!("{}:{}", field("mail_driver")?, field("mail_path")?)))?;
        Some(Place::made(&home, &location, user))
    }

    /// From a home and a mail_location with variables in them.
    pub(crate) fn made(home: &str, location: &str, user: &str) -> Place {
        let home = expand(home, user, "");
        let (driver, rest) = location.split_once(':').unwrap_or((location, ""));
        let mut parts = rest.split(':');
        let path = expand(parts.next().unwrap_or_default(), user, &home);
        let path = match path.strip_prefix('~') {
            Some(below) => format!("{home}{below}"),
            None if path.is_empty() || path.starts_with('/') => path,
            None => format!("{home}/{path}"),
        };
        // Indexes and control files have folders of their own; the UID lists in CONTROL must come along, so that one counts.
        let options =
            parts.filter(|option| !option.starts_with("INDEX")).map(|option| expand(option, user, &home)).collect();
        let path = path.trim_end_matches('/').to_string();
        Place {
            driver: driver.trim().to_string(),
            path,
            options,
            home: home.trim_end_matches('/').to_string(),
            location: location.into(),
        }
    }
}

fn expand(text: &str, user: &str, home: &str) -> String {
    let (name, domain) = user.split_once('@').unwrap_or((user, ""));
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((inside, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            let bare: String = inside.chars().filter(|c| !c.is_whitespace()).collect();
            match bare.split('|').take(2).collect::<Vec<_>>()[..] {
                ["user", "domain"] | ["domain"] => out.push_str(domain),
                ["user", "username"] | ["username"] => out.push_str(name),
                ["user", ..] => out.push_str(user),
                ["home", ..] => out.push_str(home),
                _ => out.push_str(&format!("%{{{inside}}}")),
            }
            rest = after;
            continue;
        }
        // Modifiers stand before the letter: `%Ld` is the domain in lower case.
        let lower = rest.starts_with('L');
        rest = rest.strip_prefix('L').unwrap_or(rest);
        let value = match rest.chars().next() {
            Some('d') => domain.to_string(),
            Some('n') => name.to_string(),
            Some('u') => user.to_string(),
            Some('h') => home.to_string(),
            _ => {
                out.push('%');
                continue;
            }
        };
        out.push_str(&if lower { value.to_lowercase() } else { value });
        rest = &rest[1..];
    }
    out.push_str(rest);
    out
}

/// The user_query of a file's lines, put together where it goes on over several.
pub(crate) fn user_query(lines: &[String]) -> Option<String> {
    let mut query: Option<String> = None;
    for line in lines {
        match line.split_once('=') {
            Some((key, value)) if key.trim() == "user_query" => query = Some(value.trim().to_string()),
            Some((key, _))
                if ["password_query", "iterate_query", "driver", "default_pass_scheme"].contains(&key.trim()) =>
            {
                if query.is_some() {
                    break;
                }
            }
            _ => {
                if let Some(query) = query.as_mut() {
                    query.push(' ');
                    query.push_str(line.trim());
                }
            }
        }
    }
    query.map(|query| query.replace('\\', " "))
}

/// `'/var/vmail/%d/%n' AS home`: the literal that stands for a field.
pub(crate) fn literal(query: &str, field: &str) -> Option<String> {
    let parts: Vec<&str> = query.split('\'').collect();
    // Every second part stands between quotes; what follows it says what it is called.
    parts.windows(2).enumerate().filter(|(at, _)| at % 2 == 1).find_map(|(_, pair)| {
        let mut words = pair[1].split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
        let is_as = words.next()?.eq_ignore_ascii_case("as");
        (is_as && words.next()?.eq_ignore_ascii_case(field)).then(|| pair[0].to_string())
    })
}

pub(crate) fn is_same_query(one: &str, other: &str) -> bool {
    let words = |query: &str| query.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOHN: &str = "john@example.org";

    #[test]
    fn the_guides_two_ways_to_write_it_are_the_same_place() {
        let jessie = Place::made("/var/vmail/%d/%n", "maildir:~/Maildir", JOHN);
        let wheezy = Place::made("/var/vmail/%d/%n", "maildir:/var/vmail/%d/%n/Maildir", JOHN);
        let trixie = Place::made("/var/vmail/%{user|domain}/%{user | username}", "maildir:%{home}/Maildir", JOHN);
        assert_eq!(jessie.path, "/var/vmail/example.org/john/Maildir");
        assert_eq!((&wheezy.path, &trixie.path), (&jessie.path, &jessie.path));
    }

    #[test]
    fn what_doveadm_says_is_read() {
        let lines: Vec<String> = [
            "field\tvalue",
            "uid\t5000",
            "home\t/var/vmail/example.org/john",
            "mail\tmaildir:~/Maildir:LAYOUT=fs:INDEX=/x",
        ]
        .map(String::from)
        .to_vec();
        let place = Place::told(&lines, JOHN).unwrap();
        assert_eq!(
            (place.path.as_str(), place.options.join(":").as_str()),
            ("/var/vmail/example.org/john/Maildir", "LAYOUT=fs")
        );
        assert_eq!(Place::told(&["field\tvalue".into()], JOHN), None);
    }

    #[test]
    fn a_home_is_read_from_a_query_of_one_line_or_of_several() {
        let lines: Vec<String> = [
            "driver = mysql",
            "user_query = SELECT email as user, \\",
            "SELECT '/var/vmail/%d/%n' AS home, 5000 AS uid \\",
            "FROM virtual_users WHERE email='%u'",
            "password_query = SELECT 'x' AS home",
        ]
        .map(String::from)
        .to_vec();
        let query = user_query(&lines).unwrap();
        assert_eq!(literal(&query, "home").as_deref(), Some("/var/vmail/%d/%n"));
        assert_eq!(literal(&query, "mail"), None);
        assert_eq!(literal("SELECT concat('/x/', '%n') as home", "home"), None);
        assert!(is_same_query("SELECT  a FROM b", "select a\nfrom B"));
    }
}
