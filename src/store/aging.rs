//! Open items and aged balances as of a day, as known at an instant: one statement per question.
//!
//! An item counts on day D when it was posted by D; its residual is the sum of its ledger rows that
//! take effect by D (R4.1 to R4.3). `settled_on` keeps history out: items settled for good by D are
//! not touched, unless something was recorded about them after the instant asked for.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::client;
use super::item;
use super::list::{Bind, Direction, Keys, Keyset, Sql, Statement};
use crate::domain::ids::{ClientId, CompanyId};

/// The population of a report and the moment it is read for.
#[derive(Clone, Debug)]
pub struct Population {
    pub company: CompanyId,
    /// Effective day, inclusive.
    pub as_of: NaiveDate,
    /// Recorded by; none means up to now.
    pub known_at: Option<DateTime<Utc>>,
    /// Account families: `411` and `416`, and `413` on request.
    pub families: Vec<String>,
    pub clients: client::Filter,
    /// Only these clients; empty means all.
    pub client_ids: Vec<ClientId>,
    pub currency: Option<String>,
}

impl Population {
    /// The receivables of a whole company on a day, as known now.
    pub fn of(company: CompanyId, as_of: NaiveDate) -> Population {
        Population {
            company,
            as_of,
            known_at: None,
            families: vec!["411".into(), "416".into()],
            clients: client::Filter::default(),
            client_ids: Vec::new(),
            currency: None,
        }
    }

    /// `WITH residual AS (…), aged AS (…)`: the open items, `open` signed, `disputed` capped (R4.9).
    pub(super) fn with(&self) -> Sql {
        let (company, as_of) = (Bind::Id(self.company.0), Bind::Day(self.as_of));
        let known = self.known_at.map(|known| Bind::Instant(Some(known)));
        // Without an instant everything recorded counts, and nothing needs comparing with it.
        let by_then = |column: &str| match known {
            Some(_) => format!(" AND {column} <= ?"),
            None => String::new(),
        };
        let (items, ledger, opened, changed) = (
            by_then("i.recorded_at"),
            by_then("l.recorded_at"),
            by_then("d.recorded_at"),
            known.as_ref().map_or("", |_| " OR i.changed_at > ?"),
        );
        let bind = |first: &[&Bind]| -> Vec<Bind> {
            first
                .iter()
                .map(|bind| (*bind).clone())
                .chain(known.clone())
                .collect()
        };
        let mut sql = Sql::default();
        // Each item's ledger is probed, not joined: few of the items are open, and few of the rows theirs.
        sql.push(
            &format!("WITH residual AS (SELECT i.id, i.client_id, i.family, i.kind, i.is_debit, i.reference, i.source_id, i.invoice_id, i.currency, \
               i.posted_on, i.invoiced_on, i.due_on, i.amount, i.document_net, i.document_total, i.recorded_at, s.open \
             FROM items i CROSS JOIN LATERAL (SELECT sum(l.delta)::bigint AS open FROM receivable_ledger l \
               WHERE l.company_id = ? AND l.item_id = i.id AND l.effective_on <= ?{ledger}) s \
             WHERE i.company_id = ? AND i.posted_on <= ?{items} AND (i.settled_on IS NULL OR i.settled_on > ?{changed}) \
               AND i.family = ANY(?::bpchar[]) AND s.open <> 0"),
            [
                bind(&[&company, &as_of]),
                bind(&[&company, &as_of]),
                bind(&[&as_of]),
                vec![Bind::Texts(self.families.clone())],
            ]
            .concat(),
        );
        if let Some(currency) = &self.currency {
            sql.and("i.currency = ?::bpchar", [Bind::Text(currency.clone())]);
        }
        sql.append(&self.client_condition("i.client_id"));
        sql.push(
            "), aged AS (SELECT r.*, CASE WHEN r.open > 0 THEN LEAST(coalesce(x.amount, 0), r.open) ELSE 0 END AS disputed FROM residual r ",
            [],
        );
        let closed = by_then("d.closed_at");
        let mut contested = Sql::default();
        contested.push(
            &format!(
                "sum(di.amount)::bigint AS amount FROM disputes d \
               JOIN dispute_items di ON di.company_id = d.company_id AND di.dispute_id = d.id \
               WHERE d.company_id = ? AND di.company_id = ? AND d.opened_on <= ?{opened} \
                 AND NOT (d.closed_on IS NOT NULL AND d.closed_on <= ?{closed})"
            ),
            [bind(&[&company, &company, &as_of]), bind(&[&as_of])].concat(),
        );
        // What is contested is added up once for all, but for a single client: then its few items are looked up.
        if self.is_of_one_client() {
            sql.push("LEFT JOIN LATERAL (SELECT ", [])
                .append(&contested)
                .push(" AND di.item_id = r.id) x ON true)", []);
        } else {
            sql.push("LEFT JOIN (SELECT di.item_id, ", [])
                .append(&contested)
                .append(&self.client_condition("d.client_id"))
                .push(" GROUP BY di.item_id) x ON x.item_id = r.id)", []);
        }
        sql
    }

