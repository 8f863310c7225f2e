//! The lines of a financial year as the FEC wants them, a stretch of its entries at a time.

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};

use super::list::{Bind, steady};
use crate::domain::ids::CompanyId;

/// A journal line with everything that the file says of it, in the order of [`LINES`].
#[derive(Clone, Debug, Queryable)]
pub struct Line {
    pub number: i64,
    pub journal: String,
    pub posted_on: NaiveDate,
    pub occurred_on: NaiveDate,
    pub reference: String,
    pub label: String,
    pub validated_on: NaiveDate,
    pub account: String,
    pub client_number: Option<String>,
    pub client_name: Option<String>,
    pub base_debit: i64,
    pub base_credit: i64,
    pub debit: i64,
    pub credit: i64,
    pub currency: String,
    pub due_on: Option<NaiveDate>,
    pub open: Option<i64>,
    pub letter: Option<String>,
    pub complete: Option<bool>,
    pub lettered_on: Option<NaiveDate>,
}

type Columns = (
    BigInt,
    Text,
    Date,
    Date,
    Text,
    Text,
    Date,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    BigInt,
    BigInt,
    BigInt,
    BigInt,
    Text,
    Nullable<Date>,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Bool>,
    Nullable<Date>,
);

/// Each line is looked up by its key (`OFFSET 0`: the planner would rather read tables whole), and what a client or a
/// group says once for all their lines that follow: both are kept beside the join.
///
/// A group that is settled whole was lettered when the last of its items was. Letters of others are told only on demand:
/// such a group may hold years of an account, and its day is looked up from all that is matched in it.
const LINES: &str = "SELECT e.number, e.journal, e.posted_on, e.occurred_on, e.reference, e.label, \
       (e.recorded_at AT TIME ZONE 'Europe/Paris')::date, l.account, c.number, c.name, \
       l.base_debit, l.base_credit, l.debit, l.credit, l.currency::text, l.due_on, l.open_amount, m.code, m.complete, m.lettered_on \
     FROM journal_entries e \
     CROSS JOIN LATERAL (SELECT l.*, i.due_on, i.open_amount, i.matching_id FROM journal_lines l \
       LEFT JOIN items i ON i.company_id = ? AND i.entry_id = e.id AND i.entry_line = l.line \
       WHERE l.company_id = ? AND l.entry_id = e.id OFFSET 0) l \
     LEFT JOIN LATERAL (SELECT c.number, coalesce(x.name, c.name) AS name FROM clients c \
       LEFT JOIN legal_archive x ON x.company_id = ? AND x.client_id = c.id \
       WHERE c.company_id = ? AND c.id = l.client_id OFFSET 0) c ON true \
     LEFT JOIN LATERAL (SELECT m.code, m.complete, CASE WHEN m.complete \
         THEN (SELECT max(g.settled_on) FROM items g WHERE g.company_id = ? AND g.matching_id = m.id) \
         ELSE (SELECT max(a.effective_on) FROM items g JOIN allocations a ON a.company_id = ? AND a.debit_item_id = g.id AND a.ended_on IS NULL \
                 WHERE g.company_id = ? AND g.matching_id = m.id) END AS lettered_on \
       FROM matchings m WHERE m.company_id = ? AND m.id = l.matching_id AND (m.complete OR ?) OFFSET 0) m ON true \
     WHERE e.company_id = ? AND e.fiscal_year = ? AND (e.source_kind = 'CARRY_FORWARD') = ? AND e.number > ? AND e.number <= ? \
     ORDER BY e.number, l.line";

/// Entries of a year that are read at once: of its opening entries, or of the others.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    pub opening: bool,
    /// The number that it begins behind.
    pub after: i64,
    /// Its last number.
    pub up_to: i64,
}

/// The entries of a year in stretches of so many numbers: opening entries first.
pub fn stretches(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
    numbers: i64,
) -> QueryResult<Vec<Stretch>> {
    let spans: Vec<(bool, i64, i64)> = steady(
        "SELECT e.source_kind = 'CARRY_FORWARD' AS opening, min(e.number), max(e.number) FROM journal_entries e \
         WHERE e.company_id = ? AND e.fiscal_year = ? GROUP BY opening ORDER BY opening DESC",
        [Bind::Id(company.0), Bind::Small(year)],
    )
    .of_columns::<(Bool, BigInt, BigInt)>()
    .load(conn)?;
    let mut stretches = Vec::new();
    for (opening, first, last) in spans {
        let mut after = first - 1;
        while after < last {
            let up_to = last.min(after + numbers);
            stretches.push(Stretch {
                opening,
                after,
                up_to,
            });
            after = up_to;
        }
    }
    Ok(stretches)
}

/// The lines of a stretch in the order of the file; those of groups that are not settled whole have letters too when
/// `partial_letters` says so.
pub fn lines(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
    stretch: Stretch,
    partial_letters: bool,
) -> QueryResult<Vec<Line>> {
    let id = || Bind::Id(company.0);
    let binds = [
        id(),
        id(),
        id(),
        id(),
        id(),
        id(),
        id(),
        id(),
        Bind::Flag(partial_letters),
        id(),
        Bind::Small(year),
        Bind::Flag(stretch.opening),
        Bind::Number(stretch.after),
        Bind::Number(stretch.up_to),
    ];
    steady(LINES, binds).of_columns::<Columns>().load(conn)
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
