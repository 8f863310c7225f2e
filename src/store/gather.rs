//! Invoices and receipts of one company that wait for each other's numbers are written together.
//!
//! Numbers without gaps let one transaction at a time write. A record that comes while others are under way is made
//! ready on a connection of its own, which goes back to the pool, and waits here: whoever writes takes all of one series
//! that wait, and writes them by one statement in one transaction, each in the name of its own caller. A record that finds
//! nobody before it is written by itself, without coming here; and so is each of those that could not be written together,
//! whatever the reason, so that it is refused or done as if it had come alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::audit;
use super::db::{Db, blocking};
use super::document::{self, Issue};
use super::foreseen::{self, Receipt, Rest};
use super::idempotency::{self, Claim};
use super::numbering::Drawers;
use super::patience::{LATE, checkout};
use super::replica::{self, Position};
use super::transaction::{our_time, transaction, wall};
use crate::domain::access::Caller;
use crate::domain::audit::Origin;
use crate::domain::ids::{CompanyId, Id};
use crate::error::{Error, Result};

/// So many at most are written together: their statement is over soon.
const TOGETHER: usize = 32;

/// A record that is written together with others of its series.
#[derive(Clone, Debug)]
pub enum Record {
    Invoice(Box<Issue>),
    Receipt(Box<Receipt>),
}

impl Record {
    fn id(&self) -> Uuid {
        match self {
            Record::Invoice(issue) => issue.document.document.id.uuid(),
            Record::Receipt(receipt) => receipt.payment.id.uuid(),
        }
    }

    /// All that the trail has of it: the record, and what it settles.
    fn told(&self) -> Vec<Uuid> {
        let mut told = vec![self.id()];
        if let Record::Receipt(receipt) = self {
            let allocations = receipt.foreseen.allocations.iter();
            told.extend(allocations.map(|made| made.id.uuid()));
        }
        told
    }

    fn rests_on(&self) -> Vec<Rest> {
        match self {
            Record::Invoice(issue) => {
                let reference = issue.document.document.external_ref.iter();
                reference.cloned().map(Rest::Reference).collect()
            }
            Record::Receipt(receipt) => receipt.rests_on().collect(),
        }
    }
}

/// A record that is ready to be written.
pub struct Ready {
    pub series: Drawers,
    pub record: Record,
    /// The key under which it is repeated, with what that answers.
    pub claim: Option<Claim>,
}

/// What became of a record that waited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// It is written; and where the log of the database stood then, when there is a replica.
    Written(Option<Position>),
    /// Nothing is written: it goes on by itself.
    Alone,
    /// The database went away while it was written.
    Unknown,
}

/// A record that waits.
pub(super) struct Waiting {
    pub ready: Ready,
    pub caller: Caller,
    pub origin: Arc<Origin>,
    /// The end of its waits.
    pub until: Instant,
    pub answer: oneshot::Sender<Outcome>,
}

impl Waiting {
    fn rests_on(&self) -> impl Iterator<Item = Rest> {
        let claim = self.ready.claim.iter();
        let keys = claim.map(|claim| Rest::Key(claim.key.clone()));
        self.ready.record.rests_on().into_iter().chain(keys)
    }

    fn id(&self) -> Uuid {
        self.ready.record.id()
    }
}

/// The records of one company.
#[derive(Default)]
struct Line {
    /// Requests that record one, waiting ones included.
    under_way: usize,
    waiting: VecDeque<Waiting>,
    /// Somebody writes what waits.
    is_served: bool,
}

/// The records under way.
#[derive(Default)]
pub(super) struct Gathering(Mutex<HashMap<CompanyId, Line>>);

impl Gathering {
    fn lines(&self) -> MutexGuard<'_, HashMap<CompanyId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a record wait; says whether nobody serves the company yet.
    fn wait(&self, waiting: Waiting) -> bool {
        let mut lines = self.lines();
        let line = lines.entry(waiting.caller.company).or_default();
        line.waiting.push_back(waiting);
        !std::mem::replace(&mut line.is_served, true)
    }

