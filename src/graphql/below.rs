//! Lists below records: what many parents ask for is read by one statement.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::Context;
use async_graphql::resolver_utils::ContainerType;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use uuid::Uuid;

use super::document::shared;
use super::page::{Asked, Connection, Window, counted};
use super::session;
use crate::error::{Error, Result};
use crate::store::Session;
use crate::store::list::Keyset;
use crate::store::nested::{self, Below, Child, Nested};

/// The pages that are waited for and that nobody reads yet; they live as long as the request. It does what the loaders
/// of records do, for as little as possible: a screen has a thousand lists.
#[derive(Default)]
pub struct Asking(Mutex<Vec<Round>>);

/// A page of one list, for all parents that want it at once.
struct Round {
    list: Nested,
    keyset: Keyset,
    parents: Parents,
    /// An `Answer` of the list's records.
    answer: Box<dyn Any + Send + Sync>,
}

/// How often each parent waits; none once the list is being read.
type Parents = Arc<Mutex<Option<HashMap<Uuid, usize>>>>;
type Answer<R> = Shared<BoxFuture<'static, Outcome<R>>>;
type Outcome<R> = std::result::Result<Arc<Mutex<HashMap<Uuid, Found<R>>>>, Arc<Error>>;

/// The children of a parent, and how many are still to come for them.
struct Found<R> {
    waiting: usize,
    children: Vec<Child<R>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asking {
    /// Joins the parents that wait for the same page of the same list.
    fn join<R: Below>(
        &self,
        session: &Session,
        list: Nested,
        parent: Uuid,
        keyset: &Keyset,
    ) -> Answer<R> {
        let mut rounds = locked(&self.0);
        rounds.retain(|round| locked(&round.parents).is_some());
        for round in rounds.iter() {
            if round.list != list || round.keyset != *keyset {
                continue;
            }
            let mut parents = locked(&round.parents);
            if let (Some(answer), Some(parents)) = (round.answer.downcast_ref(), parents.as_mut()) {
                *parents.entry(parent).or_default() += 1;
                return Answer::<R>::clone(answer);
            }
        }
        let parents = Arc::new(Mutex::new(Some(HashMap::from([(parent, 1)]))));
        let waiting = Arc::clone(&parents);
        // It runs when the request waits: whoever asks on the same level has joined by then.
        let reading = tokio::spawn(read(session.clone(), list, keyset.clone(), waiting));
        let answer: Answer<R> = reading
            .map(|read| read.unwrap_or_else(|fault| Err(Error::Internal(fault.to_string()).into())))
            .boxed()
            .shared();
        rounds.push(Round {
            list,
            keyset: keyset.clone(),
            parents,
            answer: Box::new(answer.clone()),
        });
        answer
    }
}

async fn read<R: Below>(
    session: Session,
    list: Nested,
    keyset: Keyset,
    parents: Parents,
) -> Outcome<R> {
    let parents = locked(&parents).take().unwrap_or_default();
    let ids: Vec<Uuid> = parents.keys().copied().collect();
    let children = session
        .read(move |conn, caller| Ok(R::children(conn, caller.company, list, &ids, &keyset)?))
        .await?;
    let nobody = |(parent, waiting)| {
        let children = Vec::new();
        (parent, Found { waiting, children })
    };
    let mut found: HashMap<Uuid, Found<R>> = parents.into_iter().map(nobody).collect();
    for child in children {
        if let Some(found) = found.get_mut(&child.parent) {
            found.children.push(child);
        }
    }
    Ok(Arc::new(Mutex::new(found)))
}

/// The children of one parent: the last one that waited for them takes them.
fn taken<R: Clone>(found: &Mutex<HashMap<Uuid, Found<R>>>, parent: Uuid) -> Vec<Child<R>> {
    let mut found = locked(found);
    match found.get_mut(&parent) {
        Some(found) if found.waiting > 1 => {
            found.waiting -= 1;
            found.children.clone()
        }
        _ => found
            .remove(&parent)
            .map_or_else(Vec::new, |it| it.children),
    }
}

/// A page of a list below a record: one statement for all parents. In a box, so that what it waits for takes no room in
/// the other fields of its record.
pub fn nested<'a, R, V>(
    ctx: &'a Context<'_>,
    list: Nested,
    parent: Uuid,
    window: Window,
    view: fn(R) -> V,
) -> BoxFuture<'a, Result<Connection<V>>>
where
    R: Below + Clone,
    V: ContainerType + 'a,
{
    let page = async move {
        let asked = Asked::new(&window, &format!("{list:?}{parent}"))?;
        let session = session(ctx)?;
        let asking = ctx.data_opt::<Asking>().ok_or(Error::Unauthenticated)?;
        let answer = asking.join::<R>(session, list, parent, &asked.keyset);
        let found = answer.await.map_err(shared)?;
        let (children, more) = asked.keyset.page(taken(&found, parent));
        let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
        for child in children {
            cursors.push(asked.cursor(child.sort, child.id));
            nodes.push(view(child.record));
        }
        let session = session.clone();
        Ok(Connection {
            cursors,
            nodes,
            ends: asked.ends(more),
            count: counted(move || {
                let session = session.clone();
                async move { count_of(&session, list, parent).await }
            }),
        })
    };
    page.boxed()
}

async fn count_of(session: &Session, list: Nested, parent: Uuid) -> Result<i64> {
    session
        .read(move |conn, caller| {
            let counts = nested::counts(conn, caller.company, list, &[parent])?;
            Ok(counts.first().map_or(0, |row| row.count))
        })
        .await
}
