//! Journal entries and their lines: insert-only.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::bulk;
use super::keys::{self, keyed};
use super::list::{Bind, Sql};
use super::schema::{journal_entries, journal_lines};
use crate::domain::ids::{ClientId, CompanyId, EntryId};

keyed!(Entry => "journal_entries");

/// The head of an entry.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub company_id: CompanyId,
    pub id: EntryId,
    pub journal: String,
    pub fiscal_year: i32,
    /// Its rank in the year. When the statement that writes it draws its numbers, this and the reference are left
    /// empty, and the record's number comes behind the label.
    pub number: i64,
    pub posted_on: NaiveDate,
    pub occurred_on: NaiveDate,
    pub reference: String,
    pub label: String,
    pub source_kind: String,
    pub source_id: Uuid,
    pub reversal_of: Option<EntryId>,
    pub recorded_by: String,
}

bulk::rows!(NewEntry => "journal_entries" {
    company_id: SqlUuid, id: SqlUuid, journal: Text, fiscal_year: Integer, number: BigInt, posted_on: Date,
    occurred_on: Date, reference: Text, label: Text, source_kind: Text, source_id: SqlUuid,
    reversal_of: Nullable<SqlUuid>, recorded_by: Text,
} drawn { number: "g.entry", reference: "g.number", label: "u.label || g.number" } given { recorded_at = "now()" before "recorded_by" });

/// The head of an entry as stored.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = journal_entries)]
pub struct Entry {
    pub id: EntryId,
    pub journal: String,
    pub fiscal_year: i32,
    pub number: i64,
    pub posted_on: NaiveDate,
    pub occurred_on: NaiveDate,
    pub reference: String,
    pub label: String,
    pub source_kind: String,
    pub source_id: Uuid,
    pub reversal_of: Option<EntryId>,
    pub recorded_at: DateTime<Utc>,
    pub recorded_by: String,
}

/// A line of an entry: exactly one of debit and credit is not zero.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = journal_lines)]
pub struct Line {
    pub company_id: CompanyId,
    pub entry_id: EntryId,
    pub line: i16,
    pub account: String,
    pub client_id: Option<ClientId>,
    pub debit: i64,
    pub credit: i64,
    pub currency: String,
    pub base_debit: i64,
    pub base_credit: i64,
    pub posted_on: NaiveDate,
    /// Of an opening entry: left out of sums over years.
    pub carried: bool,
}

bulk::rows!(Line => "journal_lines" with |line, next| line.entry_id == next.entry_id, {
    company_id: SqlUuid, entry_id: SqlUuid, line: SmallInt, account: Text, client_id: Nullable<SqlUuid>,
    debit: BigInt, credit: BigInt, currency: Text, base_debit: BigInt, base_credit: BigInt, posted_on: Date,
    carried: Bool,
} given { recorded_at = "now()" before "carried" });

/// Adds entries with all their lines. Lines of one entry stay in one statement: Postgres checks that each entry is whole
/// and balances, and chains it to the one before it (R9.5), so that the entries of a year come in order.
pub fn insert(conn: &mut PgConnection, entries: &[NewEntry], lines: &[Line]) -> QueryResult<()> {
    bulk::insert_all(conn, &[&entries, &lines])
}

/// What a list of entries may be narrowed to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub journal: Option<String>,
    pub from: Option<NaiveDate>,
    pub to: Option<NaiveDate>,
    /// An account with everything below it: digits.
    pub account: Option<String>,
    pub client: Option<ClientId>,
    pub reference: Option<String>,
    pub known_at: Option<DateTime<Utc>>,
}

/// `FROM journal_entries t WHERE …` of a filter.
pub fn from(company: CompanyId, filter: &Filter) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        "FROM journal_entries t WHERE t.company_id = ?",
        [Bind::Id(company.0)],
    );
    if let Some(journal) = &filter.journal {
        sql.and("t.journal = ?", [Bind::Text(journal.clone())]);
    }
    if let Some(from) = filter.from {
        sql.and("t.posted_on >= ?", [Bind::Day(from)]);
    }
    if let Some(to) = filter.to {
        sql.and("t.posted_on <= ?", [Bind::Day(to)]);
    }
    let line = "EXISTS (SELECT 1 FROM journal_lines l WHERE l.company_id = t.company_id AND l.entry_id = t.id";
    if let Some(account) = &filter.account {
        let mut inner = Sql::default();
        inner.push(line, []).begins("l.account", account);
        sql.push(" AND ", []).append(&inner).push(")", []);
    }
    if let Some(client) = filter.client {
        sql.and(
            &format!("{line} AND l.client_id = ?)"),
            [Bind::Id(client.0)],
        );
    }
    if let Some(reference) = &filter.reference {
        sql.and("t.reference = ?", [Bind::Text(reference.clone())]);
    }
    if filter.known_at.is_some() {
        sql.and("t.recorded_at <= ?", [Bind::Instant(filter.known_at)]);
    }
    sql
}

/// Entries by id, in no order.
pub fn by_ids(
    conn: &mut PgConnection,
    company: CompanyId,
    ids: &[EntryId],
) -> QueryResult<Vec<Entry>> {
    keys::by_ids(conn, company, ids)
}

/// The entries of these documents or receipts, oldest first.
pub fn by_sources(
    conn: &mut PgConnection,
    company: CompanyId,
    sources: &[Uuid],
) -> QueryResult<Vec<Entry>> {
    journal_entries::table
        .filter(
            journal_entries::company_id
                .eq(company)
                .and(journal_entries::source_id.eq_any(sources)),
        )
        .order(journal_entries::id)
        .select(Entry::as_select())
        .load(conn)
}

/// The lines of these entries, in order.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    entries: &[EntryId],
) -> QueryResult<Vec<Line>> {
    journal_lines::table
        .filter(
            journal_lines::company_id
                .eq(company)
                .and(journal_lines::entry_id.eq_any(entries)),
        )
        .order((journal_lines::entry_id, journal_lines::line))
        .select(Line::as_select())
        .load(conn)
}
