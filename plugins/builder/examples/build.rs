//! Builds the phases in the folders given, into `target/components` below the working directory:
//! `cargo run -p rehome-builder --example build -- plugins/confirm`. `WAY=debian` or `WAY=rustup` leaves out the other ways.

use std::io::Write;
use std::path::Path;

use rehome_builder::{Options, PhaseCrate, Way, build};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crates: Vec<PhaseCrate> =
        std::env::args().skip(1).map(|folder| PhaseCrate::open(Path::new(&folder))).collect::<Result<_, _>>()?;
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let mut options = Options::in_target(Path::new("target"));
    match std::env::var("WAY").as_deref() {
        Ok("debian") => options.ways = vec![Way::Debian],
        Ok("rustup") => options.ways = vec![Way::Rustup],
        _ => {}
    }
    options.target = std::env::current_dir()?.join(options.target);
    for built in build(&crates, &options, &mut |line| drop(writeln!(err, "{line}")))? {
        writeln!(out, "{} {} {} {:?}", built.path.display(), built.size, built.digest, built.remarks)?;
    }
    Ok(())
}
