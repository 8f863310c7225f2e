//! Provisions remembered client by client, so that a question costs what changed since the last one.
//!
//! A [`Memo`] holds what the rules required of each client in one snapshot, for one day and one set of rates.
//! The next question reads in its own snapshot who was touched by transactions from the memo's horizon on (the
//! ledger, disputes, the clients themselves), computes those anew from the database, and takes the rest as it
//! was: rules per claim and per client stay in one place, and the answer is that of the snapshot, to the cent.
//! What is provided already (491) and individual estimates are read each time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::{ClientResult, Context, Run, Totals};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, CompanyId};
use crate::domain::money::Minor;
use crate::domain::provision::{ClientProvision, Framework};
use crate::error::{Error, Result};
use crate::store::balances::{self, Touched};
use crate::store::list::Keyset;
use crate::store::{self};

/// Clients computed anew at a time; with more everything is.
const AT_MOST: usize = 500;
/// Changes since a memo was made that make a new one worth its copy.
const RENEW: usize = 32;
/// Memos kept: the days and rates that are looked at.
const MEMOS: usize = 8;
/// Clients looked through at a time for a page, at most.
const STEP: i64 = 500;

/// What a memo was computed for.
#[derive(Clone, PartialEq, Debug)]
struct Key {
    company: CompanyId,
    as_of: NaiveDate,
    framework: Framework,
    content: super::PolicyContent,
}

/// A client in a currency.
type Who = (Uuid, [u8; 3]);

/// What the rules require of a client in one currency.
#[derive(Clone, Copy, Default, Debug)]
struct Part {
    base: Minor,
    required: Minor,
    /// Required, in the company's currency.
    in_books: Minor,
    is_open: bool,
}

impl Part {
    /// Adds another's amounts, or takes them away when `times` is -1.
    fn add(&mut self, other: &Part, times: Minor) {
        self.base += times * other.base;
        self.required += times * other.required;
        self.in_books += times * other.in_books;
    }
}

#[derive(Clone, Debug)]
struct Memo {
    horizon: i64,
    parts: HashMap<Who, Part>,
    /// The parts of each currency added up.
    sums: BTreeMap<[u8; 3], Part>,
    /// Clients whose part may be ahead of the horizon.
    unsettled: HashSet<Uuid>,
    /// Clients with an individual estimate then.
    assessed: HashSet<Uuid>,
}

/// Memos with what they are for, the one that was asked for longest ago first.
type Memos = Mutex<Vec<(Key, Arc<Memo>)>>;

/// The provisions remembered, shared by all requests. Cheap to clone.
#[derive(Clone, Default)]
pub struct Provisions(Option<Arc<Memos>>);

/// A run that is asked about in several ways by one document, in one snapshot. Cheap to clone.
#[derive(Clone)]
pub struct Question {
    /// What it is about.
    pub run: Run,
    known: Arc<Mutex<Option<Arc<Known>>>>,
}

impl Question {
    /// Nothing is known yet.
    pub fn new(run: Run) -> Question {
        Question {
            run,
            known: Arc::default(),
        }
    }
}

/// What a snapshot shows of a run: by memory, where it has a part in it.
struct Known {
    context: Context,
    seen: Option<Seen>,
}

/// What a snapshot sees: a memo, and the clients that are otherwise.
struct Seen {
    memo: Arc<Memo>,
    /// Who is computed anew, and what came of it.
    anew: HashSet<Uuid>,
    parts: HashMap<Who, Part>,
}

impl Seen {
    fn parts(&self) -> impl Iterator<Item = (&Who, &Part)> {
        self.memo
            .parts
            .iter()
            .filter(|((client, _), _)| !self.anew.contains(client))
            .chain(&self.parts)
    }

    /// All currencies, in order.
    fn currencies(&self) -> BTreeSet<[u8; 3]> {
        let anew = self.parts.keys().map(|(_, currency)| *currency);
        self.memo.sums.keys().copied().chain(anew).collect()
    }

