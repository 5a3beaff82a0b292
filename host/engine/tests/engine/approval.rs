//! Nothing runs that the operator has not seen as it is now; an error shows what differs.

use crate::common::{Bench, Components, nothing, told, writer};
use minisign::KeyPair;
use rehome_engine::{Applied, Error, ErrorKind, Less, Standing};
use rehome_gatekeeper::journal::State;

fn bench() -> Bench {
    let components = Components::default().with("writer", |verb, _, session| async move {
        if verb == rehome_gatekeeper::types::Verb::Apply {
            session.put("note", rehome_gatekeeper::types::SideName::New, &[]).await?;
        }
        Ok(nothing(verb))
    });
    let bench = Bench::new(components);
    bench.component("writer", &writer("writer"));
    bench.plan(&[("note", "writer", "copy")]);
    bench
}

#[tokio::test]
async fn a_plan_that_was_never_approved_is_refused_before_anything() {
    let bench = bench();
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApproved);
    assert!(told(&error).contains("hint: read what is asked for and grant it: `rehome approve`"), "{}", told(&error));
    assert!(!bench.path(".rehome").exists(), "nothing was made");
}

#[tokio::test]
async fn a_changed_request_is_shown_before_and_after() {
    let bench = bench();
    bench.approve();
    bench.component("writer", &writer("writer").replace("hello", "good bye"));
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("its file is another one: sha256:") && !said.contains("only its code"), "{said}");
    assert!(said.contains("-   | hello\n") && said.contains("+   | good bye\n"), "{said}");
    assert!(bench.calls().is_empty(), "nothing was called");
}

#[tokio::test]
async fn changed_code_alone_needs_approval_too_and_says_so() {
    let bench = bench();
    bench.approve();
    bench.component("writer", &format!("{}\n# other code\n", writer("writer")));
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApproved);
    assert!(told(&error).contains("asks for the same, only its code changed"), "{}", told(&error));
    bench.approve();
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[tokio::test]
async fn what_was_denied_stays_denied_and_its_use_is_refused() {
    let bench = bench();
    bench.approve_less(&Less { deny: vec!["file.note".into()], ..Less::default() });
    let error = bench.apply().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApproved);
    let said = told(&error);
    assert!(said.contains("`file.note`, which is not approved") && said.contains("/data/note"), "{said}");
    assert!(!bench.path("new/data/note").exists());
    let approval = bench.migration().approval(&bench.components).unwrap();
    assert!(approval.phases[0].requests.iter().any(|(r, s)| r.id == "file.note" && *s == Standing::Denied));
}

#[tokio::test]
async fn a_request_that_nobody_makes_is_named_with_the_nearest() {
    let bench = bench();
    let migration = bench.migration();
    let approval = migration.approval(&bench.components).unwrap();
    let less = Less { only: vec!["note:file.not".into()], ..Less::default() };
    let error = migration.approve(&approval, &less).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(told(&error).contains("did you mean `note:file.note`?"), "{}", told(&error));
}

#[tokio::test]
async fn approving_again_without_changes_leaves_the_lock_as_it_is() {
    let mut bench = bench();
    bench.approve();
    let before = std::fs::read_to_string(bench.path("plan.lock")).unwrap();
    bench.ahead = std::time::Duration::from_secs(3600);
    bench.approve();
    assert_eq!(std::fs::read_to_string(bench.path("plan.lock")).unwrap(), before);
}

#[tokio::test]
async fn a_missing_component_names_the_plans_line_and_the_places() {
    let bench = bench();
    bench.plan(&[("note", "writter", "copy")]);
    let error = bench.apply().await.unwrap_err();
    let said = told(&error);
    assert!(matches!(error, Error::Plan(_)));
    assert!(said.contains("plan.toml:10:13: phase `note`: there is no component `writter`"), "{said}");
    assert!(said.contains("components/writter.wasm") && said.contains("REHOME_COMPONENTS"), "{said}");
}

#[tokio::test]
async fn config_that_the_component_does_not_take_is_refused_at_its_line() {
    let bench = bench();
    let mut text = std::fs::read_to_string(bench.path("plan.toml")).unwrap();
    text.push_str("[phase.config]\npass = \"hot\"\n");
    std::fs::write(bench.path("plan.toml"), text).unwrap();
    let said = told(&bench.apply().await.unwrap_err());
    assert!(said.contains("plan.toml:13:1: phase `note`: component `writer` has no config key `pass`"), "{said}");
}