    fn is_of_one_client(&self) -> bool {
        self.client_ids.len() == 1
    }

    /// ` AND column` is among the clients that are asked for; nothing when all are.
    fn client_condition(&self, column: &str) -> Sql {
        let mut sql = Sql::default();
        match self.client_ids.as_slice() {
            [] => &mut sql,
            [one] => sql.and(&format!("{column} = ?"), [Bind::Id(one.0)]),
            several => sql.and(&format!("{column} = ANY(?)"), [Bind::ids(several)]),
        };
        let mut inner = Sql::default();
        client::narrow(&mut inner, "c", &self.clients);
        if inner.is_empty() {
            return sql;
        }
        sql.and(
            &format!("{column} IN (SELECT c.id FROM clients c WHERE c.company_id = ?"),
            [Bind::Id(self.company.0)],
        );
        sql.append(&inner).push(")", []);
        sql
    }
}

/// An open item on the day. Amounts carry the sign of a balance: debits positive, credits negative.
#[derive(Clone, Debug, QueryableByName)]
pub struct Open {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    pub client_id: Uuid,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Bool)]
    pub is_debit: bool,
    #[diesel(sql_type = Text)]
    pub reference: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub invoice_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Nullable<Date>)]
    pub due_on: Option<NaiveDate>,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
    #[diesel(sql_type = BigInt)]
    pub document_net: i64,
    #[diesel(sql_type = BigInt)]
    pub document_total: i64,
}

const OPEN_COLUMNS: &str = "a.id, a.client_id, a.kind, a.is_debit, a.reference, a.invoice_id, a.currency::text AS currency, a.posted_on, a.due_on, \
     CASE WHEN a.is_debit THEN a.amount ELSE -a.amount END AS amount, a.open, a.disputed, a.document_net, a.document_total";

/// One cell of an aged balance: the bucket, or the unallocated column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// The bucket at this position.
    Bucket(i32),
    /// Credits not matched yet.
    Unallocated,
    /// Bills of exchange to receive (413), which stand apart (R4.1).
    Bills,
}

/// How amounts are laid out in buckets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Age is counted from the due day, or from the invoice's day (R4.6).
    pub by_due_date: bool,
    /// For `width_bucket`: the lower bound of each bucket but the first.
    pub lower_bounds: Vec<i32>,
    /// Whether unallocated credits age from their own day instead of standing apart (R4.7).
    pub credits_by_own_date: bool,
    /// Whether disputed amounts are left out (R4.9).
    pub exclude_disputed: bool,
}

