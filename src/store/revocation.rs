//! Which sessions were revoked, at hand for every request.
//!
//! The list is read again by the first request that finds it two seconds old, so another instance's
//! revocation is known here within two seconds and one statement, and an idle server asks nothing. Who
//! revokes calls [`Db::learn_revocations`], so that this instance knows at once. When the list cannot be
//! read, nobody with a session comes in.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Db, Session, session};
use crate::domain::ids::SessionId;
use crate::error::{Error, Result};

/// How old the list may be.
const FRESH: Duration = Duration::from_secs(2);
/// How long an entry stays that the list no longer holds.
const KEPT: Duration = Duration::from_secs(60);

/// The list as last read.
#[derive(Default)]
pub struct Revoked {
    known: RwLock<Known>,
    /// One reads, the others wait for it.
    turn: Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// When reading began.
    read_at: Option<Instant>,
    /// When each was last seen in the list.
    seen: HashMap<SessionId, Instant>,
}

impl Revoked {
    fn is_fresh(&self) -> Result<bool> {
        let known = self.known.read().map_err(|_| poisoned())?;
        Ok(known.read_at.is_some_and(|at| at.elapsed() < FRESH))
    }

    fn holds(&self, id: SessionId) -> Result<bool> {
        let known = self.known.read().map_err(|_| poisoned())?;
        Ok(known.seen.contains_key(&id))
    }

    /// Entries are added, never replaced: a list that was read earlier and arrives later takes nothing away.
    fn take(&self, ids: Vec<SessionId>, began: Instant) -> Result<()> {
        let mut known = self.known.write().map_err(|_| poisoned())?;
        known.seen.extend(ids.into_iter().map(|id| (id, began)));
        known.seen.retain(|_, seen| seen.elapsed() < KEPT);
        known.read_at = known.read_at.max(Some(began));
        Ok(())
    }
}

fn poisoned() -> Error {
    Error::Internal("the list of revoked sessions is broken".into())
}

impl Db {
    /// Whether a session was revoked: on this instance at once, on the others within two seconds.
    pub async fn is_revoked(&self, id: SessionId) -> Result<bool> {
        if !self.revoked.is_fresh()? {
            let _turn = self.revoked.turn.lock().await;
            if !self.revoked.is_fresh()? {
                self.learn_revocations().await?;
            }
        }
        self.revoked.holds(id)
    }

    /// Reads the list now: after this process has revoked sessions.
    pub async fn learn_revocations(&self) -> Result<()> {
        let began = Instant::now();
        let ids = self
            .anonymous(|conn| Ok(session::revoked_lately(conn)?))
            .await?;
        self.revoked.take(ids, began)
    }
}

impl Session {
    /// Reads the list now, on the request's own connection: after this request has revoked sessions.
    pub async fn learn_revocations(&self) -> Result<()> {
        let began = Instant::now();
        let ids = self
            .read(|conn, _| Ok(session::revoked_lately(conn)?))
            .await?;
        self.db().revoked.take(ids, began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Id;

    #[test]
    fn what_was_learned_is_not_unlearned_by_an_older_list() {
        let revoked = Revoked::default();
        assert!(!revoked.is_fresh().expect("whole"));
        let (id, began) = (SessionId::new(), Instant::now());
        revoked.take(vec![id], Instant::now()).expect("taken");
        revoked.take(Vec::new(), began).expect("taken");
        assert!(revoked.holds(id).expect("whole"));
        assert!(!revoked.holds(SessionId::new()).expect("whole"));
        assert!(revoked.is_fresh().expect("whole"));
    }
}
