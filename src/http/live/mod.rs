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

/// Tells everything that stays open that the server stops. Cheap to clone.
#[derive(Clone)]
pub struct Closing(watch::Sender<bool>);

impl Default for Closing {
    fn default() -> Closing {
        Closing(watch::Sender::new(false))
    }
}

impl Closing {
    /// The server stops.
    pub fn tell(&self) {
        self.0.send_replace(true);
    }

    /// Ends when the server stops.
    pub async fn told(&self) {
        // The sender is ours: it does not go away while we wait.
        let _ = self.0.subscribe().wait_for(|stops| *stops).await;
    }
}
