//! Matchings that were worked out without a lock, and are written if what they rest on is as it was read.
//!
//! Who draws numbers keeps all others waiting until the transaction ends. A receipt that locks its items, reads them and
//! writes what it settles under the counters' lock holds it for six statements; one that looks at them before holds it
//! for one. That statement locks all rows concerned, in the order of all others (counters, items, groups, letters), and then
//! compares versions: a row's version is the transaction that wrote it, and whoever matches, ends a matching or letters
//! changes the rows concerned.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Integer, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::bulk::{self, Rows};
use super::item::{Change, Item};
use super::journal::{Line, NewEntry};
use super::list::{Bind, Sql, Statement, steady};
use super::matching::{Allocation, Matching};
use super::numbering::{Condition, Drawers, Drawn, Numbers};
use super::patience;
use super::payment::Payment;
use crate::domain::ids::{ClientId, CompanyId, ItemId, MatchingId};

/// The transaction that wrote a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(String);

/// What changes of an item, as it was read.
#[derive(Clone, Debug)]
pub struct Stand {
    pub item: ItemId,
    pub version: Version,
    pub open_amount: i64,
    pub matching_id: Option<MatchingId>,
    /// The last day of its ledger.
    pub last_on: Option<NaiveDate>,
    /// The last day on which a matching of it ended.
    pub ended_on: Option<NaiveDate>,
    /// The number of the last letter of its account.
    pub last_letter: Option<i32>,
}

/// Reads where items stand, those that there are.
pub fn stands(
    conn: &mut PgConnection,
    company: CompanyId,
    items: &[ItemId],
) -> QueryResult<Vec<Stand>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        version: String,
        #[diesel(sql_type = BigInt)]
        open_amount: i64,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        matching_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<Date>)]
        last_on: Option<NaiveDate>,
        #[diesel(sql_type = Nullable<Date>)]
        ended_on: Option<NaiveDate>,
        #[diesel(sql_type = Nullable<Integer>)]
        last_letter: Option<i32>,
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let id = || Bind::Id(company.0);
    let found: Vec<Found> = steady(
        "SELECT i.id, i.version, i.open_amount, i.matching_id, l.last_on, a.ended_on, c.last_code AS last_letter \
         FROM unnest((SELECT ?)) k(id) CROSS JOIN LATERAL \
           (SELECT t.id, t.xmin::text AS version, t.open_amount, t.matching_id, t.client_id, t.family FROM items t \
            WHERE t.company_id = ? AND t.id = k.id OFFSET 0) i CROSS JOIN LATERAL \
           (SELECT max(l.effective_on) AS last_on FROM receivable_ledger l WHERE l.company_id = ? AND l.item_id = i.id) l CROSS JOIN LATERAL \
           (SELECT max(e.ended_on) AS ended_on FROM \
              (SELECT d.ended_on FROM allocations d WHERE d.company_id = ? AND d.debit_item_id = i.id \
               UNION ALL SELECT c.ended_on FROM allocations c WHERE c.company_id = ? AND c.credit_item_id = i.id) e) a \
           LEFT JOIN letter_counters c ON c.company_id = ? AND c.client_id = i.client_id AND c.family = i.family",
        [Bind::ids(items), id(), id(), id(), id(), id()],
    )
    .load(conn)?;
    let stand = |row: Found| Stand {
        item: ItemId(row.id),
        version: Version(row.version),
        open_amount: row.open_amount,
        matching_id: row.matching_id.map(MatchingId),
        last_on: row.last_on,
        ended_on: row.ended_on,
        last_letter: row.last_letter,
    };
    Ok(found.into_iter().map(stand).collect())
}

/// The versions of groups. Read the groups themselves after it.
pub fn versions(
    conn: &mut PgConnection,
    company: CompanyId,
    groups: &[MatchingId],
) -> QueryResult<Vec<(MatchingId, Version)>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        version: String,
    }
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<Found> = steady(
        "SELECT m.id, m.version FROM unnest((SELECT ?)) k(id) CROSS JOIN LATERAL \
           (SELECT t.id, t.xmin::text AS version FROM matchings t WHERE t.company_id = ? AND t.id = k.id OFFSET 0) m",
        [Bind::ids(groups), Bind::Id(company.0)],
    )
    .load(conn)?;
    let version = |row: Found| (MatchingId(row.id), Version(row.version));
    Ok(found.into_iter().map(version).collect())
}