    /// The records to be written next, and those that are to go on by themselves: their time is over, or they rest on
    /// what was just written, which is not as they saw it. With none to be written the company is no longer served.
    fn next(&self, company: CompanyId, written: &HashSet<Rest>) -> (Vec<Waiting>, Vec<Waiting>) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&company) else {
            return Default::default();
        };
        let soon = Instant::now() + LATE;
        // Nobody waits for the answer of a request that was given up.
        let waiting = std::mem::take(&mut line.waiting)
            .into_iter()
            .filter(|waiting| !waiting.answer.is_closed());
        let (alone, waiting): (Vec<_>, Vec<_>) = waiting.partition(|waiting| {
            waiting.until <= soon || waiting.rests_on().any(|rest| written.contains(&rest))
        });
        line.waiting = waiting.into();
        let next = taken(&mut line.waiting);
        line.is_served = !next.is_empty();
        if !line.is_served && line.under_way == 0 {
            lines.remove(&company);
        }
        (next, alone)
    }

    /// Takes a record out of the line; false where it is no longer in it.
    fn withdraw(&self, company: CompanyId, id: Uuid) -> bool {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&company) else {
            return false;
        };
        let before = line.waiting.len();
        line.waiting.retain(|waiting| waiting.id() != id);
        line.waiting.len() < before
    }

    /// Ends the service of a company, with those that still wait.
    fn leave(&self, company: CompanyId) -> VecDeque<Waiting> {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&company) else {
            return VecDeque::new();
        };
        line.is_served = false;
        std::mem::take(&mut line.waiting)
    }
}

/// Takes those out of the line that can be written together with the first: under numbers of the same series, resting on
/// different things.
fn taken(line: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let mut taken: Vec<Waiting> = Vec::new();
    let mut rests = HashSet::new();
    for waiting in std::mem::take(line) {
        let is_alike = taken
            .first()
            .is_none_or(|first| first.ready.series == waiting.ready.series);
        let has_place = taken.len() < TOGETHER && is_alike;
        if has_place && !waiting.rests_on().any(|rest| rests.contains(&rest)) {
            rests.extend(waiting.rests_on());
            taken.push(waiting);
        } else {
            line.push_back(waiting);
        }
    }
    taken
}

/// A request that issues an invoice or records a receipt, from before it looks at anything until it is done.
pub struct Turn {
    gathering: Arc<Gathering>,
    company: CompanyId,
    /// No other of the company was under way when it came.
    pub is_first: bool,
}

impl Turn {
    pub(super) fn of(gathering: &Arc<Gathering>, company: CompanyId) -> Turn {
        let mut lines = gathering.lines();
        let line = lines.entry(company).or_default();
        line.under_way += 1;
        Turn {
            gathering: Arc::clone(gathering),
            company,
            is_first: line.under_way == 1,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.gathering.lines();
        if let Some(line) = lines.get_mut(&self.company) {
            line.under_way -= 1;
            // Records of requests that were given up may still wait.
            if line.under_way == 0 && !line.is_served && line.waiting.is_empty() {
                lines.remove(&self.company);
            }
        }
    }
}

/// Has a record written together with others, and says what became of it.
pub(super) async fn written(
    db: &Db,
    waiting: Waiting,
    mut answered: oneshot::Receiver<Outcome>,
) -> Result<Outcome> {
    let (company, id, until) = (waiting.caller.company, waiting.id(), waiting.until);
    if db.gathering.wait(waiting) {
        let service = Service {
            gathering: Arc::clone(&db.gathering),
            company,
            written: HashSet::new(),
            is_over: false,
        };
        // Not the request's own: that may be given up, and others wait.
        tokio::spawn(serve(db.clone(), service, until));
    }
    let answer = match tokio::time::timeout_at((until + LATE).into(), &mut answered).await {
        Ok(answer) => answer,
        Err(_) if db.gathering.withdraw(company, id) => {
            return Err(Error::Unavailable(
                "others write under the same numbers".into(),
            ));
        }
        // It is being written.
        Err(_) => answered.await,
    };
    answer.map_err(|_| Error::Internal("what writes for all that wait has ended".into()))
}

/// Whoever writes what waits; however it ends, those that still wait go on by themselves.
struct Service {
    gathering: Arc<Gathering>,
    company: CompanyId,
    /// What the last records rested on.
    written: HashSet<Rest>,
    /// Nobody waited any more: whoever comes now is served anew.
    is_over: bool,
}

impl Service {
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let (next, alone) = self.gathering.next(self.company, &self.written);
        answer(alone, Outcome::Alone);
        self.is_over = next.is_empty();
        self.written = next.iter().flat_map(Waiting::rests_on).collect();
        (!self.is_over).then_some(next)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_over {
            answer(self.gathering.leave(self.company), Outcome::Alone);
        }
    }
}

fn answer(waiting: impl IntoIterator<Item = Waiting>, outcome: Outcome) {
    for waiting in waiting {
        // Whoever asked may have gone.
        waiting.answer.send(outcome).ok();
    }
}

