//! `undo`: phases are taken back, the last one first; what interrupts it is gone on with by `undo` again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::common::{Bench, Components, blocker, nothing, told, writer};
use rehome_engine::outcome::Undone;
use rehome_engine::status::PhaseStanding;
use rehome_engine::{Applied, Cancel, Error, ErrorKind, Question, UndoScope};
use rehome_gatekeeper::types::{Failure, Stage, Verb};

/// 2100-01-01.
const MOMENT: u64 = 4_102_444_800;

/// Three phases that write the same note and take it back, and do under `undo` what `how` says at its Nth call (from 0).
fn bench(how: fn(u32) -> Result<(), Failure>) -> Bench {
    let undone = Arc::new(AtomicU32::new(0));
    let components = Components::default().with("writer", move |verb, _, session| {
        let undone = undone.clone();
        async move {
            let new = rehome_gatekeeper::types::SideName::New;
            match verb {
                Verb::Apply => session.put("note", new, &[]).await?,
                Verb::Undo => {
                    let how = how(undone.fetch_add(1, Ordering::SeqCst));
                    if !matches!(how, Err(Failure::Stopped(_))) {
                        session.restore_file("note", new).await?;
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
    let scope = UndoScope { down_to };
    bench.migration().undo(&scope, bench.loader(), bench.heard.clone(), Cancel::never()).await
}

fn undo_calls(bench: &Bench) -> Vec<String> {
    bench.calls().into_iter().filter(|call| call.starts_with("undo")).collect()
}

#[tokio::test]
async fn phases_are_taken_back_the_last_one_first_and_apply_begins_anew() {
    let bench = bench(|_| Ok(()));
    bench.apply().await.unwrap();
    let named: Vec<_> = bench.migration().to_undo(&UndoScope::default()).await.unwrap();
    assert_eq!(named.iter().map(|phase| phase.phase.as_str()).collect::<Vec<_>>(), ["third", "second", "first"]);
    let Undone::Finished { undone, left } = undo(&bench, None).await.unwrap() else { panic!("it waits") };
    assert_eq!((undone, left), (vec!["third".to_string(), "second".into(), "first".into()], vec![]));
    assert!(!bench.path("new/data/note").exists());
    let status = bench.migration().status().await.unwrap();
    assert!(status.phases.iter().all(|phase| matches!(phase.standing, PhaseStanding::NotBegun)));
    assert!(bench.migration().to_undo(&UndoScope::default()).await.unwrap().is_empty());

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
    let scope = rehome_engine::ApplyScope { until: Some(Stage::Prepare), again: None };
    bench.apply_scope(scope).await.unwrap();
    undo(&bench, None).await.unwrap();
    assert_eq!(undo_calls(&bench), ["undo first 1"]);
}

#[tokio::test]
async fn while_an_undo_waits_apply_is_refused_and_undo_goes_on() {
    let mut bench =
        bench(
            |call| {
                if call == 0 { Err(Failure::Waiting(rehome_gatekeeper::types::Gate::Moment(MOMENT))) } else { Ok(()) }
            },
        );
    bench.apply().await.unwrap();
    let Undone::Waiting { phase, question, .. } = undo(&bench, None).await.unwrap() else { panic!("it does not wait") };
    assert_eq!(phase, "third");
    assert!(matches!(question, Question::Moment { at: MOMENT, command, .. } if command == "rehome undo"));
    let status = bench.migration().status().await.unwrap();
    assert!(matches!(&status.phases[2].standing, PhaseStanding::Undoing { waits: Some(_), .. }));
    assert_eq!(status.next.commands, ["rehome undo"]);
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