    /// The parts of each currency added up: the memo's, less what it had of those computed anew.
    fn sums(&self) -> BTreeMap<[u8; 3], Part> {
        let mut sums = self.memo.sums.clone();
        for client in &self.anew {
            for (currency, sum) in &mut sums {
                if let Some(part) = self.memo.parts.get(&(*client, *currency)) {
                    sum.add(part, -1);
                }
            }
        }
        for ((_, currency), part) in &self.parts {
            sums.entry(*currency).or_default().add(part, 1);
        }
        sums
    }

    /// The clients of a page with something open or provided, with their numbers; and whether more follow.
    fn listed(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        context: &Context,
        page: &Keyset,
    ) -> Result<(Vec<(Uuid, String)>, bool)> {
        let currencies = self.currencies();
        walked(conn, caller, page, |client| {
            context.previous.contains_key(&client)
                || currencies
                    .iter()
                    .any(|currency| self.part(&(client, *currency)).is_open)
        })
    }

    /// The provisions of clients without their claims, by number and currency.
    fn rows(&self, context: &Context, clients: Vec<(Uuid, String)>) -> Result<Vec<ClientResult>> {
        let own = code(&context.currency)?;
        let mut currencies = self.currencies();
        currencies.insert(own);
        let mut rows = Vec::with_capacity(clients.len());
        for (client, number) in clients {
            let required = self.in_books(client, &currencies);
            for currency in &currencies {
                let part = self.part(&(client, *currency));
                if *currency != own && !part.is_open {
                    continue;
                }
                let currency_code = String::from_utf8_lossy(currency).into_owned();
                let held = context.held(client, &currency_code);
                let mut provision = ClientProvision::moved(Vec::new(), part.required, held);
                provision.move_to(if *currency == own { required } else { 0 });
                rows.push(ClientResult {
                    client: ClientId(client),
                    number: number.clone(),
                    currency: currency_code,
                    provision,
                    claims: Vec::new(),
                    in_books: part.in_books,
                    is_open: part.is_open,
                });
            }
        }
        Ok(rows)
    }

    /// What is required for a client in the company's currency.
    fn in_books(&self, client: Uuid, currencies: &BTreeSet<[u8; 3]>) -> Minor {
        currencies
            .iter()
            .map(|currency| self.part(&(client, *currency)).in_books)
            .sum()
    }

    fn part(&self, who: &Who) -> Part {
        let parts = match self.anew.contains(&who.0) {
            true => &self.parts,
            false => &self.memo.parts,
        };
        parts.get(who).copied().unwrap_or_default()
    }
}

fn code(currency: &str) -> Result<[u8; 3]> {
    currency
        .as_bytes()
        .try_into()
        .map_err(|_| Error::Internal(format!("stored currency {currency}")))
}

impl Provisions {
    /// Remembers nothing yet.
    pub fn remembering() -> Provisions {
        Provisions(Some(Arc::default()))
    }

