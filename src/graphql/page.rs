//! One pagination: Relay connections over keyset cursors.
//!
//! A cursor holds the row's sort value and id and a digest of the filter: a cursor of another list,
//! filter or order is refused, and rows written meanwhile are neither lost nor repeated.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;

use async_graphql::async_trait::async_trait;
use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::resolve_list;
use async_graphql::{
    Context, ContextSelectionSet, OutputType, Positioned, SelectionField, ServerResult,
    SimpleObject, TypeName, Value,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::below::{self, Ahead};
use super::document::found;
use super::lean::{self, Lean};
use super::session;
use super::text::{self, Row, Standing};
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::ids::ClientId;
use crate::error::{Error, Result};
use crate::store::list::{Keyset, Sort, Sql};
use crate::store::nested::Nested;
use crate::store::{self, Conn, Session};

/// Rows on a page unless asked otherwise.
pub const DEFAULT_SIZE: i32 = 20;
/// Rows on a page at most.
pub const MAX_SIZE: i32 = 100;

/// Where a page stands in its list.
#[derive(SimpleObject, Clone, Debug)]
pub struct PageInfo {
    /// Whether more rows follow.
    has_next_page: bool,
    /// Whether rows come before.
    has_previous_page: bool,
    /// The cursor of the first row: give it as `before` with `last` to get the page before; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the last row: give it as `after` to get the next page; null on an empty page.
    end_cursor: Option<String>,
}

impl PageInfo {
    fn new(cursors: &[Cursor], ends: Ends) -> PageInfo {
        PageInfo {
            has_next_page: ends.has_next,
            has_previous_page: ends.has_previous,
            start_cursor: cursors.first().map(Cursor::show),
            end_cursor: cursors.last().map(Cursor::show),
        }
    }
}

/// A row and its cursor.
#[derive(SimpleObject)]
#[graphql(name_type)]
pub struct Edge<T: OutputType> {
    /// Opaque position of the row.
    cursor: String,
    /// The row.
    node: T,
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

/// The arguments of every list: `first` rows behind `after`, or `last` rows before `before`.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl Window {
    /// Forward or backward, never both: a page has one direction.
    fn backward(&self) -> Result<bool> {
        let clash = |field, message: &str| {
            Err(Error::BadInput {
                field,
                message: message.into(),
            })
        };
        match (
            self.first.is_some() || self.after.is_some(),
            self.last.is_some() || self.before.is_some(),
        ) {
            (true, true) if self.last.is_some() => clash(
                "last",
                "ask for the `first` rows behind `after` or for the `last` rows before `before`, not both",
            ),
            (true, true) => clash("before", "`before` goes with `last`, `after` with `first`"),
            (_, backward) => Ok(backward),
        }
    }
}

/// Whether rows come before and behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    has_previous: bool,
    has_next: bool,
}

/// What a page was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// For the store.
    pub keyset: Keyset,
    list: Name,
}

/// Names a list with its filter and order. A list below a record is written out when a cursor is: a screen has a
/// thousand of them, and asks few for cursors.
#[derive(Clone, Debug)]
pub enum Name {
    /// A list that stands by itself.
    Own(Arc<str>),
    /// A list below a record.
    Below(Nested, Uuid),
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name::Own(name.into())
    }
}

impl From<&String> for Name {
    fn from(name: &String) -> Name {
        Name::Own(name.as_str().into())
    }
}

impl Name {
    /// Tells a list from others: it stands in its cursors.
    fn digest(&self) -> String {
        let written = match self {
            Name::Own(name) => Sha256::digest(name.as_bytes()),
            Name::Below(list, parent) => Sha256::digest(format!("{list:?}{parent}")),
        };
        hex(&written[..4])
    }
}

/// A row's place in its list. It is made for every row and written for those whose cursor is asked for.
#[derive(Clone, Debug)]
pub struct Cursor {
    list: Name,
    sort: String,
    id: Uuid,
}

impl Cursor {
    fn show(&self) -> String {
        let (digest, id) = (self.list.digest(), self.id.simple());
        hex(format!("{digest}|{id}|{}", self.sort).as_bytes())
    }
}

