//! Live changes: who follows the feed of a company is told soon after the commit.
//!
//! One task per company with followers looks at the feed a few times a second, on every server that has
//! such followers. NOTIFY would be quicker, but it takes a lock of the whole database at each commit that
//! notifies, and so makes all commits of all companies wait for each other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::domain::access::{Caller, Role};
use crate::domain::change::{Position, Topic};
use crate::domain::ids::{CompanyId, UserId};
use crate::error::{Error, Result};
use crate::store::change::{self, Change, Page, Wanted};
use crate::store::{Db, Session};

/// How often the feed is looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// How long to wait when the database does not answer.
const AWAY: Duration = Duration::from_secs(1);
/// Changes read at once.
const PAGE: usize = 500;
/// Changes kept for a follower that is busy; beyond, it reads them from the feed again.
const BUFFER: usize = 1024;
/// How long a follower that was told everything may be behind after that.
const PATIENCE: Duration = Duration::from_secs(60);

/// The followers of this server. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    db: Db,
    companies: Mutex<HashMap<CompanyId, Views>>,
}

/// Who sees the same: everything of the company, or one portfolio.
type Views = HashMap<Option<UserId>, View>;

#[derive(Clone)]
struct View {
    caller: Caller,
    sender: broadcast::Sender<Arc<Change>>,
}

impl Feed {
    /// Nobody follows yet.
    pub fn new(db: Db) -> Feed {
        Feed(Arc::new(Inner {
            db,
            companies: Mutex::default(),
        }))
    }

    /// Follows the changes that the session's caller may see, from behind a position or from now on.
    pub async fn follow(
        &self,
        session: Session,
        wanted: Wanted,
        after: Option<Position>,
    ) -> Result<Follower> {
        // Taken before the subscription: the task that starts with it misses nothing of what comes then.
        let now = session.read(|conn, _| Ok(change::horizon(conn)?)).await?;
        session.finish().await;
        let start = known(after.unwrap_or(now), now)?;
        Ok(Follower {
            receiver: self.subscribe(session.caller(), now),
            session,
            wanted,
            told: start,
            read: start,
            waiting: VecDeque::new(),
            catching_up: true,
            behind_since: None,
        })
    }

    fn subscribe(&self, caller: &Caller, now: Position) -> broadcast::Receiver<Arc<Change>> {
        let mut companies = self.0.companies();
        let views = companies.entry(caller.company).or_insert_with(|| {
            tokio::spawn(Arc::clone(&self.0).watch(caller.company, now));
            Views::new()
        });
        let view = views.entry(caller.portfolio()).or_insert_with(|| View {
            caller: caller.clone(),
            sender: broadcast::Sender::new(BUFFER),
        });
        view.sender.subscribe()
    }
}

/// A position, unless it is ahead of everything: then it is of another server, and nothing would ever come behind it.
pub fn known(after: Position, horizon: Position) -> Result<Position> {
    if after <= horizon {
        return Ok(after);
    }
    Err(Error::BadInput {
        field: "after",
        message: "this cursor is ahead of the change feed, as after a restored backup: read from the beginning or from now".into(),
    })
}

/// Takes the company off the list when its task ends before its time, with the thread that it ran on. The
/// followers then hear of it and come back.
struct Watch {
    feed: Arc<Inner>,
    company: CompanyId,
    is_over: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_over {
            self.feed.companies().remove(&self.company);
        }
    }
}

