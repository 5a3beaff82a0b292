//! Damage to a journal as disks and people make it, and what is left of it.

use super::*;
use crate::journal::{BeforeImage, EffectKey};

fn key(number: u32) -> EffectKey {
    EffectKey {
        phase: "mail".into(),
        run: 1,
        verb: Verb::Apply,
        request: "exec.delete".into(),
        side: Some(SideName::Old),
        values: format!("[\"{number}-{}\"]", "x".repeat(200)),
    }
}

/// A journal with a done run, many `once` effects of which the last is open, a before-image and an answer; as one file.
async fn written(folder: &Path) -> std::path::PathBuf {
    let journal = Journal::open(folder).await.unwrap();
    journal.begin_run("mail", 1, Stage::Copy, "sha256:00", 7).await.unwrap();
    journal.end_run("mail", 1, RunState::Done, None, 8).await.unwrap();
    for number in 1..=300 {
        let id = journal.intent(&key(number), "once").await.unwrap();
        if number < 300 {
            journal.outcome(id, State::Done, None, None).await.unwrap();
        }
    }
    let image = BeforeImage { content: Some(b"was".to_vec()), written: None };
    journal.keep_before("file.x on new", &image).await.unwrap();
    let answer = OperatorAnswer { values: vec!["yes".into()], who: "root@new".into(), at: 9 };
    journal.answer("mail", 1, "go-on", &answer).await.unwrap();
    journal.close().await.unwrap();
    folder.join("journal.db")
}

fn how<'a>(from: Option<&'a Path>, into: &'a Path, phases: &'a [(String, u32, Stage, RunState)]) -> Rebuild<'a> {
    Rebuild { from, into, id: None, epoch: 3, mark: 500, who: "root@new", phases }
}

#[tokio::test]
async fn of_a_torn_journal_everything_else_is_taken_over_and_nothing_counts_as_done() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = written(old.path()).await;
    let id = Journal::open(old.path()).await.unwrap().fact("id").await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = page_with(&bytes, b"\"150-xxx");
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let salvaged = Journal::rebuild(&how(Some(&path), new.path(), &[])).await.unwrap();
    assert_eq!(salvaged.torn, ["effect"]);
    assert!((250..300).contains(&salvaged.effects), "{salvaged:?}");
    assert_eq!((salvaged.runs, salvaged.before, salvaged.questions, salvaged.effects_known), (1, 1, 1, 500));
    let journal = Journal::open(new.path()).await.unwrap();
    journal.check(true).await.unwrap();
    assert_eq!(journal.fact("id").await.unwrap(), id);
    assert_eq!(journal.fact("epoch").await.unwrap().as_deref(), Some("3"));
    assert_eq!(journal.last_run("mail").await.unwrap().unwrap().state, RunState::Failed);
    // What was done once is not done twice, and what was open still is.
    assert_eq!(journal.last_effect(&key(1)).await.unwrap().unwrap().state, State::Done);
    let open = journal.open_effects().await.unwrap();
    assert_eq!(open.iter().map(|effect| effect.id).collect::<Vec<_>>(), [300]);
    assert_eq!(journal.before_image("file.x on new").await.unwrap().unwrap().content.as_deref(), Some(&b"was"[..]));
    assert_eq!(journal.mark().await.unwrap(), 501, "numbers go on above those that the sides know");
}

/// Where the page begins that holds these bytes.
fn page_with(bytes: &[u8], wanted: &[u8]) -> usize {
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    at / 4096 * 4096
}

#[tokio::test]
async fn of_a_journal_that_is_gone_or_no_journal_at_all_the_sides_know_which_phases_were_begun() {
    let old = tempfile::tempdir().unwrap();
    let path = old.path().join("journal.db");
    std::fs::write(&path, vec![0x5a; 40_000]).unwrap();
    let phases = [
        ("mail".to_string(), 2, Stage::Copy, RunState::Done),
        ("dns".to_string(), 1, Stage::Cutover, RunState::UndoBegun),
        ("accounts".to_string(), 1, Stage::Copy, RunState::Undone),
    ];
    for from in [None, Some(path.as_path())] {
        let new = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef0123456789abcdef";
        let how = Rebuild { id: Some(id), ..how(from, new.path(), &phases) };
        let salvaged = Journal::rebuild(&how).await.unwrap();
        assert_eq!((salvaged.effects, salvaged.torn.is_empty()), (0, from.is_none()), "{salvaged:?}");
        let journal = Journal::open(new.path()).await.unwrap();
        assert_eq!(journal.fact("id").await.unwrap().as_deref(), Some(id));
        let runs = journal.runs().await.unwrap();
        let states: Vec<_> = runs.iter().map(|run| (run.phase.as_str(), run.run, run.state)).collect();
        let expected =
            [("mail", 2, RunState::Failed), ("dns", 1, RunState::UndoFailed), ("accounts", 1, RunState::Undone)];
        assert_eq!(states, expected);
    }
}

#[tokio::test]
async fn rows_that_mean_nothing_are_not_taken_over() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = written(old.path()).await;
    let options = SqliteConnectOptions::new().filename(&path);
    let mut connection = options.connect().await.unwrap();
    for change in ["UPDATE effect SET state = 'dine' WHERE id = 7", "UPDATE question SET answered = '{\"values\": 1'"] {
        sqlx::raw_sql(change).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let salvaged = Journal::rebuild(&how(Some(&path), new.path(), &[])).await.unwrap();
    assert_eq!((salvaged.refused, salvaged.effects, salvaged.questions), (2, 299, 0));
    assert!(salvaged.torn.is_empty());
}