impl Asked {
    /// Checks sizes and cursors; `list` names the list with its filter and order.
    pub fn new(window: &Window, list: impl Into<Name>) -> Result<Asked> {
        let list = list.into();
        let backward = window.backward()?;
        let (size, cursor, fields) = if backward {
            (window.last, &window.before, ("last", "before"))
        } else {
            (window.first, &window.after, ("first", "after"))
        };
        let size = size.unwrap_or(DEFAULT_SIZE);
        if !(0..=MAX_SIZE).contains(&size) {
            return Err(Error::BadInput {
                field: fields.0,
                message: format!("a page has 0 to {MAX_SIZE} rows, {size} were asked for"),
            });
        }
        let from = cursor
            .as_deref()
            .map(|cursor| read(cursor, &list.digest(), fields.1))
            .transpose()?;
        Ok(Asked {
            keyset: Keyset {
                size: i64::from(size),
                from,
                backward,
            },
            list,
        })
    }

    /// What lies around the page, given whether the list goes on in the direction of reading.
    pub fn ends(&self, more: bool) -> Ends {
        let behind_us = self.keyset.from.is_some();
        if self.keyset.backward {
            Ends {
                has_previous: more,
                has_next: behind_us,
            }
        } else {
            Ends {
                has_previous: behind_us,
                has_next: more,
            }
        }
    }

    /// The cursor of a row.
    pub fn cursor(&self, sort: impl Into<String>, id: Uuid) -> Cursor {
        Cursor {
            list: self.list.clone(),
            sort: sort.into(),
            id,
        }
    }
}

fn read(cursor: &str, digest: &str, field: &'static str) -> Result<(String, Uuid)> {
    let wrong = || {
        Error::BadInput {
        field,
        message: "this is not a cursor of this list with this filter and order: take endCursor or startCursor of one of its pages".into(),
    }
    };
    if cursor.len() > 2000 || !cursor.len().is_multiple_of(2) || !cursor.is_ascii() {
        return Err(wrong());
    }
    let bytes: Option<Vec<u8>> = (0..cursor.len())
        .step_by(2)
        .map(|n| u8::from_str_radix(&cursor[n..n + 2], 16).ok())
        .collect();
    let text = bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(wrong)?;
    let mut parts = text.splitn(3, '|');
    match (
        parts.next(),
        parts.next().and_then(|id| Uuid::try_parse(id).ok()),
        parts.next(),
    ) {
        (Some(found), Some(id), Some(sort)) if found == digest => Ok((sort.to_owned(), id)),
        _ => Err(wrong()),
    }
}

/// How the total of a connection is counted, when it is asked for.
pub type Count = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<i64>> + Send>> + Send + Sync>;

/// A page of a list.
pub struct Connection<T> {
    pub cursors: Vec<Cursor>,
    pub nodes: Vec<T>,
    pub ends: Ends,
    pub count: Count,
}

/// The fields of a page.
struct Fields<'a, T>(&'a Connection<T>);

/// A page of a list (Relay connection).
#[async_graphql::Object(name_type)]
impl<'a, T: Row> Fields<'a, T> {
    /// The rows with their cursors.
    async fn edges(&self, ctx: &Context<'_>) -> Vec<Lean<Box<Edge<Lean<&'a T>>>>> {
        let edge = ctx.field();
        let mut asked = Vec::new();
        for field in edge.selection_set() {
            if field.name() == "node" {
                asked.extend(field.selection_set());
            }
        }
        self.read_ahead(ctx, asked).await;
        let cursors = self.0.cursors.iter().map(Cursor::show);
        cursors
            .zip(&self.0.nodes)
            .map(|(cursor, node)| Edge {
                cursor,
                node: Lean(node),
            })
            .map(|edge| Lean(Box::new(edge)))
            .collect()
    }

    /// The rows alone.
    async fn nodes(&self, ctx: &Context<'_>) -> Rows<'a, T> {
        let asked = ctx.field().selection_set().collect();
        let ahead = self.read_ahead(ctx, asked).await;
        let page = self.0;
        Rows { page, ahead }
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        PageInfo::new(&self.0.cursors, self.0.ends)
    }

    /// Rows of the whole list; counted only when asked for.
    async fn total_count(&self) -> Result<i32> {
        let count = (self.0.count)().await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl<T: Row> Row for Fields<'_, T> {}

impl<T: OutputType> Row for Edge<T> {}

impl<T: Row> Fields<'_, T> {
    /// What is asked of the rows is read for all of them.
    async fn read_ahead(&self, ctx: &Context<'_>, asked: Vec<SelectionField<'_>>) -> Vec<Ahead> {
        let rows = self.0.cursors.iter().map(|cursor| cursor.id);
        below::ahead(ctx, &T::type_name(), rows, asked).await
    }
}

/// The rows of a page, and what was read below them.
struct Rows<'a, T> {
    page: &'a Connection<T>,
    ahead: Vec<Ahead>,
}

#[async_trait]
impl<T: Row> OutputType for Rows<'_, T> {
    fn type_name() -> Cow<'static, str> {
        <&[T]>::type_name()
    }

