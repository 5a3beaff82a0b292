//! The door: what is refused, what is recorded, and what happens after a crash. The sides are this machine and folders.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rehome_gatekeeper::journal::State;
use rehome_gatekeeper::types::{Closeness, ExecOutput, Failure, Gate, OperatorAnswer, Settlement, SideName, Verb};
use rehome_gatekeeper::{Clock, Host, Journal, Scope, Session, SideSpec};
use rehome_manifest::{Config, Filled, Manifest, fill};
use rehome_remote::{Options, Target};

const MANIFEST: &str = r#"
name = "probe"
version = "0.1.0"
api = "0.1"
about = "tries the door"

[exec.look]
on = ["old", "new"]
argv = ["ls", "/"]
effect = "read"
yields = "lines"

[exec.show]
on = ["new"]
argv = ["printf", "%s", "{folder: text from exec.look}"]
effect = "read"

[exec.slow]
on = ["new"]
argv = ["sleep", "30"]
effect = "once"
reason = "is killed before it ends"

[exec.mark]
on = ["new"]
argv = ["mkdir", "MARK"]
effect = "once"
reason = "fails the second time it really runs"

[exec.fails]
on = ["new"]
argv = ["false"]
effect = "once"
reason = "fails"

[exec.back]
on = ["new"]
argv = ["true"]
effect = "repeatable"
reason = "only to take something back"
verbs = ["undo"]

[exec.digest]
on = ["new"]
argv = ["sha256sum", "{file: path-in(mail)}"]
effect = "read"

[exec.queue]
on = ["new"]
argv = ["printf", "%b\\n", "ABCDEF012345", "ALL", "-", "-d", "../x", "ABCDEF\\rALL"]
effect = "read"
yields = "lines"

[exec.delete]
on = ["new"]
argv = ["sort", "-o", "DELETED", "-T", "{id: queue-id from exec.queue}", "/dev/null"]
effect = "once"
reason = "leaves a file"

[exec.delete-each]
on = ["new"]
argv = ["touch", "DELETED"]
rows = "{id: queue-id from exec.queue}"
effect = "repeatable"
reason = "leaves a file"

[tree.mail]
on = ["old", "new"]
path = "/mail"
scope = ["example.org"]
access = "list"

[tree.mail-on-old]
on = ["old"]
path = "/mail"
scope = ["example.org"]
access = "list"

[sync.back]
tree = "mail"
to = "old"
add-only = true
verbs = ["undo"]
reason = "brings back what arrived on new"

[sync.mail]
tree = "mail"
to = "new"
delete = true
delete-limit = "50%"
reason = "moves the mail"

[tree.etc]
on = ["new"]
path = "/etc"
access = "list"

[sync.keep]
tree = "etc"
from = "new"
to = "new"
into = "/kept"
delete = true
delete-limit = "100%"
reason = "keeps what is about to change"

[sync.backup]
tree = "mail-on-old"
to = "new"
into = "/kept"
reason = "keeps the mail of old"

[file.note]
on = ["new"]
path = "/etc/note"
mode = "0644"
owner = "OWNER"
text = "written by rehome\n"
reason = "leaves a note"

[question.go]
kind = "confirm"
about = "go on?"

[question.which]
kind = "choose"
about = "which ones?"

[question.later]
kind = "wait"
about = "a moment"
"#;

struct Lab {
    folder: tempfile::TempDir,
    journal: Arc<Journal>,
    filled: Arc<Filled>,
    ahead: std::time::Duration,
}

impl Lab {
    async fn new() -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        for place in ["old/mail/example.org", "new/mail", "new/etc", "state"] {
            std::fs::create_dir_all(folder.path().join(place)).expect("a folder");
        }
        let mark = folder.path().join("mark");
        let owner = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let deleted = folder.path().join("deleted");
        let text = MANIFEST.replace("MARK", mark.to_str().expect("UTF-8")).replace("OWNER", &owner);
        let text = text.replace("DELETED", deleted.to_str().expect("UTF-8"));
        let manifest = Manifest::parse(&text).expect("a good manifest");
        let filled = fill(&manifest, Config::default()).expect("nothing to fill");
        let journal = Journal::open(&folder.path().join("state")).await.expect("a journal");
        Lab { folder, journal: Arc::new(journal), filled: Arc::new(filled), ahead: std::time::Duration::ZERO }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    /// A session where both sides are folders, or where new is this machine.
    fn session(&self, verb: Verb, new: &Target, grants: &[&str]) -> Session {
        let spec = |target: Target| SideSpec {
            target,
            options: Options { control_dir: self.path("control"), ..Options::default() },
            databases: Default::default(),
            redis: Default::default(),
        };
        let old = Target::Folder(self.path("old"));
        let clock = Arc::new(Clock::ahead_by(self.ahead));
        let host =
            Host::new(spec(old), spec(new.clone()), self.journal.clone(), Arc::new(()), clock, &self.path("state"));
        let scope =
            Scope { phase: "p".into(), component: "probe".into(), run: 1, verb, approve: "rehome approve".into() };
        let grants: BTreeSet<String> = grants.iter().map(|id| id.to_string()).collect();
        Session::new(host, scope, self.filled.clone(), grants)
    }

