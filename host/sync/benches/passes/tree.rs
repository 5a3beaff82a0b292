//! Mail to copy: accounts with mailboxes, small messages and a few large ones, and what happens to it.
//! The same seed makes the same tree; what changes afterwards goes on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const ACCOUNTS: u64 = 110;
const DOMAINS: u64 = 4;
/// Mailboxes of an account, each with `cur`, `new` and `tmp`: 2,200 folders in all.
const MAILBOXES: u64 = 5;

/// The tree that is copied.
pub struct Mail {
    pub root: PathBuf,
    live: Arc<Live>,
}

struct Live {
    /// every message, wherever it is now
    messages: Mutex<Vec<PathBuf>>,
    /// what messages are cut from
    text: Vec<u8>,
    random: AtomicU64,
    counter: AtomicU64,
}

impl Mail {
    pub fn make(root: &Path, messages: u64) -> Self {
        let mut live = Live {
            messages: Mutex::default(),
            text: Vec::new(),
            random: AtomicU64::new(0x9e37_79b9_7f4a_7c15),
            counter: AtomicU64::new(0),
        };
        live.text = live.words(1 << 20);
        for account in 0..ACCOUNTS {
            for mailbox in 0..MAILBOXES {
                let folder = mailbox_folder(root, account, mailbox);
                for leaf in ["cur", "new", "tmp"] {
                    fs::create_dir_all(folder.join(leaf)).expect("a mailbox");
                }
                fs::write(folder.join("dovecot-uidlist"), format!("3 V1 N1 G{account}.{mailbox}\n")).expect("a file");
                fs::write(folder.join("dovecot.index"), vec![0; 500]).expect("a file");
            }
        }
        let mail = Self { root: root.to_path_buf(), live: Arc::new(live) };
        for at in 0..messages {
            let (account, mailbox) = (at % ACCOUNTS, at / ACCOUNTS % MAILBOXES);
            mail.live.write(&mailbox_folder(root, account, mailbox).join("cur"), ":2,S");
        }
        // What lies there for long is what servers have: nothing is racy any more.
        std::thread::sleep(Duration::from_millis(2200));
        mail
    }

    /// New messages, other flags, messages gone: shares of all.
    pub fn churn(&self, new: f64, flags: f64, gone: f64) {
        let count = self.live.messages.lock().expect("nobody panicked").len() as f64;
        (0..(count * new) as u64).for_each(|_| self.live.deliver(&self.root));
        (0..(count * flags) as u64).for_each(|_| self.live.flag());
        (0..(count * gone) as u64).for_each(|_| self.live.expunge());
    }

    /// So many mails and other flags a second, until it is stopped.
    pub fn arriving(&self, mails: f64, flags: f64) -> Arriving {
        let (live, root, stop) = (self.live.clone(), self.root.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let (mut delivered, mut flagged) = (0.0, 0.0);
            while !stopped.load(Ordering::Acquire) {
                let passed = begun.elapsed().as_secs_f64();
                while delivered < passed * mails {
                    live.deliver(&root);
                    delivered += 1.0;
                }
                while flagged < passed * flags {
                    live.flag();
                    flagged += 1.0;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Arriving { stop, thread }
    }
}

/// Mail that keeps arriving.
pub struct Arriving {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Arriving {
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the deliveries");
    }
}

fn mailbox_folder(root: &Path, account: u64, mailbox: u64) -> PathBuf {
    let home = root.join(format!("example{}.org/user{account}/Maildir", account % DOMAINS));
    if mailbox == 0 { home } else { home.join(format!(".Folder {mailbox}")) }
}

impl Live {
    /// xorshift64*
    fn next(&self) -> u64 {
        let mut value = self.random.load(Ordering::Relaxed);
        value ^= value >> 12;
        value ^= value << 25;
        value ^= value >> 27;
        self.random.store(value, Ordering::Relaxed);
        value.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Words by chance: a compressor finds in them what it finds in letters, not one long line of x.
    fn words(&self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            let letters = 2 + self.next() % 9;
            text.extend(
                (0..letters).map(|_| b"etaoinshrdlucmfwypvbgkqjxz"[(self.next() % 26).min(self.next() % 26) as usize]),
            );
            text.push(if self.next().is_multiple_of(11) { b'\n' } else { b' ' });
        }
        text
    }

    fn write(&self, leaf: &Path, flags: &str) {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        // Half of all mail is below 4 KB, one in fifty is large.
        let size = match self.next() % 50 {
            0 => 60_000,
            1..25 => 6_000,
            _ => 2_500,
        } + self.next() % 1000;
        let name = format!("{}.M{counter}P1.host,S={size}{flags}", 1_600_000_000 + counter);
        let mut content = format!("Subject: mail {counter}\n\n").into_bytes();
        let rest = usize::try_from(size).expect("a small number").saturating_sub(content.len());
        let at = usize::try_from(self.next()).expect("64 bits") % (self.text.len() - rest);
        content.extend_from_slice(&self.text[at..at + rest]);
        let path = leaf.join(name);
        fs::write(&path, content).expect("a message");
        self.messages.lock().expect("nobody panicked").push(path);
    }

    fn deliver(&self, root: &Path) {
        let folder = mailbox_folder(root, self.next() % ACCOUNTS, self.next() % MAILBOXES);
        self.write(&folder.join("new"), "");
    }

    fn flag(&self) {
        let mut messages = self.messages.lock().expect("nobody panicked");
        let at = usize::try_from(self.next() % messages.len() as u64).expect("an index");
        let former = messages[at].clone();
        let name = former.file_name().and_then(|name| name.to_str()).expect("a name");
        let (base, flags) = name.split_once(":2,").unwrap_or((name, ""));
        let flags = if flags.contains('F') { "S" } else { "FS" };
        let cur = former.parent().expect("a leaf").with_file_name("cur");
        let now = cur.join(format!("{base}:2,{flags}"));
        fs::rename(&former, &now).expect("a message that is renamed");
        messages[at] = now;
    }

    fn expunge(&self) {
        let mut messages = self.messages.lock().expect("nobody panicked");
        let at = usize::try_from(self.next() % messages.len() as u64).expect("an index");
        fs::remove_file(messages.swap_remove(at)).expect("a message that is expunged");
    }
}