    fn qualified_type_name() -> String {
        <&[T]>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <&[T]>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let rows = &self.page.nodes;
        let fields = match ctx.data_opt::<text::Wanted>() {
            Some(_) => rows.first().and_then(|row| lean::fields(ctx, row)),
            None => None,
        };
        let Some(fields) = fields else {
            let rows = rows.iter().map(Lean);
            return resolve_list(ctx, field, rows, Some(self.page.nodes.len())).await;
        };
        let steps = text::steps::<T>(fields, |field| below::Page::of(ctx, &self.ahead, field));
        let ids = self.page.cursors.iter().map(|cursor| Some(cursor.id));
        let standing = rows.iter().zip(ids).enumerate();
        let standing = standing.map(|(place, (row, id))| {
            let ctx = ctx.with_index(place);
            Standing { ctx, id, row }
        });
        let standing: Vec<_> = standing.collect();
        Ok(Value::List(text::written(&standing, &steps).await))
    }
}

impl<T: OutputType> TypeName for Fields<'_, T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

#[async_trait]
impl<T: Row> OutputType for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        <Fields<'_, T> as TypeName>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        Fields::<T>::create_type_info(registry)
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        if self.nodes.is_empty()
            && let Some(answer) = empty(&ctx.item.node)
        {
            return Ok(answer);
        }
        lean::resolve(ctx, &Fields(self)).await
    }
}

/// What a page without rows answers when its rows are all that is asked: most lists of a screen are such.
fn empty(asked: &SelectionSet) -> Option<Value> {
    let [selection] = asked.items.as_slice() else {
        return None;
    };
    match &selection.node {
        Selection::Field(field)
            if field.node.name.node == "nodes" && field.node.directives.is_empty() =>
        {
            let key = field.node.response_key().node.clone();
            Some(Value::Object([(key, Value::List(Vec::new()))].into()))
        }
        _ => None,
    }
}

/// A record that a list shows: its id, and the view made of it.
pub trait Listed: Send + 'static {
    /// What the API shows.
    type View: Row;
    /// The record's id, as in the list's keys.
    fn id(&self) -> Uuid;
    /// The view.
    fn view(self) -> Self::View;
    /// The client that it is of, with all that hangs on it; none when it is nobody's or that is not known.
    fn client(&self) -> Option<ClientId> {
        None
    }
}

/// A record of the root; null when there is none for this caller.
pub async fn single<R: Listed>(
    ctx: &Context<'_>,
    read: impl FnOnce(&mut Conn, &Caller) -> Result<R> + Send + 'static,
) -> Result<Option<R::View>> {
    let session = session(ctx)?;
    let record = found(session.read(read).await)?;
    if let Some(record) = &record {
        session.note_shown(iter::once(record.client()));
    }
    Ok(record.map(R::view))
}

