//! Answers that are kept: a question that is asked again while nothing of what it shows has changed is not worked out
//! again.
//!
//! Whether it has is asked of the database, by one probe of the change feed: each change of a record stands there under
//! its transaction, and the snapshot that the answer was read from says which transactions it saw. So an answer is never
//! old, with several servers and with writes from outside. Only answers that show nothing but records of the feed are
//! kept, by an allow-list: fields of the records that stand in their rows, lists of records below records, and lists that
//! are narrowed by such fields. They are for those who may see the same, and cost the same points.
//!
//! What hangs on a record is its client's (R3.1): a screen of twenty clients rests on what is done for these, and on
//! clients that come or go, not on all that the company does meanwhile.

mod records;
mod shelf;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Value, Variables};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use self::records::Roots;
use self::shelf::{Answer, Question, Shelf};
use super::text;
use crate::domain::access::Caller;
use crate::store::Session;
use crate::store::change::{self, Rests, Seen};

/// Longest wait for somebody else who works an answer out.
const LONGEST_WAIT: Duration = Duration::from_millis(300);

/// The answers that are kept, shared by all requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kept(Option<Arc<Inner>>);

struct Inner {
    /// Bytes of answers at most.
    budget: usize,
    shelf: Mutex<Shelf>,
    given: AtomicU64,
}

/// A question that is being asked, and what its answer will rest on.
pub struct Asking {
    question: Question,
    roots: Roots,
    turn: Option<Turn>,
}

/// What an answer is kept with: what it was read from, and what it rests on.
pub struct Worth {
    question: Question,
    seen: Seen,
    rests: Rests,
    turn: Option<Turn>,
}

/// Held by who works out an answer that others wait for, until it is kept or is not.
struct Turn {
    _held: OwnedSemaphorePermit,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Answers kept now.
    pub answers: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Answers given again since the start.
    pub given: u64,
}

impl Kept {
    /// Keeps answers in so much memory, none with 0 bytes.
    pub fn within(budget: usize) -> Kept {
        let inner = Inner {
            budget,
            shelf: Mutex::default(),
            given: AtomicU64::default(),
        };
        Kept((budget > 0).then(|| Arc::new(inner)))
    }

    /// The question that this operation of a document asks, when its answer may be kept.
    pub fn question(
        &self,
        caller: &Caller,
        doc: &ExecutableDocument,
        operation: Option<&str>,
        text: &str,
        variables: &Variables,
    ) -> Option<Asking> {
        self.0.as_ref()?;
        let roots = records::rests_on_records(doc, operation, variables)?;
        let who = (
            caller.company,
            caller.role,
            &caller.scopes,
            caller.portfolio(),
        );
        let asked = format!("{who:?}{operation:?}{variables:?}{text}");
        let question = Question(Sha256::digest(asked).into());
        Some(Asking {
            question,
            roots,
            turn: None,
        })
    }

    /// The answer as it was, if it still is, or as somebody else works it out right now. None when it is to be worked out:
    /// the many who look at one screen when it changes do so once.
    pub async fn again(&self, session: &Session, asking: &mut Asking) -> Option<Value> {
        if let Some(data) = self.given(session, &asking.question).await {
            return Some(data);
        }
        asking.turn = self.turn(session, &asking.question).await;
        // It may have been kept meanwhile.
        self.given(session, &asking.question).await
    }

    /// The answer as it was, if it still is.
    async fn given(&self, session: &Session, question: &Question) -> Option<Value> {
        let kept = self.0.as_ref()?;
        let found = kept.shelf().find(question)?;
        let Answer {
            text, seen, rests, ..
        } = found;
        let same = Arc::clone(&rests);
        let unchanged = session
            .read_alone(move |conn, caller| {
                let company = caller.company;
                Ok(Some(change::unchanged_alone(conn, company, &seen, &rests)?))
            })
            .await;
        match unchanged {
            Ok(Some(Some(seen))) => {
                kept.given.fetch_add(1, Ordering::Relaxed);
                kept.shelf().renew(question, &same, seen);
                Some(text)
            }
            Ok(Some(None)) => {
                kept.shelf().clear(question, &same);
                None
            }
            Ok(None) => None,
            // The question is asked as if nothing had been kept, and meets what is wrong itself.
            Err(error) => {
                tracing::debug!(%error, "a kept answer was not looked at");
                None
            }
        }
    }

    /// The turn to work out an answer that is not kept any more. None where it was not kept before, and after a wait for
    /// somebody whose turn it was. No connection is held during the wait, which is short enough for
    /// [`Session::read_alone`] to look after it.
    async fn turn(&self, session: &Session, question: &Question) -> Option<Turn> {
        let turn = self.0.as_ref()?.shelf().turn(question)?;
        if let Ok(held) = Arc::clone(&turn).try_acquire_owned() {
            return Some(Turn { _held: held });
        }
        session.let_go().await;
        // All who waited go on together.
        let waited = tokio::time::timeout(LONGEST_WAIT, turn.acquire()).await;
        drop(waited);
        None
    }

    /// Notes that the answer cannot be kept this time.
    pub fn not_kept(&self, asking: &Asking) {
        if let Some(kept) = &self.0 {
            kept.shelf().waits_for_nobody(&asking.question);
        }
    }

    /// What the session's answer is kept with, when it is worth keeping: to a question that was asked before, and read
    /// from one snapshot alone. What was looked for and not found ends a snapshot.
    pub async fn worth(&self, session: &Session, asking: Asking) -> Option<Worth> {
        let kept = self.0.as_ref()?;
        let Asking {
            question,
            roots,
            turn,
        } = asking;
        if !kept.shelf().was_asked(&question) || !session.saw_one_snapshot().await {
            kept.shelf().waits_for_nobody(&question);
            return None;
        }
        let seen = session.read(|conn, _| Ok(change::seen(conn)?)).await;
        let seen = seen.inspect_err(|error| tracing::debug!(%error, "an answer was not kept"));
        let rests = roots.with(session.shown());
        Some(Worth {
            question,
            seen: seen.ok()?,
            rests,
            turn,
        })
    }

    /// Keeps an answer.
    pub fn keep(&self, worth: Worth, data: &Value) {
        let Some(kept) = &self.0 else { return };
        let Worth {
            question,
            seen,
            rests,
            turn: _turn,
        } = worth;
        let mut written = Vec::new();
        text::write(data, &mut written);
        let bytes = written.len() + rests.bytes();
        // A few large ones are not to drive out all others.
        if bytes > kept.budget / 8 {
            kept.shelf().waits_for_nobody(&question);
            return;
        }
        let answer = Answer {
            text: Value::Binary(written.into()),
            bytes,
            seen,
            rests: Arc::new(rests),
            since: Instant::now(),
        };
        kept.shelf().put(question, answer, kept.budget);
    }

    /// How much is kept.
    pub fn usage(&self) -> Usage {
        let Some(kept) = &self.0 else {
            return Usage::default();
        };
        let shelf = kept.shelf();
        Usage {
            answers: shelf.answers(),
            bytes: shelf.bytes(),
            given: kept.given.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
