//! The ssh configuration of a connection: rehome's few settings first, then the operator's own.
//! Invariant: ssh takes the first value it finds (ssh_config(5)), so nothing in the operator's files can make ssh ask a
//! question or accept an unknown key; and since `-F` is handed on to the ssh of a ProxyJump, this holds for every hop.
//! `master.rs` starts ssh with it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::Options;

/// The file's text, or what is wrong with a path of the options.
pub(crate) fn text(options: &Options) -> Result<Vec<u8>, String> {
    let whole_seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let mut text = format!(
        "Host *\n\
         BatchMode yes\n\
         StrictHostKeyChecking yes\n\
         UpdateHostKeys no\n\
         PermitLocalCommand no\n\
         LogLevel INFO\n\
         ConnectTimeout {}\n\
         ServerAliveInterval {}\n\
         ServerAliveCountMax 2\n",
        // A little less than our own deadline, so that ssh can say which host it was that did not answer.
        whole_seconds(options.connect_timeout * 3 / 4).max(1),
        whole_seconds(options.keep_alive).max(1),
    )
    .into_bytes();
    if let Some(path) = &options.known_hosts {
        text.extend(b"UserKnownHostsFile ");
        // `%` starts a token there, and `${` a variable (which has no escape).
        text.extend(quoted(path, true)?);
        text.extend(b"\nGlobalKnownHostsFile /dev/null\n");
    }
    match &options.ssh_config {
        Some(path) => {
            text.extend(b"Include ");
            text.extend(quoted(path, false)?);
            text.push(b'\n');
        }
        // With -F ssh reads neither of its usual files. `~` is the home in passwd(5), as ever with ssh.
        None => text.extend(b"Include ~/.ssh/config\nHost *\nInclude /etc/ssh/ssh_config\n"),
    }
    // Unless the operator's files say something else.
    if has_aes() {
        text.extend(b"Host *\nCiphers ");
        text.extend(QUICK_CIPHERS.join(",").as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// What ssh offers by default, with what a processor does in hardware first: 216 instead of 131 MB/s here.
pub const QUICK_CIPHERS: [&str; 6] = [
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
];

/// Whether this machine's processor has instructions for AES.
fn has_aes() -> bool {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // `flags` on Intel's, `Features` on ARM's.
    let mut features = about.lines().filter(|line| line.starts_with("flags") || line.starts_with("Features"));
    features.any(|line| line.split_whitespace().any(|word| word == "aes"))
}

/// A path as one argument of a configuration line.
fn quoted(path: &Path, tokens: bool) -> Result<Vec<u8>, String> {
    let bytes = path.as_os_str().as_bytes();
    let shown = crate::text::printable_path(path);
    if !path.is_absolute() {
        return Err(format!("`{shown}` must be an absolute path"));
    }
    if let Some(bad) = bytes.iter().find(|b| matches!(b, b'"' | b'\\' | b'$' | b'*' | b'?' | b'[' | 0..=31 | 127)) {
        return Err(format!("`{shown}` holds a byte 0x{bad:02x}, which an ssh configuration cannot name a file with"));
    }
    std::fs::metadata(path).map_err(|error| format!("`{shown}`: {error}"))?;
    let mut out = vec![b'"'];
    for &byte in bytes {
        out.extend_from_slice(if tokens && byte == b'%' { b"%%" } else { std::slice::from_ref(&byte) });
    }
    out.push(b'"');
    Ok(out)
}

/// What is wrong with a destination; `None` if ssh can be given it.
pub(crate) fn objection(destination: &str) -> Option<&'static str> {
    if destination.is_empty() {
        Some("the destination is empty; write host or user@host")
    } else if destination.starts_with('-') {
        Some("a destination with a leading `-` would be an option of ssh; write host or user@host")
    } else if destination.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Some("the destination holds a space or a control character; write host or user@host")
    } else {
        None
    }
}

/// A path for `-S`, where `%` starts a token.
pub(crate) fn control_path(path: &Path) -> std::ffi::OsString {
    let bytes = path.as_os_str().as_bytes();
    let escaped: Vec<u8> = bytes.iter().flat_map(|&b| if b == b'%' { vec![b, b] } else { vec![b] }).collect();
    OsStr::from_bytes(&escaped).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_ssh_would_misread_are_refused() {
        for bad in ["", "-oProxyCommand=touch /tmp/x", "-", "a b", "a\nb", "a\x1b", "\ta"] {
            assert!(objection(bad).is_some(), "{bad:?}");
        }
        for good in ["old", "root@old.example.org", "ssh://root@[::1]:2222", "root@fe80::1%eth0"] {
            assert_eq!(objection(good), None, "{good}");
        }
    }

    #[test]
    fn the_operators_files_come_after_what_must_hold() {
        let text = String::from_utf8(text(&Options::default()).unwrap()).unwrap();
        let strict = text.find("StrictHostKeyChecking yes").unwrap();
        assert!(strict < text.find("Include ~/.ssh/config").unwrap());
        assert!(text.contains("ServerAliveInterval 3\nServerAliveCountMax 2\n"));
    }

    #[test]
    fn the_operators_ciphers_come_before_the_quick_ones() {
        let text = String::from_utf8(text(&Options::default()).unwrap()).unwrap();
        let operators = text.find("Include /etc/ssh/ssh_config").unwrap();
        assert!(text.find("\nCiphers ").is_none_or(|ciphers| operators < ciphers));
    }

    #[test]
    fn a_path_ssh_cannot_read_from_a_configuration_is_named() {
        let known = |path: &str| text(&Options { known_hosts: Some(path.into()), ..Options::default() });
        assert!(known("relative").unwrap_err().contains("`relative` must be an absolute path"));
        assert!(known("/tmp/a\"b").unwrap_err().contains("0x22"));
        assert!(known("/no/such/file").unwrap_err().contains("`/no/such/file`: No such file"));
    }
}