    /// What the caller's snapshot shows of a question, found out once for all its parts.
    fn known(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        question: &Question,
    ) -> Result<Arc<Known>> {
        let mut known = question
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(Arc::clone(known));
        }
        let run = &question.run;
        let memory = self.of(caller, run);
        let memo = memory.as_ref().and_then(|(memos, key)| taken(memos, key));
        let since = memo.as_ref().map(|memo| (memo.horizon, 4 * AT_MOST));
        let (context, touched) = run.context_since(conn, caller, since)?;
        // A snapshot older than the memo cannot do without what the memo has of later.
        let current = memo
            .zip(touched)
            .filter(|(memo, touched)| !touched.is_cut && touched.horizon >= memo.horizon);
        let seen = match memory {
            Some((memos, key)) => Some(seen(conn, caller, run, &context, current, memos, key)?),
            None => None,
        };
        Ok(Arc::clone(known.insert(Arc::new(Known { context, seen }))))
    }

    /// Sums per currency over every client, and the company's own currency, as [`Run::totals`].
    pub fn totals(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        question: &Question,
    ) -> Result<(String, BTreeMap<String, Totals>)> {
        let known = self.known(conn, caller, question)?;
        let context = &known.context;
        let Some(seen) = &known.seen else {
            return question.run.totals(conn, caller, context);
        };
        let own = code(&context.currency)?;
        let mut sums = BTreeMap::from([(own, Totals::default())]);
        let mut moved = Totals::default();
        for (currency, part) in seen.sums() {
            let sum = sums.entry(currency).or_default();
            sum.base = part.base;
            sum.required = part.required;
            sum.in_books = part.in_books;
            moved.charge += part.in_books;
        }
        let currencies = seen.currencies();
        for (client, previous) in &context.previous {
            let required = seen.in_books(*client, &currencies);
            moved.previous += previous;
            // Charges and releases are never netted between clients (R5.10).
            moved.charge += required.saturating_sub(*previous).max(0) - required;
            moved.release += previous.saturating_sub(required).max(0);
        }
        let sum = sums.entry(own).or_default();
        (sum.previous, sum.charge, sum.release) = (moved.previous, moved.charge, moved.release);
        let named =
            |(currency, sum): ([u8; 3], Totals)| (String::from_utf8_lossy(&currency).into(), sum);
        let own = context.currency.clone();
        Ok((own, sums.into_iter().map(named).collect()))
    }

    /// A page of rows, by number and currency, of the clients with something open or provided: as [`Run::client_ids`]
    /// and [`Run::clients`]. Claims are read only if they are wanted.
    pub fn page(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        question: &Question,
        page: &Keyset,
        with_claims: bool,
    ) -> Result<(Vec<ClientResult>, bool)> {
        let run = &question.run;
        let known = self.known(conn, caller, question)?;
        let Known { context, seen } = &*known;
        let place = page.from.as_ref().map(|(place, _)| Place::read(place));
        let beyond = Keyset {
            from: place.map(|place| (place.number.to_owned(), Uuid::nil())),
            ..page.clone()
        };
        // The client of the row beside the page may have more rows.
        let beside = match place {
            Some(place) => store::client::by_number(conn, caller.company, place.number)?,
            None => None,
        };
        let (mut rows, mut more) = match seen {
            Some(seen) if !with_claims => {
                let (found, more) = seen.listed(conn, caller, context, &beyond)?;
                let beside = beside.map(|client| (client.id.0, client.number));
                let clients = found.into_iter().chain(beside).collect();
                (seen.rows(context, clients)?, more)
            }
            _ => {
                let (ids, more) = match seen {
                    Some(seen) => {
                        let (found, more) = seen.listed(conn, caller, context, &beyond)?;
                        let ids = found.into_iter().map(|(id, _)| ClientId(id));
                        (ids.collect(), more)
                    }
                    None => run.client_ids(conn, caller, context, &beyond)?,
                };
                let mut clients = store::client::by_ids(conn, caller.company, &ids)?;
                clients.extend(beside);
                (run.clients(conn, caller, &clients, context)?, more)
            }
        };
        rows.sort_by(|a, b| Place::of(a).cmp(&Place::of(b)));
        rows.retain(|row| match place {
            Some(place) if page.backward => Place::of(row) < place,
            Some(place) => Place::of(row) > place,
            None => true,
        });
        let size = usize::try_from(page.size).unwrap_or(usize::MAX);
        if let Some(surplus) = rows.len().checked_sub(size).filter(|surplus| *surplus > 0) {
            more = true;
            if page.backward {
                rows.drain(..surplus);
            } else {
                rows.truncate(size);
            }
        }
        Ok((rows, more))
    }

    /// How many rows there are.
    pub fn row_count(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        question: &Question,
    ) -> Result<i64> {
        let known = self.known(conn, caller, question)?;
        let Known { context, seen } = &*known;
        let Some(seen) = seen else {
            return question.run.row_count(conn, caller, context);
        };
        let own = code(&context.currency)?;
        let mut listed: HashSet<Uuid> = context.previous.keys().copied().collect();
        let mut foreign = 0;
        for ((client, currency), _) in seen.parts().filter(|(_, part)| part.is_open) {
            listed.insert(*client);
            foreign += usize::from(*currency != own);
        }
        Ok(i64::try_from(listed.len() + foreign).unwrap_or(i64::MAX))
    }

    /// What is remembered, and for what this run is; none when memory has no part in it.
    fn of(&self, caller: &Caller, run: &Run) -> Option<(&Memos, Key)> {
        let memos = self.0.as_deref()?;
        let is_whole = run.known_at.is_none() && caller.portfolio().is_none();
        is_whole.then(|| {
            let key = Key {
                company: caller.company,
                as_of: run.as_of,
                framework: run.framework,
                content: run.content.clone(),
            };
            (memos, key)
        })
    }
}

