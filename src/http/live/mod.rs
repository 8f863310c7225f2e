//! What stays open: WebSockets and streams of events, for subscriptions.
//!
//! A browser opens WebSockets to other sites without asking them. That gives a foreign page nothing here: the
//! token is in the first message or in a header that such a page cannot set, and there are no cookies. So the
//! `Origin` is not looked at.

pub mod events;
mod operation;
mod protocol;
pub mod socket;

use tokio::sync::watch;

/// How far the server is with its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// It is about to stop, and still takes requests: whoever sends it some has not heard of it yet.
    Noticed,
    Stopping,
}

/// Tells everything that stays open that the server stops. Cheap to clone.
#[derive(Clone)]
pub struct Closing(watch::Sender<Stage>);

impl Default for Closing {
    fn default() -> Closing {
        Closing(watch::Sender::new(Stage::Serving))
    }
}

impl Closing {
    /// The server is about to stop: it is not ready any more, and answers what still comes.
    pub fn notice(&self) {
        self.0.send_replace(Stage::Noticed);
    }

    /// The server stops.
    pub fn tell(&self) {
        self.0.send_replace(Stage::Stopping);
    }

    /// Whether the server is about to stop.
    pub fn noticed(&self) -> bool {
        *self.0.borrow() > Stage::Serving
    }

    /// Ends when the server is about to stop.
    pub async fn heard(&self) {
        let _ = self
            .0
            .subscribe()
            .wait_for(|stage| *stage > Stage::Serving)
            .await;
    }

    /// Ends when the server stops.
    pub async fn told(&self) {
        let stops = |stage: &Stage| *stage == Stage::Stopping;
        // The sender is ours: it does not go away while we wait.
        let _ = self.0.subscribe().wait_for(stops).await;
    }
}
