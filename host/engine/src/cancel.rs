//! The operator's Ctrl-C, as the engine sees it: a call that is under way is dropped; what was begun stays recorded as begun.

use tokio::sync::watch;

/// Tells verbs to stop.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Hears it.
#[derive(Clone, Debug)]
pub struct Cancel(Option<watch::Receiver<bool>>);

/// A pair of them.
pub fn cancel() -> (Stop, Cancel) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Cancel(Some(receiver)))
}

impl Stop {
    /// Tells them.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Cancel {
    /// One that never hears anything.
    pub fn never() -> Cancel {
        Cancel(None)
    }

    /// Answers once told to stop.
    pub async fn stopped(&self) {
        if let Some(receiver) = &self.0
            && receiver.clone().wait_for(|stop| *stop).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
