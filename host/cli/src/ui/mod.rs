//! What people see. Data goes to standard output, talk to standard error; under `--json` standard output holds events only.
//! Every text passes `text.rs`, which makes it safe; bars and lines of running phases are in `progress.rs`.

pub mod findings;
mod progress;
mod text;
pub mod words;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use rehome_engine::{Error, Explanation, Sink, event};
use serde::Serialize;

pub use progress::Progress;
pub use text::{Line, Text, Tone};

use crate::args::{Color, Global};
use crate::exit::Exit;

/// Columns of a terminal that does not say how many it has.
const WIDTH: usize = 80;

/// Where everything is shown. Cheap to clone.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    json: bool,
    verbose: u8,
    yes: bool,
    stdout: Stream,
    stderr: Stream,
    bars: indicatif::MultiProgress,
}

/// One of the two standard streams.
struct Stream {
    terminal: bool,
    color: bool,
    width: usize,
}

impl Stream {
    fn new(terminal: bool, width: Option<(terminal_size::Width, terminal_size::Height)>, color: Color) -> Stream {
        let wanted = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse::<usize>().ok());
        let width = match (terminal, columns, width) {
            (true, _, Some((columns, _))) => usize::from(columns.0),
            (_, Some(columns), _) => columns,
            (true, None, None) => WIDTH,
            // A file or another program: a sentence stays on its line, to be searched for.
            (false, None, _) => return Stream { terminal, color: wanted, width: usize::MAX },
        };
        let width = width.clamp(40, 120);
        Stream { terminal, color: wanted, width }
    }
}

/// A line of `--json`.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    event: &'a T,
}

impl Ui {
    pub fn new(global: &Global) -> Ui {
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let stdout = Stream::new(out.is_terminal(), terminal_size::terminal_size_of(&out), global.color);
        let stderr = Stream::new(err.is_terminal(), terminal_size::terminal_size_of(&err), global.color);
        let bars = indicatif::MultiProgress::new();
        Ui(Arc::new(Inner { json: global.json, verbose: global.verbose, yes: global.yes, stdout, stderr, bars }))
    }

    pub fn json(&self) -> bool {
        self.0.json
    }
    pub fn verbose(&self) -> bool {
        self.0.verbose > 0
    }
    /// Whether there is somebody to talk to who sees lines change.
    pub fn lively(&self) -> bool {
        self.0.stderr.terminal && !self.0.json
    }
    pub(crate) fn bars(&self) -> &indicatif::MultiProgress {
        &self.0.bars
    }
    /// Colours on standard error?
    pub(crate) fn color(&self) -> bool {
        self.0.stderr.color
    }

    /// A line of data, for people. Under `--json` there is none.
    pub fn out(&self, line: Line) {
        if !self.0.json {
            let drawn = line.draw(self.0.stdout.width, self.0.stdout.color);
            self.0.bars.suspend(|| to(std::io::stdout(), &drawn));
        }
    }

    /// Text that another program reads, as it is; under `--json` inside an event.
    pub fn raw(&self, what: &str, text: &str) {
        match self.0.json {
            true => self.event(&serde_json::json!({ "event": what, "text": text })),
            false => to(std::io::stdout(), text.strip_suffix('\n').unwrap_or(text)),
        }
    }

    /// A line of talk.
    pub fn say(&self, line: Line) {
        let drawn = line.draw(self.0.stderr.width, self.0.stderr.color);
        self.0.bars.suspend(|| to(std::io::stderr(), &drawn));
    }

    /// An empty line between two parts of the data.
    pub fn gap(&self) {
        self.out(Text::default().into());
    }

    /// An event, under `--json`.
    pub fn event<T: Serialize>(&self, event: &T) {
        if self.0.json {
            let line = serde_json::to_string(&Versioned { v: event::VERSION, event }).unwrap_or_default();
            to(std::io::stdout(), &text::safe_json(&line));
        }
    }

    /// Who is told what happens while phases run.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Progress::new(self.clone()))
    }

    /// An error, in the house's way.
    pub fn explain(&self, explanation: &Explanation) {
        self.say(Text::red("error: ").plain(&explanation.headline).at(0).hang(7));
        for line in &explanation.context {
            // What is indented further belongs to the line before it, and wraps there.
            let text = line.trim_start();
            let indent = 2 + (line.len() - text.len());
            self.say(Text::new(text).at(indent).hang(indent + 2));
        }
        if let Some(hint) = &explanation.hint {
            self.say(Text::default().with(Tone::Cyan, "hint: ").plain(hint).at(0).hang(6));
        }
    }

    /// An error that has no kind of its own.
    pub fn failed(&self, explanation: &Explanation) -> Exit {
        self.tell_failure(explanation, Exit::Error)
    }

    /// How a verb failed, and with which status rehome ends.
    pub fn failed_with(&self, error: &Error) -> Exit {
        self.tell_failure(&error.explain(), error.kind().into())
    }

    fn tell_failure(&self, explanation: &Explanation, exit: Exit) -> Exit {
        self.explain(explanation);
        let Explanation { headline, context, hint } = explanation;
        self.event(&serde_json::json!({
            "event": "error", "headline": headline, "context": context, "hint": hint, "exit_code": exit as u8,
        }));
        exit
    }

    /// Asks for a yes. `None`: there is nobody to ask.
    pub fn confirm(&self, question: &str) -> Option<bool> {
        if self.0.yes {
            return Some(true);
        }
        if !std::io::stdin().is_terminal() || !self.0.stderr.terminal {
            return None;
        }
        let drawn = Text::bold(question).plain(" [y/N] ").at(0).draw(self.0.stderr.width, self.0.stderr.color);
        let _ = write!(std::io::stderr(), "{drawn} ");
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// Whoever reads may be gone: `rehome status | head` is no error.
fn to(mut stream: impl Write, line: &str) {
    let _ = writeln!(stream, "{line}");
}

/// What rehome's own code has to say, on standard error: warnings, or more with `-vv`.
pub fn tracing(verbose: u8) {
    let level = match verbose {
        0 | 1 => tracing_subscriber::filter::LevelFilter::WARN,
        2 => tracing_subscriber::filter::LevelFilter::DEBUG,
        _ => tracing_subscriber::filter::LevelFilter::TRACE,
    };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .try_init();
}
