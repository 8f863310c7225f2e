//! What the balances in memory are made of: histories of items, disputes, and the tail behind a transaction.

use chrono::NaiveDate;
use diesel::pg::{PgConnection, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{self, Bind, Sql, steady};
use crate::domain::ids::CompanyId;

/// What of an item never changes and places it in a balance.
#[derive(Clone, Debug, Queryable, QueryableByName)]
pub struct Place {
    #[diesel(sql_type = SqlUuid)]
    pub client_id: Uuid,
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = Text)]
    pub family: String,
    #[diesel(sql_type = Bool)]
    pub is_debit: bool,
    #[diesel(sql_type = Nullable<Date>)]
    pub due_on: Option<NaiveDate>,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Date)]
    pub invoiced_on: NaiveDate,
}

/// An item and the changes of what is open of it: on which day, by how much (debits up, credits down).
#[derive(Clone, Debug, QueryableByName)]
pub struct History {
    #[diesel(embed)]
    pub place: Place,
    #[diesel(sql_type = Array<Date>)]
    pub days: Vec<NaiveDate>,
    #[diesel(sql_type = Array<BigInt>)]
    pub deltas: Vec<i64>,
}

impl History {
    /// Of an item that is open as it came, or that one row of the ledger settled.
    fn in_one(place: Place, amount: i64, settled_on: Option<NaiveDate>) -> History {
        let whole = if place.is_debit { amount } else { -amount };
        let closing = settled_on.map(|_| -whole);
        History {
            days: std::iter::once(place.posted_on).chain(settled_on).collect(),
            deltas: std::iter::once(whole).chain(closing).collect(),
            place,
        }
    }
}

/// The columns of a [`Place`].
type PlaceColumns = (SqlUuid, Text, Text, Bool, Nullable<Date>, Date, Date);
const PLACE: &str = "i.client_id, i.currency::text AS currency, i.family::text AS family, i.is_debit, i.due_on, i.posted_on, i.invoiced_on";
/// The history of item `i`, in the company bound.
const CHANGES: &str = "SELECT array_agg(l.effective_on) AS days, array_agg(l.delta) AS deltas FROM receivable_ledger l \
   WHERE l.company_id = ? AND l.item_id = i.id";

/// Which items of a company, in the order of their ids: from the first to the last of them.
#[derive(Clone, Copy, Debug)]
pub struct Ids(Uuid, Uuid);

impl Ids {
    /// All there can be.
    pub const ALL: Ids = Ids(Uuid::nil(), Uuid::max());

    /// Up to this one, and from behind it on.
    fn parted(self, middle: Uuid) -> (Ids, Ids) {
        let next = Uuid::from_u128(middle.as_u128().saturating_add(1));
        (Ids(self.0, middle), Ids(next, self.1))
    }

    fn binds(self) -> [Bind; 2] {
        [Bind::Id(self.0), Bind::Id(self.1)]
    }
}

/// The items of a company in two halves, of about the same size when it is large, by a sample of the table; none when the company has too
/// small a part of it to tell.
pub fn halves(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Option<(Ids, Ids)>> {
    #[derive(QueryableByName)]
    struct Middle {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY id) AS id FROM items TABLESAMPLE SYSTEM (0.1) WHERE company_id = ?",
        [Bind::Id(company.0)],
    );
    let middle: Middle = sql.query().get_result(conn)?;
    Ok(middle.id.map(|middle| Ids::ALL.parted(middle)))
}

/// Calls `each` with every one of these items that counts on some day: those that were settled on the day they were
/// posted never do. Memory stays flat, but for the keys of those that changed often or are open in part.
///
/// Most items were opened and settled by one row of the ledger each, or are open as they came: what these rows say
/// stands in the item. Those of the others alone are read.
pub fn each_history(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: Ids,
    mut each: impl FnMut(History),
) -> QueryResult<()> {
    let id = || Bind::Id(company.0);
    let mut in_parts = foldhash::HashSet::default();
    // In the order of the index, so that each probe finds its page where the one before left it.
    let mut often = Sql::default();
    often.push(
        "(SELECT l.item_id AS id FROM receivable_ledger l WHERE l.company_id = ? AND l.item_id BETWEEN ? AND ? \
            GROUP BY l.item_id HAVING count(*) > 2 OFFSET 0)",
        std::iter::once(id()).chain(ids.binds()),
    );
    each_in_parts(conn, company, &often, |item, history| {
        in_parts.insert(item);
        each(history);
    })?;
    let mut partly_open = Vec::new();
    let rows =
        diesel::dsl::sql::<(SqlUuid, PlaceColumns, BigInt, BigInt, Nullable<Date>)>(&format!(
            "SELECT i.id, {PLACE}, i.amount, i.open_amount, i.settled_on FROM items i \
             WHERE i.settled_on IS DISTINCT FROM i.posted_on AND i.company_id = "
        ))
        .bind::<SqlUuid, _>(company)
        .sql(" AND i.id BETWEEN ")
        .bind::<SqlUuid, _>(ids.0)
        .sql(" AND ")
        .bind::<SqlUuid, _>(ids.1)
        .load_iter::<(Uuid, Place, i64, i64, Option<NaiveDate>), PgRowByRowLoadingMode>(conn)?;
    for row in rows {
        let (item, place, amount, open, settled_on) = row?;
        match in_parts.contains(&item) {
            true => {}
            false if open > 0 && open < amount => partly_open.push(item),
            false => each(History::in_one(place, amount, settled_on)),
        }
    }
    let mut partly = Sql::default();
    partly.push("unnest((SELECT ?))", [Bind::Ids(partly_open)]);
    each_in_parts(conn, company, &partly, |_, history| each(history))
}

