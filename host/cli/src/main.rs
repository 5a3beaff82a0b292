//! `rehome`: the only crate that prints. Each verb is a file in `commands/`; what people see is made in `ui/`; what an exit
//! code means stands in `exit.rs`. The work itself is done by `rehome-engine`.

mod args;
mod commands;
mod exit;
mod interrupt;
mod loader;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Verb};
use commands::{answer, apply, approve, check, demo, gate, phase, preview, resolve, status, undo, verify};

fn main() -> ExitCode {
    // Secrets pass through this memory: no image of it is left, whatever ends it (core(5)).
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let args = Args::parse();
    let ui = ui::Ui::new(&args.global);
    ui::tracing(args.global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ui.failed(&rehome_engine::Explanation::of("cannot start").line(error.to_string())).into(),
    };
    let exit = runtime.block_on(async {
        match &args.verb {
            Verb::Approve(verb) => approve::run(&ui, &args.global, verb).await,
            Verb::Check(verb) => check::run(&ui, &args.global, verb).await,
            Verb::Preview(verb) => preview::run(&ui, &args.global, verb).await,
            Verb::Apply(verb) => apply::run(&ui, &args.global, verb).await,
            Verb::Answer(verb) => answer::run(&ui, &args.global, verb).await,
            Verb::Resolve(verb) => resolve::run(&ui, &args.global, verb).await,
            Verb::Status => status::run(&ui, &args.global).await,
            Verb::Verify => verify::run(&ui, &args.global).await,
            Verb::Undo(verb) => undo::run(&ui, &args.global, verb).await,
            Verb::Gate(verb) => gate::run(&ui, &args.global, verb).await,
            Verb::Phase(verb) => phase::run(&ui, verb),
            Verb::Demo(verb) => demo::run(&ui, &args.global, verb).await,
        }
    });
    // What is left on the runtime's threads only waits: connections are closed by the engine.
    runtime.shutdown_background();
    exit.unwrap_or_else(|error| ui.failed_with(&error)).into()
}
