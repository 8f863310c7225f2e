//! Answers that are kept: a question that is asked again while nothing of what it shows has changed is not worked out
//! again.
//!
//! Whether it has is asked of the database, by one probe of the change feed: each change of a record stands there under
//! its transaction, and the snapshot that the answer was read from says which transactions it saw. So an answer is never
//! old, with several servers and with writes from outside. Only answers that show nothing but records of the feed are
//! kept, by an allow-list: fields of the records that stand in their rows, lists of records below records, and lists that
//! are narrowed by such fields. They are for those who may see the same, and cost the same points.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Value, Variables};
use sha2::{Digest, Sha256};

use super::below;
use super::client::Client;
use super::dispute::{Deduction, Dispute};
use super::document::{CreditNote, Invoice};
use super::matching::Allocation;
use super::payment::Payment;
use super::text::{self, Row};
use crate::domain::access::Caller;
use crate::store::change::{self, Seen};
use crate::store::{Session, nested::Nested};

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
    since: Instant,
}

/// A question whose answer may be kept: who may see what, and what is asked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Question([u8; 32]);

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
    ) -> Option<Question> {
        if self.0.is_none() || !rests_on_records(doc, operation, variables) {
            return None;
        }
        let who = (
            caller.company,
            caller.role,
            caller.permissions(),
            caller.portfolio(),
        );
        let asked = format!("{who:?}{operation:?}{variables:?}{text}");
        Some(Question(Sha256::digest(asked).into()))
    }

    /// The answer as it was, if it still is.
    pub async fn again(&self, session: &Session, question: &Question) -> Option<Value> {
        let kept = self.0.as_ref()?;
        let Answer { text, seen, .. } = kept.shelf().find(question)?;
        let unchanged = session
            .read_alone(move |conn, caller| {
                Ok(Some(change::is_unchanged_alone(
                    conn,
                    caller.company,
                    &seen,
                )?))
            })
            .await;
        match unchanged {
            Ok(Some(true)) => {
                kept.given.fetch_add(1, Ordering::Relaxed);
                Some(text)
            }
            Ok(Some(false)) => {
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

    /// What the session's snapshot sees, when its answer is worth keeping: to a question that was asked before, and read
    /// from that snapshot alone. What was looked for and not found ends a snapshot.
    pub async fn worth(&self, session: &Session, question: &Question) -> Option<Seen> {
        let kept = self.0.as_ref()?;
        if !kept.shelf().was_asked(question) || !session.saw_one_snapshot().await {
            return None;
        }
        let seen = session.read(|conn, _| Ok(change::seen(conn)?)).await;
        seen.inspect_err(|error| tracing::debug!(%error, "an answer was not kept"))
            .ok()
    }

    /// Keeps the answer that was read from a snapshot.
    pub fn keep(&self, question: Question, data: &Value, seen: Seen) {
        let Some(kept) = &self.0 else { return };
        let mut written = Vec::new();
        text::write(data, &mut written);
        let bytes = written.len();
        // A few large ones are not to drive out all others.
        if bytes > kept.budget / 8 {
            return;
        }
        let answer = Answer {
            text: Value::Binary(written.into()),
            bytes,
            seen,
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

/// The records whose changes stand on the feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Client,
    Invoice,
    CreditNote,
    Payment,
    Dispute,
    Deduction,
    Allocation,
}

/// Where a selection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Root,
    Row(Record),
    Page(Record),
    Edge(Record),
    /// Of plain fields alone, which all rest on the list that it is of.
    Info,
}

/// Whether the answer shows nothing but records, so that it changes with them alone.
fn rests_on_records(doc: &ExecutableDocument, name: Option<&str>, variables: &Variables) -> bool {
    let mut operations = doc.operations.iter();
    let chosen = operations.find(|(found, _)| name.is_none() || found.map(Name::as_str) == name);
    chosen.is_some_and(|(_, operation)| {
        let operation = &operation.node;
        let reading = Reading {
            doc,
            operation,
            variables,
        };
        operation.ty == OperationType::Query
            && reading.rests(&operation.selection_set.node, At::Root)
    })
}

struct Reading<'a> {
    doc: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
}

impl Reading<'_> {
    fn rests(&self, set: &SelectionSet, at: At) -> bool {
        set.items.iter().all(|selection| match &selection.node {
            Selection::Field(field) => self.field_rests(&field.node, at),
            Selection::FragmentSpread(spread) => {
                let fragment = self.doc.fragments.get(&spread.node.fragment_name.node);
                fragment.is_some_and(|fragment| {
                    let fragment = &fragment.node;
                    at.is_on(&fragment.type_condition.node.on.node)
                        && self.rests(&fragment.selection_set.node, at)
                })
            }
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                condition.is_none_or(|condition| at.is_on(&condition.node.on.node))
                    && self.rests(&fragment.node.selection_set.node, at)
            }
        })
    }

    fn field_rests(&self, field: &Field, at: At) -> bool {
        let name = field.name.node.as_str();
        if name == "__typename" {
            // That of the root alone takes no look at the books, with or without an answer that was kept.
            return at != At::Root;
        }
        let below = match at {
            At::Root => root(name).filter(|_| self.is_narrowed_by_records(field)),
            At::Row(record) if record.tells(name) => return true,
            At::Row(record) => record.below(name),
            At::Page(record) => match name {
                "nodes" => Some(At::Row(record)),
                "edges" => Some(At::Edge(record)),
                "pageInfo" => Some(At::Info),
                _ => return name == "totalCount",
            },
            At::Edge(record) => match name {
                "node" => Some(At::Row(record)),
                _ => return name == "cursor",
            },
            At::Info => return true,
        };
        below.is_some_and(|at| self.rests(&field.selection_set.node, at))
    }

    /// What a variable stands for: what was given, or else the default that the document has for it.
    fn value(&self, name: &Name) -> Value {
        let mut declared = self.operation.variable_definitions.iter();
        let default = || {
            let declared = declared.find(|it| it.node.name.node == *name)?;
            declared.node.default_value().cloned()
        };
        let given = self.variables.get(name).cloned();
        given.or_else(default).unwrap_or_default()
    }

    /// Whether a filter asks for nothing but what stands in the rows of records.
    fn is_narrowed_by_records(&self, field: &Field) -> bool {
        let fits = |filter: &Value| match filter {
            Value::Null => true,
            Value::Object(conditions) => conditions
                .keys()
                .all(|condition| NARROWING.contains(&condition.as_str())),
            _ => false,
        };
        match field.get_argument("filter") {
            None => true,
            Some(filter) => {
                let value = |name| Ok::<_, ()>(self.value(&name));
                filter
                    .node
                    .clone()
                    .into_const_with(value)
                    .is_ok_and(|filter| fits(&filter))
            }
        }
    }
}