/// Where a row stands in the list: by client and currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place<'a> {
    number: &'a str,
    currency: &'a str,
}

impl<'a> Place<'a> {
    /// Of a row.
    pub fn of(row: &'a ClientResult) -> Place<'a> {
        Place {
            number: &row.number,
            currency: &row.currency,
        }
    }

    /// As a cursor holds it: numbers have no tabs.
    pub fn show(&self) -> String {
        format!("{}\t{}", self.number, self.currency)
    }

    fn read(shown: &'a str) -> Place<'a> {
        let (number, currency) = shown.rsplit_once('\t').unwrap_or((shown, ""));
        Place { number, currency }
    }
}

/// The next clients of a page that are listed, with their numbers; and whether more follow.
fn walked(
    conn: &mut PgConnection,
    caller: &Caller,
    page: &Keyset,
    is_listed: impl Fn(Uuid) -> bool,
) -> Result<(Vec<(Uuid, String)>, bool)> {
    let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
    // Most clients owe something: little more than the page is looked through at first.
    let mut step = Keyset {
        size: page.limit().saturating_mul(2).min(STEP),
        ..page.clone()
    };
    let mut found = Vec::new();
    loop {
        let clients = store::provision::client_numbers(conn, caller.company, &step)?;
        let is_last = i64::try_from(clients.len()).is_ok_and(|count| count < step.size);
        step.size = STEP;
        step.from = clients.last().map(|(id, number)| (number.clone(), *id));
        found.extend(clients.into_iter().filter(|(id, _)| is_listed(*id)));
        if is_last || found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(page.page(found))
}

/// What the snapshot sees, by the memo that it can go by with who was touched since; a memo is made, or made anew,
/// where that saves the next question work.
fn seen(
    conn: &mut PgConnection,
    caller: &Caller,
    run: &Run,
    context: &Context,
    current: Option<(Arc<Memo>, Touched)>,
    memos: &Memos,
    key: Key,
) -> Result<Seen> {
    if let Some((memo, touched)) = current {
        let mut anew = touched_since(&memo, &touched);
        anew.extend(&memo.assessed);
        anew.extend(assessed(context));
        if let Some(seen) = brought_up(conn, caller, run, memo, anew, context)? {
            if settled(&touched) >= RENEW {
                put(memos, key, renewed(&seen, context, &touched));
            }
            return Ok(seen);
        }
    }
    let memo = Arc::new(made(conn, caller, run, context)?);
    put(memos, key, Arc::clone(&memo));
    Ok(Seen {
        memo,
        anew: HashSet::new(),
        parts: HashMap::new(),
    })
}

/// The clients that may be otherwise than in the memo.
fn touched_since(memo: &Memo, touched: &Touched) -> HashSet<Uuid> {
    let clients = touched.clients.iter().map(|(_, client)| *client);
    clients.chain(memo.unsettled.iter().copied()).collect()
}

/// Rows that a new memo need not look at again.
fn settled(touched: &Touched) -> usize {
    let settled = |(xid, _): &&(i64, Uuid)| *xid < touched.horizon;
    touched.clients.iter().filter(settled).count()
}

fn lock(memos: &Memos) -> MutexGuard<'_, Vec<(Key, Arc<Memo>)>> {
    memos.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memo of a key, which becomes the last one to be forgotten.
fn taken(memos: &Memos, key: &Key) -> Option<Arc<Memo>> {
    let mut memos = lock(memos);
    let place = memos.iter().position(|(of, _)| of == key)?;
    let found = memos.remove(place);
    let memo = Arc::clone(&found.1);
    memos.push(found);
    Some(memo)
}

fn put(memos: &Memos, key: Key, memo: Arc<Memo>) {
    let mut memos = lock(memos);
    // Somebody with a later snapshot may have been quicker.
    if memos
        .iter()
        .any(|(of, there)| *of == key && there.horizon > memo.horizon)
    {
        return;
    }
    memos.retain(|(of, _)| *of != key);
    if memos.len() >= MEMOS {
        memos.remove(0);
    }
    memos.push((key, memo));
}

fn assessed(context: &Context) -> impl Iterator<Item = Uuid> + '_ {
    let estimates = context.estimates.iter();
    estimates.map(|estimate| estimate.client_id.0)
}

/// Everything computed in this snapshot.
fn made(conn: &mut PgConnection, caller: &Caller, run: &Run, context: &Context) -> Result<Memo> {
    let horizon = balances::touched(conn, caller.company, i64::MAX, 0)?.horizon;
    let later = balances::touched(conn, caller.company, horizon, usize::MAX >> 2)?;
    let (ids, _) = run.client_ids(conn, caller, context, &Keyset::all())?;
    let mut parts = HashMap::new();
    for chunk in ids.chunks(1000) {
        parts.extend(computed(conn, caller, run, context, chunk)?);
    }
    Ok(Memo {
        horizon,
        sums: sums_of(&parts),
        parts,
        unsettled: later
            .clients
            .into_iter()
            .map(|(_, client)| client)
            .collect(),
        assessed: assessed(context).collect(),
    })
}

fn computed(
    conn: &mut PgConnection,
    caller: &Caller,
    run: &Run,
    context: &Context,
    ids: &[ClientId],
) -> Result<HashMap<Who, Part>> {
    let clients = store::client::by_ids(conn, caller.company, ids)?;
    run.clients(conn, caller, &clients, context)?
        .into_iter()
        .map(|result| {
            let part = Part {
                base: result.provision.claims.iter().map(|claim| claim.base).sum(),
                required: result.provision.required,
                in_books: result.in_books,
                is_open: result.is_open,
            };
            Ok(((result.client.0, code(&result.currency)?), part))
        })
        .collect()
}

/// The memo with these clients computed anew; none when they are too many.
fn brought_up(
    conn: &mut PgConnection,
    caller: &Caller,
    run: &Run,
    memo: Arc<Memo>,
    anew: HashSet<Uuid>,
    context: &Context,
) -> Result<Option<Seen>> {
    if anew.len() > AT_MOST {
        return Ok(None);
    }
    let ids: Vec<ClientId> = anew.iter().copied().map(ClientId).collect();
    let parts = match ids.is_empty() {
        true => HashMap::new(),
        false => computed(conn, caller, run, context, &ids)?,
    };
    Ok(Some(Seen { memo, anew, parts }))
}

/// What a snapshot saw, as the memo of the next questions.
fn renewed(seen: &Seen, context: &Context, touched: &Touched) -> Arc<Memo> {
    let ahead = touched
        .clients
        .iter()
        .filter(|(xid, _)| *xid >= touched.horizon);
    let parts = seen.parts().map(|(who, part)| (*who, *part)).collect();
    Arc::new(Memo {
        horizon: touched.horizon,
        sums: sums_of(&parts),
        parts,
        unsettled: ahead.map(|(_, client)| *client).collect(),
        assessed: assessed(context).collect(),
    })
}

fn sums_of(parts: &HashMap<Who, Part>) -> BTreeMap<[u8; 3], Part> {
    let mut sums = BTreeMap::<[u8; 3], Part>::new();
    for ((_, currency), part) in parts {
        sums.entry(*currency).or_default().add(part, 1);
    }
    sums
}
