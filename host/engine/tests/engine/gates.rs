//! Gates: the migration waits for the operator's word or for a moment, and `status` says what to type.

use std::time::Duration;

use crate::common::{ASKER, Bench, Components, nothing, told};
use rehome_engine::status::PhaseStanding;
use rehome_engine::{Applied, Cancel, ErrorKind, Previewed, Question};
use rehome_gatekeeper::types::Verb;

/// 2100-01-01.
const MOMENT: u64 = 4_102_444_800;

fn bench() -> Bench {
    let components = Components::default().with("asker", |verb, _, session| async move {
        if verb != Verb::Check {
            session.confirm("go", "Shall mail stop now?").await?;
            session.choose("which", "Which ones?", &["a".into(), "b".into()]).await?;
            session.wait_until("quiet", MOMENT).await?;
        }
        Ok(nothing(verb))
    });
    let bench = Bench::new(components);
    bench.component("asker", ASKER);
    bench.plan(&[("gate", "asker", "cutover")]);
    bench.approve();
    bench
}

async fn waiting(bench: &Bench) -> Question {
    match bench.apply().await {
        Ok(Applied::Waiting { question, .. }) => question,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_question_stops_apply_and_its_answer_lets_it_go_on() {
    let mut bench = bench();
    match waiting(&bench).await {
        Question::Question { question, command, options, .. } => {
            assert_eq!(question, "Shall mail stop now?");
            assert_eq!(command, "rehome answer gate go yes");
            assert_eq!(options, ["yes", "no"]);
        }
        other => panic!("{other:?}"),
    }
    let status = bench.migration().status().await.unwrap();
    assert!(matches!(status.phases[0].standing, PhaseStanding::Waiting(_)));
    assert_eq!(status.next.commands, ["rehome answer gate go yes", "rehome apply"]);

    assert!(bench.answer("gate", "go", &["yes"]).await.unwrap().asked);
    let status = bench.migration().status().await.unwrap();
    assert_eq!(status.next.commands, ["rehome apply"]);

    assert!(matches!(waiting(&bench).await, Question::Question { key, .. } if key == "which"));
    let error = bench.answer("gate", "which", &["a", "c"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(told(&error).contains("it takes: a, b"), "{}", told(&error));
    bench.answer("gate", "which", &["b", "a"]).await.unwrap();

    assert_eq!(
        waiting(&bench).await,
        Question::Moment { at: MOMENT, until: "2100-01-01 00:00:00 UTC".into(), command: "rehome apply".into() }
    );
    bench.ahead = Duration::from_secs(MOMENT);
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
    let error = bench.answer("gate", "go", &["no"]).await.unwrap_err();
    assert!(told(&error).contains("is done: nothing reads an answer"), "{}", told(&error));
}

#[tokio::test]
async fn an_answer_may_come_before_the_question() {
    let bench = bench();
    assert!(!bench.answer("gate", "go", &["yes"]).await.unwrap().asked);
    assert!(matches!(waiting(&bench).await, Question::Question { key, .. } if key == "which"));
}

#[tokio::test]
async fn a_no_stops_the_phase_and_says_how_to_go_on_after_all() {
    let bench = bench();
    bench.answer("gate", "go", &["no"]).await.unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("tester@here said no"), "{said}");
    assert!(said.contains("phase `gate` has changed nothing"), "{said}");
    assert!(said.contains("hint: to go on after all: rehome answer gate go yes"), "{said}");
}

#[tokio::test]
async fn answers_that_mean_nothing_are_refused() {
    let bench = bench();
    for (phase, key, values, words) in [
        ("gates", "go", &["yes"][..], "did you mean `gate`?"),
        ("gate", "goo", &["yes"], "did you mean `go`?"),
        ("gate", "go", &["maybe"], "it takes: yes or no"),
        ("gate", "go", &["yes", "no"], "it takes: yes or no"),
        ("gate", "quiet", &["yes"], "answered by time"),
    ] {
        let error = bench.answer(phase, key, values).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{phase} {key}");
        assert!(told(&error).contains(words), "{}", told(&error));
    }
}

#[tokio::test]
async fn preview_says_where_it_will_wait_and_asks_nothing() {
    let bench = bench();
    let migration = bench.migration();
    let preview = migration.preview(bench.loader(), bench.heard.clone(), Cancel::never()).await.unwrap();
    assert!(preview.pending());
    assert!(matches!(&preview.phases[0].what, Previewed::Waiting(Question::Question { key, .. }) if key == "go"));
    let journal = migration.state().journal().await.unwrap();
    assert!(journal.questions("gate", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn status_of_a_new_migration_makes_nothing() {
    let bench = bench();
    let status = bench.migration().status().await.unwrap();
    assert_eq!(status.next.commands, ["rehome check", "rehome preview", "rehome apply"]);
    assert!(!bench.path(".rehome").exists());
}
