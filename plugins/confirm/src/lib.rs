//! The confirm phase: a gate. It changes nothing; the migration goes on once the operator has answered yes.
//! Invariant: who answered, and when, is remembered under the phase's id, so that `verify` can say it later.

use rehome_sdk::operator::Answer;
use rehome_sdk::prelude::*;

rehome_sdk::manifest!();
rehome_sdk::phase!(Confirm);

/// The phase.
#[derive(Debug)]
pub struct Confirm;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    question: String,
}

impl Phase for Confirm {
    type Config = Config;

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        let mut forecast = Forecast::default();
        match ask(ctx) {
            Ok(_) => {}
            Err(Failure::Waiting(_)) => {
                forecast.change("the operator", "not asked yet", format!("answers: {}", ctx.config.question));
            }
            Err(failure) => return Err(failure),
        }
        Ok(forecast)
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        let answer = ask(ctx)?;
        journal::remember(&key(ctx), format!("{}\n{}", answer.at, answer.who))?;
        report::info(&format!("{} said yes: {}", answer.who, ctx.config.question));
        Ok(())
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        let mut found = Findings::new();
        match journal::recall_text(&key(ctx))?.as_deref().and_then(|text| text.split_once('\n')) {
            Some((at, who)) => {
                let when = at.parse().map_or_else(|_| at.to_string(), clock::date);
                found.ok(&ctx.config.question, format!("{who} said yes on {when}"))
            }
            None => found.note(&ctx.config.question, "has not been answered yet"),
        };
        Ok(found.into())
    }

    /// An answer is not taken back: a new run asks again.
    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        journal::forget(&key(ctx))
    }
}

fn ask(ctx: &Context<Config>) -> Result<Answer, Failure> {
    requests::question::GO_ON.ask(&ctx.config.question)
}

fn key(ctx: &Context<Config>) -> String {
    format!("answer/{}", ctx.phase)
}

#[cfg(test)]
mod tests {
    use rehome_sdk::test::Host;
    use serde_json::json;

    use super::*;

    #[test]
    fn apply_waits_until_the_operator_says_yes() {
        let mut host = Host::new(requests::MANIFEST);
        let config = json!({ "question": "Have you told your users?" });
        assert_eq!(host.apply::<Confirm>(config.clone()), Err(Failure::Waiting(Gate::Question("go-on".into()))));
        assert_eq!(host.verify::<Confirm>(config.clone()).unwrap()[0].severity, Severity::Note);

        host.answer("go-on", &["yes"]);
        host.apply::<Confirm>(config.clone()).unwrap();
        let found = host.verify::<Confirm>(config).unwrap();
        assert_eq!(found[0].severity, Severity::Ok);
        assert_eq!(found[0].text, "root@test said yes on 2023-11-14 22:13:20 UTC");
    }

    #[test]
    fn a_no_stops_the_migration() {
        let mut host = Host::new(requests::MANIFEST);
        host.answer("go-on", &["no"]);
        assert!(matches!(host.apply::<Confirm>(json!({})), Err(Failure::Stopped(_))));
    }

    #[test]
    fn preview_names_the_question_until_it_is_answered() {
        let mut host = Host::new(requests::MANIFEST);
        let changes = host.preview::<Confirm>(json!({})).unwrap().changes;
        assert_eq!(changes[0].after, "answers: Shall the migration go on?");
        host.answer("go-on", &["yes"]);
        assert_eq!(host.preview::<Confirm>(json!({})).unwrap(), Forecast::default());
    }

    #[test]
    fn undo_forgets_the_answer() {
        let mut host = Host::new(requests::MANIFEST);
        host.answer("go-on", &["yes"]);
        host.apply::<Confirm>(json!({})).unwrap();
        host.undo::<Confirm>(json!({})).unwrap();
        assert_eq!(host.verify::<Confirm>(json!({})).unwrap()[0].severity, Severity::Note);
    }
}
