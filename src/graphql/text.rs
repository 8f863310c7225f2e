//! Answers to queries, written as text while they are resolved.
//!
//! An answer of the library is a tree in which each object is a table of names and each value a piece of memory of its
//! own; it is built to be written once and thrown away, and takes longer than its content. The rows of lists are written
//! here: what a record tells of itself is asked for without a future, what was read ahead is put in, and what has to wait
//! is waited for together and put in its place.
//!
//! A text stands in the tree as bytes, which no scalar of the schema is. Where a tree is needed, for the errors of an
//! answer or a message of a stream, it is made of it again.

use std::future::poll_fn;
use std::task::Poll;

use async_graphql::parser::types::{
    ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType, Selection,
    SelectionSet,
};
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{Context, ContextSelectionSet, ID, Name, Positioned, ServerResult, Value};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use uuid::Uuid;

use super::below::Page;
use super::scalars::{Date, Decimal, Instant};

/// In the data of a request: its rows are written as text.
pub struct Wanted;

impl Wanted {
    /// Whether the answer to this operation of a document, the only one when it has no name, may be text: that to a query
    /// which asks for each object once. The library puts together what is asked for twice, and can do so with trees alone.
    pub fn of(doc: &ExecutableDocument, name: Option<&str>) -> Option<Wanted> {
        let operation = operation(doc, name)?;
        let fine =
            operation.ty == OperationType::Query && asks_once(doc, &operation.selection_set.node);
        fine.then_some(Wanted)
    }
}

/// The operation of this name, or the only one.
pub fn operation<'a>(
    doc: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a OperationDefinition> {
    let mut operations = doc.operations.iter();
    let chosen = operations.find(|(found, _)| name.is_none() || found.map(Name::as_str) == name);
    chosen.map(|(_, operation)| &operation.node)
}

/// Whether the fields with others below them have each a name of their own, in this selection and below.
fn asks_once(doc: &ExecutableDocument, set: &SelectionSet) -> bool {
    let mut fields = Vec::new();
    flatten(doc, set, &mut fields)
        && fields
            .iter()
            .all(|field| asks_once(doc, &field.selection_set.node))
}

fn flatten<'a>(
    doc: &'a ExecutableDocument,
    set: &'a SelectionSet,
    fields: &mut Vec<&'a Field>,
) -> bool {
    set.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let field = &field.node;
            if field.selection_set.node.items.is_empty() {
                return true;
            }
            let key = &field.response_key().node;
            let is_new = fields.iter().all(|it| it.response_key().node != *key);
            fields.push(field);
            is_new
        }
        Selection::FragmentSpread(spread) => {
            let fragment = doc.fragments.get(&spread.node.fragment_name.node);
            fragment.is_none_or(|fragment: &Positioned<FragmentDefinition>| {
                flatten(doc, &fragment.node.selection_set.node, fields)
            })
        }
        Selection::InlineFragment(fragment) => {
            flatten(doc, &fragment.node.selection_set.node, fields)
        }
    })
}

/// A record that tells some of its fields at once: those that ask nobody and that no guard stands before. Of records whose
/// answers are kept (see `kept`) they rest on the record's row alone, not on today nor on who asks.
pub trait Row: ContainerType {
    /// Whether the field is one of them.
    fn is_told(_: &str) -> bool {
        false
    }

    /// Writes the field of the context, when it is one of them.
    fn tell(&self, _: &Context<'_>, _: &mut Vec<u8>) -> bool {
        false
    }
}

/// Says which fields a view tells at once, by its own methods: `field` or `field as "itsName"`.
macro_rules! told {
    ($($view:ty { $($field:ident $(as $name:literal)?),* $(,)? })+) => {$(
        impl $crate::graphql::text::Row for $view {
            fn is_told(field: &str) -> bool {
                matches!(field, $($crate::graphql::text::told!(@name $field $($name)?))|*)
            }

            fn tell(&self, ctx: &async_graphql::Context<'_>, text: &mut Vec<u8>) -> bool {
                match ctx.item.node.name.node.as_str() {
                    $($crate::graphql::text::told!(@name $field $($name)?) => {
                        $crate::graphql::text::tell(self.$field(ctx), text)
                    })*
                    _ => false,
                }
            }
        }
    )+};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}
pub(super) use told;

