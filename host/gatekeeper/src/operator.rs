//! `operator`: questions and gates. An answer is recorded for one run of a phase; until it is there the call is `waiting`.

use crate::door::{Call, Session};
use crate::journal::Asked;
use crate::types::{Failure, Finding, Gate, OperatorAnswer, Severity};
use rehome_manifest::manifest::QuestionKind;

impl Session {
    /// `operator.confirm`.
    pub async fn confirm(&self, key: &str, question: &str) -> Result<OperatorAnswer, Failure> {
        let asked = Asked { question: crate::report::shown(question), options: vec!["yes".into(), "no".into()] };
        let answer = self.asked(key, QuestionKind::Confirm, &asked).await?;
        match answer.values.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["yes"] => Ok(answer),
            _ => Err(Failure::Stopped(Finding {
                severity: Severity::Blocker,
                subject: format!("phase {}", self.scope().phase),
                text: format!("{} said no to: {}", answer.who, asked.question),
                hint: Some(format!("to go on after all: rehome answer {} {key} yes", self.scope().phase)),
            })),
        }
    }

    /// `operator.choose`.
    pub async fn choose(&self, key: &str, question: &str, options: &[String]) -> Result<OperatorAnswer, Failure> {
        let shown = options.iter().map(|option| crate::report::shown(option)).collect();
        let asked = Asked { question: crate::report::shown(question), options: shown };
        let answer = self.asked(key, QuestionKind::Choose, &asked).await?;
        if let Some(value) = answer.values.iter().find(|value| !options.contains(value)) {
            return Err(Failure::RefusedValue(format!(
                "the answer `{}` to `{key}` is none of the options: {}",
                crate::report::shown(value),
                asked.options.join(", ")
            )));
        }
        self.observed().insert(format!("operator.{key}"), answer.values.iter().cloned().collect());
        Ok(answer)
    }

    /// `operator.wait-until`.
    pub async fn wait_until(&self, key: &str, moment: u64) -> Result<(), Failure> {
        let id = format!("question.{key}");
        let now = self.clock().now();
        self.pass(Call { request: &id, side: None, values: &[], input: None }, |_permit| async move {
            self.kind(key, QuestionKind::Wait)?;
            if now < moment { Err(Failure::Waiting(Gate::Moment(moment))) } else { Ok(()) }
        })
        .await
    }

    fn kind(&self, key: &str, kind: QuestionKind) -> Result<(), Failure> {
        match self.filled().manifest.question.get(key) {
            Some(question) if question.kind != kind => Err(Failure::Denied(format!(
                "`question.{key}` is a {:?} in the manifest, not a {kind:?}",
                question.kind
            ))),
            // What is not there at all is refused by the door.
            _ => Ok(()),
        }
    }

    async fn asked(&self, key: &str, kind: QuestionKind, asked: &Asked) -> Result<OperatorAnswer, Failure> {
        let id = format!("question.{key}");
        let (phase, run) = (self.scope().phase.clone(), self.scope().run);
        let only_reads = self.scope().verb.only_reads();
        let answer = self
            .pass(Call { request: &id, side: None, values: &[], input: None }, |permit| async move {
                self.kind(key, kind)?;
                let journal = &permit.host().journal;
                let lost = |error| Failure::other("journal", error);
                let known = journal.questions(&phase, run).await.map_err(lost)?;
                if !only_reads {
                    journal.ask(&phase, run, key, asked).await.map_err(lost)?;
                }
                let found = known.into_iter().find(|(name, _, _)| name == key).and_then(|(_, _, answer)| answer);
                found.map(Some).ok_or_else(|| Failure::Waiting(Gate::Question(key.to_string())))
            })
            .await?;
        answer.ok_or_else(|| Failure::Waiting(Gate::Question(key.to_string())))
    }
}