impl Inner {
    fn companies(&self) -> MutexGuard<'_, HashMap<CompanyId, Views>> {
        self.companies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the changes of a company on until nobody follows them.
    async fn watch(self: Arc<Self>, company: CompanyId, mut position: Position) {
        let mut watch = Watch {
            feed: Arc::clone(&self),
            company,
            is_over: false,
        };
        while self.is_followed(company) {
            match self.pass_on(company, position).await {
                Ok((end, more)) => {
                    position = end;
                    if !more {
                        tokio::time::sleep(PERIOD).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, company = %company.0, "the change feed was not read");
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
        // Off the list already; somebody new may be on it by now.
        watch.is_over = true;
    }

    /// Forgets views without followers; false when none is left, and then the next follower starts a new task.
    fn is_followed(&self, company: CompanyId) -> bool {
        let mut companies = self.companies();
        let Some(views) = companies.get_mut(&company) else {
            return false;
        };
        views.retain(|_, view| view.sender.receiver_count() > 0);
        if views.is_empty() {
            companies.remove(&company);
            return false;
        }
        true
    }

    /// Tells every view what is new to it: where to go on, and whether to do so at once. Nothing is told before
    /// everything is read: after a failure the same changes are read again.
    async fn pass_on(&self, company: CompanyId, after: Position) -> Result<(Position, bool)> {
        let Some(page) = self.seen_by(reader(company), after).await? else {
            return Ok((after, false));
        };
        let views: Vec<View> = match self.companies().get(&company) {
            Some(views) => views.values().cloned().collect(),
            None => Vec::new(),
        };
        let mut news = Vec::new();
        for view in views {
            let changes = match view.caller.portfolio() {
                None => page.changes.clone(),
                // What is in a portfolio only its own session can say.
                Some(_) => match self.seen_by(view.caller, after).await? {
                    Some(seen) => up_to(page.end, seen.changes),
                    None => Vec::new(),
                },
            };
            news.push((view.sender, changes));
        }
        for (sender, changes) in news {
            for change in changes {
                // Nobody listens any more: the next round notices.
                let _ = sender.send(Arc::new(change));
            }
        }
        Ok((page.end, page.more))
    }

    /// What a caller may see behind a position; none when nothing is there, which one probe tells.
    async fn seen_by(&self, caller: Caller, after: Position) -> Result<Option<Page>> {
        let session = self.db.session(caller);
        let everything = Wanted {
            topics: Topic::ALL.iter().map(|topic| topic.code().into()).collect(),
            client: None,
        };
        let found = session
            .read(move |conn, caller| {
                if !change::any_behind(conn, caller.company, after)? {
                    return Ok(None);
                }
                let page = change::page(conn, caller.company, after, &everything, PAGE)?;
                Ok(Some(page))
            })
            .await;
        session.finish().await;
        found
    }
}

/// Some may have come since the others were read: they are for the next round.
fn up_to(end: Position, mut changes: Vec<Change>) -> Vec<Change> {
    changes.retain(|change| change.position() <= end);
    changes
}

/// Whoever reads the feed of a company for all who see all of it.
fn reader(company: CompanyId) -> Caller {
    Caller {
        company,
        user: None,
        author: "feed".into(),
        role: Role::Director,
        scopes: None,
        today: super::jobs::today(),
        approval: None,
    }
}

/// Someone who follows the feed. It holds no connection while nothing happens.
pub struct Follower {
    session: Session,
    wanted: Wanted,
    receiver: broadcast::Receiver<Arc<Change>>,
    /// The last change that was answered.
    told: Position,
    /// Up to here nothing is new any more.
    read: Position,
    waiting: VecDeque<Change>,
    /// Reads the feed itself: at first, and after it was so busy that its buffer ran over.
    catching_up: bool,
    behind_since: Option<Instant>,
}

impl Follower {
    /// The next change, once there is one.
    pub async fn next(&mut self) -> Result<Change> {
        loop {
            if let Some(change) = self.waiting.pop_front() {
                self.told = change.position();
                return Ok(change);
            }
            if self.catching_up {
                self.read_on().await?;
                continue;
            }
            match self.receiver.recv().await {
                Ok(change) if change.position() <= self.read => {}
                Ok(change) => {
                    self.read = change.position();
                    if self.wanted.holds(&change) {
                        self.waiting.push_back((*change).clone());
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    self.catching_up = true;
                    self.behind_since = Some(Instant::now());
                }
                Err(RecvError::Closed) => {
                    return Err(Error::Unavailable("the change feed is not read".into()));
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<()> {
        if self
            .behind_since
            .is_some_and(|since| since.elapsed() > PATIENCE)
        {
            return Err(Error::TooSlow {
                after: self.told.cursor(),
            });
        }
        let (after, wanted) = (self.read, self.wanted.clone());
        let page = self
            .session
            .read(move |conn, caller| Ok(change::page(conn, caller.company, after, &wanted, PAGE)?))
            .await;
        self.session.finish().await;
        let page = page?;
        self.read = page.end;
        self.waiting.extend(page.changes);
        self.catching_up = page.more;
        if !page.more {
            self.behind_since = None;
        }
        Ok(())
    }
}