impl Layout {
    /// `cells AS (…)`: bucket (-1: unallocated, -2: bills) and amount of each open item.
    fn cells(&self, as_of: NaiveDate) -> Sql {
        let day = if self.by_due_date {
            "a.due_on"
        } else {
            "a.invoiced_on"
        };
        let amount = if self.exclude_disputed {
            "a.open - a.disputed"
        } else {
            "a.open"
        };
        let credit = if self.credits_by_own_date {
            "width_bucket((? - a.posted_on)::int, ?)"
        } else {
            "-1"
        };
        let bounds = Bind::Numbers(self.lower_bounds.clone());
        let mut sql = Sql::default();
        sql.push(
            &format!(
                ", cells AS (SELECT a.*, {amount} AS counted, CASE WHEN a.family = '413' THEN -2 WHEN a.is_debit THEN width_bucket((? - {day})::int, ?) ELSE {credit} END AS bucket, \
                 CASE WHEN a.is_debit AND a.due_on < ? AND a.family <> '413' THEN {amount} ELSE 0 END AS late FROM aged a)"
            ),
            [Bind::Day(as_of), bounds.clone()]
                .into_iter()
                .chain(if self.credits_by_own_date { vec![Bind::Day(as_of), bounds] } else { vec![] })
                .chain([Bind::Day(as_of)]),
        );
        sql
    }

    fn sums(&self) -> String {
        let buckets: Vec<String> = (0..=self.lower_bounds.len())
            .map(|n| format!("coalesce(sum(counted) FILTER (WHERE bucket = {n}), 0)::bigint"))
            .collect();
        format!(
            "ARRAY[{}] AS buckets, coalesce(sum(counted) FILTER (WHERE bucket = -1), 0)::bigint AS unallocated, \
             coalesce(sum(counted) FILTER (WHERE bucket = -2), 0)::bigint AS bills, \
             coalesce(sum(counted), 0)::bigint AS total, coalesce(sum(late), 0)::bigint AS overdue, coalesce(sum(disputed), 0)::bigint AS disputed, \
             count(*) FILTER (WHERE disputed > 0) AS disputed_count",
            buckets.join(", ")
        )
    }

    /// `rows AS (…)`: one row per client and currency with an open item (R4.11, R4.12).
    fn rows(&self) -> String {
        format!(
            ", rows AS (SELECT x.client_id AS id, c.number AS number, c.name AS name, c.segment, c.sales_owner_id, c.collector_id, x.currency::text AS currency, \
             buckets, unallocated, bills, total, overdue, disputed, disputed_count FROM \
             (SELECT client_id, currency, {} FROM cells GROUP BY client_id, currency) x \
             JOIN clients c ON c.company_id = ? AND c.id = x.client_id)",
            self.sums()
        )
    }
}

/// A row of an aged balance. Amounts in minor units, credits negative.
#[derive(Clone, PartialEq, Eq, Debug, QueryableByName)]
pub struct Row {
    /// The client, or nil in totals.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// What the rows are sorted by, as text; for groups, their key.
    #[diesel(sql_type = Text)]
    pub sort: String,
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = Array<BigInt>)]
    pub buckets: Vec<i64>,
    #[diesel(sql_type = BigInt)]
    pub unallocated: i64,
    /// Bills of exchange to receive, when they are asked for.
    #[diesel(sql_type = BigInt)]
    pub bills: i64,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
    /// Documents with a disputed part.
    #[diesel(sql_type = BigInt)]
    pub disputed_count: i64,
}

const ROW_COLUMNS: &str =
    "currency, buckets, unallocated, bills, total, overdue, disputed, disputed_count";

/// What the rows of an aged balance are ordered by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowSort {
    Overdue,
    Total,
    Disputed,
    Number,
    Name,
}

/// A page of rows; the cursor of a row is its sort value, client and currency.
pub fn rows(
    conn: &mut PgConnection,
    population: &Population,
    layout: &Layout,
    sort: RowSort,
    direction: Direction,
    page: &Keyset,
) -> QueryResult<(Vec<Row>, bool)> {
    let (column, sql_type) = match sort {
        RowSort::Overdue => ("overdue", "bigint"),
        RowSort::Total => ("total", "bigint"),
        RowSort::Disputed => ("disputed", "bigint"),
        RowSort::Number => ("number", "text"),
        RowSort::Name => ("(name COLLATE french)", "text"),
    };
    let reading = page.reading(direction);
    let (beyond, order) = (reading.beyond(), reading.order());
    let mut sql = population.with();
    sql.append(&layout.cells(population.as_of))
        .push(&layout.rows(), [Bind::Id(population.company.0)]);
    sql.push(
        &format!(" SELECT id, {column}::text AS sort, {ROW_COLUMNS} FROM rows WHERE true"),
        [],
    );
    if let Some((text, client)) = &page.from {
        // A row is found again by its sort value, client and currency; the cursor's text holds both.
        let (currency, value) = text.split_at_checked(3).unwrap_or_default();
        sql.and(
            &format!("({column}, id, currency) {beyond} (?::{sql_type}, ?, ?)"),
            [
                Bind::Text(value.to_owned()),
                Bind::Id(*client),
                Bind::Text(currency.to_owned()),
            ],
        );
    }
    sql.push(
        &format!(" ORDER BY {column} {order}, id {order}, currency {order} LIMIT ?"),
        [Bind::Number(page.limit())],
    );
    Ok(page.page(sql.query().load(conn)?))
}

