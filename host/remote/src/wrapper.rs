//! The shell script around every command on a machine: it starts the command in its fixed surroundings, says so, and
//! reports its status in-band, because ssh cannot tell a lost link from a signal and eats status 127.
//! Invariant: each line of ours begins with 0x1e and a random token that is in no other byte of the streams: the
//! token is not known to what a command prints, and 0x1e is in no argument list, so that not even `ps` can print a line.
//! `frame.rs` reads the lines.

use std::io::{self, Read};

/// Where programs are looked up, for every command on every side.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `$1` the token, `$2` the home, the rest the command.
///
/// - Of the two `begin` lines the one on stderr has the pid; whatever a login shell printed before them is dropped.
/// - The signals are trapped, not ignored: the command gets them (a trap is reset in a child, an ignored signal is
///   not), and the wrapper outlives the command to tell how it ended.
/// - `end` goes to stderr first: if nobody reads stdout any more, that write fails.
/// - After `end` the streams may stay open (a daemon that was started holds them): nothing waits for that.
const SCRIPT: &str = r#"t=$1 h=$2
shift 2
PATH=@PATH@
f=
case $1 in
/*) [ -e "$1" ] && f=1 ;;
*) IFS=:; for d in $PATH; do [ -f "$d/$1" ] && [ -x "$d/$1" ] && f=1; done; unset IFS ;;
esac
if [ -z "$f" ]; then printf '\036rehome-%s missing\n' "$t" >&2; exit 127; fi
cd / && umask 022
trap : HUP INT PIPE TERM
printf '\036rehome-%s begin %s\n' "$t" "$$" >&2
printf '\036rehome-%s begin\n' "$t"
/usr/bin/env -i PATH="$PATH" LC_ALL=C HOME="$h" "$@"
s=$?
printf '\036rehome-%s end %s\n' "$t" "$s" >&2
printf '\036rehome-%s end\n' "$t" 2>/dev/null
exit 0
"#;

/// Ends the process group of a wrapper. `$1$2` its token (in two halves, so that this script does not find itself),
/// `$3` its pid, or `[0-9]*` where that is not known. Prints `gone`, `ended` or `stays`.
/// The token in `/proc/PID/cmdline` makes sure that a pid that was used again is left alone. Whether a member of the
/// group is left is read from proc_pid_stat(5): `kill -0` counts the dead that nobody has reaped yet.
pub const END_SCRIPT: &str = r#"g=
for f in $(grep -lsF -e "$1$2" /proc/$3/cmdline); do
  s=$(cat "${f%cmdline}stat" 2>/dev/null) || continue
  set -- ${s##*) }
  g=$3
  break
done
case $g in ''|0|1) echo gone; exit ;; esac
kill -s TERM -- "-$g" 2>/dev/null
i=0
while grep -qsE "\\) [^ZX] [0-9]+ $g " /proc/[0-9]*/stat; do
  i=$((i+1))
  [ $i -eq 20 ] && kill -s KILL -- "-$g" 2>/dev/null
  [ $i -gt 60 ] && { echo stays; exit; }
  sleep 0.1
done
echo ended
"#;

/// The wrapper's text.
pub(crate) fn script() -> String {
    SCRIPT.replace("@PATH@", PATH)
}

/// One command's token: 128 random bits, in hexadecimal.
#[derive(Clone, Debug)]
pub(crate) struct Token(String);

impl Token {
    /// A new one, from the kernel (random(4)).
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// It as a word of a shell script.
    pub(crate) fn word(&self) -> &str {
        &self.0
    }

    /// What every line of this command's wrapper starts with.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        format!("\x1erehome-{} ", self.0).into_bytes()
    }

    /// The whole argument list that runs `command` under its wrapper, as root by sudo if asked to.
    pub(crate) fn wrap(&self, command: &[Vec<u8>], home: &[u8], sudo: bool) -> Vec<Vec<u8>> {
        let mut argv: Vec<Vec<u8>> = Vec::with_capacity(command.len() + 9);
        if sudo {
            argv.extend(["/usr/bin/sudo", "-n", "--"].map(Vec::from));
        }
        argv.extend(["/bin/sh", "-c"].map(Vec::from));
        argv.push(script().into_bytes());
        argv.extend([b"rehome".to_vec(), self.0.clone().into_bytes(), home.to_vec()]);
        argv.extend_from_slice(command);
        argv
    }

    /// The command that ends this one; see [`END_SCRIPT`].
    pub(crate) fn end_command(&self, pid: Option<u32>) -> Vec<Vec<u8>> {
        let (first, second) = self.0.split_at(self.0.len() / 2);
        let pid = pid.map_or_else(|| "[0-9]*".to_owned(), |pid| pid.to_string());
        ["/bin/sh", "-c", END_SCRIPT, "rehome", first, second, &pid].map(Vec::from).to_vec()
    }
}

