//! Aged balances from memory: as fast for a group as for a shop, and exact.
//!
//! Each company's open items are held as a [`State`]: everything that transactions below a horizon wrote to
//! the append-only `receivable_ledger`. Every ledger row carries the transaction that wrote it, so a reader
//! finds what the state lacks by one probe of an index, in its own snapshot, and lays it over ([`View`]). The
//! answer is that of the snapshot under any concurrency, with several servers, and for writes from outside;
//! nothing is told, locked or invalidated. What was laid over often enough is folded in, in the background.
//!
//! The state can be thrown away at any time. Whatever it does not cover (filters, portfolios, `knownAt`,
//! a company that is not loaded yet) is answered by the SQL of `store::aging`.

mod answer;
mod cube;
mod opened;
mod ranking;
mod span;
mod state;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use chrono::Days;
use diesel::pg::PgConnection;
use uuid::Uuid;

use answer::{Question, View};
use span::day;
use state::{Builder, OutOfRange, State};

use super::integrity::Checked;
use super::jobs::worker;
use crate::domain::access::Caller;
use crate::domain::ids::{CompanyId, Id};
use crate::error::{Error, Result};
use crate::store::aging::{self, Layout, Population, Row, RowSort};
use crate::store::balances::{self, Disputed, History, Ids, Tail};
use crate::store::client;
use crate::store::list::{Direction, Keyset};
use crate::store::{self, Db, Limits};

/// Rows laid over a state at a time; with more the database is as quick.
const TAIL: usize = 5_000;
/// Rows in the tail that make folding them in worth while.
const FOLD: usize = 64;
/// Rows folded in at a time; with more the state is built anew.
const FOLD_AT_MOST: usize = 200_000;
/// Histories that are added at a time: whoever reads takes turns at it.
const TURN: usize = 500;
/// Entries of a company that is loaded when the server starts.
const LARGE: i64 = 20_000;
/// Entries of a company that is loaded at once, by its first question: that takes no longer than the question.
const SMALL: i64 = 2_000;

/// The balances held in memory, shared by all requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Balances(Option<Arc<Inner>>);

struct Inner {
    /// Connections of their own: loading never waits for requests, nor requests for it.
    db: Db,
    /// Bytes that all states together may take.
    budget: usize,
    companies: Mutex<HashMap<CompanyId, Arc<Held>>>,
    clock: AtomicU64,
    from_memory: AtomicU64,
    from_database: AtomicU64,
}

/// What is held, and what it was good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub companies: usize,
    pub bytes: usize,
    pub from_memory: u64,
    pub from_database: u64,
}

/// What is held of a company.
#[derive(Default)]
struct Held {
    state: RwLock<Option<State>>,
    /// Changes with every fold, so that a reader knows the state it began with.
    edition: AtomicU64,
    /// Someone is loading or folding.
    busy: AtomicBool,
    used: AtomicU64,
    /// It does not fit into memory, or holds a day that cannot be held.
    unfit: AtomicBool,
}

impl Held {
    fn read(&self) -> RwLockReadGuard<'_, Option<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: Option<State>) {
        let mut held = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *held = state;
        // Under the lock: nobody sees a new state as the edition before.
        self.edition.fetch_add(1, Ordering::AcqRel);
    }
}

