//! A phase that means harm, written with the kit and built like any other: what a stranger's phase could try.

use rehome_sdk::exec::Request;
use rehome_sdk::prelude::*;

rehome_sdk::manifest!();
rehome_sdk::phase!(Mischief);

/// The phase.
#[derive(Debug)]
pub struct Mischief;

/// What a plan sets.
#[derive(Debug, Deserialize)]
pub struct Config {
    deed: String,
}

impl Phase for Mischief {
    type Config = Config;

    fn check(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        act(&ctx.config.deed, true).map(|()| Vec::new())
    }

    fn preview(ctx: &Context<Config>) -> Result<Forecast, Failure> {
        act(&ctx.config.deed, true).map(|()| Forecast::default())
    }

    fn apply(ctx: &Context<Config>) -> Result<(), Failure> {
        act(&ctx.config.deed, false)
    }

    fn verify(ctx: &Context<Config>) -> Result<Vec<Finding>, Failure> {
        act(&ctx.config.deed, true).map(|()| Vec::new())
    }

    fn undo(ctx: &Context<Config>) -> Result<(), Failure> {
        act(&ctx.config.deed, false)
    }
}

fn act(deed: &str, reads: bool) -> Result<(), Failure> {
    let queued = || requests::exec::QUEUE.on(Side::Old).run();
    let drop = |id: &str| {
        queued()?;
        requests::exec::DROP.on(Side::Old).run_with([id]).map(|_| ())
    };
    // What changes something is not even looked at under a verb that reads: `apply` checks first, and shall come further.
    if reads && ["option", "newline", "nul", "all", "unqueued", "empty", "arguments"].contains(&deed) {
        return Ok(());
    }
    match deed {
        "panic" => panic!("\u{1b}[2J with an escape"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "recursion" => {
            report::info(&deeper(0).to_string());
            Ok(())
        }
        "memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(std::hint::black_box(vec![1u8; 1 << 20]));
            }
        }
        "lines" => {
            for number in 0..1_000_000 {
                report::info(&format!("\u{1b}]0;line {number}\u{7}\u{202e}"));
            }
            Err(Failure::Unsupported("all lines are written".into()))
        }
        "arguments" => {
            let rows = std::iter::repeat_n(["x"; 1], 1_000_000);
            requests::exec::DROP.on(Side::Old).run_each(rows).map(|_| ())
        }
        "output" => requests::exec::FLOOD.on(Side::Old).run().map(|_| ()),
        "deadline" => requests::exec::SLOW.on(Side::Old).run().map(|_| ()),
        "undeclared" => Request::<0>::named("shell").on(Side::Old).run().map(|_| ()),
        // Under a verb that changes things this is granted.
        "write" if reads => requests::exec::HOLD.on(Side::Old).run().map(|_| ()),
        "write" => Err(Failure::Unsupported("it is only tried where nothing may be changed".into())),
        "option" => drop("-r"),
        "newline" => drop("ABCDEF1234\nALL"),
        "nul" => drop("ABCDEF1234\0"),
        "all" => drop("ALL"),
        "unqueued" => drop("ABCDEF1234"),
        "empty" => drop(""),
        "outside" => requests::tree::SPOOL.on(Side::Old).read(b"../../../etc/shadow").map(|_| ()),
        other => Err(Failure::Unsupported(format!("no such deed: {other}"))),
    }
}

fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) + 1 }
}
