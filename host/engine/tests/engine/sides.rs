//! One side is this machine below a root of its own, the other one a folder: verbs claim it, know it, and are fenced off.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{Bench, Components, nothing, told};
use rehome_engine::outcome::Undone;
use rehome_engine::sides::Record;
use rehome_engine::{Applied, ApplyScope, Cancel, Error, ErrorKind, UndoScope, cancel};
use rehome_gatekeeper::Journal;
use rehome_gatekeeper::journal::{RunState, State};
use rehome_gatekeeper::types::{SideName, Verb};

/// What a phase does between two effects.
pub type Between = Arc<dyn Fn(u32) + Send + Sync>;

/// A phase that makes two folders on new, each once, and calls `between` with the number of its call.
pub fn bench(between: Between) -> Bench {
    let count = Arc::new(AtomicU32::new(0));
    let components = Components::default().with("maker", move |verb, _, session| {
        let (between, count) = (between.clone(), count.clone());
        async move {
            if verb == Verb::Apply {
                session.run("first", SideName::New, &[]).await?;
                between(count.fetch_add(1, Ordering::SeqCst));
                session.run("second", SideName::New, &[]).await?;
            }
            if verb == Verb::Undo {
                session.run("back", SideName::New, &[]).await?;
            }
            Ok(nothing(verb))
        }
    });
    let mut bench = Bench::new(components);
    bench.roots = [PathBuf::new(), bench.path("machine")];
    std::fs::create_dir_all(bench.path("machine/var/lib")).unwrap();
    std::fs::create_dir_all(bench.path("machine/etc")).unwrap();
    machine_is(&bench, 'b');
    bench.component("maker", &manifest(&bench));
    bench.plan_for("[old]\nfolder = \"old\"\n[new]\nlocal = true\n", &[("make", "maker", "copy")]);
    bench.approve();
    bench
}

fn manifest(bench: &Bench) -> String {
    let mut text = "name = \"maker\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"makes two folders\"\n".to_string();
    for (name, program) in [("first", "mkdir"), ("second", "mkdir"), ("back", "rmdir")] {
        let effect = if program == "mkdir" { "once" } else { "repeatable" };
        let made = if name == "back" { "first" } else { name };
        let path = bench.path(&format!("made-{made}"));
        text.push_str(&format!(
            "[exec.{name}]\non = [\"new\"]\nargv = [\"{program}\", \"{}\"]\neffect = \"{effect}\"\nreason = \"a test\"\n",
            path.display()
        ));
    }
    text
}

pub fn machine_is(bench: &Bench, digit: char) {
    std::fs::write(bench.path("machine/etc/machine-id"), format!("{}\n", digit.to_string().repeat(32))).unwrap();
}

/// The one record on new, beside which there may be receipts.
pub fn record(bench: &Bench) -> Option<(PathBuf, Record)> {
    let path = record_in(&bench.path("machine/var/lib/rehome"))?;
    let record = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    Some((path, record))
}

fn record_in(folder: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| !path.ends_with("receipts")).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths.pop()
}

pub fn change(path: &PathBuf, change: impl FnOnce(&mut Record)) {
    let mut record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut record);
    std::fs::write(path, serde_json::to_string_pretty(&record).unwrap() + "\n").unwrap();
}

fn done(applied: Result<Applied, Error>) {
    assert!(matches!(&applied, Ok(Applied::Finished { left, .. }) if left.is_empty()), "{applied:?}");
}

async fn apply_over(bench: &Bench) -> Result<Applied, Error> {
    bench.apply_scope(ApplyScope { take_over: true, ..Default::default() }).await
}

#[tokio::test]
async fn the_record_says_at_work_while_a_phase_runs_and_who_had_it_afterwards() {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let folder = Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let (keeps, at) = (seen.clone(), folder.clone());
    let bench = bench(Arc::new(move |_| {
        let path = record_in(at.get().unwrap()).unwrap();
        let record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        *keeps.lock().unwrap() = Some(record);
    }));
    folder.set(bench.path("machine/var/lib/rehome")).unwrap();
    bench.check().await.unwrap();
    assert!(record(&bench).is_none(), "what only reads claims nothing");
    done(bench.apply().await);
    let during = seen.lock().unwrap().take().unwrap();
    assert!(during.at_work && during.who == "tester@here" && during.verb == "apply", "{during:?}");
    assert_eq!((during.phases[0].phase.as_str(), during.phases[0].state), ("make", RunState::Begun));
    let (_, after) = record(&bench).unwrap();
    assert!(!after.at_work && after.mark > during.mark && after.phases[0].state == RunState::Done, "{after:?}");
    let status = bench.migration().status().await.unwrap();
    let claim = status.claim.unwrap();
    assert!(!claim.stale && claim.sides == [SideName::New] && claim.migration == after.migration, "{claim:?}");

    let scope = UndoScope::default();
    let undone = bench.migration().undo(&scope, bench.loader(), bench.heard.clone(), Cancel::never()).await;
    assert!(matches!(undone, Ok(Undone::Finished { .. })), "{undone:?}");
    assert!(!bench.path("machine/var/lib/rehome").exists(), "a migration that stands where it began leaves nothing");
    assert_eq!(bench.migration().status().await.unwrap().claim, None);
}

