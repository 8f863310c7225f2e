//! Lists below records: what many parents ask for is read by one statement, and the lists of a level in one go.
//!
//! A page knows what is asked below its rows and reads that before they are resolved: a screen has a thousand lists, and
//! a thousand that wait take more memory than the processor keeps at hand. A record that stands alone, or in a list of
//! other things, asks when it is its turn, and so does a list that goes on from a cursor. What fails to be read fails for
//! all lists of its level: they are one look at the books.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::parser::types::{Field, OperationType, Selection, SelectionSet};
use async_graphql::{Context, ContextSelectionSet, SelectionField, Value};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use uuid::Uuid;

use super::dispute::{Deduction, Dispute};
use super::document::{CreditNote, Invoice, shared};
use super::lean;
use super::matching::Allocation;
use super::page::{Asked, Connection, Name, Window, counted};
use super::payment::Payment;
use super::session;
use super::text::{self, Row, Step};
use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};
use crate::store::list::Keyset;
use crate::store::nested::{self, Below, Child, Nested};
use crate::store::{Conn, Session};

/// The lists below records of a request. It does what the loaders of records do, for as little as possible.
#[derive(Default)]
pub struct Asking(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Waited for, and not read yet.
    level: Option<Level>,
    /// Read: each page is there until it is taken.
    read: Vec<Round>,
    /// What could not be read, with all of its level. It is not asked for again: another read would see another state of
    /// the books.
    failed: Vec<(Nested, Keyset, Arc<Error>)>,
}

/// Lists that are asked for before the request waits.
struct Level {
    rounds: Vec<Round>,
    told: Told,
}

/// When they have been read, or could not be.
type Told = Shared<BoxFuture<'static, ()>>;

/// A page of one list, for all parents that want it at once.
struct Round {
    list: Nested,
    keyset: Keyset,
    /// One that stands twice on the screen is here twice.
    parents: Vec<Uuid>,
    /// `Pages` of the list's records.
    pages: Box<dyn Any + Send>,
}

/// By parent, in order.
type Pages<R> = Vec<(Uuid, Option<Vec<Child<R>>>)>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Asking {
    /// Joins the parents that wait for the same page of the same list.
    fn join(
        &self,
        session: &Session,
        list: Nested,
        keyset: &Keyset,
        parents: impl IntoIterator<Item = Uuid>,
    ) -> Told {
        let mut state = locked(&self.0);
        let Level { rounds, told } = state.level.get_or_insert_with(|| Level {
            rounds: Vec::new(),
            told: reading(session.clone(), Arc::clone(&self.0)),
        });
        let mut known = rounds.iter_mut();
        match known.find(|round| round.is(list, keyset)) {
            Some(round) => round.parents.extend(parents),
            None => rounds.push(Round {
                list,
                keyset: keyset.clone(),
                parents: parents.into_iter().collect(),
                pages: Box::new(()),
            }),
        }
        told.clone()
    }

    /// A parent's page, when it was read. Whoever comes takes it: another place that waits for the same must ask again.
    fn taken<R: 'static>(
        &self,
        list: Nested,
        keyset: &Keyset,
        parent: Uuid,
    ) -> Result<Option<Vec<Child<R>>>> {
        let mut state = locked(&self.0);
        let mut failed = state.failed.iter();
        let failed = failed.find(|(other, page, _)| *other == list && page == keyset);
        if let Some((_, _, error)) = failed {
            return Err(shared(Arc::clone(error)));
        }
        let mut rounds = state.read.iter_mut();
        let found = rounds.find_map(|round| {
            if !round.is(list, keyset) {
                return None;
            }
            let pages = round.pages.downcast_mut::<Pages<R>>()?;
            of(pages, parent).find_map(Option::take)
        });
        Ok(found)
    }
}

/// The pages of a parent.
fn of<R>(pages: &mut Pages<R>, parent: Uuid) -> impl Iterator<Item = &mut Option<Vec<Child<R>>>> {
    let first = pages.partition_point(|(other, _)| *other < parent);
    let pages = pages[first..].iter_mut();
    let same = pages.take_while(move |(other, _)| *other == parent);
    same.map(|(_, page)| page)
}

/// Reads a level when the request waits: whoever asks on it has joined by then. All its lists are there at once, so that
/// a row is looked at again once and not for each.
fn reading(session: Session, asking: Arc<Mutex<State>>) -> Told {
    let read = async move {
        let level = locked(&asking).level.take();
        let mut rounds = level.map_or_else(Vec::new, |level| level.rounds);
        let lists = rounds.iter();
        let lists: Vec<(Nested, Keyset)> = lists
            .map(|round| (round.list, round.keyset.clone()))
            .collect();
        let read = session
            .read(move |conn, caller| {
                for round in &mut rounds {
                    round.fill(conn, caller.company)?;
                }
                Ok(rounds)
            })
            .await;
        let mut state = locked(&asking);
        match read {
            Ok(rounds) => state.read.extend(rounds),
            Err(error) => {
                let error = Arc::new(error);
                let failed = lists.into_iter();
                let failed = failed.map(|(list, keyset)| (list, keyset, Arc::clone(&error)));
                state.failed.extend(failed);
            }
        }
    };
    tokio::spawn(read).map(drop).boxed().shared()
}

