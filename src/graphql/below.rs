//! Lists below records: what many parents ask for is read by one statement, and the lists of a level in one go.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::Context;
use async_graphql::resolver_utils::ContainerType;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use uuid::Uuid;

use super::document::shared;
use super::page::{Asked, Connection, Name, Window, counted};
use super::session;
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};
use crate::store::list::Keyset;
use crate::store::nested::{self, Below, Child, Nested};
use crate::store::{Conn, Session};

/// The lists that are waited for and that nobody reads yet; it lives as long as the request. It does what the loaders
/// of records do, for as little as possible: a screen has a thousand lists.
#[derive(Default)]
pub struct Asking(Arc<Mutex<Option<Level>>>);

/// Lists that are asked for before the request waits.
struct Level {
    rounds: Vec<Round>,
    read: Told,
}

/// When they have been read: what kept them from it.
type Told = Shared<BoxFuture<'static, std::result::Result<(), Arc<Error>>>>;

/// A page of one list, for all parents that want it at once.
struct Round {
    list: Nested,
    keyset: Keyset,
    /// Each in the place of its page; one that stands twice on the screen is here twice.
    parents: Vec<Uuid>,
    /// `Pages` of the list's records.
    pages: Box<dyn Any + Send + Sync>,
    fill: fn(&Round, &mut Conn, CompanyId) -> Result<()>,
}

type Pages<R> = Arc<Mutex<Vec<Vec<Child<R>>>>>;

/// What a parent waits for, and where its page will be.
struct Place<R> {
    read: Told,
    pages: Pages<R>,
    place: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asking {
    /// Joins the parents that wait for the same page of the same list.
    fn join<R: Below + Clone>(
        &self,
        session: &Session,
        list: Nested,
        parent: Uuid,
        keyset: &Keyset,
    ) -> Place<R> {
        let mut level = locked(&self.0);
        let Level { rounds, read } = level.get_or_insert_with(|| Level {
            rounds: Vec::new(),
            read: reading(session.clone(), Arc::clone(&self.0)),
        });
        let read = read.clone();
        for round in rounds.iter_mut() {
            if round.list == list
                && round.keyset == *keyset
                && let Some(pages) = round.pages.downcast_ref::<Pages<R>>()
            {
                let (pages, place) = (Arc::clone(pages), round.parents.len());
                round.parents.push(parent);
                return Place { read, pages, place };
            }
        }
        let pages = Pages::<R>::default();
        rounds.push(Round {
            list,
            keyset: keyset.clone(),
            parents: vec![parent],
            pages: Box::new(Arc::clone(&pages)),
            fill: fill::<R>,
        });
        Place {
            read,
            pages,
            place: 0,
        }
    }
}

/// Reads a level when the request waits: whoever asks on it has joined by then. All its lists are there at once, so that
/// a row is looked at again once and not for each.
fn reading(session: Session, asking: Arc<Mutex<Option<Level>>>) -> Told {
    let read = async move {
        let level = locked(&asking).take();
        let rounds = level.map_or_else(Vec::new, |level| level.rounds);
        session
            .read(move |conn, caller| {
                let mut rounds = rounds.iter();
                rounds.try_for_each(|round| (round.fill)(round, conn, caller.company))
            })
            .await
    };
    tokio::spawn(read)
        .map(|read| match read {
            Ok(read) => read.map_err(Arc::new),
            Err(fault) => Err(Arc::new(Error::Internal(fault.to_string()))),
        })
        .boxed()
        .shared()
}

fn fill<R: Below + Clone>(round: &Round, conn: &mut Conn, company: CompanyId) -> Result<()> {
    let Some(pages) = round.pages.downcast_ref::<Pages<R>>() else {
        return Ok(());
    };
    let mut places: Vec<(Uuid, usize)> = round.parents.iter().copied().zip(0..).collect();
    places.sort_unstable();
    let mut parents: Vec<Uuid> = places.iter().map(|(parent, _)| *parent).collect();
    parents.dedup();
    let children = R::children(conn, company, round.list, &parents, &round.keyset)?;
    let mut found: Vec<Vec<Child<R>>> = Vec::new();
    found.resize_with(places.len(), Vec::new);
    for child in children {
        let first = places.partition_point(|(parent, _)| *parent < child.parent);
        let same = places[first..].iter();
        let mut same = same.take_while(|(parent, _)| *parent == child.parent);
        let own = same.next();
        for (_, place) in same {
            found[*place].push(child.clone());
        }
        if let Some((_, place)) = own {
            found[*place].push(child);
        }
    }
    *locked(pages) = found;
    Ok(())
}

impl<R> Place<R> {
    /// The page of the parent.
    async fn children(self) -> std::result::Result<Vec<Child<R>>, Arc<Error>> {
        self.read.await?;
        let mut pages = locked(&self.pages);
        Ok(pages
            .get_mut(self.place)
            .map(std::mem::take)
            .unwrap_or_default())
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
        let asked = Asked::new(&window, Name::Below(list, parent))?;
        let session = session(ctx)?;
        let asking = ctx.data_opt::<Asking>().ok_or(Error::Unauthenticated)?;
        let place = asking.join::<R>(session, list, parent, &asked.keyset);
        let children = place.children().await.map_err(shared)?;
        let (children, more) = asked.keyset.page(children);
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
