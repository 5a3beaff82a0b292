//! The script that installs a gate on its side, and the one that takes it away.
//! Invariant: it holds the whole program and asks for nothing; what varies stands in single quotes of sh.

use std::collections::BTreeSet;

use crate::{Gate, PROGRAM, STATE};

/// Who logs in to the databases that are read there, as the plan has it.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// the database, and the user: those of MariaDB and MySQL
    pub mysql: BTreeSet<(String, String)>,
}

const COMMON: &str = include_str!("install.sh");

/// A script for root's sh on the side. `key` is a public key as in `id_ed25519.pub`, `user` who logs in with it.
///
/// # Errors
/// `key` is no public key, or `user` no name of a user: why, in words that follow the thing's name.
pub fn install(gate: &Gate, key: &str, user: &str, accounts: &Accounts) -> Result<String, String> {
    let key = public_key(key)?;
    let mut script = common(&key, user)?;
    let Gate { program, digest } = gate;
    let end = format!("END-OF-REHOME-GATE-{}", &digest[..16]);
    script.push_str(&format!("cat > \"$program.new\" <<'{end}'\n{program}{end}\n"));
    script.push_str(
        "perl -c \"$program.new\" 2>/dev/null || fail \"perl does not understand the program\"\n\
         chmod 0755 \"$program.new\"\n\
         mv -f \"$program.new\" \"$program\"\n\
         case $(ssh -V 2>&1) in\n\
         *OpenSSH_[0-6].*|*OpenSSH_7.[01]*) only=no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc ;;\n\
         *) only=restrict ;;\n\
         esac\n",
    );
    let become_root = if user == "root" { "" } else { "/usr/bin/sudo -n -- " };
    if user != "root" {
        script.push_str(
            "[ -x /usr/bin/sudo ] || fail \"there is no sudo, and $user is not root\"\n\
             printf '%s ALL=(root) NOPASSWD: %s\\n' \"$user\" \"$program\" > /etc/sudoers.d/rehome-gate.new\n\
             chmod 0440 /etc/sudoers.d/rehome-gate.new\n\
             visudo -cqf /etc/sudoers.d/rehome-gate.new || { rm -f /etc/sudoers.d/rehome-gate.new; fail \"sudo does not take the rule\"; }\n\
             mv -f /etc/sudoers.d/rehome-gate.new /etc/sudoers.d/rehome-gate\n",
        );
    }
    script.push_str(&format!(
        "[ -d \"$home/.ssh\" ] || {{ mkdir -m 0700 \"$home/.ssh\"; chown \"$user:\" \"$home/.ssh\"; }}\n\
         {{ without_ours; printf '%s,command=\"exec {become_root}%s \\\\\"$SSH_ORIGINAL_COMMAND\\\\\"\" %s\\n' \"$only\" \"$program\" \"$key\"; }} > \"$keys.rehome\"\n\
         replace_keys\n\
         say \"$program installed, and its line in $keys\"\n"
    ));
    for (database, account) in &accounts.mysql {
        script.push_str(&format!(
            "say {}\n",
            quoted(&format!(
                "`{database}` is read by `{account}`, who must log in with a password and may read alone: \
                 CREATE USER '{account}'@'localhost' IDENTIFIED BY '…'; \
                 GRANT SELECT, SHOW VIEW ON `{database}`.* TO '{account}'@'localhost';"
            ))
        ));
    }
    Ok(script)
}

/// A script that takes away what [`install`] made, but for what the log holds.
///
/// # Errors
/// `user` is no name of a user.
pub fn uninstall(user: &str) -> Result<String, String> {
    let mut script = common("", user)?;
    script.push_str(
        "if [ -e \"$keys\" ]; then without_ours > \"$keys.rehome\"; replace_keys; fi\n\
         rm -rf \"$program\" \"$state\" /etc/sudoers.d/rehome-gate\n\
         say \"$program, its line in $keys and $state are gone\"\n",
    );
    Ok(script)
}

fn common(key: &str, user: &str) -> Result<String, String> {
    let is_name = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if user.is_empty() || user.starts_with('-') || !is_name {
        return Err(format!("the user `{user}` has a name that is none: letters, digits, `_`, `.` and `-`"));
    }
    let pieces = [("@PROGRAM@", PROGRAM), ("@STATE@", STATE), ("@USER@", user), ("@KEY@", key)];
    Ok(pieces.iter().fold(COMMON.to_owned(), |text, (place, piece)| text.replacen(place, piece, 1)))
}

/// Type, key and comment on one line, with nothing in it that could mean more in authorized_keys or between quotes.
fn public_key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let mut words = text.split(' ');
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let is_base64 = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\$`".contains(&b));
    let is_key = kinds.iter().any(|start| kind.starts_with(start));
    if is_key && !text.contains('\n') && plain(kind) && key.len() > 40 && is_base64(key) {
        let comment: Vec<&str> = words.filter(|word| plain(word)).collect();
        return Ok([&[kind, key], comment.as_slice()].concat().join(" "));
    }
    Err("the key is none: give the file of a public key, one line like that of `~/.ssh/id_ed25519.pub`".to_owned())
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJkzr5sLwrvTlqGb4pQp0jx2aDlwTj6N7m4jVb2m3xyz rehome@new";

    #[test]
    fn a_key_is_one_public_key_and_nothing_beside() {
        assert_eq!(public_key(&format!("{KEY}\n")).unwrap(), KEY);
        for wrong in [
            "",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "ssh-ed25519 short",
            &format!("command=\"x\" {KEY}"),
            &format!("{KEY}\n{KEY}"),
            &KEY.replace(" AAAA", " '; reboot; '"),
        ] {
            assert!(public_key(wrong).is_err(), "{wrong}");
        }
        assert_eq!(public_key(&format!("{KEY} '$(id)'")).unwrap(), KEY, "a comment keeps only what is plain");
    }

    #[test]
    fn a_user_is_a_name() {
        for wrong in ["", "-x", "a b", "x;y", "$(id)"] {
            assert!(uninstall(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test, and no side")]
    fn both_scripts_are_scripts() {
        let gate = Gate { program: "print 1;\n".into(), digest: "0".repeat(64) };
        let accounts = Accounts { mysql: [("mailserver".to_owned(), "it's".to_owned())].into() };
        for (user, with_sudo) in [("root", false), ("admin", true)] {
            let script = install(&gate, KEY, user, &accounts).unwrap();
            assert_eq!(script.contains("sudoers"), with_sudo);
            for script in [script, uninstall(user).unwrap()] {
                let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
                assert!(checked.status.success(), "{}\n{script}", String::from_utf8_lossy(&checked.stderr));
            }
        }
    }
}
