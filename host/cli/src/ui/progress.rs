//! A phase at work: a bar on a terminal, now and then a line elsewhere, events under `--json`. Rate limited, so that neither a
//! terminal nor a log file is flooded by what phases report.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rehome_engine::event::{PhaseEnd, Skipped};
use rehome_engine::{Event, Sink};
use rehome_gatekeeper::types::{Level, Verb};

use super::{Text, Tone, Ui, words};

/// Between two lines of progress where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// Between two events of progress.
const BETWEEN_EVENTS: Duration = Duration::from_millis(100);

/// Draws what happens.
pub struct Progress {
    ui: Ui,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    bar: Option<ProgressBar>,
    /// when progress was shown last
    shown: Option<Instant>,
}

impl Progress {
    pub fn new(ui: Ui) -> Progress {
        Progress { ui, now: Mutex::default() }
    }

    /// Whether it is time to show progress again.
    fn due(&self, between: Duration) -> bool {
        let mut now = self.lock();
        let due = now.shown.is_none_or(|shown| shown.elapsed() >= between);
        if due {
            now.shown = Some(Instant::now());
        }
        due
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn begin(&self, name: &str, verb: Verb) {
        self.end();
        if !self.ui.lively() {
            // The first line comes once there is something to wait for.
            self.lock().shown = Some(Instant::now());
            return;
        }
        let bar = self.ui.bars().add(ProgressBar::new_spinner());
        bar.set_style(style("{spinner} {prefix}  {wide_msg} {elapsed}"));
        bar.set_prefix(format!("{verb} {}", super::text::safe(name)));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.lock().bar = Some(bar);
    }

    fn end(&self) {
        let mut now = self.lock();
        now.shown = None;
        if let Some(bar) = now.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn message(&self, text: &str) {
        if let Some(bar) = &self.lock().bar {
            bar.set_message(super::text::safe(text));
        }
    }

    fn advance(&self, phase: &str, done: u64, total: Option<u64>, what: &str) {
        if !self.ui.lively() {
            // "0 of 0" tells nobody anything.
            if total != Some(0) && self.due(BETWEEN_LINES) {
                let of = total.map(|total| format!(" of {}", words::thousands(total))).unwrap_or_default();
                self.ui.say(Text::new(format!("{phase}: {}{of}, {what}", words::thousands(done))).at(0).hang(2));
            }
            return;
        }
        if let Some(bar) = &self.lock().bar {
            if let Some(total) = total
                && bar.length() != Some(total)
            {
                bar.set_length(total);
                let line = if self.ui.color() { "{bar:20.cyan/blue}" } else { "{bar:20}" };
                bar.set_style(style(&format!(
                    "{{spinner}} {{prefix}}  {line} {{human_pos}}/{{human_len}}  {{wide_msg}} {{elapsed}}"
                )));
            }
            bar.set_position(done);
            bar.set_message(super::text::safe(what));
        }
    }

    fn ended(&self, phase: &str, verb: Verb, milliseconds: u64, how: PhaseEnd) {
        self.end();
        if !matches!(verb, Verb::Apply | Verb::Undo) {
            return;
        }
        let took = words::duration(milliseconds);
        let line = match how {
            PhaseEnd::Done => Text::green("done ").plain(format!(" {phase}")).and_dim(format!("  {took}")),
            PhaseEnd::Waiting => Text::yellow("waits").plain(format!(" {phase}")),
            PhaseEnd::Failed => Text::red("fails").plain(format!(" {phase}")).and_dim(format!("  after {took}")),
            PhaseEnd::Interrupted => {
                Text::yellow("stops").plain(format!(" {phase}")).and_dim(format!("  after {took}"))
            }
        };
        self.ui.say(line.into());
    }

    fn draw(&self, event: Event) {
        match event {
            Event::Loading { component, .. } if self.ui.verbose() => self.say_dim(&format!("component {component}")),
            Event::Connected { name, .. } if self.ui.verbose() => self.say_dim(&format!("connected: {name}")),
            Event::Claimed { took_over: true, epoch } => {
                self.ui.say(Text::yellow(format!("the sides were taken over (epoch {epoch})")).into());
            }
            Event::PhaseBegan { phase, verb, run, resumed, .. } => {
                if matches!(verb, Verb::Apply | Verb::Undo) {
                    let again = match verb {
                        _ if !resumed => String::new(),
                        Verb::Undo => "  goes on".to_string(),
                        _ => format!("  goes on with run {run}"),
                    };
                    self.ui.say(Text::bold(verb.as_str()).plain(format!(" {phase}")).and_dim(again).into());
                }
                self.begin(&phase, verb);
            }
            Event::PhaseEnded { phase, verb, milliseconds, how, .. } => self.ended(&phase, verb, milliseconds, how),
            Event::PhaseSkipped { phase, why: Skipped::Done, .. } if self.ui.verbose() => {
                self.say_dim(&format!("{phase} is done"));
            }
            Event::RequestBegan { request, side, values, effect, .. } => {
                let side = side.map(|side| format!(" on {side}")).unwrap_or_default();
                let values = if values.is_empty() { String::new() } else { format!(" [{}]", values.join(", ")) };
                self.message(&format!("{request}{side}{values}"));
                if self.ui.verbose() {
                    self.say_dim(&format!("{effect} {request}{side}{values}"));
                }
            }
            Event::RequestEnded { request, milliseconds, failure: Some(failure), .. } if self.ui.verbose() => {
                let took = words::duration(milliseconds);
                for line in failure.lines() {
                    self.say_dim(&format!("{request} after {took}: {line}"));
                }
            }
            Event::Log { level, text, .. } => self.log(level, &text),
            Event::Progress { phase, done, total, what } => self.advance(&phase, done, total, &what),
            _ => {}
        }
    }

    fn say_dim(&self, text: &str) {
        self.ui.say(Text::dim(text).at(6).hang(8));
    }

    fn log(&self, level: Level, text: &str) {
        let tone = match level {
            Level::Debug if !self.ui.verbose() => return,
            Level::Debug => Tone::Dim,
            Level::Info => Tone::Plain,
            Level::Warning => Tone::Yellow,
            Level::Error => Tone::Red,
        };
        for line in text.lines() {
            self.ui.say(Text::default().with(tone, line).at(6).hang(8));
        }
    }
}

impl Sink for Progress {
    fn event(&self, event: Event) {
        if !self.ui.json() {
            return self.draw(event);
        }
        // The last of a row is told by what comes after it: the end of its request.
        if matches!(event, Event::Progress { .. }) && !self.due(BETWEEN_EVENTS) {
            return;
        }
        self.ui.event(&event);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
