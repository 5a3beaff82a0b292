//! Our pass, in a process of its own as `rehome apply` is one: it connects, opens both trees, reads what former passes know,
//! says "ready", and does one pass when it is told to. What it needs memory and CPU for is then nobody else's.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rehome_remote::{Options, Side, Target};
use rehome_sync::{Limit, Pattern, Strategy, SyncOptions, Tree, sync};

use crate::leaves::Leaves;
use crate::peers::LEFT_OUT;
use crate::way::Way;

/// The first word of this role: then come the source, the target, the file for the state, the ssh's folder.
pub const ROLE: &str = "--ours";

/// A process that waits to be told.
pub struct Ours {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Ours {
    /// Connected, with both trees open.
    pub fn ready(way: &Way, source: &Path, target: &Path, state: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = way.group.command(program);
        command.arg(ROLE).args([source, target, state, &way.folder()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program again");
        let (stdin, stdout) = (child.stdin.take().expect("its input"), child.stdout.take().expect("its output"));
        let mut ours = Self { child, stdin, stdout: BufReader::new(stdout) };
        ours.hear("ready\n");
        ours
    }

    /// One pass, from the word to the answer.
    pub fn pass(&mut self) {
        self.stdin.write_all(b"go\n").expect("ours listens");
        self.hear("done\n");
    }

    /// Lets it write down what it knows, and end.
    pub fn end(mut self) {
        drop(self.stdin);
        assert!(self.child.wait().expect("ours").success(), "our pass failed");
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("ours speaks");
        assert_eq!(line, word, "our pass failed; what it said is on standard error");
    }
}

fn options() -> SyncOptions {
    SyncOptions {
        strategy: Strategy::Maildir,
        without: LEFT_OUT.iter().map(|glob| Pattern::new(glob).expect("a pattern")).collect(),
        delete: true,
        delete_limit: Limit::None,
        ..SyncOptions::default()
    }
}

/// The role.
pub fn serve(words: &[String]) {
    let [source, target, state, ssh] = words else { panic!("{ROLE} needs four words, not {words:?}") };
    let [source, target, state, ssh] = [source, target, state, ssh].map(Path::new);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let reach = Options {
            control_dir: ssh.join("c"),
            ssh_config: Some(ssh.join("ssh_config")),
            known_hosts: Some(ssh.join("known_hosts")),
            ..Options::default()
        };
        let there = Target::Ssh { destination: "old".into() };
        let side = Side::connect(&there, &reach).await.unwrap_or_else(|error| panic!("{error}"));
        let here = Side::connect(&Target::Local, &reach).await.unwrap_or_else(|error| panic!("{error}"));
        let new = Tree::open(&here, target).await.unwrap_or_else(|error| panic!("{error}"));
        let old = Tree::open(&side, source).await.unwrap_or_else(|error| panic!("{error}"));
        // As the passes before leave them.
        for tree in [&old, &new] {
            tree.ready().await.unwrap_or_else(|error| panic!("{error}"));
        }
        let leaves = Leaves::read(state);
        println!("ready");
        while let Some(Ok(_)) = std::io::stdin().lines().next() {
            sync(&old, &new, &options(), &leaves, &()).await.unwrap_or_else(|error| panic!("{error}"));
            println!("done");
        }
        leaves.write(state);
    });
}
