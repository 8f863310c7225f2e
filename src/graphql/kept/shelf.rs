//! Where answers are kept: by question, within a budget; what was asked longest ago makes room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::Value;
use tokio::sync::Semaphore;

use crate::store::change::{Rests, Seen};

/// Longest time that an answer is kept.
const LONGEST: Duration = Duration::from_secs(600);
/// Questions remembered at most, with or without their answers.
const QUESTIONS: usize = 4096;

/// Questions and answers, in a bounded piece of memory.
#[derive(Default)]
pub struct Shelf {
    questions: HashMap<Question, Place>,
    bytes: usize,
    /// Rises with each use.
    clock: u64,
}

/// What is known of a question: it was asked, and maybe what was answered.
#[derive(Default)]
struct Place {
    used: u64,
    answer: Option<Answer>,
    /// Taken by who works it out. There once an answer was kept, as long as later ones are: nobody waits in vain.
    turn: Option<Arc<Semaphore>>,
}

/// An answer, with what it was read from and rests on.
#[derive(Clone)]
pub struct Answer {
    pub text: Value,
    pub bytes: usize,
    pub seen: Seen,
    pub rests: Arc<Rests>,
    pub since: Instant,
}

/// A question whose answer may be kept: who may see what, and what is asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question(pub [u8; 32]);

impl Shelf {
    /// How many answers there are.
    pub fn answers(&self) -> usize {
        let places = self.questions.values();
        places.filter(|place| place.answer.is_some()).count()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer to a question, when one is kept that is not too old.
    pub fn find(&mut self, question: &Question) -> Option<Answer> {
        self.clock += 1;
        let place = self.questions.get_mut(question)?;
        place.used = self.clock;
        let answer = place.answer.clone()?;
        if answer.since.elapsed() < LONGEST {
            return Some(answer);
        }
        self.clear(question, &answer.rests);
        None
    }

    /// The answer to a question, when it is still the one that rests on this: another one, kept meanwhile, may have been
    /// read earlier than what was looked at, or later.
    fn same(&mut self, question: &Question, rests: &Arc<Rests>) -> Option<&mut Option<Answer>> {
        let place = self.questions.get_mut(question)?;
        let same = place.answer.as_ref();
        same.is_some_and(|answer| Arc::ptr_eq(&answer.rests, rests))
            .then_some(&mut place.answer)
    }

    /// Notes that this answer to a question is still what a later statement sees.
    pub fn renew(&mut self, question: &Question, rests: &Arc<Rests>, seen: Seen) {
        if let Some(Some(answer)) = self.same(question, rests) {
            answer.seen = seen;
        }
    }

    /// Forgets this answer to a question.
    pub fn clear(&mut self, question: &Question, rests: &Arc<Rests>) {
        if let Some(gone) = self.same(question, rests).and_then(Option::take) {
            self.bytes -= gone.bytes;
        }
    }

    /// What is held by who works out an answer that others may wait for.
    pub fn turn(&self, question: &Question) -> Option<Arc<Semaphore>> {
        self.questions.get(question)?.turn.clone()
    }

    /// Notes that the answer to a question was not kept.
    pub fn waits_for_nobody(&mut self, question: &Question) {
        if let Some(place) = self.questions.get_mut(question) {
            place.turn = None;
        }
    }

    /// Whether the question was asked before; from now on it was.
    pub fn was_asked(&mut self, question: &Question) -> bool {
        self.clock += 1;
        let used = self.clock;
        if let Some(place) = self.questions.get_mut(question) {
            place.used = used;
            return true;
        }
        let place = Place {
            used,
            ..Place::default()
        };
        self.questions.insert(question.clone(), place);
        if self.questions.len() > QUESTIONS {
            self.forget();
        }
        false
    }

    /// Keeps an answer, in so many bytes with all others.
    pub fn put(&mut self, question: Question, answer: Answer, budget: usize) {
        self.clock += 1;
        self.bytes += answer.bytes;
        let place = self.questions.entry(question).or_default();
        self.bytes -= place.bytes();
        place.used = self.clock;
        place.answer = Some(answer);
        place
            .turn
            .get_or_insert_with(|| Arc::new(Semaphore::new(1)));
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
