//! `undo`: phases are taken back, the last one first; what interrupts it is gone on with by `undo` again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::common::{Bench, Components, blocker, nothing, told, writer};
use rehome_engine::outcome::Undone;
use rehome_engine::status::PhaseStanding;
use rehome_engine::{Applied, Cancel, Error, ErrorKind, Question, UndoPlan, UndoScope};
use rehome_gatekeeper::types::{Change, Failure, Forecast, Gate, SideName, Stage, Verb};

/// 2100-01-01.
const MOMENT: u64 = 4_102_444_800;

/// Three phases that write the same note and take it back, and do under `undo` what `how` says at its Nth call (from 0):
/// `Stopped` before anything, `OverLimit` for ever.
fn bench(how: fn(u32) -> Result<(), Failure>) -> Bench {
    let undone = Arc::new(AtomicU32::new(0));
    let components = Components::default().with("writer", move |verb, _, session| {
        let undone = undone.clone();
        async move {
            let new = SideName::New;
            match verb {
                Verb::Apply => session.put("note", new, &[]).await?,
                Verb::Undo => {
                    let how = how(undone.fetch_add(1, Ordering::SeqCst));
                    if !matches!(how, Err(Failure::Stopped(_))) {
                        session.restore_file("note", new).await?;
                    }
                    if matches!(how, Err(Failure::OverLimit(_))) {
                        std::future::pending::<()>().await;
                    }
                    how?;
                }
                _ => {}
            }
            Ok(nothing(verb))
        }
    });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.plan(&[("first", "writer", "prepare"), ("second", "writer", "copy"), ("third", "writer", "cutover")]);
    bench.approve();
    bench
}

async fn undo(bench: &Bench, down_to: Option<Stage>) -> Result<Undone, Error> {
    let scope = UndoScope { down_to, take_over: false };
    bench.migration().undo(&scope, bench.loader(), bench.heard.clone(), Cancel::never()).await
}

fn ids(plan: &UndoPlan) -> Vec<&str> {
    plan.phases.iter().map(|phase| phase.phase.as_str()).collect()
}

fn undo_calls(bench: &Bench) -> Vec<String> {
    bench.calls().into_iter().filter(|call| call.starts_with("undo")).collect()
}

#[tokio::test]
async fn phases_are_taken_back_the_last_one_first_and_apply_begins_anew() {
    let bench = bench(|_| Ok(()));
    bench.apply().await.unwrap();
    let named = bench.migration().to_undo(&UndoScope::default()).await.unwrap();
    assert_eq!(ids(&named), ["third", "second", "first"]);
    assert!(!named.goes_on);
    let Undone::Finished { undone, left } = undo(&bench, None).await.unwrap() else { panic!("it waits") };
    assert_eq!((undone, left), (vec!["third".to_string(), "second".into(), "first".into()], vec![]));
    assert!(!bench.path("new/data/note").exists());
    let status = bench.migration().status().await.unwrap();
    assert!(status.phases.iter().all(|phase| matches!(phase.standing, PhaseStanding::TakenBack)));
    assert!(status.undo.is_none());
    assert!(bench.migration().to_undo(&UndoScope::default()).await.unwrap().phases.is_empty());

    bench.apply().await.unwrap();
    assert!(bench.path("new/data/note").exists());
    assert!(bench.calls().contains(&"apply third 2".to_string()), "{:?}", bench.calls());
}

#[tokio::test]
async fn a_stage_bounds_how_far_it_goes_back() {
    let bench = bench(|_| Ok(()));
    bench.apply().await.unwrap();
    let Undone::Finished { undone, left } = undo(&bench, Some(Stage::Copy)).await.unwrap() else { panic!("it waits") };
    assert_eq!(undone, ["third", "second"]);
    assert_eq!(left, ["first"]);
}