/// Says that these views tell nothing at once.
macro_rules! untold {
    ($($view:ty),+ $(,)?) => {$(
        impl $crate::graphql::text::Row for $view {}
    )+};
}
pub(super) use untold;

/// Writes what a field answers when it need not wait and has not failed.
pub fn tell<T: Shown, E>(answer: impl Future<Output = Result<T, E>>, text: &mut Vec<u8>) -> bool {
    match answer.now_or_never() {
        Some(Ok(value)) => {
            value.show(text);
            true
        }
        _ => false,
    }
}

/// A value as the answer has it.
pub trait Shown {
    /// Writes it as JSON.
    fn show(&self, text: &mut Vec<u8>);
}

impl Shown for str {
    fn show(&self, text: &mut Vec<u8>) {
        json(self, text);
    }
}

impl<T: Shown + ?Sized> Shown for &T {
    fn show(&self, text: &mut Vec<u8>) {
        T::show(self, text);
    }
}

impl<T: Shown> Shown for Option<T> {
    fn show(&self, text: &mut Vec<u8>) {
        match self {
            Some(value) => value.show(text),
            None => text.extend_from_slice(b"null"),
        }
    }
}

impl Shown for i32 {
    fn show(&self, text: &mut Vec<u8>) {
        json(self, text);
    }
}

impl Shown for bool {
    fn show(&self, text: &mut Vec<u8>) {
        let word: &[u8] = if *self { b"true" } else { b"false" };
        text.extend_from_slice(word);
    }
}

impl Shown for ID {
    fn show(&self, text: &mut Vec<u8>) {
        self.as_str().show(text);
    }
}

/// Says that these scalars are written as they print, between quotes, without a sign that JSON would have escaped.
macro_rules! printed {
    ($($scalar:ty),+ $(,)?) => {$(
        impl Shown for $scalar {
            fn show(&self, text: &mut Vec<u8>) {
                quoted(self.0, text);
            }
        }
    )+};
}
printed!(Decimal, Date);

impl Shown for Instant {
    fn show(&self, text: &mut Vec<u8>) {
        write(&async_graphql::ScalarType::to_value(self), text);
    }
}

fn quoted(plain: impl std::fmt::Display, text: &mut Vec<u8>) {
    text.push(b'"');
    std::io::Write::write_fmt(text, format_args!("{plain}")).expect("memory takes what is written");
    text.push(b'"');
}

/// Writes what has strings for its keys.
pub fn json(value: &(impl serde::Serialize + ?Sized), text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("memory takes what is written, and keys are strings");
}

/// Writes a value of an answer as JSON.
pub fn write(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Binary(written) => text.extend_from_slice(written),
        Value::List(values) => {
            text.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                write(value, text);
            }
            text.push(b']');
        }
        Value::Object(fields) => {
            text.push(b'{');
            for (place, (name, value)) in fields.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                // That of a JSON value may be anything.
                json(name.as_str(), text);
                text.push(b':');
                write(value, text);
            }
            text.push(b'}');
        }
        plain => json(plain, text),
    }
}

/// Makes values of all that was written.
pub fn unfold(value: &mut Value) {
    match value {
        Value::Binary(written) => {
            *value = serde_json::from_slice(written).expect("what was written is JSON");
        }
        Value::List(values) => values.iter_mut().for_each(unfold),
        Value::Object(fields) => fields.values_mut().for_each(unfold),
        _ => {}
    }
}

/// How each of the fields that are asked of a row is answered.
pub struct Step<'a> {
    field: &'a Positioned<Field>,
    how: How<'a>,
}

enum How<'a> {
    /// The name of its type.
    TypeName,
    /// By the row, at once.
    Told,
    /// A page of a list below it that was read ahead.
    Page(Page<'a>),
    /// By its resolver.
    Asked,
}

/// The steps for these fields of a row. `page`: the page of a list below the row that a field asks for, when it is one
/// that can be written at once.
pub fn steps<'a, T: Row>(
    fields: Vec<&'a Positioned<Field>>,
    page: impl Fn(&'a Field) -> Option<Page<'a>>,
) -> Vec<Step<'a>> {
    let step = |field: &'a Positioned<Field>| {
        let name = field.node.name.node.as_str();
        let how = match name {
            "__typename" => How::TypeName,
            _ if T::is_told(name) => How::Told,
            _ => page(&field.node).map_or(How::Asked, How::Page),
        };
        Step { field, how }
    };
    fields.into_iter().map(step).collect()
}