/// An item of the books as it stands once matched, with the version that this was worked out from.
#[derive(Clone, Debug)]
pub struct Moved {
    pub item: ItemId,
    pub version: Version,
    pub open_amount: i64,
    pub settled_on: Option<NaiveDate>,
    pub group: Option<MatchingId>,
}

/// The next letter of an account, with the number of the one before it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub client: ClientId,
    pub family: String,
    pub last: i32,
}

/// What was worked out, for one receipt or for several.
#[derive(Clone, Debug, Default)]
pub struct Foreseen {
    /// The receipt's own items, as they stand once matched.
    pub opened: Vec<Item>,
    pub allocations: Vec<Allocation>,
    pub changes: Vec<Change>,
    /// The items of the books that it settles, in the order of their ids.
    pub moved: Vec<Moved>,
    /// Groups of the books that add up to something else then, in the order of their ids.
    pub changed: Vec<(Matching, Version)>,
    /// Groups that begin, with the letters that they take, in the order of the accounts.
    pub new: Vec<(Matching, Letter)>,
}

/// What two records cannot both rest on when they are written together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Rest {
    /// An item that one settles.
    Item(ItemId),
    /// A group that one adds to.
    Group(MatchingId),
    /// An account on which one begins a group.
    Account(ClientId, String),
    /// The reference that one has elsewhere.
    Reference(String),
    /// The key under which one is repeated.
    Key(String),
}

impl Foreseen {
    fn rests_on(&self) -> impl Iterator<Item = Rest> {
        let items = self.moved.iter().map(|moved| Rest::Item(moved.item));
        let groups = self.changed.iter().map(|(group, _)| Rest::Group(group.id));
        let accounts = self
            .new
            .iter()
            .map(|(_, letter)| Rest::Account(letter.client, letter.family.clone()));
        items.chain(groups).chain(accounts)
    }

    /// Several as one, which rest on different things.
    fn together(all: impl Iterator<Item = Foreseen>) -> Foreseen {
        let mut together = Foreseen::default();
        for one in all {
            together.opened.extend(one.opened);
            together.allocations.extend(one.allocations);
            together.changes.extend(one.changes);
            together.moved.extend(one.moved);
            together.changed.extend(one.changed);
            together.new.extend(one.new);
        }
        // The order in which all transactions lock them.
        together.moved.sort_by_key(|moved| moved.item);
        together.changed.sort_by_key(|(group, _)| group.id);
        let account = |(_, letter): &(_, Letter)| (letter.client, letter.family.clone());
        together.new.sort_by_cached_key(account);
        together
    }

    fn condition(&self, company: CompanyId) -> Condition {
        let mut condition = Condition {
            parts: Sql::default(),
            holds: Sql::default(),
            updates: Vec::new(),
        };
        // Each part waits for the one before: all transactions lock in one order.
        let mut before = "waited";
        if !self.moved.is_empty() {
            // What the wait for the counters has taken is not there for the next locks.
            let spent = patience::spent_in_statement();
            condition.parts.push(
                &format!(", waited AS MATERIALIZED (SELECT {spent} AS rows FROM d LIMIT 1)"),
                [],
            );
            let ids = self.moved.iter().map(|moved| moved.item.0).collect();
            let versions = self.moved.iter().map(|moved| moved.version.0.clone());
            held(
                &mut condition,
                "items",
                before,
                ids,
                versions.collect(),
                company,
            );
            condition.updates.push(moving(company, &self.moved));
            before = "held_items";
        }
        if !self.changed.is_empty() {
            let ids = self.changed.iter().map(|(group, _)| group.id.0).collect();
            let versions = self.changed.iter().map(|(_, version)| version.0.clone());
            let versions = versions.collect();
            held(&mut condition, "matchings", before, ids, versions, company);
            condition.updates.push(adding_up(company, &self.changed));
            before = "held_matchings";
        }
        if !self.new.is_empty() {
            let letters: Vec<&Letter> = self.new.iter().map(|(_, letter)| letter).collect();
            held_letters(&mut condition, before, &letters, company);
            condition.updates.push(lettering(company, &letters));
        }
        condition
    }
}

