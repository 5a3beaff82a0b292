//! Findings of `check` and `verify`, phase by phase; and where a migration waits.

use rehome_engine::{Findings, PhaseFailed, Question};
use rehome_gatekeeper::types::{Finding, Severity};

use super::{Text, Ui, words};

/// Every finding below its phase; then what each phase that could not answer said.
pub fn show(ui: &Ui, findings: &Findings) {
    for phase in &findings.called {
        let own: Vec<&Finding> =
            findings.findings.iter().filter(|found| found.phase == *phase).map(|found| &found.finding).collect();
        let failed = findings.failures.iter().any(|failed| failed.phase == *phase);
        ui.out(Text::bold(phase).into());
        for finding in &own {
            one(ui, finding);
        }
        if own.is_empty() && !failed {
            ui.out(Text::dim("nothing to say").at(2));
        }
        if failed {
            ui.out(Text::red("could not answer; see below").at(2));
        }
    }
    for failed in &findings.failures {
        failure(ui, failed);
    }
}

/// A phase that could not answer.
pub fn failure(ui: &Ui, failed: &PhaseFailed) {
    let explanation = failed.explain();
    ui.explain(&explanation);
    ui.event(&serde_json::json!({
        "event": "phase-failed", "phase": failed.phase, "verb": failed.verb,
        "headline": explanation.headline, "context": explanation.context, "hint": explanation.hint,
    }));
}

fn one(ui: &Ui, finding: &Finding) {
    let tag = match finding.severity {
        Severity::Ok => Text::green("ok"),
        Severity::Note => Text::dim("note"),
        Severity::Warning => Text::yellow("warning"),
        Severity::Blocker => Text::red("blocker"),
    };
    let mut lines = finding.text.lines();
    let first = lines.next().unwrap_or_default();
    ui.out(tag.pad(9).plain(format!("{}: {first}", finding.subject)).at(2).hang(11));
    for line in lines {
        ui.out(Text::new(line).at(11));
    }
    if let Some(hint) = &finding.hint {
        for (at, line) in hint.lines().enumerate() {
            let lead = if at == 0 { "hint: " } else { "      " };
            ui.out(Text::default().with(super::Tone::Cyan, lead).plain(line).at(11).hang(17));
        }
    }
}

/// "2 blockers, 1 warning".
pub fn tally(findings: &Findings, blockers: &str) -> String {
    let number = |severity| findings.findings.iter().filter(|found| found.finding.severity == severity).count();
    let mut parts = vec![words::count(number(Severity::Blocker), blockers)];
    if number(Severity::Warning) > 0 {
        parts.push(words::count(number(Severity::Warning), "warning"));
    }
    if !findings.failures.is_empty() {
        parts.push(format!("{} could not answer", words::count(findings.failures.len(), "phase")));
    }
    parts.join(", ")
}

/// What is asked, or until when it waits, and what to type.
pub fn question(ui: &Ui, phase: &str, question: &Question) {
    match question {
        Question::Question { key, question, options, command, then, .. } => {
            let asked = if question.is_empty() { format!("an answer to `{key}`") } else { question.clone() };
            ui.out(Text::yellow("waiting: ").plain(format!("phase `{phase}` asks: {asked}")).at(0).hang(9));
            if !options.is_empty() {
                ui.out(Text::new(format!("it takes: {}", options.join(", "))).at(9));
            }
            ui.out(Text::dim("to answer and go on:").at(2));
            ui.out(Text::bold(command).at(4).hang(6));
            ui.out(Text::bold(then).at(4));
        }
        Question::Moment { until, command, .. } => {
            ui.out(Text::yellow("waiting: ").plain(format!("phase `{phase}` waits until {until}")).at(0).hang(9));
            ui.out(Text::dim("to go on, from then on:").at(2));
            ui.out(Text::bold(command).at(4));
        }
    }
}