/// What a list of clients, invoices or credit notes may be narrowed by. The others look at what is open, at today, or at
/// who asks.
const NARROWING: &[&str] = &[
    "search",
    "kinds",
    "segments",
    "insolvent",
    "closed",
    "client",
    "issuedFrom",
    "issuedTo",
    "dueFrom",
    "dueTo",
    "currency",
    "minTotal",
    "maxTotal",
];

/// What a field of the root leads to, when it shows records. Payments, disputes and deductions have filters of their own,
/// and are found below their clients and invoices as well.
fn root(field: &str) -> Option<At> {
    Some(match field {
        "clients" => At::Page(Record::Client),
        "client" => At::Row(Record::Client),
        "invoices" => At::Page(Record::Invoice),
        "invoice" => At::Row(Record::Invoice),
        "creditNotes" => At::Page(Record::CreditNote),
        "creditNote" => At::Row(Record::CreditNote),
        "payment" => At::Row(Record::Payment),
        "dispute" => At::Row(Record::Dispute),
        "deduction" => At::Row(Record::Deduction),
        _ => return None,
    })
}

impl At {
    /// Whether a fragment on this type is for what stands here.
    fn is_on(self, type_name: &str) -> bool {
        match self {
            At::Root => type_name == "Query",
            At::Row(record) => type_name == record.name(),
            At::Page(record) => type_name.strip_suffix("Connection") == Some(record.name()),
            At::Edge(record) => type_name.strip_suffix("Edge") == Some(record.name()),
            At::Info => type_name == "PageInfo",
        }
    }
}

