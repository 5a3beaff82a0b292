//! `cargo xtask`: the project's own commands. Each is one file; what they share of cargo is in `cargo.rs`.

mod account;
mod bench;
mod build;
mod cargo;
mod demo;
mod faults;
mod fuzz;
mod lab;
mod test;

use clap::{Parser, Subcommand};

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and move a small mail server from one folder to another, without root, ssh or any server
    Demo(demo::DemoArgs),
    /// Run all tests: unit, command line, lab
    Test(test::TestArgs),
    /// Move a server in the lab while mail flows in, and account for every mail
    Account(account::AccountArgs),
    /// Move a server in the lab again and again, each time with one fault at another point
    Faults(faults::FaultsArgs),
    /// Feed parsers and quoting with what no one would send
    Fuzz(fuzz::FuzzArgs),
    /// Build the phases into target/components
    Build,
    /// Start, stop and enter the lab: real Debian mail servers on this machine
    #[command(subcommand)]
    Lab(lab::LabArgs),
    /// Measure
    #[command(subcommand)]
    Bench(bench::BenchArgs),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Account(args) => account::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Build => {
            for path in build::components()? {
                println!("{}", path.display());
            }
            Ok(())
        }
        Command::Lab(args) => lab::run(args),
        Command::Bench(args) => bench::run(&args),
    }
}