/// Whether a row tells all that is asked.
pub fn are_told(steps: &[Step<'_>]) -> bool {
    steps
        .iter()
        .all(|step| matches!(step.how, How::TypeName | How::Told))
}

/// Writes a row that tells all that is asked; false when it cannot, and then what it wrote is of no use.
pub fn tell_all<T: Row>(
    ctx: &ContextSelectionSet<'_>,
    row: &T,
    steps: &[Step<'_>],
    text: &mut Vec<u8>,
) -> bool {
    text.push(b'{');
    let told = steps.iter().enumerate().all(|(place, step)| {
        if place > 0 {
            text.push(b',');
        }
        named(&step.field.node.response_key().node, text);
        match step.how {
            How::TypeName => {
                T::type_name().as_ref().show(text);
                true
            }
            _ => row.tell(&ctx.with_field(step.field), text),
        }
    });
    text.push(b'}');
    told
}

/// A name of the answer; those of GraphQL have no sign that JSON escapes.
pub fn named(name: &str, text: &mut Vec<u8>) {
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

/// A row: where it stands in the answer, its id when lists below it were read ahead, and what it is.
pub struct Standing<'a, T> {
    pub ctx: ContextSelectionSet<'a>,
    pub id: Option<Uuid>,
    pub row: &'a T,
}

/// A row that is being written. Each field ends with a comma.
struct Draft<'a> {
    text: Vec<u8>,
    holes: Vec<Hole<'a>>,
}

/// A field that waits, and where in the text it belongs.
struct Hole<'a> {
    place: usize,
    name: &'a Name,
    answer: BoxFuture<'a, ServerResult<Option<Value>>>,
}

/// Writes rows; one of which nothing can be told is null. Fields that failed are left out, their errors are in the answer.
pub async fn written<T: Row>(rows: &[Standing<'_, T>], steps: &[Step<'_>]) -> Vec<Value> {
    // Whoever asks for the same has joined before anybody waits.
    let drafts = poll_fn(|polled| {
        let drafts = rows.iter().map(|row| row.draft(steps, polled));
        Poll::Ready(drafts.collect::<Vec<_>>())
    });
    let mut drafts = drafts.await;
    let waiting = drafts.iter_mut().flat_map(|draft| &mut draft.holes);
    let mut answers = join_all(waiting.map(|hole| &mut hole.answer))
        .await
        .into_iter();
    let rows = rows.iter().zip(drafts);
    let done = rows.map(|(row, draft)| draft.filled(&row.ctx, &mut answers));
    done.collect()
}

impl<T: Row> Standing<'_, T> {
    fn draft<'a>(
        &'a self,
        steps: &'a [Step<'_>],
        polled: &mut std::task::Context<'_>,
    ) -> Draft<'a> {
        let mut draft = Draft {
            text: Vec::with_capacity(64 * steps.len()),
            holes: Vec::new(),
        };
        draft.text.push(b'{');
        for step in steps {
            let name = &step.field.node.response_key().node;
            let before = draft.text.len();
            named(name, &mut draft.text);
            let done = match &step.how {
                How::TypeName => {
                    self.row
                        .introspection_type_name()
                        .as_ref()
                        .show(&mut draft.text);
                    true
                }
                How::Told => {
                    let ctx = self.ctx.with_field(step.field);
                    self.row.tell(&ctx, &mut draft.text)
                }
                How::Page(page) => self.id.is_some_and(|id| page.write(id, &mut draft.text)),
                How::Asked => false,
            };
            if done {
                draft.text.push(b',');
                continue;
            }
            draft.text.truncate(before);
            let answer = async {
                self.row
                    .resolve_field(&self.ctx.with_field(step.field))
                    .await
            };
            let mut answer = answer.boxed();
            match answer.poll_unpin(polled) {
                Poll::Ready(answer) => draft.put(&self.ctx, name, answer),
                Poll::Pending => draft.holes.push(Hole {
                    place: before,
                    name,
                    answer,
                }),
            }
        }
        draft
    }
}