/// How many rows the aged balance has.
pub fn row_count(conn: &mut PgConnection, population: &Population) -> QueryResult<i64> {
    let mut sql = population.with();
    sql.push(
        " SELECT count(DISTINCT (client_id, currency)) AS open FROM aged",
        [],
    );
    let row: Sum = sql.query().get_result(conn)?;
    Ok(row.open)
}

#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = BigInt)]
    open: i64,
}

/// The totals, one per currency: currencies are never added (R4.11).
pub fn totals(
    conn: &mut PgConnection,
    population: &Population,
    layout: &Layout,
) -> QueryResult<Vec<Row>> {
    let mut sql = population.with();
    sql.append(&layout.cells(population.as_of)).push(
        &format!(
            " SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id, ''::text AS sort, currency::text AS currency, {} FROM cells GROUP BY currency ORDER BY currency",
            layout.sums()
        ),
        [],
    );
    sql.query().load(conn)
}

/// What rows are added up by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Segment,
    SalesOwner,
    Collector,
}

/// Sums per group and currency, by key; the key is in `sort`, empty for clients without one.
pub fn groups(
    conn: &mut PgConnection,
    population: &Population,
    layout: &Layout,
    by: Group,
) -> QueryResult<Vec<Row>> {
    let key = match by {
        Group::Segment => "c.segment",
        Group::SalesOwner => "coalesce(c.sales_owner_id::text, '')",
        Group::Collector => "coalesce(c.collector_id::text, '')",
    };
    let mut sql = population.with();
    sql.append(&layout.cells(population.as_of)).push(
        &format!(
            " SELECT '00000000-0000-0000-0000-000000000000'::uuid AS id, {key} AS sort, cells.currency::text AS currency, {} \
             FROM cells JOIN clients c ON c.company_id = ? AND c.id = cells.client_id GROUP BY {key}, cells.currency ORDER BY {key}, cells.currency",
            layout.sums()
        ),
        [Bind::Id(population.company.0)],
    );
    sql.query().load(conn)
}

/// A total of the receivable accounts per currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct Balance {
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// The sum of the open items.
    #[diesel(sql_type = BigInt)]
    pub items: i64,
    /// The balance of the accounts in the general ledger.
    #[diesel(sql_type = BigInt)]
    pub ledger: i64,
}

/// The family behind: accounts of `411` are before `412`.
fn next(family: &str) -> String {
    family.parse().map_or_else(
        |_| family.to_owned(),
        |number: u16| (number + 1).to_string(),
    )
}