/// Lets the next one in, however the work ends.
struct Busy(Arc<Held>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Balances {
    /// Balances that are loaded over connections of `db`, within `budget` bytes of memory.
    pub fn new(db: Db, budget: usize) -> Balances {
        Balances(Some(Arc::new(Inner {
            db,
            budget,
            companies: Mutex::default(),
            clock: AtomicU64::default(),
            from_memory: AtomicU64::default(),
            from_database: AtomicU64::default(),
        })))
    }

    /// For the operator.
    pub fn usage(&self) -> Usage {
        let Some(inner) = &self.0 else {
            return Usage::default();
        };
        let held: Vec<Arc<Held>> = inner.companies().values().cloned().collect();
        let sizes: Vec<usize> = held
            .iter()
            .filter_map(|held| held.read().as_ref().map(State::bytes))
            .collect();
        Usage {
            companies: sizes.len(),
            bytes: sizes.iter().sum(),
            from_memory: inner.from_memory.load(Ordering::Relaxed),
            from_database: inner.from_database.load(Ordering::Relaxed),
        }
    }

    /// Loads the large companies, in the background.
    pub fn warm(&self) {
        let Some(inner) = self.0.clone() else { return };
        std::thread::spawn(move || {
            if let Err(error) = inner.warm() {
                tracing::warn!(%error, "balances are loaded when they are asked for");
            }
        });
    }

    /// The totals of an aged balance, one per currency.
    pub fn totals(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        layout: &Layout,
    ) -> Result<Vec<Row>> {
        let found = self.answer(conn, caller, population, |view, question| {
            Some(view.totals(question, layout))
        })?;
        match found {
            Some(rows) => Ok(rows),
            None => Ok(aging::totals(conn, population, layout)?),
        }
    }

    /// The same for a document that asks for nothing else, outside a transaction: by the one statement that says what
    /// memory lacks. None when it takes more.
    pub fn totals_alone(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        layout: &Layout,
    ) -> Result<Option<Vec<Row>>> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let found = inner.answer(
            conn,
            caller,
            population,
            Reading::Alone,
            |view, question| Some(view.totals(question, layout)),
        )?;
        if found.is_some() {
            inner.from_memory.fetch_add(1, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// A page of the rows of an aged balance.
    #[expect(
        clippy::too_many_arguments,
        reason = "a report, its order and its page"
    )]
    pub fn rows(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        layout: &Layout,
        sort: RowSort,
        direction: Direction,
        page: &Keyset,
    ) -> Result<(Vec<Row>, bool)> {
        let found = self.answer(conn, caller, population, |view, question| {
            view.rows(question, layout, sort, direction, page)
        })?;
        match found {
            Some(page) => Ok(page),
            None => Ok(aging::rows(
                conn, population, layout, sort, direction, page,
            )?),
        }
    }

    /// How many rows an aged balance has.
    pub fn row_count(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        layout: &Layout,
    ) -> Result<i64> {
        let found = self.answer(conn, caller, population, |view, question| {
            Some(view.row_count(question, layout))
        })?;
        match found {
            Some(count) => Ok(i64::try_from(count).unwrap_or(i64::MAX)),
            None => Ok(aging::row_count(conn, population)?),
        }
    }

    /// The check that memory tells what the database tells, today and a year ago.
    pub fn check(&self, conn: &mut PgConnection, caller: &Caller) -> Result<Checked> {
        let layout = Layout {
            by_due_date: true,
            lower_bounds: vec![1, 31, 61, 91],
            credits_by_own_date: false,
            exclude_disputed: false,
        };
        let mut broken = None;
        for days in [0, 365] {
            let Some(on) = caller.today.checked_sub_days(Days::new(days)) else {
                continue;
            };
            let population = Population::of(caller.company, on);
            let held = self.answer(conn, caller, &population, |view, question| {
                Some(view.totals(question, &layout))
            })?;
            let Some(held) = held else { continue };
            let facts = aging::totals(conn, &population, &layout)?;
            if held != facts {
                broken.get_or_insert_with(|| format!("on {on}: {held:?} instead of {facts:?}"));
            }
        }
        Ok((
            "BALANCES_IN_MEMORY",
            "Aged balances from memory are those of the ledger, today and a year ago",
            broken,
        ))
    }

    /// Runs `ask` on what the caller's snapshot sees; none when memory cannot answer.
    fn answer<T>(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        ask: impl Fn(&View<'_>, &Question<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let found = inner.answer(conn, caller, population, Reading::InSnapshot, ask)?;
        let count = match found {
            Some(_) => &inner.from_memory,
            None => &inner.from_database,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(found)
    }
}

/// How a question reaches the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// By as many statements as it takes, in the snapshot of the document.
    InSnapshot,
    /// By one statement that is a transaction of its own, or not at all.
    Alone,
}

impl Inner {
    fn answer<T>(
        self: &Arc<Self>,
        conn: &mut PgConnection,
        caller: &Caller,
        population: &Population,
        reading: Reading,
        ask: impl Fn(&View<'_>, &Question<'_>) -> Option<T>,
    ) -> Result<Option<T>> {
        let is_whole = population.known_at.is_none()
            && population.client_ids.is_empty()
            && population.clients == client::Filter::default()
            && caller.portfolio().is_none();
        let Some(on) = day(population.as_of).filter(|_| is_whole) else {
            return Ok(None);
        };
        let question = Question {
            on,
            families: &population.families,
            currency: population.currency.as_deref(),
        };
        let held = self.held(population.company);
        if held.unfit.load(Ordering::Acquire) {
            return Ok(None);
        }
        // A fold between the probe and the answer begins it anew; another time the database answers.
        for _ in 0..3 {
            let (edition, horizon, unsettled) = {
                let state = held.read();
                match state.as_ref() {
                    Some(state) => (
                        held.edition.load(Ordering::Acquire),
                        state.horizon,
                        state.unsettled.clone(),
                    ),
                    None if reading == Reading::Alone => return Ok(None),
                    None => {
                        drop(state);
                        if !self.load_now(conn, population.company, &held)? {
                            self.load_later(population.company, &held);
                            return Ok(None);
                        }
                        continue;
                    }
                }
            };
            let tail = match reading {
                Reading::InSnapshot => balances::tail(conn, population.company, horizon, TAIL)?,
                Reading::Alone => balances::tail_alone(conn, population.company, horizon, TAIL)?,
            };
            if tail.is_cut || settled(&tail) >= FOLD {
                self.fold_later(population.company, &held);
            }
            // A snapshot older than the state cannot do without what the state has of later.
            if tail.is_cut || tail.horizon < horizon {
                return Ok(None);
            }
            let touched: Vec<Uuid> = {
                let state = held.read();
                let Some(state) = state.as_ref() else {
                    return Ok(None);
                };
                touched(state, &tail, unsettled)
            };
            let disputed = match touched.is_empty() {
                true => Vec::new(),
                false if reading == Reading::Alone => return Ok(None),
                false => balances::disputed(conn, population.company, Some(&touched))?,
            };
            let state = held.read();
            let Some(state) = state
                .as_ref()
                .filter(|_| held.edition.load(Ordering::Acquire) == edition)
            else {
                continue;
            };
            let Ok(view) = View::new(state, &tail, &touched, &disputed) else {
                return Ok(None);
            };
            return Ok(ask(&view, &question));
        }
        Ok(None)
    }
}

/// The items whose disputes are to be read again: those of the tail that are or were under dispute.
fn touched(state: &State, tail: &Tail, unsettled: HashSet<Uuid>) -> Vec<Uuid> {
    let mut items = unsettled;
    items.extend(tail.disputed.iter().map(|(_, item)| *item));
    items.extend(
        tail.changes
            .iter()
            .map(|change| change.item_id)
            .filter(|item| state.disputed_items.contains(item)),
    );
    items.into_iter().collect()
}

/// Rows of the tail that may be folded in: no transaction below the horizon is still under way.
fn settled(tail: &Tail) -> usize {
    let changes = tail.changes.iter().map(|change| change.xid);
    let disputed = tail.disputed.iter().map(|(xid, _)| *xid);
    changes
        .chain(disputed)
        .filter(|xid| *xid < tail.horizon)
        .count()
}

fn out_of_range(_: OutOfRange) -> Error {
    Error::Internal("a day outside 1970 to 2149".into())
}

impl Inner {
    fn companies(&self) -> MutexGuard<'_, HashMap<CompanyId, Arc<Held>>> {
        self.companies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, company: CompanyId) -> Arc<Held> {
        let held = Arc::clone(self.companies().entry(company).or_default());
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        held.used.store(now, Ordering::Relaxed);
        held
    }

    fn warm(self: &Arc<Self>) -> Result<()> {
        let companies = self
            .db
            .anonymous_now(|conn| Ok(store::company::ids(conn)?))?;
        let mut large = Vec::new();
        for company in companies {
            let entries = self.db.read_now(&worker(company), |conn, _| {
                Ok(balances::entries(conn, company)?)
            })?;
            if entries >= LARGE {
                large.push((entries, company));
            }
        }
        large.sort_unstable();
        for (_, company) in large.into_iter().rev() {
            let held = self.held(company);
            if let Some(busy) = self.busy(&held) {
                self.load(company, &held, busy);
            }
        }
        Ok(())
    }

    fn busy(&self, held: &Arc<Held>) -> Option<Busy> {
        let was = held.busy.swap(true, Ordering::AcqRel);
        (!was).then(|| Busy(Arc::clone(held)))
    }

    /// Loads a small company in the snapshot of its first question; false for a large one.
    fn load_now(
        &self,
        conn: &mut PgConnection,
        company: CompanyId,
        held: &Arc<Held>,
    ) -> Result<bool> {
        if balances::entries(conn, company)? > SMALL {
            return Ok(false);
        }
        let Some(_busy) = self.busy(held) else {
            return Ok(false);
        };
        let state = read(conn, company, None)?;
        self.keep(company, held, state);
        Ok(!held.unfit.load(Ordering::Acquire))
    }

    fn load_later(self: &Arc<Self>, company: CompanyId, held: &Arc<Held>) {
        if let Some(busy) = self.busy(held) {
            let (this, held) = (Arc::clone(self), Arc::clone(held));
            std::thread::spawn(move || this.load(company, &held, busy));
        }
    }

    fn fold_later(self: &Arc<Self>, company: CompanyId, held: &Arc<Held>) {
        if let Some(busy) = self.busy(held) {
            let (this, held) = (Arc::clone(self), Arc::clone(held));
            std::thread::spawn(move || match this.fold(company, &held) {
                Ok(true) => drop(busy),
                Ok(false) => this.load(company, &held, busy),
                Err(error) => {
                    tracing::warn!(%error, company = company.show(), "balances were not brought up to date");
                }
            });
        }
    }

    fn load(&self, company: CompanyId, held: &Arc<Held>, busy: Busy) {
        match self.built(company) {
            Ok(state) => self.keep(company, held, state),
            // The database goes on answering, and the next question tries again.
            Err(error) => {
                tracing::warn!(%error, company = company.show(), "balances were not loaded");
            }
        }
        drop(busy);
    }

    fn built(&self, company: CompanyId) -> Result<State> {
        let began = std::time::Instant::now();
        let caller = worker(company);
        let state = self
            .db
            .read_now_at_length(&caller, |conn, _| read(conn, company, Some(&self.db)))?;
        tracing::info!(
            company = company.show(),
            spans = state.history.len(),
            kilobytes = state.bytes() / 1024,
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "balances loaded"
        );
        Ok(state)
    }

    /// Keeps a state; those that were asked for longest ago make room.
    fn keep(&self, company: CompanyId, held: &Held, state: State) {
        let mut room = self.budget.saturating_sub(state.bytes());
        if state.bytes() > self.budget {
            tracing::warn!(company = company.show(), "balances do not fit into memory");
            held.unfit.store(true, Ordering::Release);
            held.set(None);
            return;
        }
        held.set(Some(state));
        let mut others: Vec<(u64, Arc<Held>)> = self
            .companies()
            .iter()
            .filter(|(other, _)| **other != company)
            .map(|(_, held)| (held.used.load(Ordering::Relaxed), Arc::clone(held)))
            .collect();
        others.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, other) in others {
            let bytes = other.read().as_ref().map_or(0, State::bytes);
            match room.checked_sub(bytes) {
                Some(left) => room = left,
                None => other.set(None),
            }
        }
    }

    /// Folds the tail in; false when the state is better built anew.
    fn fold(&self, company: CompanyId, held: &Held) -> Result<bool> {
        let Some(from) = held.read().as_ref().map(|state| state.horizon) else {
            return Ok(false);
        };
        let read = self.db.read_now_at_length(&worker(company), |conn, _| {
            let tail = balances::tail(conn, company, from, FOLD_AT_MOST)?;
            if tail.is_cut || tail.horizon < from {
                return Ok(None);
            }
            let touched: Vec<Uuid> = match held.read().as_ref() {
                Some(state) => touched(state, &tail, state.unsettled.clone()),
                None => return Ok(None),
            };
            let disputed = match touched.is_empty() {
                true => Vec::new(),
                false => balances::disputed(conn, company, Some(&touched))?,
            };
            Ok(Some((tail, disputed)))
        })?;
        let Some((tail, disputed)) = read else {
            return Ok(false);
        };
        let unsettled = unsettled(&disputed, &tail, tail.horizon);
        let settled: Vec<_> = tail
            .changes
            .iter()
            .filter(|change| change.xid < tail.horizon)
            .cloned()
            .collect();
        let mut state = held.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(folded) = state.as_mut() else {
            return Ok(false);
        };
        let done = folded.fold(tail.horizon, &settled, &disputed, unsettled);
        let is_worn = folded.is_worn();
        if done.is_err() {
            *state = None;
            held.unfit.store(true, Ordering::Release);
        }
        held.edition.fetch_add(1, Ordering::AcqRel);
        Ok(!is_worn)
    }
}