impl Draft<'_> {
    fn put(
        &mut self,
        ctx: &ContextSelectionSet<'_>,
        name: &str,
        answer: ServerResult<Option<Value>>,
    ) {
        match answer {
            Ok(value) => {
                named(name, &mut self.text);
                write(&value.unwrap_or_default(), &mut self.text);
                self.text.push(b',');
            }
            Err(error) => ctx.add_error(error),
        }
    }

    /// The row with what it waited for: the next of the answers.
    fn filled(
        self,
        ctx: &ContextSelectionSet<'_>,
        answers: &mut impl Iterator<Item = ServerResult<Option<Value>>>,
    ) -> Value {
        let mut whole = self;
        if !whole.holes.is_empty() {
            let (text, holes) = (whole.text, std::mem::take(&mut whole.holes));
            whole.text = Vec::with_capacity(2 * text.len());
            let mut from = 0;
            for (hole, answer) in holes.iter().zip(answers) {
                whole.text.extend_from_slice(&text[from..hole.place]);
                from = hole.place;
                whole.put(ctx, hole.name, answer);
            }
            whole.text.extend_from_slice(&text[from..]);
        }
        match whole.text.last() {
            Some(b',') => {
                whole.text.pop();
                whole.text.push(b'}');
                Value::Binary(whole.text.into())
            }
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;
    use crate::domain::access::FIELDS;
    use crate::graphql::aging::OpenItem;
    use crate::graphql::client::Client;
    use crate::graphql::dispute::{Deduction, Dispute};
    use crate::graphql::document::{CreditNote, Invoice};
    use crate::graphql::matching::Allocation;
    use crate::graphql::payment::Payment;

    #[test]
    fn nothing_is_told_that_a_guard_stands_before() {
        type IsTold = fn(&str) -> bool;
        let told: [(&str, IsTold); 8] = [
            ("Client", Client::is_told),
            ("Invoice", Invoice::is_told),
            ("CreditNote", CreditNote::is_told),
            ("Payment", Payment::is_told),
            ("Dispute", Dispute::is_told),
            ("Deduction", Deduction::is_told),
            ("Allocation", Allocation::is_told),
            ("OpenItem", OpenItem::is_told),
        ];
        for (name, is_told) in told {
            assert!(is_told("id"), "{name}");
            let guarded = FIELDS.iter().filter_map(|(field, _)| {
                let (of, field) = field.split_once('.')?;
                (of == name).then_some(field)
            });
            for field in guarded {
                assert!(!is_told(field), "{name}.{field}");
            }
        }
    }

    #[test]
    fn only_a_query_that_asks_for_each_object_once_is_text() {
        for (document, name, is_text) in [
            ("{ a { b c { d } } }", None, true),
            ("{ a { b b } x: a { b } }", None, true),
            ("{ a { b } a { c } }", None, false),
            ("{ a { b } ... { a { c } } }", None, false),
            (
                "{ ...F a { c } } fragment F on Query { a { b } }",
                None,
                false,
            ),
            ("{ a { ...F } } fragment F on A { b c { d } }", None, true),
            (
                "{ a { c { d } ...F } } fragment F on A { c { e } }",
                None,
                false,
            ),
            ("mutation { a { b } }", None, false),
            (
                "query A { a { b } } query B { a { b } a { c } }",
                Some("A"),
                true,
            ),
            (
                "query A { a { b } } query B { a { b } a { c } }",
                Some("B"),
                false,
            ),
            ("query A { a { b } }", Some("C"), false),
        ] {
            let doc = parse_query(document).expect("a document");
            assert_eq!(Wanted::of(&doc, name).is_some(), is_text, "{document}");
        }
    }

    #[test]
    fn a_text_is_the_value_that_it_was_written_of() {
        let json = serde_json::json!({
            "name": "l'été \"bleu\"\n", "amount": "12.50", "days": 3, "open": true, "none": null, "a \"key\"": "",
            "rows": [{ "id": "a" }, [], {}, -1.5],
        });
        let value = Value::from_json(json.clone()).expect("a value");
        let mut text = Vec::new();
        write(&value, &mut text);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&text).ok(),
            Some(json)
        );
        let mut tree = Value::List(vec![Value::Binary(text.into()), Value::Null]);
        unfold(&mut tree);
        assert_eq!(tree, Value::List(vec![value, Value::Null]));
    }
}