    fn folders(&self, verb: Verb, grants: &[&str]) -> Session {
        self.session(verb, &Target::Folder(self.path("new")), grants)
    }

    fn here(&self, verb: Verb, grants: &[&str]) -> Session {
        self.session(verb, &Target::Local, grants)
    }

    async fn states(&self) -> Vec<(String, State)> {
        let effects = self.journal.effects_of(None).await.expect("readable");
        effects.into_iter().map(|effect| (effect.key.request, effect.state)).collect()
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_shown_and_journaled() {
    let lab = Lab::new().await;
    let session = lab.here(Verb::Apply, &["exec.look"]);
    let Err(Failure::Denied(text)) = session.run("mark", SideName::New, &[]).await else { panic!("not denied") };
    assert!(text.contains("mkdir") && text.contains("rehome approve"), "{text}");
    let Err(Failure::Denied(text)) = session.run("nothing", SideName::New, &[]).await else { panic!("not denied") };
    assert!(text.contains("not in the manifest"), "{text}");
    assert!(!lab.path("mark").exists());
    assert_eq!(lab.states().await, [("exec.mark".into(), State::Refused), ("exec.nothing".into(), State::Refused)]);
}

#[tokio::test]
async fn a_reading_verb_refuses_every_effect_but_read() {
    let lab = Lab::new().await;
    write(&lab.path("old/mail/example.org/a"), "a");
    for verb in [Verb::Check, Verb::Preview, Verb::Verify] {
        let session = lab.folders(verb, &["exec.mark", "sync.mail", "file.note", "tree.mail"]);
        assert!(matches!(session.run("mark", SideName::New, &[]).await, Err(Failure::ReadOnly(_))));
        assert!(matches!(session.sync("mail").await, Err(Failure::ReadOnly(_))));
        assert!(matches!(session.put("note", SideName::New, &[]).await, Err(Failure::ReadOnly(_))));
        assert!(matches!(session.remember("k", b"v").await, Err(Failure::ReadOnly(_))));
        assert!(matches!(session.settle(1, Settlement::Done).await, Err(Failure::ReadOnly(_))));
        // and what only looks is still there
        let found = session.compare_files("mail", Closeness::Metadata).await.expect("a look");
        assert_eq!(found.missing, 2, "{found:?}");
    }
    assert!(!lab.path("new/mail/example.org").exists() && !lab.path("new/etc/note").exists());
}

#[tokio::test]
async fn a_request_kept_for_undo_is_refused_elsewhere() {
    let lab = Lab::new().await;
    let session = lab.here(Verb::Apply, &["exec.back"]);
    assert!(matches!(session.run("back", SideName::New, &[]).await, Err(Failure::ReadOnly(_))));
    lab.here(Verb::Undo, &["exec.back"]).run("back", SideName::New, &[]).await.expect("undo may");
}

#[tokio::test]
async fn a_side_that_is_not_requested_is_denied() {
    let lab = Lab::new().await;
    let session = lab.here(Verb::Apply, &["exec.mark"]);
    assert!(matches!(session.run("mark", SideName::Old, &[]).await, Err(Failure::Denied(_))));
}

#[tokio::test]
async fn a_hole_takes_only_what_its_source_gave_in_this_call() {
    let lab = Lab::new().await;
    let session = lab.here(Verb::Check, &["exec.look", "exec.show"]);
    let value = ["etc".to_string()];
    assert!(matches!(session.run("show", SideName::New, &value).await, Err(Failure::RefusedValue(_))));
    session.run("look", SideName::New, &[]).await.expect("a listing");
    assert_eq!(session.run("show", SideName::New, &value).await.expect("shown").stdout, b"etc");
    for wrong in [vec!["--help"], vec!["etc\n"], vec!["nowhere"], vec![], vec!["etc", "etc"]] {
        let wrong: Vec<String> = wrong.into_iter().map(String::from).collect();
        assert!(matches!(session.run("show", SideName::New, &wrong).await, Err(Failure::RefusedValue(_))), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_value_that_is_refused_is_in_the_journal_with_its_reason_and_nothing_ran() {
    let lab = Lab::new().await;
    let session = lab.here(Verb::Apply, &["exec.queue", "exec.delete", "exec.delete-each"]);
    session.run("queue", SideName::New, &[]).await.expect("a listing");
    // Whatever the listing itself holds: a value is of its type, and was in the listing.
    for (wrong, why) in [
        ("", "is empty"),
        ("-", "begins with `-`"),
        ("-d", "begins with `-`"),
        ("--all", "begins with `-`"),
        ("ALL", "is not a queue ID"),
        ("all", "is not a queue ID"),
        ("../x", "is not a queue ID"),
        ("abcdef012345", "is not a queue ID"),
        ("ABCDEF012345\n", "U+000A"),
        ("ABCDEF\rALL", "U+000D"),
        ("ABCDEF\0ALL", "U+0000"),
        ("ABCDEF012345ABCDEF012345", "is not a queue ID"),
        ("FEDCBA543210", "was not among what exec.queue gave"),
    ] {
        for request in ["delete", "delete-each"] {
            let value = [wrong.to_string()];
            let answer = match request {
                "delete" => session.run(request, SideName::New, &value).await,
                _ => session.run_with_rows(request, SideName::New, &[], &[value.to_vec()]).await,
            };
            let Err(Failure::RefusedValue(text)) = answer else { panic!("{wrong:?}: {answer:?}") };
            assert!(text.contains(why) && !text.chars().any(char::is_control), "{wrong:?}: {text:?}");
            let recorded = lab.journal.effects_of(None).await.expect("readable").pop().expect("a record");
            assert_eq!((recorded.key.request, recorded.state), (format!("exec.{request}"), State::Failed), "{wrong:?}");
            assert!(recorded.failure.is_some_and(|failure| failure.contains(why)), "{wrong:?}");
        }
        assert!(!lab.path("deleted").exists(), "{wrong:?}");
    }
    let good = ["ABCDEF012345".to_string()];
    session.run("delete", SideName::New, &good).await.expect("it was listed");
    assert!(lab.path("deleted").exists(), "this leaves a file, or the rest proves nothing");
}

#[tokio::test]
async fn a_once_effect_that_is_done_is_answered_from_the_journal() {
    let lab = Lab::new().await;
    let first = lab.here(Verb::Apply, &["exec.mark"]).run("mark", SideName::New, &[]).await.expect("made");
    // it would fail if it ran again
    let second = lab.here(Verb::Apply, &["exec.mark"]).run("mark", SideName::New, &[]).await.expect("remembered");
    assert_eq!(first, second);
    assert_eq!(lab.states().await, [("exec.mark".into(), State::Done)]);
}

#[tokio::test]
async fn a_once_effect_that_failed_is_offered_again() {
    let lab = Lab::new().await;
    for _ in 0..2 {
        let session = lab.here(Verb::Apply, &["exec.fails"]);
        assert!(
            matches!(session.run("fails", SideName::New, &[]).await, Err(Failure::EndedBadly(tool)) if tool.status == Some(1))
        );
    }
    assert_eq!(lab.states().await.len(), 2);
}

#[tokio::test]
async fn after_a_crash_between_intent_and_outcome_the_phase_looks_and_settles() {
    let lab = Lab::new().await;
    // What kill -9 leaves: an intent without an outcome. A call that is dropped midway is the same to the journal.
    let session = lab.here(Verb::Apply, &["exec.slow"]);
    let running = tokio::spawn(async move { session.run("slow", SideName::New, &[]).await });
    while lab.states().await != [("exec.slow".into(), State::Begun)] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running.abort();
    assert!(running.await.expect_err("aborted").is_cancelled());

    let session = lab.here(Verb::Apply, &["exec.slow"]);
    let Err(Failure::OutcomeUnknown { effect_id, .. }) = session.run("slow", SideName::New, &[]).await else {
        panic!("the outcome must be unknown")
    };
    session.settle(effect_id, Settlement::Done).await.expect("settled");
    assert_eq!(session.run("slow", SideName::New, &[]).await, Ok(ExecOutput::default()));
    assert!(matches!(session.settle(effect_id, Settlement::Done).await, Err(Failure::NotFound(_))));
}

#[tokio::test]
async fn paths_outside_the_granted_folders_are_refused() {
    let lab = Lab::new().await;
    write(&lab.path("old/mail/other.org/a"), "a");
    let session = lab.folders(Verb::Check, &["tree.mail"]);
    for path in [&b"other.org"[..], b"..", b"/etc", b"example.org/../other.org", b"", b"a\0b"] {
        let answer = session.list("mail", SideName::Old, path, 1).await;
        assert!(matches!(answer, Err(Failure::RefusedValue(_))), "{path:?}: {answer:?}");
    }
    assert!(matches!(session.read("mail", SideName::Old, b"example.org/a").await, Err(Failure::Denied(_))));
    // The space left is the file system's: it names no file.
    session.free_space("mail", SideName::Old).await.expect("known");
    // A path in an argv is held to the same folders.
    let session = lab.here(Verb::Check, &["exec.digest", "tree.mail"]);
    let answer = session.run("digest", SideName::New, &["other.org/a".into()]).await;
    assert!(matches!(&answer, Err(Failure::RefusedValue(why)) if why.contains("outside")), "{answer:?}");
}

#[tokio::test]
async fn a_sync_is_remembered_by_the_folders_it_touched() {
    let lab = Lab::new().await;
    write(&lab.path("old/mail/example.org/john/a"), "a");
    let session = lab.folders(Verb::Apply, &["tree.mail", "sync.mail"]);
    let report = session.sync("mail").await.expect("copied");
    assert_eq!(report.copied, 1);
    assert_eq!(std::fs::read(lab.path("new/mail/example.org/john/a")).expect("there"), b"a");
    let touched = session.touched("mail", None).await.expect("known");
    assert!(touched.folders.contains(&b"example.org/john".to_vec()), "{touched:?}");
    assert_eq!(touched.mark, report.mark);
    assert!(session.touched("mail", Some(&report.mark)).await.expect("known").folders.is_empty());
    assert!(matches!(session.touched("mail", Some("yesterday")).await, Err(Failure::RefusedValue(_))));
}

#[tokio::test]
async fn a_tree_is_kept_in_another_folder_of_its_own_side_or_of_the_other() {
    let lab = Lab::new().await;
    write(&lab.path("new/etc/cert"), "as it was");
    write(&lab.path("old/mail/example.org/a"), "a");
    let session = lab.folders(Verb::Apply, &["sync.keep", "sync.backup", "tree.etc", "tree.mail-on-old"]);
    let missing = session.sync("keep").await.expect_err("the folder is not there, and is not made");
    assert!(matches!(missing, Failure::NotFound(_)), "{missing:?}");
    std::fs::create_dir(lab.path("new/kept")).expect("a folder");
    session.sync("keep").await.expect("synced");
    write(&lab.path("new/etc/cert"), "another one");
    assert_eq!(std::fs::read_to_string(lab.path("new/kept/cert")).expect("kept"), "as it was");
    let found = session.compare_files("keep", Closeness::Contents).await.expect("a look");
    assert_eq!((found.missing, found.different), (0, 1), "{found:?}");
    session.sync("backup").await.expect("synced");
    assert_eq!(std::fs::read_to_string(lab.path("new/kept/example.org/a")).expect("kept"), "a");
    assert!(!lab.path("old/kept").exists() && !lab.path("new/mail/example.org").exists());
}

#[tokio::test]
async fn what_an_undo_touched_on_old_is_asked_of_a_tree_that_lies_there_alone() {
    let lab = Lab::new().await;
    write(&lab.path("old/mail/example.org/john/a"), "a");
    let grants = ["tree.mail", "tree.mail-on-old", "sync.mail", "sync.back"];
    lab.folders(Verb::Apply, &grants).sync("mail").await.expect("copied");
    write(&lab.path("new/mail/example.org/anna/b"), "b");
    let session = lab.folders(Verb::Undo, &grants);
    assert!(session.touched("mail-on-old", None).await.expect("known").folders.is_empty());
    assert_eq!(session.sync("back").await.expect("brought back").copied, 1);
    let touched = session.touched("mail-on-old", None).await.expect("known");
    assert!(touched.folders.contains(&b"example.org/anna".to_vec()), "{touched:?}");
    assert!(!touched.folders.contains(&b"example.org/john".to_vec()), "{touched:?}");
    assert!(!session.touched("mail", None).await.expect("known").folders.contains(&b"example.org/anna".to_vec()));
    assert!(matches!(lab.folders(Verb::Apply, &grants).sync("back").await, Err(Failure::ReadOnly(_))));
}

#[tokio::test]
async fn a_once_effect_under_undo_is_another_one_than_under_apply() {
    let lab = Lab::new().await;
    lab.here(Verb::Apply, &["exec.mark"]).run("mark", SideName::New, &[]).await.expect("made");
    // Its own memo: it really runs, and fails, for the folder is there.
    let again = lab.here(Verb::Undo, &["exec.mark"]).run("mark", SideName::New, &[]).await;
    assert!(matches!(again, Err(Failure::EndedBadly(_))), "{again:?}");
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_before_the_first_put() {
    let lab = Lab::new().await;
    write(&lab.path("new/etc/note"), "the operator's own");
    let session = lab.folders(Verb::Apply, &["file.note"]);
    session.put("note", SideName::New, &[]).await.expect("written");
    session.put("note", SideName::New, &[]).await.expect("written again");
    assert_eq!(std::fs::read_to_string(lab.path("new/etc/note")).expect("there"), "written by rehome\n");
    session.restore_file("note", SideName::New).await.expect("restored");
    assert_eq!(std::fs::read_to_string(lab.path("new/etc/note")).expect("there"), "the operator's own");
}

#[tokio::test]
async fn a_file_that_somebody_changed_since_is_a_conflict() {
    let lab = Lab::new().await;
    let session = lab.folders(Verb::Apply, &["file.note"]);
    session.put("note", SideName::New, &[]).await.expect("written");
    write(&lab.path("new/etc/note"), "changed by hand");
    assert!(matches!(session.restore_file("note", SideName::New).await, Err(Failure::Conflict(_))));
    write(&lab.path("new/etc/note"), "written by rehome\n");
    session.restore_file("note", SideName::New).await.expect("restored");
    assert!(!lab.path("new/etc/note").exists(), "it was not there before");
}

#[tokio::test]
async fn a_question_waits_for_its_answer_and_keeps_who_and_when() {
    let lab = Lab::new().await;
    let session = lab.folders(Verb::Apply, &["question.go", "question.which"]);
    assert_eq!(session.confirm("go", "Go on?").await, Err(Failure::Waiting(Gate::Question("go".into()))));
    let answer = OperatorAnswer { values: vec!["yes".into()], who: "root@new".into(), at: 7 };
    lab.journal.answer("p", 1, "go", &answer).await.expect("recorded");
    assert_eq!(session.confirm("go", "Go on?").await, Ok(answer));

    let no = OperatorAnswer { values: vec!["no".into()], who: "root@new".into(), at: 8 };
    lab.journal.answer("p", 1, "go", &no).await.expect("recorded");
    assert!(matches!(session.confirm("go", "Go on?").await, Err(Failure::Stopped(_))));

    let strange = OperatorAnswer { values: vec!["c".into()], who: "root@new".into(), at: 9 };
    lab.journal.answer("p", 1, "which", &strange).await.expect("recorded");
    let options = ["a".to_string(), "b".to_string()];
    assert!(matches!(session.choose("which", "Which?", &options).await, Err(Failure::RefusedValue(_))));
}

#[tokio::test]
async fn a_moment_is_waited_for_by_the_clock_that_tests_move() {
    let mut lab = Lab::new().await;
    let session = lab.folders(Verb::Apply, &["question.later"]);
    let moment = session.now() + 86_400;
    assert_eq!(session.wait_until("later", moment).await, Err(Failure::Waiting(Gate::Moment(moment))));
    lab.ahead = std::time::Duration::from_secs(86_401);
    assert_eq!(lab.folders(Verb::Apply, &["question.later"]).wait_until("later", moment).await, Ok(()));
}

#[tokio::test]
async fn what_a_call_takes_is_measured_by_a_clock_that_nobody_moves() {
    let mut lab = Lab::new().await;
    lab.ahead = std::time::Duration::from_secs(86_401);
    let session = lab.folders(Verb::Apply, &[]);
    let begun = session.elapsed();
    session.sleep(20).await.expect("a moment");
    let took = session.elapsed() - begun;
    assert!((20..60_000).contains(&took), "{took} ms");
}

#[tokio::test]
async fn what_a_phase_remembers_outlives_the_host() {
    let lab = Lab::new().await;
    lab.folders(Verb::Apply, &[]).remember("mark", b"\xff\0").await.expect("kept");
    let again = Journal::open(&lab.path("state")).await.expect("opened again");
    drop(again);
    assert_eq!(lab.folders(Verb::Check, &[]).recall("mark").await, Ok(Some(b"\xff\0".to_vec())));
    assert_eq!(lab.folders(Verb::Check, &[]).recall("other").await, Ok(None));
    let large = vec![0; (64 << 10) + 1];
    assert!(matches!(lab.folders(Verb::Apply, &[]).remember("k", &large).await, Err(Failure::OverLimit(_))));
}