/// Reads the state from one snapshot, over a second connection too where there is one to be had.
fn read(conn: &mut PgConnection, company: CompanyId, beside: Option<&Db>) -> Result<State> {
    // The same snapshot sees the tail and the rest: what it saw too early is taken out again.
    let horizon = balances::tail(conn, company, i64::MAX, 0)?.horizon;
    let tail = balances::tail(conn, company, horizon, FOLD_AT_MOST)?;
    if tail.is_cut {
        return Err(Error::Unavailable("too many changes at once".into()));
    }
    let builder = Mutex::default();
    let halves = match beside {
        Some(db) => balances::halves(conn, company)?.map(|halves| (db, halves)),
        None => None,
    };
    match halves {
        Some((db, halves)) => add_at_once(conn, company, db, halves, &builder)?,
        None => add(conn, company, Ids::ALL, &builder)?,
    }
    let builder = builder.into_inner().unwrap_or_else(PoisonError::into_inner);
    let disputed = balances::disputed(conn, company, None)?;
    let unsettled = unsettled(&disputed, &tail, horizon);
    builder
        .finish(horizon, &tail.changes, &disputed, unsettled)
        .map_err(out_of_range)
}

/// Adds both halves of a company's items, the second over another connection on the same snapshot: one processor of the
/// database reads it, while another reads the first. Over one connection when there is no other.
fn add_at_once(
    conn: &mut PgConnection,
    company: CompanyId,
    db: &Db,
    (first, second): (Ids, Ids),
    builder: &Mutex<Builder>,
) -> Result<()> {
    let snapshot = store::snapshot(conn)?;
    let beside = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            db.read_beside(&worker(company), &snapshot, Limits::AtLength, |conn| {
                add(conn, company, second, builder)
            })
        });
        add(conn, company, first, builder)?;
        beside
            .join()
            .map_err(|_| Error::Internal("a thread that loads balances ended".into()))?
    })?;
    match beside {
        Some(()) => Ok(()),
        None => add(conn, company, second, builder),
    }
}