/// Writes what waits; for a place and a connection it waits as long as the first one does.
async fn serve(db: Db, mut service: Service, until: Instant) {
    let served = async {
        let permit = db.permit(until).await?;
        blocking(move || {
            let _permit = permit;
            let mut conn = checkout(&db.pool, until)?;
            while let Some(batch) = service.next() {
                write(&db, &mut conn, batch)?;
            }
            Ok(())
        })
        .await
    };
    if let Err(error) = served.await {
        tracing::debug!(%error, "records go on one by one");
    }
}

/// Writes records and tells whoever waits. Fails when the connection will not do for others.
fn write(db: &Db, conn: &mut PgConnection, batch: Vec<Waiting>) -> Result<()> {
    let mut is_worked = false;
    let written = write_all(conn, &batch, &mut is_worked);
    let outcome = match &written {
        Ok(()) => Outcome::Written(position(db, conn, &batch)),
        // Whether the end of the transaction came through is not known: they must not be done again.
        Err(_) if is_worked => Outcome::Unknown,
        Err(error) => {
            tracing::debug!(%error, records = batch.len(), "records could not be written together");
            Outcome::Alone
        }
    };
    answer(batch, outcome);
    match written {
        // A lock that others hold, or the connection.
        Err(Error::Unavailable(_)) => Ok(conn.batch_execute("SELECT 1")?),
        _ => Ok(()),
    }
}

/// Where the log of the database stands, when there is a replica: what was written is to be seen in the next report of
/// each caller. It is done: that its place is not known does not undo it.
fn position(db: &Db, conn: &mut PgConnection, batch: &[Waiting]) -> Option<Position> {
    let replica = db.replica.as_ref()?;
    let position = replica::position(conn).ok().flatten()?;
    for waiting in batch {
        replica.wrote(&waiting.caller, position);
    }
    Some(position)
}

/// Writes records in one transaction, or nothing; `is_worked` once only its end is to come.
fn write_all(conn: &mut PgConnection, batch: &[Waiting], is_worked: &mut bool) -> Result<()> {
    let until = batch.iter().map(|waiting| waiting.until).min();
    let Some(first) = batch.first() else {
        return Ok(());
    };
    let (company, series) = (first.caller.company, &first.ready.series);
    let authors = batch.iter().map(|waiting| {
        let records = waiting.ready.record.told().into_iter();
        (audit::actor_of(&waiting.caller, &waiting.origin), records)
    });
    let begin = format!(
        "BEGIN; {}; {}; {}",
        wall(&first.caller, until),
        our_time(),
        audit::stamp_each(authors)
    );
    transaction(conn, &begin, |conn| {
        // Before the counters: whoever repeats one of them at this moment holds its key, and wants a number.
        let mut claims: Vec<&Claim> = batch
            .iter()
            .filter_map(|w| w.ready.claim.as_ref())
            .collect();
        claims.sort_by_key(|claim| &claim.key);
        let (mut invoices, mut receipts) = (Vec::new(), Vec::new());
        for waiting in batch {
            match &waiting.ready.record {
                Record::Invoice(issue) => invoices.push(Issue::clone(issue)),
                Record::Receipt(receipt) => receipts.push(Receipt::clone(receipt)),
            }
        }
        // Of one series, so that one of the two is empty.
        let is_written = idempotency::claim_all(conn, company, &claims)?
            && (invoices.is_empty()
                || document::insert_numbered_all(conn, company, series, invoices)?)
            && (receipts.is_empty() || foreseen::insert_all(conn, company, series, receipts)?);
        // What was foreseen of one of them has changed, or its key is in use.
        *is_worked = is_written;
        is_written.then_some(()).ok_or(Error::Validated)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_the_first_of_its_company_until_all_are_over() {
        let gathering = Arc::new(Gathering::default());
        let company = CompanyId(uuid::Uuid::now_v7());
        let other = CompanyId(uuid::Uuid::now_v7());
        let first = Turn::of(&gathering, company);
        let second = Turn::of(&gathering, company);
        assert!(first.is_first && !second.is_first);
        assert!(Turn::of(&gathering, other).is_first);
        drop(first);
        assert!(!Turn::of(&gathering, company).is_first, "one is under way");
        drop(second);
        assert!(Turn::of(&gathering, company).is_first);
        assert!(
            gathering.lines().is_empty(),
            "nothing is kept of those that are over"
        );
    }
}
