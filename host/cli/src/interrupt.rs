//! Ctrl-C and SIGTERM: the first one stops after what was begun is recorded; a second one ends rehome at once, which is as
//! safe as a crash.

use rehome_engine::{Cancel, cancel};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::ui::{Text, Ui};

/// Hears signals from now on.
pub fn listen(ui: &Ui) -> Cancel {
    let (stop, hears) = cancel();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Cancel::never();
    };
    let ui = ui.clone();
    tokio::spawn(async move {
        for heard in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if heard > 0 {
                std::process::exit(Exit::Error as i32);
            }
            ui.say(Text::new("stopping; what was begun is being recorded (once more: at once)").into());
            stop.stop();
        }
    });
    hears
}