/// The open items against the general ledger, for the whole company, without filter (R4.8).
pub fn ledger_check(conn: &mut PgConnection, population: &Population) -> QueryResult<Vec<Balance>> {
    let whole = Population {
        clients: client::Filter::default(),
        client_ids: Vec::new(),
        currency: None,
        ..population.clone()
    };
    let accounts = whole
        .families
        .iter()
        .map(|family| {
            format!(
                "(l.account >= '{family}' AND l.account < '{}')",
                next(family)
            )
        })
        .collect::<Vec<_>>()
        .join(" OR ");
    let mut sql = whole.with();
    sql.push(
        &format!(
            ", ledger AS (SELECT l.currency, sum(l.debit - l.credit)::bigint AS balance FROM journal_lines l \
               WHERE l.company_id = ? AND NOT l.carried AND l.posted_on <= ? AND l.recorded_at <= coalesce(?, 'infinity'::timestamptz) AND ({accounts}) GROUP BY l.currency), \
             open AS (SELECT currency, sum(open)::bigint AS balance FROM aged GROUP BY currency) \
             SELECT coalesce(o.currency, l.currency)::text AS currency, coalesce(o.balance, 0)::bigint AS items, coalesce(l.balance, 0)::bigint AS ledger \
             FROM open o FULL JOIN ledger l ON l.currency = o.currency \
             WHERE coalesce(o.balance, 0) <> 0 OR coalesce(l.balance, 0) <> 0 OR o.currency IS NOT NULL ORDER BY 1"
        ),
        [
            Bind::Id(whole.company.0),
            Bind::Day(whole.as_of),
            Bind::Instant(whole.known_at),
        ],
    );
    sql.query().load(conn)
}

/// Adds what narrows open items: a side, a cell of the aged balance, a document.
fn open_items_from(
    population: &Population,
    layout: Option<(&Layout, Cell)>,
    is_debit: Option<bool>,
    invoice: Option<Uuid>,
) -> Sql {
    let mut sql = population.with();
    if let Some((layout, cell)) = layout {
        sql.append(&layout.cells(population.as_of));
        let bucket = match cell {
            Cell::Bucket(n) => i64::from(n),
            Cell::Unallocated => -1,
            Cell::Bills => -2,
        };
        sql.push(
            " SELECT * FROM cells a WHERE a.bucket = ?",
            [Bind::Number(bucket)],
        );
    } else {
        sql.push(" SELECT * FROM aged a WHERE true", []);
    }
    if let Some(is_debit) = is_debit {
        sql.and("a.is_debit = ?", [Bind::Flag(is_debit)]);
    }
    if let Some(invoice) = invoice {
        sql.and(
            &item::of_invoice("a", "= ?"),
            [Bind::Id(invoice), Bind::Id(invoice)],
        );
    }
    sql
}

/// Which open items to list.
#[derive(Clone, Debug)]
pub struct OpenItems {
    pub population: Population,
    /// Only those behind one cell of an aged balance.
    pub cell: Option<(Layout, Cell)>,
    pub is_debit: Option<bool>,
    pub invoice: Option<Uuid>,
}

impl OpenItems {
    fn replaced(&self, columns: &str) -> Sql {
        // The items as a subselect, so that every question reads the same population.
        let inner = open_items_from(
            &self.population,
            self.cell.as_ref().map(|(layout, cell)| (layout, *cell)),
            self.is_debit,
            self.invoice,
        );
        let mut sql = Sql::default();
        sql.push(&format!("SELECT {columns} FROM ("), [])
            .append(&inner)
            .push(") a WHERE true", []);
        sql
    }

    /// Of one client they are found by keys, and a screen asks for those of fifty: that is planned once.
    fn planned(&self, sql: Sql) -> Statement {
        match self.population.is_of_one_client() && self.cell.is_none() {
            true => sql.steady(),
            false => sql.query(),
        }
    }

    /// How many there are.
    pub fn count(&self, conn: &mut PgConnection) -> QueryResult<i64> {
        let row: Sum = self
            .planned(self.replaced("count(*) AS open"))
            .get_result(conn)?;
        Ok(row.open)
    }

    /// A page, oldest due first; credits stand at the day they were posted.
    pub fn page(&self, conn: &mut PgConnection, page: &Keyset) -> QueryResult<(Vec<Open>, bool)> {
        let mut sql = self.replaced(OPEN_COLUMNS);
        let reading = page.reading(Direction::Ascending);
        let (beyond, order) = (reading.beyond(), reading.order());
        if let Some((value, id)) = &page.from {
            sql.and(
                &format!("(coalesce(a.due_on, a.posted_on), a.id) {beyond} (?::date, ?)"),
                [Bind::Text(value.clone()), Bind::Id(*id)],
            );
        }
        sql.push(
            &format!(" ORDER BY coalesce(a.due_on, a.posted_on) {order}, a.id {order} LIMIT ?"),
            [Bind::Number(page.limit())],
        );
        Ok(page.page(self.planned(sql).load(conn)?))
    }