/// The accounts of letters.
fn accounts(letters: &[&Letter]) -> [Bind; 2] {
    let clients = letters.iter().map(|letter| letter.client.0);
    let families = letters.iter().map(|letter| letter.family.clone());
    [
        Bind::Ids(clients.collect()),
        Bind::Texts(families.collect()),
    ]
}

/// Locks the letters of accounts, once the part `before` is done, and compares the last one of each.
fn held_letters(condition: &mut Condition, before: &str, letters: &[&Letter], company: CompanyId) {
    let [clients, families] = accounts(letters);
    let last = letters.iter().map(|letter| letter.last).collect();
    condition.parts.push(
        &format!(
            ", held_letters AS MATERIALIZED (SELECT count(*) FILTER (WHERE c.last_code = k.last) AS rows FROM {before} b \
               CROSS JOIN unnest((SELECT ?), (SELECT ?), (SELECT ?)) k(client_id, family, last) CROSS JOIN LATERAL \
               (SELECT c.last_code FROM letter_counters c WHERE c.company_id = ? AND c.client_id = k.client_id AND c.family = k.family \
                  AND b.rows IS NOT NULL FOR NO KEY UPDATE) c)"
        ),
        [clients, families, Bind::Numbers(last), Bind::Id(company.0)],
    );
    let count = i64::try_from(letters.len()).unwrap_or(i64::MAX);
    condition.holds.push(
        " AND (SELECT rows FROM held_letters) = ?",
        [Bind::Number(count)],
    );
}

fn lettering(company: CompanyId, letters: &[&Letter]) -> Statement {
    let [clients, families] = accounts(letters);
    steady(
        "UPDATE letter_counters c SET last_code = c.last_code + 1 FROM unnest((SELECT ?), (SELECT ?)) t(client_id, family) \
         WHERE EXISTS (SELECT FROM g) AND c.company_id = ? AND c.client_id = t.client_id AND c.family = t.family",
        [clients, families, Bind::Id(company.0)],
    )
}

/// Locks rows of a table, once the part `before` is done, and compares their versions, each as it is when it is locked. All
/// are locked whatever comes of it: one that is locked later would be locked out of order.
fn held(
    condition: &mut Condition,
    table: &str,
    before: &str,
    ids: Vec<Uuid>,
    versions: Vec<String>,
    company: CompanyId,
) {
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    condition.parts.push(
        &format!(
            ", held_{table} AS MATERIALIZED (SELECT count(*) FILTER (WHERE t.version = k.version) AS rows FROM {before} b \
               CROSS JOIN unnest((SELECT ?), (SELECT ?)) k(id, version) CROSS JOIN LATERAL \
               (SELECT t.xmin::text AS version FROM {table} t WHERE t.company_id = ? AND t.id = k.id \
                  AND b.rows IS NOT NULL FOR NO KEY UPDATE) t)"
        ),
        [Bind::Ids(ids), Bind::Texts(versions), Bind::Id(company.0)],
    );
    condition.holds.push(
        &format!(" AND (SELECT rows FROM held_{table}) = ?"),
        [Bind::Number(count)],
    );
}

fn moving(company: CompanyId, moved: &[Moved]) -> Statement {
    let groups = moved.iter().map(|moved| moved.group.map(|id| id.0));
    steady(
        "UPDATE items i SET open_amount = t.open_amount, settled_on = t.settled_on, changed_at = greatest(i.changed_at, now()), matching_id = t.matching_id \
         FROM unnest((SELECT ?), (SELECT ?), (SELECT ?), (SELECT ?)) t(id, open_amount, settled_on, matching_id) \
         WHERE EXISTS (SELECT FROM g) AND i.company_id = ? AND i.id = t.id",
        [
            Bind::Ids(moved.iter().map(|moved| moved.item.0).collect()),
            Bind::Amounts(moved.iter().map(|moved| moved.open_amount).collect()),
            Bind::DaysOrNone(moved.iter().map(|moved| moved.settled_on).collect()),
            Bind::IdsOrNone(groups.collect()),
            Bind::Id(company.0),
        ],
    )
}