/// Calls `each` with the items of these keys, `found k(id)`, whose rows of the ledger tell more than the item.
fn each_in_parts(
    conn: &mut PgConnection,
    company: CompanyId,
    found: &Sql,
    mut each: impl FnMut(Uuid, History),
) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct InParts {
        #[diesel(sql_type = SqlUuid)]
        item_id: Uuid,
        #[diesel(embed)]
        history: History,
    }
    let mut sql = Sql::new(&format!(
        "SELECT i.id AS item_id, {PLACE}, s.days, s.deltas FROM "
    ));
    sql.append(found).push(
        &format!(
            " k(id) CROSS JOIN LATERAL (SELECT * FROM items i WHERE i.company_id = ? AND i.id = k.id OFFSET 0) i \
             CROSS JOIN LATERAL ({CHANGES} OFFSET 0) s WHERE i.settled_on IS DISTINCT FROM i.posted_on"
        ),
        [Bind::Id(company.0), Bind::Id(company.0)],
    );
    let rows = RunQueryDsl::<PgConnection>::load_iter::<InParts, PgRowByRowLoadingMode>(
        sql.query(),
        conn,
    )?;
    for row in rows {
        let row = row?;
        each(row.item_id, row.history);
    }
    Ok(())
}

/// An item under dispute, now or once: its history, and how much each dispute covers from when to when.
#[derive(Clone, Debug, QueryableByName)]
pub struct Disputed {
    #[diesel(sql_type = SqlUuid)]
    pub item_id: Uuid,
    #[diesel(embed)]
    pub history: History,
    #[diesel(sql_type = Array<Date>)]
    pub opened: Vec<NaiveDate>,
    #[diesel(sql_type = Array<Nullable<Date>>)]
    pub closed: Vec<Option<NaiveDate>>,
    #[diesel(sql_type = Array<BigInt>)]
    pub amounts: Vec<i64>,
}

/// The items under dispute: these, or all of the company.
pub fn disputed(
    conn: &mut PgConnection,
    company: CompanyId,
    items: Option<&[Uuid]>,
) -> QueryResult<Vec<Disputed>> {
    let id = || Bind::Id(company.0);
    let mut sql = Sql::default();
    sql.push(
        &format!(
            "SELECT i.id AS item_id, {PLACE}, s.days, s.deltas, x.opened, x.closed, x.amounts \
             FROM (SELECT di.item_id, array_agg(d.opened_on) AS opened, array_agg(d.closed_on) AS closed, array_agg(di.amount) AS amounts \
                   FROM dispute_items di JOIN disputes d ON d.company_id = di.company_id AND d.id = di.dispute_id \
                   WHERE di.company_id = ? AND d.company_id = ?"
        ),
        [id(), id()],
    );
    if let Some(items) = items {
        sql.and("di.item_id = ANY(?)", [Bind::Ids(items.to_vec())]);
    }
    sql.push(
        &format!(
            " GROUP BY di.item_id) x JOIN items i ON i.company_id = ? AND i.id = x.item_id \
              CROSS JOIN LATERAL ({CHANGES}) s WHERE s.days IS NOT NULL"
        ),
        [id(), id()],
    );
    sql.query().load(conn)
}

/// A ledger row of the tail, with the item it changes.
#[derive(Clone, Debug)]
pub struct Change {
    /// The transaction that wrote it.
    pub xid: i64,
    pub item_id: Uuid,
    pub place: Place,
    pub effective_on: NaiveDate,
    pub delta: i64,
}

/// Everything of a company that transactions from `since` on wrote, as this snapshot sees it.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The oldest transaction that this snapshot may not see: all below are in it whole.
    pub horizon: i64,
    pub changes: Vec<Change>,
    /// Items whose disputes were opened or changed, and by which transaction.
    pub disputed: Vec<(i64, Uuid)>,
    /// There was more than the limit: the rest was not read.
    pub is_cut: bool,
}

