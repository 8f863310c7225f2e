//! The general ledger (grand livre) and the trial balance (balance générale), in the company's currency.
//!
//! Opening entries are left out of sums over years: they repeat what the years before add up to.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable, SmallInt, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::list::{Bind, Direction, Keyset, Sql};
use crate::domain::ids::{ClientId, CompanyId};

/// An account in a trial balance. Balances are debits less credits.
#[derive(Clone, Debug, QueryableByName)]
pub struct Balance {
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = BigInt)]
    pub opening: i64,
    #[diesel(sql_type = BigInt)]
    pub debit: i64,
    #[diesel(sql_type = BigInt)]
    pub credit: i64,
}

/// What a trial balance is asked for.
#[derive(Clone, Debug)]
pub struct Period {
    pub company: CompanyId,
    /// First day of the financial year: classes 6 and 7 begin at nothing on it.
    pub year_starts_on: NaiveDate,
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub known_at: Option<DateTime<Utc>>,
}

/// The accounts of a period with their opening balance and movements, by number.
///
/// What earlier years earned stands on `profit` (when they earned) or `loss`, as an opening entry shows it.
pub fn trial_balance(
    conn: &mut PgConnection,
    period: &Period,
    profit: &str,
    loss: &str,
) -> QueryResult<Vec<Balance>> {
    let mut sql = Sql::default();
    sql.push(
        // One pass over the lines; what earlier years earned is then moved among the few sums.
        "WITH sums AS (SELECT account, \
             coalesce(sum(base_debit - base_credit) FILTER (WHERE ended), 0) AS earlier, \
             coalesce(sum(base_debit - base_credit) FILTER (WHERE NOT ended AND posted_on < ?), 0) AS opening, \
             coalesce(sum(base_debit) FILTER (WHERE NOT ended AND posted_on >= ?), 0) AS debit, \
             coalesce(sum(base_credit) FILTER (WHERE NOT ended AND posted_on >= ?), 0) AS credit, \
             coalesce(bool_or(NOT ended AND posted_on >= ?), false) AS moved \
           FROM (SELECT account, posted_on, base_debit, base_credit, (account >= '6' AND account < '8' AND posted_on < ?) AS ended \
             FROM journal_lines WHERE company_id = ? AND NOT carried AND posted_on <= ? AND recorded_at <= coalesce(?, 'infinity'::timestamptz)) l \
           GROUP BY account), \
         earned AS (SELECT -coalesce(sum(earlier), 0) AS amount, ?::date - 1 >= ? AS moved FROM sums), \
         known AS (SELECT account, opening, debit, credit, moved FROM sums \
           UNION ALL SELECT CASE WHEN amount > 0 THEN ? ELSE ? END, CASE WHEN moved THEN 0 ELSE -amount END, \
             CASE WHEN moved THEN greatest(-amount, 0) ELSE 0 END, CASE WHEN moved THEN greatest(amount, 0) ELSE 0 END, moved \
             FROM earned WHERE amount <> 0) \
         SELECT account, sum(opening)::bigint AS opening, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit \
         FROM known GROUP BY account HAVING sum(opening) + sum(debit) - sum(credit) <> 0 OR bool_or(moved) ORDER BY account",
        [
            Bind::Day(period.from),
            Bind::Day(period.from),
            Bind::Day(period.from),
            Bind::Day(period.from),
            Bind::Day(period.year_starts_on),
            Bind::Id(period.company.0),
            Bind::Day(period.to),
            Bind::Instant(period.known_at),
            Bind::Day(period.year_starts_on),
            Bind::Day(period.from),
            Bind::Text(profit.to_owned()),
            Bind::Text(loss.to_owned()),
        ],
    );
    sql.query().load(conn)
}

/// A line of the ledger, with the balance of what is asked for after it.
#[derive(Clone, Debug, QueryableByName)]
pub struct LedgerLine {
    #[diesel(sql_type = SqlUuid)]
    pub entry_id: Uuid,
    #[diesel(sql_type = SmallInt)]
    pub line: i16,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    pub debit: i64,
    #[diesel(sql_type = BigInt)]
    pub credit: i64,
    #[diesel(sql_type = BigInt)]
    pub balance: i64,
    /// Code of the lettering group, in lower case while partial; of the line's item.
    #[diesel(sql_type = Nullable<Text>)]
    pub letter: Option<String>,
}

/// What a ledger is asked for: an account with everything below it, a client, or both.
#[derive(Clone, Debug)]
pub struct Question {
    pub company: CompanyId,
    pub account: Option<String>,
    pub client: Option<ClientId>,
    pub from: Option<NaiveDate>,
    pub to: NaiveDate,
    pub known_at: Option<DateTime<Utc>>,
}

impl Question {
    fn narrow(&self, sql: &mut Sql) {
        sql.push(
            "FROM journal_lines l WHERE l.company_id = ? AND NOT l.carried AND l.posted_on <= ? AND l.recorded_at <= coalesce(?, 'infinity'::timestamptz)",
            [
                Bind::Id(self.company.0),
                Bind::Day(self.to),
                Bind::Instant(self.known_at),
            ],
        );
        if let Some(account) = &self.account {
            sql.begins("l.account", account);
        }
        if let Some(client) = self.client {
            sql.and("l.client_id = ?", [Bind::Id(client.0)]);
        }
    }