#[tokio::test]
async fn a_refusal_is_in_the_journal() {
    let bench = bench();
    bench.approve();
    bench.component("writer", &writer("writer").replace("hello", "good bye"));
    bench.apply().await.unwrap_err();
    let journal = bench.migration().state().journal().await.unwrap();
    let refused = journal.effects_of(None).await.unwrap().pop().expect("a record");
    assert_eq!((refused.state, &refused.key.request[..]), (State::Refused, "approval"));
    assert!(refused.failure.as_ref().is_some_and(|why| why.contains("its file is another one")), "{refused:?}");
}

/// A plan of one publisher; `required` in its phase.
fn signed_bench(required: bool) -> (Bench, KeyPair) {
    let bench = bench();
    let publisher = KeyPair::generate_unencrypted_keypair().unwrap();
    let mut plan = std::fs::read_to_string(bench.path("plan.toml")).unwrap();
    if required {
        plan.push_str("publisher = \"acme\"\n");
    }
    plan.push_str(&format!("[publisher.acme]\nkey = \"{}\"\n", publisher.pk.to_base64()));
    std::fs::write(bench.path("plan.toml"), plan).unwrap();
    (bench, publisher)
}

fn sign(bench: &Bench, publisher: &KeyPair) {
    let bytes = std::fs::read(bench.path("components/writer.wasm")).unwrap();
    let signature = minisign::sign(None, &publisher.sk, &bytes[..], None, None).unwrap();
    std::fs::write(bench.path("components/writer.wasm.minisig"), signature.into_string()).unwrap();
}

#[tokio::test]
async fn a_phase_of_a_publisher_runs_only_what_that_one_has_signed() {
    let (bench, acme) = signed_bench(true);
    let unsigned = told(&bench.migration().approval(&bench.components).unwrap_err());
    assert!(unsigned.contains("is to be signed by `acme`: there is no "), "{unsigned}");
    sign(&bench, &KeyPair::generate_unencrypted_keypair().unwrap());
    let other = told(&bench.migration().approval(&bench.components).unwrap_err());
    assert!(other.contains("by a key that is not known here"), "{other}");
    sign(&bench, &acme);
    bench.approve();
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
    let lock = std::fs::read_to_string(bench.path("plan.lock")).unwrap();
    assert!(lock.contains("name = \"acme\"") && lock.contains(&acme.pk.to_base64()), "{lock}");
    bench.component("writer", &format!("{}# a changed byte\n", writer("writer")));
    let changed = told(&bench.apply().await.unwrap_err());
    assert!(changed.contains("its signature by `acme` is not of this file"), "{changed}");
}

#[tokio::test]
async fn an_older_version_is_refused_even_if_it_is_signed_and_its_requests_are_the_same() {
    let (bench, acme) = signed_bench(false);
    let version = |number: &str| writer("writer").replace("version = \"0.1.0\"", &format!("version = \"{number}\""));
    bench.component("writer", &version("0.10.0"));
    sign(&bench, &acme);
    bench.approve();
    bench.component("writer", &version("0.9.0"));
    sign(&bench, &acme);
    let applied = told(&bench.apply().await.unwrap_err());
    assert!(applied.contains("older than what was approved: 0.10.0 was approved, 0.9.0 is there"), "{applied}");
    let migration = bench.migration();
    let approval = migration.approval(&bench.components).unwrap();
    let error = migration.approve(&approval, &Less::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotApproved);
    assert!(
        told(&error).contains("hint: get the newer one; if the older one is what you want: `rehome approve --older")
    );
    let lock = std::fs::read_to_string(bench.path("plan.lock")).unwrap();
    assert!(lock.contains("0.10.0") && !lock.contains("0.9.0"), "nothing was granted: {lock}");
    migration.approve(&approval, &Less { older: vec!["note".into()], ..Less::default() }).unwrap();
    assert!(matches!(bench.apply().await, Ok(Applied::Finished { .. })));
}

#[test]
fn a_database_that_a_strong_account_reads_is_named_and_one_with_a_reader_is_not() {
    let bench = bench();
    let asks = "[sql.users]\non = [\"old\", \"new\"]\ndatabase = \"mail\"\ntext = \"SELECT 1\"\neffect = \"read\"\n";
    bench.component("writer", &format!("{}{asks}", writer("writer")));
    let plan = std::fs::read_to_string(bench.path("plan.toml")).unwrap();
    let reader = "[old.database.mail]\nread-user = \"reader\"\n";
    std::fs::write(bench.path("plan.toml"), format!("{plan}{reader}")).unwrap();
    let approval = bench.migration().approval(&bench.components).unwrap();
    let named: Vec<_> = approval.strong_readers.iter().map(|strong| (strong.side.as_str(), &strong.user[..])).collect();
    assert_eq!(named, [("new", "root")]);
}