#[derive(QueryableByName)]
struct TailRow {
    #[diesel(sql_type = BigInt)]
    xid: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    item_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    client_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    currency: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    family: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_debit: Option<bool>,
    #[diesel(sql_type = Nullable<Date>)]
    due_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    posted_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    invoiced_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<Date>)]
    effective_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<BigInt>)]
    delta: Option<i64>,
}

impl TailRow {
    fn change(self) -> Option<Change> {
        Some(Change {
            xid: self.xid,
            item_id: self.item_id?,
            effective_on: self.effective_on?,
            delta: self.delta?,
            place: Place {
                client_id: self.client_id?,
                currency: self.currency?,
                family: self.family?,
                is_debit: self.is_debit?,
                due_on: self.due_on,
                posted_on: self.posted_on?,
                invoiced_on: self.invoiced_on?,
            },
        })
    }
}

/// The snapshot's horizon, then the ledger rows and the disputes of the tail.
const TAIL: &str = "SELECT * FROM ledger_tail(?, ?::text::xid8, ?)";
/// The same outside a transaction.
const TAIL_ALONE: &str = "SELECT * FROM ledger_tail_alone(?, ?::text::xid8, ?)";

/// Reads the tail, at most `limit` rows of each kind.
pub fn tail(
    conn: &mut PgConnection,
    company: CompanyId,
    since: i64,
    limit: usize,
) -> QueryResult<Tail> {
    read_tail(conn, TAIL, company, since, limit)
}

/// The same as one statement of its own, for [`Session::read_alone`](super::Session::read_alone).
pub fn tail_alone(
    conn: &mut PgConnection,
    company: CompanyId,
    since: i64,
    limit: usize,
) -> QueryResult<Tail> {
    read_tail(conn, TAIL_ALONE, company, since, limit)
}

fn read_tail(
    conn: &mut PgConnection,
    sql: &'static str,
    company: CompanyId,
    since: i64,
    limit: usize,
) -> QueryResult<Tail> {
    let most = Bind::Number(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let binds = [Bind::Id(company.0), Bind::Text(since.to_string()), most];
    let rows: Vec<TailRow> = steady(sql, binds).load(conn)?;
    let mut tail = Tail::default();
    for row in rows {
        match (row.item_id, row.delta) {
            (None, _) => tail.horizon = row.xid,
            (Some(item), None) => tail.disputed.push((row.xid, item)),
            (Some(_), Some(_)) => tail.changes.extend(row.change()),
        }
    }
    tail.is_cut = tail.changes.len() > limit || tail.disputed.len() > limit;
    Ok(tail)
}

/// Entries posted so far: a cheap measure of how much a company holds.
pub fn entries(conn: &mut PgConnection, company: CompanyId) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        entries: i64,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT coalesce(sum(last_number), 0)::bigint AS entries FROM counters WHERE company_id = ? AND series = 'ENTRY'",
        [Bind::Id(company.0)],
    );
    Ok(sql.query().get_result::<Found>(conn)?.entries)
}

/// The clients whose claims, disputes or own data transactions from `since` on changed.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The oldest transaction that this snapshot may not see.
    pub horizon: i64,
    /// By which transaction, and who.
    pub clients: Vec<(i64, Uuid)>,
    /// There was more than the limit.
    pub is_cut: bool,
}

impl Touched {
    /// What `clients_touched` answers: the horizon in the row without a client, then who was touched.
    pub fn of(rows: impl IntoIterator<Item = (i64, Option<Uuid>)>, limit: usize) -> Touched {
        let mut touched = Touched::default();
        for (xid, client) in rows {
            match client {
                Some(client) => touched.clients.push((xid, client)),
                None => touched.horizon = xid,
            }
        }
        touched.is_cut = touched.clients.len() > limit;
        touched
    }
}

const TOUCHED: &str = "SELECT * FROM clients_touched(?, ?::text::xid8, ?)";

/// Reads who was touched, at most `limit` rows of each kind.
pub fn touched(
    conn: &mut PgConnection,
    company: CompanyId,
    since: i64,
    limit: usize,
) -> QueryResult<Touched> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        xid: i64,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        client_id: Option<Uuid>,
    }
    let most = Bind::Number(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let binds = [Bind::Id(company.0), Bind::Text(since.to_string()), most];
    let rows: Vec<Row> = steady(TOUCHED, binds).load(conn)?;
    let rows = rows.into_iter().map(|row| (row.xid, row.client_id));
    Ok(Touched::of(rows, limit))
}

/// Makes the tail of a ledger short again that a dump brought from another server. Whether it was one: for the
/// owner's connection only.
pub fn rebase(conn: &mut PgConnection) -> QueryResult<bool> {
    list::found(conn, Sql::new("SELECT rebase_ledger() AS found"))
}