    /// The balance before the first day asked for.
    pub fn opening(&self, conn: &mut PgConnection) -> QueryResult<i64> {
        #[derive(QueryableByName)]
        struct Sum {
            #[diesel(sql_type = BigInt)]
            sum: i64,
        }
        let Some(from) = self.from else {
            return Ok(0);
        };
        let mut sql =
            Sql::new("SELECT coalesce(sum(l.base_debit - l.base_credit), 0)::bigint AS sum ");
        self.narrow(&mut sql);
        sql.and("l.posted_on < ?", [Bind::Day(from)]);
        sql.query().get_result::<Sum>(conn).map(|row| row.sum)
    }

    /// How many lines there are.
    pub fn count(&self, conn: &mut PgConnection) -> QueryResult<i64> {
        let mut sql = Sql::default();
        self.narrow(&mut sql);
        if let Some(from) = self.from {
            sql.and("l.posted_on >= ?", [Bind::Day(from)]);
        }
        super::list::count(conn, &sql)
    }

    /// A page of lines by day, entry and position. The cursor's text holds day and position.
    pub fn lines(
        &self,
        conn: &mut PgConnection,
        page: &Keyset,
    ) -> QueryResult<(Vec<LedgerLine>, bool)> {
        let reading = page.reading(Direction::Ascending);
        let (beyond, order) = (reading.beyond(), reading.order());
        // The page first; what stands before it is one sum, not a running one over the whole account.
        let mut sql = Sql::new(
            "WITH page AS MATERIALIZED (SELECT l.company_id, l.entry_id, l.line, l.posted_on, l.account, l.client_id, l.base_debit, l.base_credit ",
        );
        self.narrow(&mut sql);
        if let Some(from) = self.from {
            sql.and("l.posted_on >= ?", [Bind::Day(from)]);
        }
        if let Some((text, entry)) = &page.from {
            let (day, line) = text.split_once('/').unwrap_or_default();
            sql.and(
                &format!("(l.posted_on, l.entry_id, l.line) {beyond} (?::date, ?, ?::smallint)"),
                [
                    Bind::Text(day.to_owned()),
                    Bind::Id(*entry),
                    Bind::Text(line.to_owned()),
                ],
            );
        }
        sql.push(
            &format!(
                " ORDER BY l.posted_on {order}, l.entry_id {order}, l.line {order} LIMIT ?), \
                 before AS (SELECT coalesce(sum(l.base_debit - l.base_credit), 0) AS balance "
            ),
            [Bind::Number(page.limit())],
        );
        self.narrow(&mut sql);
        sql.push(
            &format!(
                " AND (l.posted_on, l.entry_id, l.line) < (SELECT p.posted_on, p.entry_id, p.line FROM page p ORDER BY 1, 2, 3 LIMIT 1)) \
                 SELECT x.entry_id, x.line, x.posted_on, x.account, x.client_id, x.base_debit AS debit, x.base_credit AS credit, \
                   (b.balance + sum(x.base_debit - x.base_credit) OVER (ORDER BY x.posted_on, x.entry_id, x.line))::bigint AS balance, \
                   (SELECT CASE WHEN m.complete THEN m.code ELSE lower(m.code) END FROM items i \
                      JOIN matchings m ON m.company_id = i.company_id AND m.id = i.matching_id \
                      WHERE i.company_id = ? AND i.entry_id = x.entry_id AND i.entry_line = x.line ORDER BY i.id LIMIT 1) AS letter \
                 FROM page x CROSS JOIN before b ORDER BY x.posted_on {order}, x.entry_id {order}, x.line {order}"
            ),
            [Bind::Id(self.company.0)],
        );
        Ok(page.page(sql.query().load(conn)?))
    }
}

/// What an opening entry carries: an account, a client where one stands on it, a currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct Carried {
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub client_id: Option<Uuid>,
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// Debits less credits, in that currency.
    #[diesel(sql_type = BigInt)]
    pub balance: i64,
    /// The same in the company's currency.
    #[diesel(sql_type = BigInt)]
    pub base: i64,
}

/// The balances at the end of a day: balance-sheet accounts one by one, classes 6 and 7 together as an
/// account without number.
pub fn carried(
    conn: &mut PgConnection,
    company: CompanyId,
    ends_on: NaiveDate,
) -> QueryResult<Vec<Carried>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT CASE WHEN account ~ '^[67]' THEN '' ELSE account END AS account, CASE WHEN account ~ '^[67]' THEN NULL ELSE client_id END AS client_id, \
           currency::text AS currency, sum(debit - credit)::bigint AS balance, sum(base_debit - base_credit)::bigint AS base \
         FROM journal_lines WHERE company_id = ? AND NOT carried AND posted_on <= ? GROUP BY 1, 2, 3 \
         HAVING sum(debit - credit) <> 0 OR sum(base_debit - base_credit) <> 0 ORDER BY 3, 1, 2",
        [Bind::Id(company.0), Bind::Day(ends_on)],
    );
    sql.query().load(conn)
}

/// What classes 6 and 7 add up to between two days: profit positive.
pub fn earned(
    conn: &mut PgConnection,
    company: CompanyId,
    from: NaiveDate,
    to: NaiveDate,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = BigInt)]
        sum: i64,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT coalesce(sum(base_credit - base_debit), 0)::bigint AS sum FROM journal_lines \
         WHERE company_id = ? AND NOT carried AND account ~ '^[67]' AND posted_on BETWEEN ? AND ?",
        [Bind::Id(company.0), Bind::Day(from), Bind::Day(to)],
    );
    sql.query().get_result::<Sum>(conn).map(|row| row.sum)
}