impl Round {
    fn is(&self, list: Nested, keyset: &Keyset) -> bool {
        self.list == list && self.keyset == *keyset
    }

    fn fill(&mut self, conn: &mut Conn, company: CompanyId) -> Result<()> {
        let (list, round) = (self.list, self);
        of_kind(
            list,
            Filling {
                round,
                conn,
                company,
            },
        )
    }

    fn fill_with<R: Below + Clone>(&mut self, conn: &mut Conn, company: CompanyId) -> Result<()> {
        self.parents.sort_unstable();
        let parents = self.parents.iter();
        let mut pages: Pages<R> = parents.map(|parent| (*parent, Some(Vec::new()))).collect();
        self.parents.dedup();
        for child in R::children(conn, company, self.list, &self.parents, &self.keyset)? {
            let mut same = of(&mut pages, child.parent).flatten();
            let own = same.next();
            for page in same {
                page.push(child.clone());
            }
            if let Some(page) = own {
                page.push(child);
            }
        }
        self.pages = Box::new(pages);
        Ok(())
    }
}

/// What is done with a list, whose records are `R` and shown as `V`.
pub trait OfKind {
    /// What comes of it.
    type Done;
    /// Does it.
    fn does<R: Below + Clone, V: Row>(self, view: fn(R) -> V) -> Self::Done;
}

/// Does something with a list.
pub fn of_kind<D: OfKind>(list: Nested, deed: D) -> D::Done {
    match list {
        Nested::InvoicesOfClient => deed.does(Invoice),
        Nested::CreditNotesOfClient | Nested::CreditNotesOfInvoice => deed.does(CreditNote),
        Nested::PaymentsOfClient => deed.does(Payment),
        Nested::DisputesOfClient | Nested::DisputesOfInvoice => deed.does(Dispute),
        Nested::DeductionsOfClient | Nested::DeductionsOfInvoice => deed.does(Deduction),
        Nested::AllocationsOfInvoice
        | Nested::AllocationsOfCreditNote
        | Nested::AllocationsOfPayment => deed.does(Allocation),
    }
}

/// Reads the pages of a list.
struct Filling<'a> {
    round: &'a mut Round,
    conn: &'a mut Conn,
    company: CompanyId,
}

impl OfKind for Filling<'_> {
    type Done = Result<()>;
    fn does<R: Below + Clone, V: Row>(self, _: fn(R) -> V) -> Result<()> {
        self.round.fill_with::<R>(self.conn, self.company)
    }
}

/// The lists that a row of this type may be asked for.
pub fn lists(type_name: &str) -> &'static [(&'static str, Nested)] {
    match type_name {
        "Client" => &[
            ("invoices", Nested::InvoicesOfClient),
            ("creditNotes", Nested::CreditNotesOfClient),
            ("payments", Nested::PaymentsOfClient),
            ("disputes", Nested::DisputesOfClient),
            ("deductions", Nested::DeductionsOfClient),
        ],
        "Invoice" => &[
            ("creditNotes", Nested::CreditNotesOfInvoice),
            ("deductions", Nested::DeductionsOfInvoice),
            ("disputes", Nested::DisputesOfInvoice),
            ("allocations", Nested::AllocationsOfInvoice),
        ],
        "CreditNote" => &[("allocations", Nested::AllocationsOfCreditNote)],
        "Payment" => &[("allocations", Nested::AllocationsOfPayment)],
        _ => &[],
    }
}

/// A list below the rows of a page that was read ahead for all of them.
pub struct Ahead {
    /// What the answer calls it.
    key: String,
    list: Nested,
    keyset: Keyset,
}

/// Reads what is asked below the rows of a page of a query, before they are resolved. A mutation may write between one
/// look at a list and the next: there the rows ask for themselves.
pub async fn ahead(
    ctx: &Context<'_>,
    type_name: &str,
    rows: impl Iterator<Item = Uuid> + Clone,
    asked: Vec<SelectionField<'_>>,
) -> Vec<Ahead> {
    let mut read = Vec::new();
    let known = lists(type_name);
    let is_query = ctx.query_env.operation.node.ty == OperationType::Query;
    if known.is_empty() || !is_query || rows.clone().next().is_none() {
        return read;
    }
    let (Ok(session), Some(asking)) = (session(ctx), ctx.data_opt::<Asking>()) else {
        return read;
    };
    let mut told = None;
    for field in asked {
        if let Some((_, list)) = known.iter().find(|(name, _)| *name == field.name())
            && let Some(keyset) = first_page(&field)
        {
            told = Some(asking.join(session, *list, &keyset, rows.clone()));
            read.push(Ahead {
                key: field.alias().unwrap_or(field.name()).to_owned(),
                list: *list,
                keyset,
            });
        }
    }
    if let Some(told) = told {
        told.await;
    }
    read
}

/// Pages that can be written as soon as they are read: nothing is asked but their rows, and those tell all of it.
pub struct Page<'a> {
    ctx: ContextSelectionSet<'a>,
    asking: &'a Asking,
    ahead: &'a Ahead,
    /// What the answer calls the rows.
    nodes: &'a str,
    steps: Vec<Step<'a>>,
}