/// Says for each record with a typed id how a list shows it, and of which client it is.
macro_rules! listed {
    ($($record:path => $view:ident $(of $client:expr)?),+ $(,)?) => {$(
        impl $crate::graphql::page::Listed for $record {
            type View = $view;
            fn id(&self) -> uuid::Uuid {
                self.id.0
            }
            fn view(self) -> $view {
                $view(self)
            }
            $(fn client(&self) -> Option<$crate::domain::ids::ClientId> {
                let client: fn(&Self) -> Option<$crate::domain::ids::ClientId> = $client;
                client(self)
            })?
        }
    )+};
}
pub(crate) use listed;

/// A page of a list: keys by filter and order, then the records by id.
pub async fn list<R: Listed>(
    session: &Session,
    from: Sql,
    sort: Sort,
    asked: Asked,
    load: impl FnOnce(&mut Conn, &Caller, &[Uuid]) -> Result<Vec<R>> + Send + 'static,
) -> Result<Connection<R::View>> {
    let (question, keyset) = (from.clone(), asked.keyset.clone());
    let (keys, records) = session
        .read(move |conn, caller| {
            let keys = store::list::keys(conn, &question, sort, &keyset)?;
            let ids: Vec<Uuid> = keys.keys.iter().map(|key| key.id).collect();
            let records = if ids.is_empty() {
                Vec::new()
            } else {
                load(conn, caller, &ids)?
            };
            Ok((keys, records))
        })
        .await?;
    session.note_shown(records.iter().map(R::client));
    let mut by_id: HashMap<Uuid, R> = records
        .into_iter()
        .map(|record| (record.id(), record))
        .collect();
    let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
    for key in &keys.keys {
        if let Some(record) = by_id.remove(&key.id) {
            cursors.push(asked.cursor(&key.sort, key.id));
            nodes.push(record.view());
        }
    }
    let session = session.clone();
    Ok(Connection {
        cursors,
        nodes,
        ends: asked.ends(keys.more),
        count: counted(move || {
            let (session, from) = (session.clone(), from.clone());
            async move {
                session
                    .read(move |conn, _| Ok(store::list::count(conn, &from)?))
                    .await
            }
        }),
    })
}

/// A count that runs when it is asked for.
pub fn counted<F: Future<Output = Result<i64>> + Send + 'static>(
    count: impl Fn() -> F + Send + Sync + 'static,
) -> Count {
    Box::new(move || Box::pin(count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(first: i32) -> Window {
        Window {
            first: Some(first),
            ..Window::default()
        }
    }

    #[test]
    fn a_cursor_is_read_only_by_its_own_list() {
        let after = |cursor: &str, list| {
            let window = Window {
                after: Some(cursor.to_owned()),
                ..Window::default()
            };
            Asked::new(&window, list)
        };
        let asked = Asked::new(&Window::default(), "invoices by number").expect("a page");
        let id = Uuid::now_v7();
        let cursor = asked.cursor("FA|1", id).show();
        let next = after(&cursor, "invoices by number").expect("a page");
        assert_eq!(next.keyset.from, Some(("FA|1".into(), id)));
        for wrong in ["", "zz", "é", "abc", &cursor[2..]] {
            assert!(after(wrong, "invoices by number").is_err(), "{wrong}");
        }
        assert!(after(&cursor, "invoices by total").is_err());
    }

    #[test]
    fn page_sizes_out_of_range_are_refused() {
        for (size, fine) in [(-1, false), (0, true), (100, true), (101, false)] {
            assert_eq!(Asked::new(&first(size), "x").is_ok(), fine, "{size}");
        }
    }

    #[test]
    fn a_page_has_one_direction() {
        let both = Window {
            last: Some(2),
            ..first(2)
        };
        let Err(Error::BadInput { field, .. }) = Asked::new(&both, "x") else {
            panic!("first with last was accepted");
        };
        assert_eq!(field, "last");
        let last = Window {
            last: Some(2),
            ..Window::default()
        };
        let asked = Asked::new(&last, "x").expect("a page");
        assert!(asked.keyset.backward);
        // Three rows read from the end of the list: two of them, in the list's order, and one more before.
        let (rows, more) = asked.keyset.page(vec![9, 8, 7]);
        assert_eq!((rows, more), (vec![8, 9], true));
        let ends = asked.ends(more);
        assert!(ends.has_previous && !ends.has_next);
    }
}