/// What a command line cannot carry, and why; `None` if all is well.
pub(crate) fn objection(argv: &[Vec<u8>]) -> Option<String> {
    let Some(program) = argv.first() else {
        return Some("a command without a program".into());
    };
    if let Some(at) = argv.iter().position(|word| word.contains(&0)) {
        return Some(format!("argument {at} holds a NUL byte, which no program can be given (execve(2))"));
    }
    let shown = crate::text::printable(program);
    if program.is_empty() {
        return Some("the program's name is empty".into());
    }
    if program[0] != b'/' && program.contains(&b'/') {
        return Some(format!("the program `{shown}` must be an absolute path or a bare name"));
    }
    if program.contains(&b'=') {
        return Some(format!("the program `{shown}` has a `=` in its name, which env(1) takes for a variable"));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::{Command, Output};

    use super::*;

    fn wrapped(token: &Token, command: &[&[u8]]) -> Output {
        let command: Vec<Vec<u8>> = command.iter().map(|word| word.to_vec()).collect();
        let argv = token.wrap(&command, b"/root", false);
        let argv: Vec<&OsStr> = argv.iter().map(|word| OsStr::from_bytes(word)).collect();
        Command::new(argv[0]).args(&argv[1..]).output().unwrap()
    }

    fn text(bytes: &[u8], token: &Token) -> String {
        String::from_utf8_lossy(bytes).replace(&token.0, "T")
    }

    #[test]
    fn lines_stand_around_the_output_and_tell_pid_and_status() {
        let token = Token::new().unwrap();
        let output = wrapped(&token, &[b"sh", b"-c", b"echo out; echo err >&2; exit 3"]);
        assert_eq!(text(&output.stdout, &token), "\x1erehome-T begin\nout\n\x1erehome-T end\n");
        let stderr = text(&output.stderr, &token);
        assert!(stderr.starts_with("\x1erehome-T begin "), "{stderr}");
        assert!(stderr.ends_with("\nerr\n\x1erehome-T end 3\n"), "{stderr}");
    }

    #[test]
    fn the_environment_is_fixed() {
        let token = Token::new().unwrap();
        let output = wrapped(&token, &[b"env"]);
        let expected = format!("\x1erehome-T begin\nPATH={PATH}\nLC_ALL=C\nHOME=/root\n\x1erehome-T end\n");
        assert_eq!(text(&output.stdout, &token), expected);
    }

    #[test]
    fn a_missing_program_is_told_from_a_program_that_ends_with_127() {
        let token = Token::new().unwrap();
        let missing = "\x1erehome-T missing\n";
        assert_eq!(text(&wrapped(&token, &[b"no-such-program"]).stderr, &token), missing);
        assert_eq!(text(&wrapped(&token, &[b"/no/such/program"]).stderr, &token), missing);
        let output = wrapped(&token, &[b"sh", b"-c", b"exit 127"]);
        assert!(text(&output.stderr, &token).ends_with("end 127\n"));
    }

    #[test]
    fn a_builtin_of_the_shell_is_not_taken_for_the_program() {
        let token = Token::new().unwrap();
        let output = wrapped(&token, &[b"echo", b"a\\nb"]);
        assert_eq!(text(&output.stdout, &token), "\x1erehome-T begin\na\\nb\n\x1erehome-T end\n");
        assert_eq!(text(&wrapped(&token, &[b"exit"]).stderr, &token), "\x1erehome-T missing\n");
    }

    #[test]
    fn a_signal_is_reported_as_a_shell_does() {
        let token = Token::new().unwrap();
        let output = wrapped(&token, &[b"sh", b"-c", b"kill -9 $$"]);
        assert!(text(&output.stderr, &token).ends_with("end 137\n"));
    }

    #[test]
    fn no_argument_list_holds_a_line_of_ours() {
        let token = Token::new().unwrap();
        let output = wrapped(&token, &[b"sh", b"-c", b"cat /proc/$PPID/cmdline"]);
        let start = token.prefix();
        let found = output.stdout.windows(start.len()).filter(|window| *window == start).count();
        assert_eq!(found, 2, "only begin and end, although the command printed the wrapper's own argument list");
    }

    #[test]
    fn what_no_command_line_can_carry_is_refused_by_name() {
        let argv = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
        assert!(objection(&argv(&[b"true", b"a\0b"])).unwrap().contains("argument 1 holds a NUL"));
        assert!(objection(&argv(&[])).is_some());
        assert!(objection(&argv(&[b""])).is_some());
        assert!(objection(&argv(&[b"bin/true"])).unwrap().contains("`bin/true`"));
        assert!(objection(&argv(&[b"A=b"])).is_some());
        assert!(objection(&argv(&[b"true", b"-o", b"", b"\xff=\n"])).is_none());
    }
}
