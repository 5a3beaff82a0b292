//! Components that mean harm end their own call, in bounded time and memory; rehome says which it was and goes on with the
//! others, and nothing of theirs reaches the terminal.

use std::time::{Duration, Instant};

use rehome_hostile::corpus::{Hostile, corpus};
use rehome_hostile::guest::{module, with_manifest};

use crate::rehome::{Here, Said, phase};

/// A call may compute for 10 s; the rest is for a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plan with a hostile phase and a good one after it, on this machine, in folders of the test's own.
fn here(hostile: &Hostile) -> Here {
    let here = Here::with_plan(&format!(
        "{}{}",
        phase("bad", &format!("./{}.wasm", hostile.name), "copy", ""),
        phase("good", "confirm", "copy", "question = \"Go on?\"")
    ));
    let plan = std::fs::read_to_string(here.path("plan.toml")).unwrap();
    here.write("plan.toml", &plan.replace("folder = \"new\"", "local = true"));
    std::fs::write(here.path(&format!("{}.wasm", hostile.name)), &hostile.bytes).unwrap();
    let approved = here.rehome("approve --yes");
    assert_eq!(approved.code, 0, "{}: {}", hostile.name, approved.stderr);
    here
}

fn bounded(here: &Here, line: &str) -> Said {
    let begun = Instant::now();
    let said = here.rehome(line);
    assert!(begun.elapsed() < PATIENCE, "{line} took {:?}", begun.elapsed());
    for text in [&said.stdout, &said.stderr] {
        assert!(!text.contains('\x1b') && text.len() < 1 << 20, "{} bytes, or an escape", text.len());
    }
    said
}

/// The most memory that a child of this process has had, in KiB.
fn peak() -> i64 {
    // SAFETY: getrusage(2) writes to the struct that it is given, and reads nothing.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage.ru_maxrss
    }
}

fn ends_its_own_call_and_nothing_else(name: &str) {
    let hostile = corpus().into_iter().find(|hostile| hostile.name == name).expect("it is in the corpus");
    let here = here(&hostile);
    // `check` calls every phase: the one after it is called as if nothing had been.
    let said = bounded(&here, "check");
    assert_ne!(said.code, 0, "{name}: {}", said.all());
    assert!(said.all().contains(hostile.says), "{name} is not told by `{}`:\n{}", hostile.says, said.all());
    assert!(said.all().contains("`bad`") || said.all().contains("phase bad"), "{name}: {}", said.all());
    let events = bounded(&here, "--json check").stdout;
    let called = |phase: &str| {
        events.lines().any(|line| line.contains("\"phase-ended\"") && line.contains(&format!("\"phase\":\"{phase}\"")))
    };
    assert!(called("bad") && called("good"), "{name}: {events}");
    // `apply` stops at it, and can be asked how things stand.
    let said = bounded(&here, "apply");
    assert!(said.code != 0 && said.code != 5, "{name}: {}", said.all());
    assert!(bounded(&here, "status").stdout.contains("good"), "{name}");
    assert!(peak() < 1 << 20, "{name} took more than a GiB: {} KiB", peak());
}

macro_rules! each_of_the_corpus {
    ($($test:ident: $name:literal;)*) => {
        $(#[test]
        fn $test() {
            ends_its_own_call_and_nothing_else($name);
        })*

        #[test]
        fn nobody_in_the_corpus_is_left_out() {
            let tried = [$($name),*];
            assert!(corpus().iter().all(|hostile| tried.contains(&hostile.name)));
        }
    };
}

each_of_the_corpus! {
    an_endless_loop: "endless-loop";
    endless_recursion: "endless-recursion";
    ten_gigabytes_of_memory: "ten-gigabytes";
    a_trap_in_check: "trap";
    a_million_log_lines: "million-log-lines";
    output_without_end: "flood-of-output";
    a_million_arguments: "million-arguments";
    a_request_that_is_in_no_manifest: "did-not-ask";
}

#[test]
fn a_request_without_its_import_is_refused_and_in_the_journal() {
    let head = "name = \"mute\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"means harm\"\n";
    let request = "[exec.stop]\non = [\"new\"]\nargv = [\"true\"]\neffect = \"read\"\n";
    let here = Here::with_plan(&phase("bad", "./mute.wasm", "copy", ""));
    let put = |manifest: &str| {
        std::fs::write(here.path("mute.wasm"), with_manifest(&module("", &[], 4), manifest)).unwrap();
    };
    // Of a plan of which nothing was ever approved there is no record.
    put(head);
    assert_eq!(here.rehome("approve --yes").code, 0);
    let lock = std::fs::read(here.path("plan.lock")).unwrap();
    put(&format!("{head}{request}"));
    for verb in ["approve --yes", "check", "apply"] {
        let said = here.rehome(verb);
        assert_ne!(said.code, 0, "{verb}");
        assert!(said.stderr.contains("imports no rehome:phase/exec"), "{verb}: {}", said.stderr);
    }
    let record = |name: &str| std::fs::read(here.path(".rehome").join(name)).unwrap_or_default();
    let record = [record("journal.db"), record("journal.db-wal")].concat();
    let held: Vec<String> = std::fs::read_dir(here.path(".rehome"))
        .unwrap()
        .map(|entry| format!("{:?}", entry.unwrap().file_name()))
        .collect();
    assert!(String::from_utf8_lossy(&record).contains("imports no rehome:phase/exec"), "not recorded in {held:?}");
    assert_eq!(std::fs::read(here.path("plan.lock")).unwrap(), lock, "something was granted");
}
