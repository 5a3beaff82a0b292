//! Quoting for the one shell that stands between here and a remote command: the login shell sshd hands a string to.
//! Invariant: any bytes but NUL arrive as they were (POSIX XCU 2.2.2: nothing is special within single quotes).
//! `machine.rs` checks at connect, with [`CANARY`], that the shell over there keeps to that.

/// Everything a shell other than POSIX's would trip over: fish's backslash, csh's `!` and newline, bytes that are
/// no UTF-8, escapes. Sent through the quoting once at connect, and expected back unchanged.
pub(crate) const CANARY: &[u8] = b"\\ \\' \\\\ ' \" `id` $HOME ${x} !! * ~ \n \t \x1b[0m \xff\xfe \xc3\x28 end";

/// Appends `word` so that a POSIX shell reads back exactly its bytes.
pub(crate) fn quote_into(word: &[u8], line: &mut Vec<u8>) {
    line.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => line.extend_from_slice(b"'\\''"),
            byte => line.push(byte),
        }
    }
    line.push(b'\'');
}

/// A command line of these words.
pub(crate) fn line<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        quote_into(word, &mut line);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    /// What a shell makes of the quoted words: each followed by a NUL, as printed by `printf '%s\0'`.
    fn through(shell: &str, words: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut script = b"printf '%s\\0' ".to_vec();
        script.extend(line(words.iter().map(Vec::as_slice)));
        let output = std::process::Command::new(shell).arg("-c").arg(OsStr::from_bytes(&script)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut back: Vec<Vec<u8>> = output.stdout.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
        back.pop();
        back
    }

    fn shells() -> Vec<&'static str> {
        ["/bin/sh", "/bin/bash", "/bin/dash"].into_iter().filter(|s| std::path::Path::new(s).exists()).collect()
    }

    #[test]
    fn awkward_words_come_back_byte_for_byte() {
        let words: Vec<Vec<u8>> = [
            b"" as &[u8],
            b"'",
            b"''''",
            b"a'b",
            b"-n",
            b"--",
            b"a\nb\n",
            b"!! !x",
            b"\x1b[31m",
            b"\xff\xfe\x80",
            b"$(id) `id` ${HOME} $'x'",
            b"* ? [a] {a,b} ~root",
            b"a\\b\\\\'\\",
            b"# ; & | < >",
            CANARY,
        ]
        .iter()
        .map(|w| w.to_vec())
        .collect();
        for shell in shells() {
            assert_eq!(through(shell, &words), words, "{shell}");
        }
    }

    #[test]
    fn every_byte_but_nul_comes_back() {
        let words: Vec<Vec<u8>> = (1..=255u8).map(|byte| vec![byte]).collect();
        for shell in shells() {
            assert_eq!(through(shell, &words), words, "{shell}");
        }
    }

    #[test]
    fn a_word_of_100_kilobytes_comes_back() {
        let word: Vec<u8> = (0..100_000u32).map(|i| if i % 97 == 0 { b'\n' } else { 33 + (i % 6) as u8 }).collect();
        assert_eq!(through("/bin/sh", std::slice::from_ref(&word)), [word]);
    }

    /// Random words (xorshift64, fixed seeds, so that a failure can be seen again), weighted towards what shells read.
    #[test]
    fn random_bytes_come_back() {
        const SPECIAL: &[u8] = b"'\"\\$`!*?[]{}()<>|&;#~= \n\t\r\x1b-";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20 {
            let words: Vec<Vec<u8>> = (0..50)
                .map(|_| {
                    let length = next() % 40;
                    (0..length)
                        .map(|_| match next() % 3 {
                            0 => (next() % 255) as u8 + 1,
                            _ => SPECIAL[(next() % SPECIAL.len() as u64) as usize],
                        })
                        .collect()
                })
                .collect();
            for shell in shells() {
                assert_eq!(through(shell, &words), words, "{shell}");
            }
        }
    }
}