impl<'a> Page<'a> {
    /// The pages of a field of rows below which these lists were read.
    pub fn of(
        ctx: &ContextSelectionSet<'a>,
        ahead: &'a [Ahead],
        field: &'a Field,
    ) -> Option<Page<'a>> {
        let key = field.response_key().node.as_str();
        let ahead = ahead.iter().find(|ahead| ahead.key == key)?;
        let [only] = field.selection_set.node.items.as_slice() else {
            return None;
        };
        let Selection::Field(nodes) = &only.node else {
            return None;
        };
        if nodes.node.name.node != "nodes" || !nodes.node.directives.is_empty() {
            return None;
        }
        let set = &nodes.node.selection_set.node;
        Some(Page {
            ctx: ctx.clone(),
            asking: ctx.data_opt::<Asking>()?,
            ahead,
            nodes: nodes.node.response_key().node.as_str(),
            steps: of_kind(ahead.list, Telling { ctx, set })?,
        })
    }

    /// Writes the page of a row; false when it is not there, and then the row asks for it.
    pub fn write(&self, parent: Uuid, text: &mut Vec<u8>) -> bool {
        let page = self;
        of_kind(self.ahead.list, Writing { page, parent, text })
    }
}

/// Finds out whether rows tell all that is asked of them.
struct Telling<'c, 'a> {
    ctx: &'c ContextSelectionSet<'a>,
    set: &'a SelectionSet,
}

impl<'a> OfKind for Telling<'_, 'a> {
    type Done = Option<Vec<Step<'a>>>;
    fn does<R: Below + Clone, V: Row>(self, _: fn(R) -> V) -> Option<Vec<Step<'a>>> {
        let fields = lean::flat(self.ctx, self.set, &|name| name == V::type_name())?;
        let steps = text::steps::<V>(fields, |_| None);
        text::are_told(&steps).then_some(steps)
    }
}

/// Writes the page of a parent.
struct Writing<'w, 'a> {
    page: &'w Page<'a>,
    parent: Uuid,
    text: &'w mut Vec<u8>,
}

impl OfKind for Writing<'_, '_> {
    type Done = bool;
    fn does<R: Below + Clone, V: Row>(self, view: fn(R) -> V) -> bool {
        let (page, text) = (self.page, self.text);
        let Ahead { list, keyset, .. } = page.ahead;
        let Ok(Some(children)) = page.asking.taken::<R>(*list, keyset, self.parent) else {
            return false;
        };
        let (children, _) = keyset.page(children);
        text.push(b'{');
        text::named(page.nodes, text);
        text.push(b'[');
        let told = children.into_iter().enumerate().all(|(place, child)| {
            if place > 0 {
                text.push(b',');
            }
            text::tell_all(&page.ctx, &view(child.record), &page.steps, text)
        });
        text.extend_from_slice(b"]}");
        told
    }
}

/// The page that a field asks for, when it is one at an end of the list: the others have cursors of their own.
fn first_page(field: &SelectionField<'_>) -> Option<Keyset> {
    let mut window = Window::default();
    for (name, value) in field.arguments().ok()? {
        let rows = match &value {
            Value::Number(rows) => Some(i32::try_from(rows.as_i64()?).ok()?),
            Value::Null => None,
            _ => return None,
        };
        match name.as_str() {
            "first" => window.first = rows,
            "last" => window.last = rows,
            _ if rows.is_none() => {}
            _ => return None,
        }
    }
    Some(Asked::new(&window, "").ok()?.keyset)
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
    R: Below,
    V: Row + 'a,
{
    let page = async move {
        let asked = Asked::new(&window, Name::Below(list, parent))?;
        let session = session(ctx)?;
        let asking = ctx.data_opt::<Asking>().ok_or(Error::Unauthenticated)?;
        let children = children(asking, session, list, &asked.keyset, parent).await?;
        let (children, more) = asked.keyset.page(children);
        let (mut cursors, mut nodes) = (Vec::new(), Vec::new());
        for child in children {
            cursors.push(asked.cursor(child.sort.to_string(), child.id));
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

/// A parent's page: one that was read ahead, or by asking. When others took what was asked for, it is asked for again.
async fn children<R: Below>(
    asking: &Asking,
    session: &Session,
    list: Nested,
    keyset: &Keyset,
    parent: Uuid,
) -> Result<Vec<Child<R>>> {
    for _ in 0..3 {
        if let Some(children) = asking.taken(list, keyset, parent)? {
            return Ok(children);
        }
        asking.join(session, list, keyset, [parent]).await;
    }
    let children = asking.taken(list, keyset, parent)?;
    children.ok_or_else(|| Error::Internal("a list that was asked for was not read".into()))
}

async fn count_of(session: &Session, list: Nested, parent: Uuid) -> Result<i64> {
    session
        .read(move |conn, caller| {
            let counts = nested::counts(conn, caller.company, list, &[parent])?;
            Ok(counts.first().map_or(0, |row| row.count))
        })
        .await
}
