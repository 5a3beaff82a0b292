//! What only the operator knows: how an effect ended, and that the journal is lost. The sides are those of `sides.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Bench, Components, nothing, told};
use crate::sides::{bench, change, record};
use rehome_engine::sides::Lost;
use rehome_engine::{Applied, ApplyScope, Error, ErrorKind, cancel};
use rehome_gatekeeper::Journal;
use rehome_gatekeeper::journal::{RunState, State};
use rehome_gatekeeper::types::{SideName, Stage, Verb};

fn applied(result: Result<Applied, Error>) -> Vec<String> {
    match result {
        Ok(Applied::Finished { applied, .. }) => applied,
        other => panic!("{other:?}"),
    }
}

async fn journal(bench: &Bench) -> Journal {
    Journal::open(bench.migration().state().folder()).await.unwrap()
}

/// A bench whose phase is done, with its journal as one file.
async fn done() -> Bench {
    let bench = bench(Arc::new(|_| {}));
    assert_eq!(applied(bench.apply().await), ["make"]);
    journal(&bench).await.close().await.unwrap();
    bench
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Rebuilds, and sees that `apply` ends well without doing again what is known to be done once.
async fn rebuilt(bench: &Bench, lost: &Lost) {
    let migration = bench.migration();
    let to_rebuild = migration.to_rebuild().await.unwrap();
    assert_eq!(std::mem::discriminant(&to_rebuild.lost), std::mem::discriminant(lost), "{to_rebuild:?}");
    let id = record(bench).unwrap().1.migration;
    migration.rebuild().await.unwrap();
    let (_, record) = record(bench).unwrap();
    assert!(record.migration == id && record.epoch == 2 && !record.at_work, "{record:?}");
    let journal = journal(bench).await;
    assert_eq!(journal.fact("id").await.unwrap(), Some(id));
    assert_eq!(journal.last_run("make").await.unwrap().unwrap().state, RunState::Failed);
    drop(journal);
    assert!(!bench.path(".rehome/rebuild").exists());
    assert_eq!(migration.to_rebuild().await.unwrap_err().kind(), ErrorKind::Usage);
}

/// A phase that was stopped while two of its effects ran, and could not tell at the next `apply` how they ended.
async fn asking() -> Bench {
    let components = Components::default().with("sleeper", |verb, _, session| async move {
        if verb == Verb::Apply {
            let both =
                tokio::join!(session.run("first", SideName::New, &[]), session.run("second", SideName::New, &[]));
            both.0.and(both.1)?;
        }
        Ok(nothing(verb))
    });
    let mut bench = Bench::new(components);
    bench.roots = [PathBuf::new(), bench.path("machine")];
    std::fs::create_dir_all(bench.path("machine/var/lib")).unwrap();
    let mut manifest = "name = \"sleeper\"\nversion = \"0.1.0\"\napi = \"0.1\"\nabout = \"sleeps\"\n".to_string();
    for (name, seconds) in [("first", "20"), ("second", "21")] {
        manifest.push_str(&format!(
            "[exec.{name}]\non = [\"new\"]\nargv = [\"sleep\", \"{seconds}\"]\neffect = \"once\"\nreason = \"a test\"\n"
        ));
    }
    bench.component("sleeper", &manifest);
    bench.plan_for("[old]\nfolder = \"old\"\n[new]\nlocal = true\n", &[("make", "sleeper", "copy")]);
    bench.approve();
    let (stop, hears) = cancel();
    let migration = bench.migration();
    let scope = ApplyScope::default();
    let (stopped, ()) = tokio::join!(migration.apply(&scope, bench.loader(), bench.heard.clone(), hears), async {
        while !begun(&bench).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.stop();
    });
    assert!(matches!(stopped, Err(Error::Interrupted(_))), "{stopped:?}");
    // As if new had lost power: what was begun there left no more than that.
    let receipts = bench.path("machine/var/lib/rehome/receipts");
    std::fs::create_dir_all(&receipts).unwrap();
    let journal = journal(&bench).await;
    let migration = journal.fact("id").await.unwrap().unwrap();
    for effect in journal.open_effects().await.unwrap() {
        let receipt = receipts.join(format!("{migration}.{}", effect.id));
        // Whoever still runs it has another file in its hands.
        let _ = std::fs::remove_file(&receipt);
        std::fs::write(&receipt, "begun - 1 1\n").unwrap();
    }
    drop(journal);
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("nobody saw how it ended") && said.contains("`rehome resolve make did "), "{said}");
    bench
}

async fn begun(bench: &Bench) -> bool {
    let there = bench.path(".rehome/journal.db").exists();
    there && journal(bench).await.open_effects().await.unwrap().len() == 2
}

