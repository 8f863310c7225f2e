//! One pagination: Relay connections over keyset cursors.
//!
//! A cursor holds the row's sort value and id and a digest of the filter: a cursor of another list,
//! filter or order is refused, and rows written meanwhile are neither lost nor repeated.

use std::collections::HashMap;
use std::pin::Pin;

use async_graphql::{OutputType, SimpleObject, TypeName};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::error::{Error, Result};
use crate::store::list::{Keyset, Sort, Sql};
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
    /// Whether rows come before: true behind a cursor.
    has_previous_page: bool,
    /// The cursor of the first row; null on an empty page.
    start_cursor: Option<String>,
    /// The cursor of the last row: give it as `after` to get the next page; null on an empty page.
    end_cursor: Option<String>,
}

impl PageInfo {
    /// Of a page whose rows have these cursors.
    pub fn new(cursors: &[String], behind: bool, has_next: bool) -> PageInfo {
        PageInfo {
            has_next_page: has_next,
            has_previous_page: behind,
            start_cursor: cursors.first().cloned(),
            end_cursor: cursors.last().cloned(),
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

/// What a page was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub first: i64,
    pub after: Option<(String, Uuid)>,
    digest: String,
}

impl Asked {
    /// Checks size and cursor; `list` names the list with its filter and order.
    pub fn new(first: Option<i32>, after: Option<&str>, list: &str) -> Result<Asked> {
        let first = first.unwrap_or(DEFAULT_SIZE);
        if !(0..=MAX_SIZE).contains(&first) {
            return Err(Error::BadInput {
                field: "first",
                message: format!("a page has 0 to {MAX_SIZE} rows, {first} were asked for"),
            });
        }
        let digest = hex(&Sha256::digest(list)[..4]);
        let after = after.map(|cursor| read(cursor, &digest)).transpose()?;
        Ok(Asked {
            first: i64::from(first),
            after,
            digest,
        })
    }

    /// For the store.
    pub fn keyset(&self) -> Keyset {
        Keyset {
            first: self.first,
            after: self.after.clone(),
        }
    }

    /// The cursor of a row.
    pub fn cursor(&self, sort: &str, id: Uuid) -> String {
        hex(format!("{}|{}|{sort}", self.digest, id.simple()).as_bytes())
    }
}

fn read(cursor: &str, digest: &str) -> Result<(String, Uuid)> {
    let wrong = || {
        Error::BadInput {
        field: "after",
        message: "this is not a cursor of this list with this filter and order: take endCursor of its last page".into(),
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
    pub cursors: Vec<String>,
    pub nodes: Vec<T>,
    pub behind: bool,
    pub has_next: bool,
    pub count: Count,
}

/// A page of a list (Relay connection).
#[async_graphql::Object(name_type)]
impl<T: OutputType + Clone> Connection<T> {
    /// The rows with their cursors.
    async fn edges(&self) -> Vec<Edge<T>> {
        self.cursors
            .iter()
            .cloned()
            .zip(self.nodes.iter().cloned())
            .map(|(cursor, node)| Edge { cursor, node })
            .collect()
    }

    /// The rows alone.
    async fn nodes(&self) -> &[T] {
        &self.nodes
    }

    /// Where the page stands.
    async fn page_info(&self) -> PageInfo {
        PageInfo::new(&self.cursors, self.behind, self.has_next)
    }

    /// Rows of the whole list; counted only when asked for.
    async fn total_count(&self) -> Result<i32> {
        let count = (self.count)().await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> std::borrow::Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

/// A record that a list shows: its id, and the view made of it.
pub trait Listed: Send + 'static {
    /// What the API shows.
    type View: OutputType + Clone + Send;
    /// The record's id, as in the list's keys.
    fn id(&self) -> Uuid;
    /// The view.
    fn view(self) -> Self::View;
}

/// A page of a list: keys by filter and order, then the records by id.
pub async fn list<R: Listed>(
    session: &Session,
    from: Sql,
    sort: Sort,
    asked: Asked,
    load: impl FnOnce(&mut Conn, &Caller, &[Uuid]) -> Result<Vec<R>> + Send + 'static,
) -> Result<Connection<R::View>> {
    let (question, keyset) = (from.clone(), asked.keyset());
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
        behind: asked.after.is_some(),
        has_next: keys.has_next,
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

    #[test]
    fn a_cursor_is_read_only_by_its_own_list() {
        let asked = Asked::new(None, None, "invoices by number").expect("a page");
        let id = Uuid::now_v7();
        let cursor = asked.cursor("FA|1", id);
        let next = Asked::new(None, Some(&cursor), "invoices by number").expect("a page");
        assert_eq!(next.after, Some(("FA|1".into(), id)));
        for wrong in ["", "zz", "é", "abc", &cursor[2..]] {
            assert!(
                Asked::new(None, Some(wrong), "invoices by number").is_err(),
                "{wrong}"
            );
        }
        assert!(Asked::new(None, Some(&cursor), "invoices by total").is_err());
    }

    #[test]
    fn page_sizes_out_of_range_are_refused() {
        for (first, fine) in [(-1, false), (0, true), (100, true), (101, false)] {
            assert_eq!(Asked::new(Some(first), None, "x").is_ok(), fine, "{first}");
        }
    }
}
