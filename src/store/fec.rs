//! The lines of a financial year as the FEC wants them: one statement for a page of entries.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};

use super::list::{Bind, Sql};
use crate::domain::ids::CompanyId;

/// A journal line with everything that the file says of it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Line {
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    #[diesel(sql_type = Text)]
    pub journal: String,
    #[diesel(sql_type = Text)]
    pub journal_label: String,
    #[diesel(sql_type = Date)]
    pub posted_on: NaiveDate,
    #[diesel(sql_type = Date)]
    pub occurred_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub reference: String,
    #[diesel(sql_type = Text)]
    pub label: String,
    #[diesel(sql_type = Date)]
    pub validated_on: NaiveDate,
    #[diesel(sql_type = Text)]
    pub account: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub client_number: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub client_name: Option<String>,
    #[diesel(sql_type = BigInt)]
    pub base_debit: i64,
    #[diesel(sql_type = BigInt)]
    pub base_credit: i64,
    #[diesel(sql_type = BigInt)]
    pub debit: i64,
    #[diesel(sql_type = BigInt)]
    pub credit: i64,
    #[diesel(sql_type = Text)]
    pub currency: String,
    #[diesel(sql_type = Nullable<Date>)]
    pub due_on: Option<NaiveDate>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub open: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub letter: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    pub complete: Option<bool>,
    #[diesel(sql_type = Nullable<Date>)]
    pub lettered_on: Option<NaiveDate>,
}

/// Lines of at most `entries` entries behind a number: opening entries, or the others. Letters of groups that are
/// not settled whole are told only on demand: such a group may hold years of an account, and its day is looked up
/// from all of it.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
    opening: bool,
    partial_letters: bool,
    after: i64,
    entries: i64,
) -> QueryResult<Vec<Line>> {
    let id = || Bind::Id(company.0);
    let mut sql = Sql::default();
    sql.push(
        // OFFSET 0: each line is looked up by its key; the planner would rather read the tables whole. What a
        // group says is asked once for the page, not for each of its lines.
        "WITH page AS MATERIALIZED (SELECT * FROM journal_entries e WHERE e.company_id = ? AND e.fiscal_year = ? \
           AND (e.source_kind = 'CARRY_FORWARD') = ? AND e.number > ? ORDER BY e.number LIMIT ?), \
         lines AS MATERIALIZED (SELECT e.number, l.*, i.due_on, i.open_amount, i.matching_id FROM page e \
           CROSS JOIN LATERAL (SELECT * FROM journal_lines l WHERE l.company_id = ? AND l.entry_id = e.id OFFSET 0) l \
           LEFT JOIN LATERAL (SELECT * FROM items i WHERE i.company_id = ? AND i.entry_id = l.entry_id AND i.entry_line = l.line OFFSET 0) i ON true), \
         letters AS MATERIALIZED (SELECT m.id, m.code, m.complete, \
             (SELECT max(a.effective_on) FROM items g JOIN allocations a ON a.company_id = g.company_id AND a.debit_item_id = g.id AND a.ended_on IS NULL \
                WHERE g.company_id = ? AND g.matching_id = m.id) AS lettered_on \
           FROM (SELECT DISTINCT matching_id FROM lines WHERE matching_id IS NOT NULL) s \
           CROSS JOIN LATERAL (SELECT * FROM matchings m WHERE m.company_id = ? AND m.id = s.matching_id AND (m.complete OR ?) OFFSET 0) m) \
         SELECT e.number, e.journal, j.label AS journal_label, e.posted_on, e.occurred_on, e.reference, e.label, \
           (e.recorded_at AT TIME ZONE 'Europe/Paris')::date AS validated_on, l.account, c.number AS client_number, coalesce(x.name, c.name) AS client_name, \
           l.base_debit, l.base_credit, l.debit, l.credit, l.currency::text AS currency, l.due_on, l.open_amount AS open, m.code AS letter, m.complete, m.lettered_on \
         FROM page e \
         JOIN journals j ON j.company_id = ? AND j.code = e.journal \
         JOIN lines l ON l.number = e.number \
         LEFT JOIN clients c ON c.company_id = ? AND c.id = l.client_id \
         LEFT JOIN legal_archive x ON x.company_id = ? AND x.client_id = l.client_id \
         LEFT JOIN letters m ON m.id = l.matching_id \
         ORDER BY e.number, l.line",
        [
            id(),
            Bind::Number(i64::from(year)),
            Bind::Flag(opening),
            Bind::Number(after),
            Bind::Number(entries),
            id(),
            id(),
            id(),
            id(),
            Bind::Flag(partial_letters),
            id(),
            id(),
            id(),
        ],
    );
    sql.query().load(conn)
}

/// What tells an entry of a file apart from others.
#[derive(Clone, Debug)]
pub struct Asked {
    pub journal: String,
    pub posted_on: NaiveDate,
    pub reference: String,
    /// Of its debits, in minor units.
    pub total: i64,
}

/// The place of the first of these entries that is in the books, and its number there.
pub fn known_entry(
    conn: &mut PgConnection,
    company: CompanyId,
    asked: &[Asked],
) -> QueryResult<Option<(usize, i64)>> {
    #[derive(QueryableByName)]
    struct Known {
        #[diesel(sql_type = BigInt)]
        place: i64,
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let journals: Vec<&str> = asked.iter().map(|entry| entry.journal.as_str()).collect();
    let days: Vec<NaiveDate> = asked.iter().map(|entry| entry.posted_on).collect();
    let references: Vec<&str> = asked.iter().map(|entry| entry.reference.as_str()).collect();
    let totals: Vec<i64> = asked.iter().map(|entry| entry.total).collect();
    let found: Option<Known> = diesel::sql_query(
        "SELECT a.place, e.number FROM unnest($2::text[], $3::date[], $4::text[], $5::bigint[]) WITH ORDINALITY a(journal, posted_on, reference, total, place) \
         JOIN journal_entries e ON e.company_id = $1 AND e.reference = a.reference AND e.journal = a.journal AND e.posted_on = a.posted_on \
         CROSS JOIN LATERAL (SELECT sum(l.base_debit) AS total FROM journal_lines l WHERE l.company_id = e.company_id AND l.entry_id = e.id) s \
         WHERE s.total = a.total ORDER BY a.place LIMIT 1",
    )
    .bind::<SqlUuid, _>(company)
    .bind::<Array<Text>, _>(journals)
    .bind::<Array<Date>, _>(days)
    .bind::<Array<Text>, _>(references)
    .bind::<Array<BigInt>, _>(totals)
    .get_result(conn)
    .optional()?;
    Ok(found.map(|known| {
        let place = usize::try_from(known.place).unwrap_or(1);
        (place.saturating_sub(1), known.number)
    }))
}