#[tokio::test]
async fn an_effect_whose_end_nobody_saw_is_what_the_operator_says_it_is() {
    for (did, state) in [(true, State::Done), (false, State::Failed)] {
        let bench = asking().await;
        let migration = bench.migration();
        let asked = migration.to_resolve().await.unwrap();
        assert_eq!(asked.len(), 2);
        assert_eq!(asked[0].commands[1], format!("rehome resolve make did-not {}", asked[0].id));
        let several = migration.resolve_outcome("make", did, None).await.unwrap_err();
        assert!(told(&several).contains("name one by its number"), "{}", told(&several));
        let wrong = migration.resolve_outcome("mail", did, None).await.unwrap_err();
        assert!(told(&wrong).contains("there are, in: make"), "{}", told(&wrong));
        let by_name = migration.resolve_outcome("make", did, Some("exec.first")).await.unwrap();
        assert_eq!(by_name.next, "rehome apply");
        migration.resolve_outcome("make", did, None).await.unwrap();
        let journal = journal(&bench).await;
        let effects = journal.effects_of(Some("make")).await.unwrap();
        assert!(effects.len() == 2 && effects.iter().all(|effect| effect.state == state), "{effects:?}");
        let own = journal.effects_of(Some("")).await.unwrap();
        let recorded: Vec<_> = own.iter().filter(|effect| effect.key.request == "resolve.outcome").collect();
        assert!(recorded.len() == 2 && recorded[0].key.values.contains("tester@here"), "{recorded:?}");
        assert_eq!(migration.to_resolve().await.unwrap(), vec![]);
        if did {
            assert_eq!(applied(bench.apply().await), ["make"], "what happened is not done again");
        }
    }
}

#[tokio::test]
async fn status_asks_for_the_word_once_a_phase_could_not_tell() {
    let bench = asking().await;
    let status = bench.migration().status().await.unwrap();
    assert_eq!(status.open.len(), 2);
    assert!(status.next.text.contains("could not tell whether `exec."), "{:?}", status.next);
    assert!(status.next.commands[0].starts_with("rehome resolve make did "), "{:?}", status.next);
    assert_eq!(status.next.commands[2], "rehome apply");
}

#[tokio::test]
async fn a_state_that_is_gone_is_no_new_migration() {
    let bench = done().await;
    std::fs::remove_dir_all(bench.path(".rehome")).unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("was begun before, and its state is gone"), "{said}");
    assert!(said.contains("done, say the sides: make") && said.contains("rehome resolve journal"), "{said}");
    rebuilt(&bench, &Lost::Gone).await;
    // What is lost is lost: what was done once is offered again, and fails here because it is there.
    assert!(bench.apply().await.is_err());
    for made in ["made-first", "made-second"] {
        std::fs::remove_dir(bench.path(made)).unwrap();
    }
    assert_eq!(applied(bench.apply().await), ["make"]);
}

#[tokio::test]
async fn an_older_copy_of_the_state_is_told_by_its_mark() {
    let bench = bench(Arc::new(|_| {}));
    bench.check().await.unwrap();
    copy(&bench.path(".rehome"), &bench.path("kept"));
    assert_eq!(applied(bench.apply().await), ["make"]);
    std::fs::remove_dir_all(bench.path(".rehome")).unwrap();
    copy(&bench.path("kept"), &bench.path(".rehome"));
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(bench.path(".rehome"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("is an older copy") && said.contains("the journal here ends at"), "{said}");
    assert!(bench.path("made-first").exists());
    rebuilt(&bench, &Lost::Older).await;
}

#[tokio::test]
async fn a_damaged_journal_is_kept_aside_and_what_can_be_read_of_it_is_taken_over() {
    let bench = done().await;
    let path = bench.path(".rehome/journal.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // The index of effects: every row of theirs can still be read.
    let index = page_of_index(&bytes);
    bytes[index + 8..index + 4096].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("the journal of this migration is damaged") && said.contains("SQLite says"), "{said}");
    assert!(said.contains("done, say the sides: make") && said.contains("rehome resolve journal"), "{said}");
    rebuilt(&bench, &Lost::Damaged(String::new())).await;
    let kept: Vec<_> = std::fs::read_dir(bench.path(".rehome")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let aside = kept.iter().find(|path| path.to_string_lossy().contains("journal.lost-")).unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), bytes, "it is as it was");
    // What was done once is known still, and not done again.
    assert_eq!(applied(bench.apply().await), ["make"]);
}

/// Where the root page of `effect_by_key` begins, by the schema's rows: the first index page (type 10) that holds its keys.
fn page_of_index(bytes: &[u8]) -> usize {
    let is_index =
        |at: &usize| bytes[*at] == 10 && bytes[*at..*at + 4096].windows(10).any(|part| part == b"exec.first");
    (4096..bytes.len()).step_by(4096).find(is_index).unwrap()
}

#[tokio::test]
async fn a_rebuilt_state_raises_the_epoch_so_that_the_former_one_is_refused() {
    let bench = done().await;
    copy(&bench.path(".rehome"), &bench.path("kept"));
    let (path, _) = record(&bench).unwrap();
    change(&path, |record| record.mark += 1000);
    rebuilt(&bench, &Lost::Older).await;
    copy(&bench.path("kept"), &bench.path(".rehome"));
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Held, "{}", told(&error));
    assert!(told(&error).contains("its epoch is 2; this state knows 1"), "{}", told(&error));
    let runs = journal(&bench).await.runs().await.unwrap();
    assert_eq!(runs[0].stage, Stage::Copy);
}