/// Adds the histories of these items.
fn add(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: Ids,
    builder: &Mutex<Builder>,
) -> Result<()> {
    let mut fault = None;
    let mut waiting = Vec::with_capacity(TURN);
    let mut hand_in = |waiting: &mut Vec<History>| {
        let mut builder = builder.lock().unwrap_or_else(PoisonError::into_inner);
        for item in waiting.drain(..) {
            if let Err(error) = builder.add(&item) {
                fault = Some(error);
            }
        }
    };
    balances::each_history(conn, company, ids, |item| {
        waiting.push(item);
        if waiting.len() == TURN {
            hand_in(&mut waiting);
        }
    })?;
    hand_in(&mut waiting);
    match fault {
        Some(fault) => Err(out_of_range(fault)),
        None => Ok(()),
    }
}

/// The items under dispute that transactions from the horizon on changed: what was read of them may be ahead.
fn unsettled(disputed: &[Disputed], tail: &Tail, horizon: i64) -> HashSet<Uuid> {
    let ahead: HashSet<Uuid> = tail
        .changes
        .iter()
        .filter(|change| change.xid >= horizon)
        .map(|change| change.item_id)
        .chain(
            tail.disputed
                .iter()
                .filter(|(xid, _)| *xid >= horizon)
                .map(|(_, item)| *item),
        )
        .collect();
    disputed
        .iter()
        .map(|item| item.item_id)
        .filter(|item| ahead.contains(item))
        .collect()
}