#[tokio::test]
async fn who_was_taken_over_meanwhile_begins_no_further_effect() {
    let record_at = Arc::new(std::sync::OnceLock::<PathBuf>::new());
    let at = record_at.clone();
    let bench = bench(Arc::new(move |call| {
        if call == 0 {
            change(&record_in(at.get().unwrap()).unwrap(), |record| {
                record.epoch += 1;
                record.who = "other@there".into();
            });
        }
    }));
    record_at.set(bench.path("machine/var/lib/rehome")).unwrap();
    let error = bench.apply().await.unwrap_err();
    let said = told(&error);
    assert!(said.contains("was taken over") && said.contains("other@there"), "{said}");
    assert_eq!(error.kind(), ErrorKind::Held, "in the middle of a phase as between two");
    assert!(bench.path("made-first").exists() && !bench.path("made-second").exists());
    let journal = Journal::open(bench.migration().state().folder()).await.unwrap();
    let effects = journal.effects_of(Some("make")).await.unwrap();
    let second: Vec<_> = effects.iter().filter(|effect| effect.key.request == "exec.second").collect();
    assert!(second.len() == 1 && second[0].state == State::Failed, "{second:?}");
    // It comes back: refused before any phase.
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held, "{}", told(&error));
    assert!(record(&bench).unwrap().1.who == "other@there");
}

#[tokio::test]
async fn a_copy_of_the_state_is_refused_while_the_other_is_at_work_and_takes_over_when_told_to() {
    let bench = bench(Arc::new(|_| {}));
    done(bench.apply().await);
    let (path, _) = record(&bench).unwrap();
    change(&path, |record| {
        record.at_work = true;
        record.place.host = "elsewhere".into();
        record.who = "alice@elsewhere".into();
    });
    let error = bench.apply().await.unwrap_err();
    let said = told(&error);
    assert_eq!(error.kind(), ErrorKind::Held);
    for word in ["somebody is at work on new (this machine)", "alice@elsewhere, `rehome apply` since", "--take-over"] {
        assert!(said.contains(word), "`{word}` is missing:\n{said}");
    }
    bench.check().await.unwrap();
    done(apply_over(&bench).await);
    let (_, record) = record(&bench).unwrap();
    assert!(record.epoch == 2 && !record.at_work && record.who == "tester@here", "{record:?}");
}

#[tokio::test]
async fn another_machine_is_refused_by_every_verb_until_the_operator_takes_it() {
    let bench = bench(Arc::new(|_| {}));
    done(bench.apply().await);
    machine_is(&bench, 'c');
    for error in [bench.apply().await.unwrap_err(), bench.check().await.unwrap_err()] {
        let said = told(&error);
        assert!(
            said.contains("new (this machine) is another machine than the one this migration began with"),
            "{said}"
        );
        assert!(said.contains("is cccccccc…, and was bbbbbbbb…") && said.contains("resolve machine new"), "{said}");
    }
    let here = bench.migration().machine_here(SideName::New).await.unwrap();
    assert_eq!((here.known.as_deref(), here.found.as_deref()), (Some(&*"b".repeat(32)), Some(&*"c".repeat(32))));
    machine_is(&bench, 'd');
    assert!(bench.migration().resolve_machine(&here).await.is_err(), "it is yet another one");
    machine_is(&bench, 'c');
    bench.migration().resolve_machine(&here).await.unwrap();
    done(bench.apply().await);
    let error = bench.migration().machine_here(SideName::New).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{}", told(&error));
    let journal = Journal::open(bench.migration().state().folder()).await.unwrap();
    let own = journal.effects_of(Some("")).await.unwrap();
    let resolved = own.iter().find(|effect| effect.key.request == "resolve.machine").unwrap();
    assert!(resolved.key.values.contains("tester@here") && resolved.key.values.contains("cccc"), "{resolved:?}");
}

#[tokio::test]
async fn stopped_by_the_operator_it_lets_go_and_killed_its_own_state_goes_on() {
    let (stop, hears) = cancel();
    let stop = Arc::new(stop);
    let bench = bench(Arc::new(move |call| {
        if call == 0 {
            stop.stop();
        }
    }));
    let migration = bench.migration();
    let stopped = migration.apply(&ApplyScope::default(), bench.loader(), bench.heard.clone(), hears).await;
    assert!(matches!(stopped, Err(Error::Interrupted(_))), "{stopped:?}");
    let (path, left) = record(&bench).unwrap();
    assert!(!left.at_work);
    // As if it had been killed.
    change(&path, |record| record.at_work = true);
    let journal = Journal::open(migration.state().folder()).await.unwrap();
    let working = "{\"who\":\"tester@here\",\"verb\":\"apply\",\"since\":7}";
    journal.keep_fact("working", Some(working)).await.unwrap();
    // The effect that was under way has not ended, as far as anybody knows.
    let open = journal.open_effects().await.unwrap();
    drop(journal);
    assert!(migration.status().await.unwrap().claim.unwrap().stale);
    for effect in open {
        migration.resolve_outcome(&effect.key.phase, false, Some(&effect.id.to_string())).await.unwrap();
    }
    let _ = std::fs::remove_dir(bench.path("made-second"));
    done(bench.apply().await);
    assert!(!migration.status().await.unwrap().claim.unwrap().stale);
}

#[tokio::test]
async fn a_side_that_takes_no_record_is_one_clear_error_before_any_phase() {
    let bench = bench(Arc::new(|_| {}));
    bench.check().await.unwrap();
    std::fs::remove_dir_all(bench.path("machine/var/lib")).unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(
        said.contains("cannot use the record of this migration on new") && said.contains("cannot be made"),
        "{said}"
    );
    assert!(said.contains("is there space") && !bench.path("made-first").exists(), "{said}");
    let journal = Journal::open(bench.migration().state().folder()).await.unwrap();
    assert!(journal.last_run("make").await.unwrap().is_none());
}