impl Record {
    fn name(self) -> &'static str {
        match self {
            Record::Client => "Client",
            Record::Invoice => "Invoice",
            Record::CreditNote => "CreditNote",
            Record::Payment => "Payment",
            Record::Dispute => "Dispute",
            Record::Deduction => "Deduction",
            Record::Allocation => "Allocation",
        }
    }

    /// Whether it tells the field by itself: what is told stands in its row.
    fn tells(self, field: &str) -> bool {
        match self {
            Record::Client => Client::is_told(field),
            Record::Invoice => Invoice::is_told(field),
            Record::CreditNote => CreditNote::is_told(field),
            Record::Payment => Payment::is_told(field),
            Record::Dispute => Dispute::is_told(field),
            Record::Deduction => Deduction::is_told(field),
            Record::Allocation => Allocation::is_told(field),
        }
    }

    /// The records that a field of its row leads to.
    fn below(self, field: &str) -> Option<At> {
        let lists = below::lists(self.name()).iter();
        let list = lists.into_iter().find(|(name, _)| *name == field);
        if let Some((_, list)) = list {
            return Some(At::Page(Record::of(*list)));
        }
        let other = match (self, field) {
            (
                Record::Invoice
                | Record::CreditNote
                | Record::Payment
                | Record::Dispute
                | Record::Deduction,
                "client",
            ) => Record::Client,
            (Record::CreditNote | Record::Dispute | Record::Deduction, "invoice") => {
                Record::Invoice
            }
            _ => return None,
        };
        Some(At::Row(other))
    }

    fn of(list: Nested) -> Record {
        match list {
            Nested::InvoicesOfClient => Record::Invoice,
            Nested::CreditNotesOfClient | Nested::CreditNotesOfInvoice => Record::CreditNote,
            Nested::PaymentsOfClient => Record::Payment,
            Nested::DisputesOfClient | Nested::DisputesOfInvoice => Record::Dispute,
            Nested::DeductionsOfClient | Nested::DeductionsOfInvoice => Record::Deduction,
            Nested::AllocationsOfInvoice
            | Nested::AllocationsOfCreditNote
            | Nested::AllocationsOfPayment => Record::Allocation,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_rests_on_records_alone_may_be_kept() {
        let variables = Variables::from_json(
            json!({ "plain": { "search": "a" }, "open": { "open": true }, "id": "x" }),
        );
        for (document, may) in [
            ("{ clients { nodes { number name } } }", true),
            (
                "{ client(ref: { number: \"C1\" }) { name invoices { nodes { total allocations { nodes { amount } } } } } }",
                true,
            ),
            (
                "{ invoices { totalCount pageInfo { endCursor } edges { cursor node { client { name } } } } }",
                true,
            ),
            (
                "{ creditNotes { nodes { invoice { number } __typename } } }",
                true,
            ),
            (
                "{ ...A } fragment A on Query { clients { ... on ClientConnection { nodes { ...B } } } } fragment B on Client { name }",
                true,
            ),
            (
                "query A { clients { nodes { name } } } query B { viewer { name } }",
                true,
            ),
            (
                "query($plain: F) { invoices(filter: $plain) { nodes { number } } }",
                true,
            ),
            (
                "query($none: F) { invoices(filter: $none) { nodes { number } } }",
                true,
            ),
            ("{ clients(filter: null) { nodes { number } } }", true),
            (
                "query($f: F = { search: \"a\" }) { invoices(filter: $f) { nodes { number } } }",
                true,
            ),
            (
                "query($f: F = { overdue: true }) { invoices(filter: $f) { nodes { number } } }",
                false,
            ),
            (
                "query($f: F = { collector: \"me\" }) { clients(filter: $f) { nodes { number } } }",
                false,
            ),
            (
                "query($plain: F = { overdue: true }) { invoices(filter: $plain) { nodes { number } } }",
                true,
            ),
            ("{ __typename }", false),
            (
                "{ clients(filter: { kinds: [COMPANY], search: \"a\" }) { nodes { number } } }",
                true,
            ),
            // What is open, today, who asks.
            (
                "query($open: F) { invoices(filter: $open) { nodes { number } } }",
                false,
            ),
            (
                "{ invoices(filter: { overdue: true }) { nodes { number } } }",
                false,
            ),
            (
                "{ clients(filter: { search: \"a\", salesOwner: \"me\" }) { nodes { number } } }",
                false,
            ),
            (
                "query($id: ID) { clients(filter: { salesOwner: $id }) { nodes { number } } }",
                false,
            ),
            ("{ invoices { nodes { number open } } }", false),
            ("{ invoices { nodes { overdue } } }", false),
            (
                "{ clients { nodes { openItems { nodes { open } } } } }",
                false,
            ),
            // Other records, and what a guard stands before.
            ("{ clients { nodes { contacts { name } } } }", false),
            ("{ clients { nodes { salesOwner { name } } } }", false),
            ("{ invoices { nodes { lines { net } } } }", false),
            ("{ agedBalance { totals { total } } }", false),
            ("{ viewer { name } clients { nodes { number } } }", false),
            ("{ __schema { types { name } } }", false),
            ("{ ...A } fragment A on Query { viewer { name } }", false),
            ("{ node(id: \"x\") { ... on Client { name } } }", false),
            ("{ clients { nodes { ... on Invoice { number } } } }", false),
            ("mutation { createClient { client { name } } }", false),
            ("subscription { clients { nodes { name } } }", false),
        ] {
            let doc = parse_query(document).expect("a document");
            let name = document.starts_with("query A").then_some("A");
            assert_eq!(rests_on_records(&doc, name, &variables), may, "{document}");
        }
    }

    fn question(number: u8) -> Question {
        Question([number; 32])
    }

    fn answer(bytes: usize) -> Answer {
        Answer {
            text: Value::Null,
            bytes,
            seen: Seen::default(),
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