#[tokio::test]
async fn a_phase_that_never_began_is_left_alone() {
    let bench = bench(|_| Ok(()));
    let scope = rehome_engine::ApplyScope { until: Some(Stage::Prepare), ..Default::default() };
    bench.apply_scope(scope).await.unwrap();
    undo(&bench, None).await.unwrap();
    assert_eq!(undo_calls(&bench), ["undo first 1"]);
}

#[tokio::test]
async fn while_an_undo_waits_apply_is_refused_and_undo_goes_on() {
    let mut bench = bench(|call| if call == 0 { Err(Failure::Waiting(Gate::Moment(MOMENT))) } else { Ok(()) });
    bench.apply().await.unwrap();
    let Undone::Waiting { phase, question, .. } = undo(&bench, None).await.unwrap() else { panic!("it does not wait") };
    assert_eq!(phase, "third");
    assert!(matches!(question, Question::Moment { at: MOMENT, command, .. } if command == "rehome undo"));
    let status = bench.migration().status().await.unwrap();
    assert!(matches!(&status.phases[2].standing, PhaseStanding::Undoing { waits: Some(_), .. }));
    assert_eq!(status.next.commands, ["rehome undo"]);
    assert!(status.next.text.contains("0 of 3 phases are taken back"), "{}", status.next.text);
    assert!(status.next.text.contains("2100-01-01"), "{}", status.next.text);

    let refused = bench.apply().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
    assert!(told(&refused).contains("phase `third` is taken back only in part"), "{}", told(&refused));

    bench.ahead = Duration::from_secs(MOMENT);
    let Undone::Finished { undone, .. } = undo(&bench, None).await.unwrap() else { panic!("it waits again") };
    assert_eq!(undone, ["third", "second", "first"]);
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[tokio::test]
async fn a_phase_that_refuses_without_a_change_does_not_lock_the_migration() {
    let bench = bench(|_| Err(Failure::Stopped(blocker("cannot be taken back"))));
    bench.apply().await.unwrap();
    let said = told(&undo(&bench, None).await.unwrap_err());
    assert!(said.contains("phase `third` stands as before"), "{said}");
    assert!(said.contains("hint: make room"), "{said}");
    let status = bench.migration().status().await.unwrap();
    assert!(status.phases.iter().all(|phase| matches!(phase.standing, PhaseStanding::Done)));
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[tokio::test]
async fn a_failure_after_a_change_leaves_the_undo_open() {
    let bench =
        bench(|call| if call == 0 { Err(Failure::Conflict("somebody else wrote there".into())) } else { Ok(()) });
    bench.apply().await.unwrap();
    let said = told(&undo(&bench, None).await.unwrap_err());
    assert!(said.contains("taken back so far, by: `file.note` on new"), "{said}");
    let status = bench.migration().status().await.unwrap();
    assert!(matches!(&status.phases[2].standing, PhaseStanding::Undoing { said: Some(_), .. }));
    assert_eq!(status.next.commands, ["rehome undo"]);
    assert!(matches!(undo(&bench, None).await, Ok(Undone::Finished { .. })));
}

/// `third` is taken back, and `second` waits on its way.
async fn half_way() -> Bench {
    let bench = bench(|call| match call {
        0 => Ok(()),
        1 => Err(Failure::Waiting(Gate::Moment(MOMENT))),
        _ => Ok(()),
    });
    bench.apply().await.unwrap();
    let Undone::Waiting { undone, .. } = undo(&bench, Some(Stage::Copy)).await.unwrap() else { panic!("no gate") };
    assert_eq!(undone, ["third"]);
    bench
}

#[tokio::test]
async fn going_on_keeps_to_what_the_undo_was_begun_for() {
    let bench = half_way().await;
    let status = bench.migration().status().await.unwrap();
    let progress = status.undo.unwrap();
    assert_eq!((progress.taken_back, progress.total), (1, 2));
    assert!(status.next.text.contains("an undo is under way: 1 of 2 phases are taken back"), "{}", status.next.text);

    // Without a stage it goes on as it was begun: `first` stays, and nobody is asked.
    let plan = bench.migration().to_undo(&UndoScope::default()).await.unwrap();
    assert_eq!((ids(&plan), plan.goes_on), (vec!["second"], true));
    // More than that is another undo, and a question.
    let more = bench.migration().to_undo(&UndoScope { down_to: Some(Stage::Prepare), take_over: false }).await.unwrap();
    assert_eq!((ids(&more), more.goes_on), (vec!["second", "first"], false));
    // Less would leave a phase half way.
    let less =
        bench.migration().to_undo(&UndoScope { down_to: Some(Stage::Cutover), take_over: false }).await.unwrap_err();
    assert!(told(&less).contains("phase `second` of stage copy is taken back only in part"), "{}", told(&less));

    let Undone::Finished { undone, left } = undo(&bench, None).await.unwrap() else { panic!("it waits again") };
    assert_eq!((undone, left), (vec!["second".to_string()], vec!["first".to_string()]));
    assert!(bench.migration().status().await.unwrap().undo.is_none());
    let Ok(Applied::Finished { applied, .. }) = bench.apply().await else { panic!("apply is refused") };
    assert_eq!(applied, ["second", "third"]);
}

#[tokio::test]
async fn a_rehome_that_was_killed_under_undo_leaves_it_open() {
    let bench = bench(|call| if call == 1 { Err(Failure::OverLimit(String::new())) } else { Ok(()) });
    bench.apply().await.unwrap();
    // Dropped in the middle of the second, as by a crash: nothing is recorded of its end.
    let killed = tokio::time::timeout(Duration::from_secs(2), undo(&bench, None)).await;
    assert!(killed.is_err());
    let status = bench.migration().status().await.unwrap();
    assert!(matches!(&status.phases[1].standing, PhaseStanding::Undoing { waits: None, said: None }));
    assert!(status.next.text.ends_with("`undo` goes on with phase `second`"), "{}", status.next.text);
    assert!(told(&bench.apply().await.unwrap_err()).contains("1 of 3 phases are taken back"));
    let Undone::Finished { undone, .. } = undo(&bench, None).await.unwrap() else { panic!("it waits") };
    assert_eq!(undone, ["second", "first"]);
}

/// `third` is taken back, `second` refuses without having changed anything.
async fn refused_between_two_phases() -> Bench {
    let bench = bench(|call| match call {
        1 => Err(Failure::Stopped(blocker("cannot be taken back today"))),
        _ => Ok(()),
    });
    bench.apply().await.unwrap();
    let said = told(&undo(&bench, None).await.unwrap_err());
    assert!(said.contains("phase `second` stands as before"), "{said}");
    assert!(said.contains("taken back before it: third"), "{said}");
    assert!(said.contains("`rehome undo --stop-here`"), "{said}");
    bench
}

#[tokio::test]
async fn between_two_phases_apply_is_refused_until_the_undo_has_ended() {
    let bench = refused_between_two_phases().await;
    let status = bench.migration().status().await.unwrap();
    assert!(status.next.text.contains("1 of 3 phases are taken back"), "{}", status.next.text);
    assert_eq!(status.next.commands, ["rehome undo"]);
    assert!(matches!(status.phases[1].standing, PhaseStanding::Done));
    let refused = told(&bench.apply().await.unwrap_err());
    assert!(refused.contains("an undo is under way: 1 of 3 phases are taken back"), "{refused}");
    let Undone::Finished { undone, .. } = undo(&bench, None).await.unwrap() else { panic!("it waits") };
    assert_eq!(undone, ["second", "first"]);
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[tokio::test]
async fn an_undo_can_be_left_between_two_phases_and_apply_goes_forward_from_there() {
    let bench = refused_between_two_phases().await;
    let stopped = bench.migration().undo_stop_here().await.unwrap();
    assert_eq!((stopped.taken_back, stopped.total), (1, 3));
    let Ok(Applied::Finished { applied, .. }) = bench.apply().await else { panic!("apply is refused") };
    assert_eq!(applied, ["third"]);
    assert!(bench.calls().contains(&"apply third 2".to_string()), "{:?}", bench.calls());
    let refused = bench.migration().undo_stop_here().await.unwrap_err();
    assert!(told(&refused).contains("no undo is under way"), "{}", told(&refused));
}

#[tokio::test]
async fn a_phase_that_is_half_way_is_taken_back_by_hand_or_not_left_at_all() {
    let bench = half_way().await;
    let refused = told(&bench.migration().undo_stop_here().await.unwrap_err());
    assert!(refused.contains("phase `second` is taken back only in part"), "{refused}");
    assert!(refused.contains("`rehome undo --by-hand second`"), "{refused}");
    let refused = told(&bench.migration().undo_by_hand("first").await.unwrap_err());
    assert!(refused.contains("the undo is at phase `second`, not at `first`"), "{refused}");
    bench.migration().undo_by_hand("second").await.unwrap();
    let status = bench.migration().status().await.unwrap();
    assert!(status.undo.is_none());
    assert!(matches!(status.phases[1].standing, PhaseStanding::TakenBack));
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[tokio::test]
async fn an_effect_that_failed_half_way_is_not_told_as_nothing() {
    let bench = bench(|_| Ok(()));
    bench.apply().await.unwrap();
    std::fs::write(bench.path("new/data/note"), "somebody else").unwrap();
    let said = told(&undo(&bench, None).await.unwrap_err());
    assert!(said.contains("not done, or only in part: `file.note` on new"), "{said}");
    assert!(said.contains("hint: put right what it names, then run `rehome undo` again"), "{said}");
    assert!(!said.contains("stands as before"), "{said}");
    assert!(bench.migration().status().await.unwrap().undo.is_some());
}

#[tokio::test]
async fn what_a_preview_marked_as_irreversible_is_shown_before_an_undo_begins() {
    let components = Components::default().with("writer", |verb, context, session| async move {
        if verb == Verb::Apply {
            session.put("note", SideName::New, &[]).await?;
        }
        if verb == Verb::Preview && context.phase == "second" {
            let change = |subject: &str, reversible| Change {
                subject: subject.into(),
                before: None,
                after: "is gone".into(),
                reversible,
            };
            let changes = vec![change("the moon", false), change("the tide", true)];
            return Ok(rehome_gatekeeper::types::Answer::Forecast(Forecast { changes, ..Forecast::default() }));
        }
        Ok(nothing(verb))
    });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.plan(&[("first", "writer", "prepare"), ("second", "writer", "copy")]);
    bench.approve();
    let migration = bench.migration();
    migration.preview(bench.loader(), bench.heard.clone(), Cancel::never()).await.unwrap();
    bench.apply().await.unwrap();
    let plan = migration.to_undo(&UndoScope::default()).await.unwrap();
    let marked: Vec<&str> = plan.phases[0].irreversible.iter().map(|change| change.subject.as_str()).collect();
    assert_eq!((marked, plan.phases[0].previewed), (vec!["the moon"], true));

    // A new run without a preview: nobody has said anything about it.
    undo(&bench, None).await.unwrap();
    bench.apply().await.unwrap();
    let plan = migration.to_undo(&UndoScope::default()).await.unwrap();
    assert!(plan.phases.iter().all(|phase| !phase.previewed && phase.irreversible.is_empty()));
}

#[tokio::test]
async fn a_phase_that_left_the_plan_is_named_and_not_forgotten() {
    let bench = bench(|_| Ok(()));
    bench.apply().await.unwrap();
    bench.plan(&[("first", "writer", "prepare")]);
    bench.approve();
    let plan = bench.migration().to_undo(&UndoScope::default()).await.unwrap();
    assert_eq!(ids(&plan), ["first"]);
    assert_eq!(plan.left_over, ["third", "second"]);
}