    /// Calls `each` with every open item, by client, then oldest due first; memory stays flat.
    pub fn each(&self, conn: &mut PgConnection, mut each: impl FnMut(Open)) -> QueryResult<()> {
        use diesel::pg::PgRowByRowLoadingMode;
        let mut sql = self.replaced(OPEN_COLUMNS);
        sql.push(
            " ORDER BY a.client_id, a.currency, coalesce(a.due_on, a.posted_on), a.id",
            [],
        );
        let rows = RunQueryDsl::<PgConnection>::load_iter::<Open, PgRowByRowLoadingMode>(
            sql.query(),
            conn,
        )?;
        for row in rows {
            each(row?);
        }
        Ok(())
    }
}

/// What is open in a currency, and what it was worth in the company's currency when it was booked.
#[derive(Clone, Debug, QueryableByName)]
pub struct BookValue {
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub base: i64,
}

/// The open items at the rates of their entries, one row per currency (R4.11).
pub fn book_values(
    conn: &mut PgConnection,
    population: &Population,
) -> QueryResult<Vec<BookValue>> {
    let mut sql = population.with();
    sql.push(
        " SELECT a.currency::text AS currency, sum(a.open)::bigint AS total, \
           sum(round(a.open::numeric * (l.base_debit + l.base_credit) / (l.debit + l.credit)))::bigint AS base \
         FROM aged a JOIN items i ON i.company_id = ? AND i.id = a.id \
         JOIN journal_lines l ON l.company_id = i.company_id AND l.entry_id = i.entry_id AND l.line = i.entry_line \
         GROUP BY a.currency ORDER BY a.currency",
        [Bind::Id(population.company.0)],
    );
    sql.query().load(conn)
}

/// What one client owes in one currency. Credits negative.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClientBalance {
    #[diesel(sql_type = SqlUuid)]
    pub client_id: Uuid,
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
    #[diesel(sql_type = BigInt)]
    pub unallocated: i64,
}

/// The balances of the population's clients, per currency.
pub fn client_balances(
    conn: &mut PgConnection,
    population: &Population,
) -> QueryResult<Vec<ClientBalance>> {
    let mut sql = population.with();
    sql.push(
        " SELECT client_id, currency::text AS currency, sum(open)::bigint AS total, coalesce(sum(open) FILTER (WHERE due_on < ?), 0)::bigint AS overdue, \
         sum(disputed)::bigint AS disputed, coalesce(sum(open) FILTER (WHERE NOT is_debit), 0)::bigint AS unallocated \
         FROM aged GROUP BY client_id, currency ORDER BY client_id, currency",
        [Bind::Day(population.as_of)],
    );
    sql.query().load(conn)
}

/// Items that took effect by the day but were recorded after `since` (R4.14), as keys for a page.
pub fn late_entries(
    conn: &mut PgConnection,
    population: &Population,
    since: DateTime<Utc>,
    page: &Keyset,
) -> QueryResult<Keys> {
    let sort = super::list::Sort {
        column: "t.recorded_at",
        sql_type: "timestamptz",
        direction: Direction::Ascending,
    };
    super::list::keys(conn, &late_from(population, since), sort, page)
}

fn late_from(population: &Population, since: DateTime<Utc>) -> Sql {
    let mut from = Sql::default();
    from.push(
        "FROM items t WHERE t.company_id = ? AND t.posted_on <= ? AND t.recorded_at > ? AND t.changed_at > ? AND t.family = ANY(?::bpchar[])",
        [
            Bind::Id(population.company.0),
            Bind::Day(population.as_of),
            Bind::Instant(Some(since)),
            // No item changed before it was recorded, and of the two days this one has an index.
            Bind::Instant(Some(since)),
            Bind::Texts(population.families.clone()),
        ],
    );
    if let Some(currency) = &population.currency {
        from.and("t.currency = ?::bpchar", [Bind::Text(currency.clone())]);
    }
    from.append(&population.client_condition("t.client_id"));
    from
}

