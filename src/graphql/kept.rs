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

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{Value, Variables};
use sha2::{Digest, Sha256};

use self::records::Roots;
use super::text;
use crate::domain::access::Caller;
use crate::store::Session;
use crate::store::change::{self, Rests, Seen};

/// Longest time that an answer is kept.
const LONGEST: Duration = Duration::from_secs(600);
/// Questions remembered at most, with or without their answers.
const QUESTIONS: usize = 4096;

/// The answers that are kept, shared by all requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Kept(Option<Arc<Inner>>);

struct Inner {
    /// Bytes of answers at most.
    budget: usize,
    shelf: Mutex<Shelf>,
    given: AtomicU64,
}

#[derive(Default)]
struct Shelf {
    questions: HashMap<Question, Place>,
    bytes: usize,
    /// Rises with each use.
    clock: u64,
}

/// What is known of a question: it was asked, and maybe what was answered.
struct Place {
    used: u64,
    answer: Option<Answer>,
}

#[derive(Clone)]
struct Answer {
    text: Value,
    bytes: usize,
    seen: Seen,
    rests: Arc<Rests>,
    since: Instant,
}

/// A question whose answer may be kept: who may see what, and what is asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Question([u8; 32]);

/// A question that is being asked, and what its answer will rest on.
pub struct Asking {
    question: Question,
    roots: Roots,
}

/// What an answer is kept with: what it was read from, and what it rests on.
pub struct Worth {
    question: Question,
    seen: Seen,
    rests: Rests,
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
        Some(Asking { question, roots })
    }

    /// The answer as it was, if it still is.
    pub async fn again(&self, session: &Session, asking: &Asking) -> Option<Value> {
        let (kept, question) = (self.0.as_ref()?, &asking.question);
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
                kept.shelf().clear(question);
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

    /// What the session's answer is kept with, when it is worth keeping: to a question that was asked before, and read
    /// from one snapshot alone. What was looked for and not found ends a snapshot.
    pub async fn worth(&self, session: &Session, asking: Asking) -> Option<Worth> {
        let kept = self.0.as_ref()?;
        let Asking { question, roots } = asking;
        if !kept.shelf().was_asked(&question) || !session.saw_one_snapshot().await {
            return None;
        }
        let seen = session.read(|conn, _| Ok(change::seen(conn)?)).await;
        let seen = seen.inspect_err(|error| tracing::debug!(%error, "an answer was not kept"));
        let rests = roots.with(session.shown());
        Some(Worth {
            question,
            seen: seen.ok()?,
            rests,
        })
    }

    /// Keeps an answer.
    pub fn keep(&self, worth: Worth, data: &Value) {
        let Some(kept) = &self.0 else { return };
        let Worth {
            question,
            seen,
            rests,
        } = worth;
        let mut written = Vec::new();
        text::write(data, &mut written);
        let bytes = written.len() + rests.bytes();
        // A few large ones are not to drive out all others.
        if bytes > kept.budget / 8 {
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
        let places = shelf.questions.values();
        Usage {
            answers: places.filter(|place| place.answer.is_some()).count(),
            bytes: shelf.bytes,
            given: kept.given.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn find(&mut self, question: &Question) -> Option<Answer> {
        self.clock += 1;
        let place = self.questions.get_mut(question)?;
        place.used = self.clock;
        let answer = place.answer.clone()?;
        if answer.since.elapsed() < LONGEST {
            return Some(answer);
        }
        self.clear(question);
        None
    }

    /// Notes that an answer, of those to a question the one with this at hand, is still what a later statement sees.
    /// Another one may have been read earlier than what was looked at.
    fn renew(&mut self, question: &Question, rests: &Arc<Rests>, seen: Seen) {
        let place = self.questions.get_mut(question);
        let answer = place.and_then(|place| place.answer.as_mut());
        if let Some(answer) = answer.filter(|answer| Arc::ptr_eq(&answer.rests, rests)) {
            answer.seen = seen;
        }
    }

    /// Forgets the answer to a question.
    fn clear(&mut self, question: &Question) {
        if let Some(place) = self.questions.get_mut(question) {
            self.bytes -= place.bytes();
            place.answer = None;
        }
    }

    /// Whether the question was asked before; from now on it was.
    fn was_asked(&mut self, question: &Question) -> bool {
        self.clock += 1;
        let used = self.clock;
        if let Some(place) = self.questions.get_mut(question) {
            place.used = used;
            return true;
        }
        let answer = None;
        self.questions
            .insert(question.clone(), Place { used, answer });
        if self.questions.len() > QUESTIONS {
            self.forget();
        }
        false
    }

    fn put(&mut self, question: Question, answer: Answer, budget: usize) {
        self.clock += 1;
        self.bytes += answer.bytes;
        let place = Place {
            used: self.clock,
            answer: Some(answer),
        };
        let before = self.questions.insert(question, place);
        self.bytes -= before.map_or(0, |place| place.bytes());
        while self.bytes > budget && self.forget() {}
    }

    /// Forgets the question that was asked longest ago; false when there is none.
    fn forget(&mut self) -> bool {
        let oldest = self.questions.iter().min_by_key(|(_, place)| place.used);
        let Some(oldest) = oldest.map(|(question, _)| question.clone()) else {
            return false;
        };
        if let Some(place) = self.questions.remove(&oldest) {
            self.bytes -= place.bytes();
        }
        true
    }
}

impl Place {
    fn bytes(&self) -> usize {
        self.answer.as_ref().map_or(0, |answer| answer.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: u8) -> Question {
        Question([number; 32])
    }

    fn answer(bytes: usize) -> Answer {
        Answer {
            text: Value::Null,
            bytes,
            seen: Seen::default(),
            rests: Arc::default(),
            since: Instant::now(),
        }
    }

    #[test]
    fn what_was_asked_longest_ago_makes_room() {
        let mut shelf = Shelf::default();
        for number in 0..3 {
            assert!(!shelf.was_asked(&question(number)));
            assert!(shelf.was_asked(&question(number)));
            assert!(shelf.find(&question(number)).is_none());
            shelf.put(question(number), answer(40), 100);
            assert_eq!(shelf.find(&question(number)).map(|it| it.bytes), Some(40));
            // The first is asked again and again.
            assert!(shelf.find(&question(0)).is_some());
        }
        assert!(shelf.find(&question(1)).is_none());
        assert!(shelf.find(&question(2)).is_some());
        assert_eq!((shelf.bytes, shelf.questions.len()), (80, 2));
        shelf.put(question(2), answer(10), 100);
        assert_eq!(shelf.bytes, 50);
    }

    #[test]
    fn questions_are_counted_too() {
        let mut shelf = Shelf::default();
        for number in 0..=QUESTIONS {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_le_bytes());
            shelf.was_asked(&Question(name));
        }
        assert_eq!(shelf.questions.len(), QUESTIONS);
        assert!(!shelf.was_asked(&question(0)));
    }
}
