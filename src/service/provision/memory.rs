//! Provisions remembered client by client, so that a question costs what changed since the last one.
//!
//! A [`Memo`] holds what the rules required of each client in one snapshot, for one day and one set of rates.
//! The next question reads in its own snapshot who was touched by transactions from the memo's horizon on (the
//! ledger, disputes, the clients themselves), computes those anew from the database, and takes the rest as it
//! was: rules per claim and per client stay in one place, and the answer is that of the snapshot, to the cent.
//! What is provided already (491) and individual estimates are read each time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use uuid::Uuid;

use super::{Context, Run, Totals};
use crate::domain::access::Caller;
use crate::domain::ids::{ClientId, CompanyId};
use crate::domain::money::Minor;
use crate::domain::provision::Framework;
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
/// Clients looked through at a time for a page.
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
    is_open: bool,
}

#[derive(Clone, Debug)]
struct Memo {
    horizon: i64,
    parts: HashMap<Who, Part>,
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

/// What a snapshot sees: a memo, and the clients that are otherwise.
struct Seen {
    memo: Arc<Memo>,
    /// Who is computed anew, and what came of it.
    anew: HashSet<Uuid>,
    parts: HashMap<Who, Part>,
    context: Context,
}

impl Seen {
    fn parts(&self) -> impl Iterator<Item = (&Who, &Part)> {
        self.memo
            .parts
            .iter()
            .filter(|((client, _), _)| !self.anew.contains(client))
            .chain(&self.parts)
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

    /// Sums per currency over every client, as [`Run::totals`].
    pub fn totals(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        run: &Run,
    ) -> Result<BTreeMap<String, Totals>> {
        let Some(seen) = self.seen(conn, caller, run, true)? else {
            return run.totals(conn, caller);
        };
        let mut totals = BTreeMap::from([(seen.context.currency.clone(), Totals::default())]);
        let mut sums = HashMap::<[u8; 3], Totals>::new();
        for ((_, currency), part) in seen.parts() {
            let sum = sums.entry(*currency).or_default();
            sum.base += part.base;
            sum.required += part.required;
            sum.charge += part.required;
        }
        for ((client, currency), previous) in &seen.context.previous {
            let currency = code(currency)?;
            let required = seen.part(&(*client, currency)).required;
            let sum = sums.entry(currency).or_default();
            sum.previous += previous;
            // Charges and releases are never netted between clients (R5.10).
            sum.charge += required.saturating_sub(*previous).max(0) - required;
            sum.release += previous.saturating_sub(required).max(0);
        }
        for (currency, sum) in sums {
            totals.insert(String::from_utf8_lossy(&currency).into_owned(), sum);
        }
        Ok(totals)
    }

    /// A page of clients with something open or provided, as [`Run::client_ids`].
    pub fn client_ids(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        run: &Run,
        page: &Keyset,
    ) -> Result<(Vec<ClientId>, bool)> {
        let Some(seen) = self.seen(conn, caller, run, false)? else {
            return run.client_ids(conn, caller, page);
        };
        let listed = listed(conn, caller, run, &seen)?;
        let limit = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let mut step = Keyset {
            size: STEP,
            ..page.clone()
        };
        let mut found = Vec::new();
        loop {
            let clients = store::provision::client_numbers(conn, caller.company, &step)?;
            let is_last = clients.len() < STEP as usize;
            step.from = clients.last().map(|(id, number)| (number.clone(), *id));
            found.extend(
                clients
                    .into_iter()
                    .map(|(id, _)| id)
                    .filter(|id| listed.contains(id)),
            );
            if is_last || found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        let (ids, more) = page.page(found);
        Ok((ids.into_iter().map(ClientId).collect(), more))
    }

    /// How many there are, as [`Run::client_count`].
    pub fn client_count(&self, conn: &mut PgConnection, caller: &Caller, run: &Run) -> Result<i64> {
        match self.seen(conn, caller, run, false)? {
            Some(seen) => {
                let listed = listed(conn, caller, run, &seen)?;
                Ok(i64::try_from(listed.len()).unwrap_or(i64::MAX))
            }
            None => run.client_count(conn, caller),
        }
    }

    /// What the snapshot sees. Without a memo one is made when `make` says so; none when nothing is remembered.
    fn seen(
        &self,
        conn: &mut PgConnection,
        caller: &Caller,
        run: &Run,
        make: bool,
    ) -> Result<Option<Seen>> {
        let Some(memos) = &self.0 else {
            return Ok(None);
        };
        if run.known_at.is_some() || caller.portfolio().is_some() {
            return Ok(None);
        }
        let key = Key {
            company: caller.company,
            as_of: run.as_of,
            framework: run.framework,
            content: run.content.clone(),
        };
        let found = taken(memos, &key);
        if let Some(memo) = found {
            let touched = balances::touched(conn, caller.company, memo.horizon, 4 * AT_MOST)?;
            if touched.horizon < memo.horizon {
                // A snapshot older than the memo.
                return Ok(None);
            }
            if !touched.is_cut
                && let Some(seen) = brought_up(conn, caller, run, memo, &touched)?
            {
                if settled(&touched) >= RENEW {
                    put(memos, key, renewed(&seen, &touched));
                }
                return Ok(Some(seen));
            }
        }
        if !make {
            return Ok(None);
        }
        let context = run.context(conn, caller)?;
        let memo = Arc::new(made(conn, caller, run, &context)?);
        put(memos, key, Arc::clone(&memo));
        Ok(Some(Seen {
            memo,
            anew: HashSet::new(),
            parts: HashMap::new(),
            context,
        }))
    }
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
    context.assessments.iter().map(|made| made.client_id.0)
}

/// Everything computed in this snapshot.
fn made(conn: &mut PgConnection, caller: &Caller, run: &Run, context: &Context) -> Result<Memo> {
    let horizon = balances::touched(conn, caller.company, i64::MAX, 0)?.horizon;
    let later = balances::touched(conn, caller.company, horizon, usize::MAX >> 2)?;
    let (ids, _) = run.client_ids(conn, caller, &Keyset::all())?;
    let mut parts = HashMap::new();
    for chunk in ids.chunks(1000) {
        parts.extend(computed(conn, caller, run, context, chunk)?);
    }
    Ok(Memo {
        horizon,
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
    run.clients_with(conn, caller, &clients, context)?
        .into_iter()
        .map(|result| {
            let part = Part {
                base: result.provision.claims.iter().map(|claim| claim.base).sum(),
                required: result.provision.required,
                is_open: result.is_open,
            };
            Ok(((result.client.0, code(&result.currency)?), part))
        })
        .collect()
}

/// The memo with what changed since; none when that is too much.
fn brought_up(
    conn: &mut PgConnection,
    caller: &Caller,
    run: &Run,
    memo: Arc<Memo>,
    touched: &Touched,
) -> Result<Option<Seen>> {
    let context = run.context(conn, caller)?;
    let mut anew: HashSet<Uuid> = touched.clients.iter().map(|(_, client)| *client).collect();
    anew.extend(&memo.unsettled);
    anew.extend(&memo.assessed);
    anew.extend(assessed(&context));
    if anew.len() > AT_MOST {
        return Ok(None);
    }
    let ids: Vec<ClientId> = anew.iter().copied().map(ClientId).collect();
    let parts = match ids.is_empty() {
        true => HashMap::new(),
        false => computed(conn, caller, run, &context, &ids)?,
    };
    Ok(Some(Seen {
        memo,
        anew,
        parts,
        context,
    }))
}

/// What a snapshot saw, as the memo of the next questions.
fn renewed(seen: &Seen, touched: &Touched) -> Arc<Memo> {
    let ahead = touched
        .clients
        .iter()
        .filter(|(xid, _)| *xid >= touched.horizon);
    Arc::new(Memo {
        horizon: touched.horizon,
        parts: seen.parts().map(|(who, part)| (*who, *part)).collect(),
        unsettled: ahead.map(|(_, client)| *client).collect(),
        assessed: assessed(&seen.context).collect(),
    })
}

/// The clients with something open, and those that 491 names.
fn listed(
    conn: &mut PgConnection,
    caller: &Caller,
    run: &Run,
    seen: &Seen,
) -> Result<HashSet<Uuid>> {
    let mut listed: HashSet<Uuid> = seen
        .parts()
        .filter(|(_, part)| part.is_open)
        .map(|((client, _), _)| *client)
        .collect();
    listed.extend(store::provision::named(conn, caller.company, run.as_of)?);
    Ok(listed)
}