/// A movement on a client's account.
#[derive(Clone, Debug, QueryableByName)]
pub struct Movement {
    #[diesel(sql_type = SqlUuid)]
    pub item_id: Uuid,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Text)]
    pub reference: String,
    #[diesel(sql_type = Nullable<Date>)]
    pub due_on: Option<NaiveDate>,
    #[diesel(sql_type = BigInt)]
    pub debit: i64,
    #[diesel(sql_type = BigInt)]
    pub credit: i64,
}

/// A client's account in one currency: the balance before `from`, and the movements up to `to`.
pub fn statement(
    conn: &mut PgConnection,
    company: CompanyId,
    client: ClientId,
    currency: &str,
    from: NaiveDate,
    to: NaiveDate,
    known_at: Option<DateTime<Utc>>,
) -> QueryResult<(i64, Vec<Movement>)> {
    let condition = "FROM items i WHERE i.company_id = ? AND i.client_id = ? AND i.currency = ?::bpchar AND i.family IN ('411', '416') AND i.recorded_at <= coalesce(?, 'infinity'::timestamptz)";
    let binds = || {
        [
            Bind::Id(company.0),
            Bind::Id(client.0),
            Bind::Text(currency.to_owned()),
            Bind::Instant(known_at),
        ]
    };
    let mut opening = Sql::default();
    opening
        .push("SELECT coalesce(sum(CASE WHEN i.is_debit THEN i.amount ELSE -i.amount END), 0)::bigint AS open ", [])
        .push(condition, binds())
        .and("i.posted_on < ?", [Bind::Day(from)]);
    let opening: Sum = opening.query().get_result(conn)?;
    let mut movements = Sql::default();
    movements
        .push(
            "SELECT i.id AS item_id, i.posted_on, i.kind, i.reference, i.due_on, CASE WHEN i.is_debit THEN i.amount ELSE 0 END AS debit, \
             CASE WHEN i.is_debit THEN 0 ELSE i.amount END AS credit ",
            [],
        )
        .push(condition, binds())
        .and("i.posted_on BETWEEN ? AND ?", [Bind::Day(from), Bind::Day(to)])
        .push(" ORDER BY i.posted_on, i.id", []);
    Ok((opening.open, movements.query().load(conn)?))
}

/// How an item stands on a day: what is open, signed, and of it in dispute.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Standing {
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub open: i64,
    #[diesel(sql_type = BigInt)]
    pub disputed: i64,
}

/// How these items stand on a population's day, in no order.
pub fn standings(
    conn: &mut PgConnection,
    population: &Population,
    items: &[Uuid],
) -> QueryResult<Vec<Standing>> {
    let (company, day) = (
        || Bind::Id(population.company.0),
        || Bind::Day(population.as_of),
    );
    let mut sql = Sql::default();
    sql.push(
        "SELECT i.id, l.open, CASE WHEN l.open > 0 THEN LEAST(coalesce(x.amount, 0), l.open) ELSE 0 END AS disputed \
         FROM unnest((SELECT ?)) i(id) CROSS JOIN LATERAL (SELECT coalesce(sum(l.delta), 0)::bigint AS open FROM receivable_ledger l \
           WHERE l.company_id = ? AND l.item_id = i.id AND l.effective_on <= ?) l \
         CROSS JOIN LATERAL (SELECT sum(di.amount)::bigint AS amount FROM disputes d \
           JOIN dispute_items di ON di.company_id = d.company_id AND di.dispute_id = d.id \
           WHERE d.company_id = ? AND di.company_id = ? AND di.item_id = i.id AND d.opened_on <= ? \
             AND (d.closed_on IS NULL OR d.closed_on > ?)) x",
        [
            Bind::Ids(items.to_vec()),
            company(),
            day(),
            company(),
            company(),
            day(),
            day(),
        ],
    );
    sql.steady().load(conn)
}

/// How many late entries there are.
pub fn late_count(
    conn: &mut PgConnection,
    population: &Population,
    since: DateTime<Utc>,
) -> QueryResult<i64> {
    super::list::count(conn, &late_from(population, since))
}
