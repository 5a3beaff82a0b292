//! Values of settings, to compare and to show: lists by their elements, host names of either side as the same name, secrets
//! not at all. Everything here is text from a side, and only ever shown.

/// Longer values are cut: a finding is read by a person.
const LONGEST: usize = 200;

/// Words in a setting's name after which its value is nobody's business.
const SECRET: [&str; 6] = ["pass", "_pw", "secret", "token", "api_key", "apikey"];

/// Whether a value may not be shown: passwords of maps in main.cf, of LDAP, of relays.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_file = ["hash:", "lmdb:", "btree:", "cdb:", "texthash:", "mysql:", "proxy:", "ldap:", "</"];
    let in_file = value.is_empty() || is_file.iter().any(|kind| value.starts_with(kind));
    SECRET.iter().any(|word| name.contains(word)) && !in_file
}

/// The value as a finding shows it: "`reject`", "nothing", "a value that is not shown".
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name, value) {
        return "a value that is not shown".into();
    }
    if value.is_empty() {
        return "nothing".into();
    }
    match value.char_indices().nth(LONGEST) {
        None => format!("`{value}`"),
        Some((at, _)) => format!("`{}…`", &value[..at]),
    }
}

/// The elements of a list: Postfix separates by commas and white space, and keeps what stands in braces together.
pub(crate) fn elements(value: &str) -> Vec<String> {
    let (mut all, mut current, mut depth) = (Vec::new(), String::new(), 0_u32);
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (c == ',' || c.is_whitespace()) {
            if !current.is_empty() {
                all.push(std::mem::take(&mut current));
            }
        } else {
            current.push(c);
        }
    }
    if !current.is_empty() {
        all.push(current);
    }
    all
}

/// The same list, however it is separated.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    elements(one) == elements(other)
}

/// What the first list has and the second has not, in order.
pub(crate) fn only_in(one: &str, other: &str) -> Vec<String> {
    let other = elements(other);
    elements(one).into_iter().filter(|element| !other.contains(element)).collect()
}

/// The host's own names as `$myhostname` and `$mydomain`: a value that names its host is the same on both.
pub(crate) fn neutral(value: &str, host: &str, domain: &str) -> String {
    let mut text = value.to_string();
    for (name, stands_for) in [(host, "$myhostname"), (domain, "$mydomain")] {
        if name.contains('.') {
            text = text.replace(name, stands_for);
        }
    }
    text.replace("${myhostname}", "$myhostname").replace("${mydomain}", "$mydomain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_same_however_they_are_separated() {
        assert!(is_same("a, b  c", "a b,c"));
        assert!(!is_same("a, b", "b, a"), "the order of restrictions matters");
        assert_eq!(elements("permit { a, b } inline:{ {x = y} },z"), ["permit", "{ a, b }", "inline:{ {x = y} }", "z"]);
        assert_eq!(only_in("a, b, c", "b"), ["a", "c"]);
    }

    #[test]
    fn secrets_are_not_shown_and_names_of_files_with_secrets_are() {
        for (name, value) in [
            ("smtp_sasl_password_maps", "static:relay:hunter2"),
            ("ldapusers_bind_pw", "hunter2"),
            ("smtp_sasl_password_maps", "inline:{ {relay = me:hunter2} }"),
        ] {
            assert!(!shown(name, value).contains("hunter2"), "{name}");
        }
        assert_eq!(shown("smtp_sasl_password_maps", "hash:/etc/postfix/sasl"), "`hash:/etc/postfix/sasl`");
        assert_eq!(shown("mail_plugins", "quota"), "`quota`");
    }

    #[test]
    fn a_hosts_own_names_are_no_difference() {
        let old = neutral("$myhostname, old.example.org, example.org", "old.example.org", "example.org");
        let new = neutral("$myhostname, new.example.org, example.org", "new.example.org", "example.org");
        assert_eq!(old, new);
        assert_eq!(neutral("localhost", "vm", "localdomain"), "localhost");
    }
}