fn adding_up(company: CompanyId, changed: &[(Matching, Version)]) -> Statement {
    let groups = || changed.iter().map(|(group, _)| group);
    steady(
        "UPDATE matchings m SET residual = t.residual, complete = t.complete \
         FROM unnest((SELECT ?), (SELECT ?), (SELECT ?)) t(id, residual, complete) \
         WHERE EXISTS (SELECT FROM g) AND m.company_id = ? AND m.id = t.id",
        [
            Bind::Ids(groups().map(|group| group.id.0).collect()),
            Bind::Amounts(groups().map(|group| group.residual).collect()),
            Bind::Flags(groups().map(|group| group.complete).collect()),
            Bind::Id(company.0),
        ],
    )
}

/// Groups that begin.
fn beginning(foreseen: &Foreseen) -> Vec<Matching> {
    let new = foreseen.new.iter();
    new.map(|(group, _)| group.clone()).collect()
}

/// Adds a receipt with its entry, under numbers drawn by the same statement, and what was foreseen. Nothing is written
/// when that has changed: see [`Drawn::is_written`].
pub fn insert(
    conn: &mut PgConnection,
    numbers: &Numbers<'_>,
    payment: &Payment,
    entries: &[NewEntry],
    lines: &[Line],
    foreseen: &Foreseen,
) -> QueryResult<Drawn> {
    let payment = std::slice::from_ref(payment);
    let new = beginning(foreseen);
    let (new, opened) = (new.as_slice(), foreseen.opened.as_slice());
    let allocations = foreseen.allocations.as_slice();
    let changes = foreseen.changes.as_slice();
    let rows: [&dyn Rows; 7] = [
        &payment,
        &entries,
        &lines,
        &new,
        &opened,
        &allocations,
        &changes,
    ];
    numbers.write_if(conn, foreseen.condition(numbers.company), &rows)
}

/// A receipt with its entry, and all that it settles.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub payment: Payment,
    pub entry: NewEntry,
    pub lines: Vec<Line>,
    pub foreseen: Foreseen,
}

impl Receipt {
    /// What it rests on.
    pub fn rests_on(&self) -> impl Iterator<Item = Rest> {
        let reference = self.payment.external_ref.iter();
        let references = reference.map(|reference| Rest::Reference(reference.clone()));
        self.foreseen.rests_on().chain(references)
    }
}

/// Adds receipts that rest on different things, under numbers in their order, by one statement. Answers whether they were
/// written: all of them, or none, when something has changed.
pub fn insert_all(
    conn: &mut PgConnection,
    company: CompanyId,
    series: &Drawers,
    receipts: Vec<Receipt>,
) -> QueryResult<bool> {
    let (mut payments, mut entries, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let (mut foreseen, mut opened_at) = (Vec::new(), Vec::new());
    for (place, receipt) in (1_i32..).zip(receipts) {
        payments.push(receipt.payment);
        entries.push(receipt.entry);
        lines.extend(receipt.lines);
        opened_at.extend(receipt.foreseen.opened.iter().map(|_| place));
        foreseen.push(receipt.foreseen);
    }
    let places: Vec<i32> = (1_i32..).take(payments.len()).collect();
    let foreseen = Foreseen::together(foreseen.into_iter());
    let new = beginning(&foreseen);
    let mut parts = vec![
        bulk::at_places(&payments, &places),
        bulk::at_places(&entries, &places),
        bulk::beside(&lines),
    ];
    // What others refer to comes first.
    if !new.is_empty() {
        parts.push(bulk::beside(&new));
    }
    parts.push(bulk::at_places(&foreseen.opened, &opened_at));
    if !foreseen.allocations.is_empty() {
        parts.push(bulk::beside(&foreseen.allocations));
    }
    parts.push(bulk::beside(&foreseen.changes));
    let condition = foreseen.condition(company);
    series.write_all(conn, company, places.len(), condition, parts)
}
