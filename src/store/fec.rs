//! The lines of a financial year as the FEC wants them, a stretch of its entries at a time.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Nullable, Text, Uuid as SqlUuid};

use uuid::Uuid;

use super::list::{Bind, steady};
use crate::domain::ids::CompanyId;

/// A journal line with what the file says of it, in the order of the columns that are asked for.
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
    /// The group that its item is matched in.
    pub matching: Option<Uuid>,
}

type LineColumns = (
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
    Nullable<SqlUuid>,
);

/// The letters of a group (code de lettrage), and the day of the last matching in it.
#[derive(Clone, Debug, Queryable)]
pub struct Letters {
    pub code: String,
    /// Whether it is settled whole.
    pub complete: bool,
    pub lettered_on: NaiveDate,
}

/// Lines in the order of the file, and the letters of their groups.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pub lines: Vec<Line>,
    pub letters: HashMap<Uuid, Letters>,
}

/// Entries of a year that are read at once: opening entries, or others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub year: i32,
    pub opening: bool,
    /// The number that it begins behind.
    pub after: i64,
    /// Its last number.
    pub up_to: i64,
}

/// All entries of a year: its opening entries, then the others.
pub fn whole_year(
    conn: &mut PgConnection,
    company: CompanyId,
    year: i32,
) -> QueryResult<Vec<Stretch>> {
    let found: Vec<(bool, i64, i64)> = steady(
        "SELECT e.source_kind = 'CARRY_FORWARD' AS opening, min(e.number) - 1, max(e.number) FROM journal_entries e \
         WHERE e.company_id = ? AND e.fiscal_year = ? GROUP BY opening ORDER BY opening DESC",
        [Bind::Id(company.0), Bind::Small(year)],
    )
    .of_columns::<(Bool, BigInt, BigInt)>()
    .load(conn)?;
    let stretch = |(opening, after, up_to)| Stretch {
        year,
        opening,
        after,
        up_to,
    };
    Ok(found.into_iter().map(stretch).collect())
}

/// Reads stretches of a company's entries.
#[derive(Debug)]
pub struct Reader {
    company: CompanyId,
    /// Whether groups that are not settled whole have letters.
    partial_letters: bool,
    /// Of those, what was looked up before: each may hold years of an account, with lines in every stretch.
    partial: HashMap<Uuid, Letters>,
}

impl Reader {
    pub fn new(company: CompanyId, partial_letters: bool) -> Reader {
        Reader {
            company,
            partial_letters,
            partial: HashMap::new(),
        }
    }

    /// The lines of a stretch, with the letters of their groups.
    pub fn read(&mut self, conn: &mut PgConnection, stretch: Stretch) -> QueryResult<Lines> {
        let lines = lines(conn, self.company, stretch)?;
        let groups: HashSet<Uuid> = lines.iter().filter_map(|line| line.matching).collect();
        let asked = groups.iter().filter(|id| !self.partial.contains_key(id));
        let asked = asked.copied().collect();
        let found = letters(conn, self.company, asked, self.partial_letters)?;
        let (mut letters, partial): (HashMap<Uuid, Letters>, HashMap<Uuid, Letters>) =
            found.into_iter().partition(|(_, letters)| letters.complete);
        self.partial.extend(partial);
        for group in groups {
            if let Some(known) = self.partial.get(&group) {
                letters.insert(group, known.clone());
            }
        }
        Ok(Lines { lines, letters })
    }
}

/// Each line is looked up by its key, and so is what stands beside it (`OFFSET 0`): the planner, which does not know how
/// long a stretch is, would rather read tables whole.
fn lines(conn: &mut PgConnection, company: CompanyId, stretch: Stretch) -> QueryResult<Vec<Line>> {
    let id = || Bind::Id(company.0);
    steady(
        "SELECT e.number, e.journal, e.posted_on, e.occurred_on, e.reference, e.label, \
           (e.recorded_at AT TIME ZONE 'Europe/Paris')::date, l.account, c.number, c.name, \
           l.base_debit, l.base_credit, l.debit, l.credit, l.currency::text, l.due_on, l.open_amount, l.matching_id \
         FROM journal_entries e \
         CROSS JOIN LATERAL (SELECT l.*, i.due_on, i.open_amount, i.matching_id FROM journal_lines l \
           LEFT JOIN items i ON i.company_id = ? AND i.entry_id = e.id AND i.entry_line = l.line \
           WHERE l.company_id = ? AND l.entry_id = e.id OFFSET 0) l \
         LEFT JOIN LATERAL (SELECT c.number, coalesce(x.name, c.name) AS name FROM clients c \
           LEFT JOIN legal_archive x ON x.company_id = ? AND x.client_id = c.id \
           WHERE c.company_id = ? AND c.id = l.client_id OFFSET 0) c ON true \
         WHERE e.company_id = ? AND e.fiscal_year = ? AND (e.source_kind = 'CARRY_FORWARD') = ? AND e.number > ? AND e.number <= ? \
         ORDER BY e.number, l.line",
        [
            id(),
            id(),
            id(),
            id(),
            id(),
            Bind::Small(stretch.year),
            Bind::Flag(stretch.opening),
            Bind::Number(stretch.after),
            Bind::Number(stretch.up_to),
        ],
    )
    .of_columns::<LineColumns>()
    .load(conn)
}

/// The letters of groups, each looked up once. A group that is settled whole was lettered when the last of its items was
/// settled. One that is not may hold years of an account: its day is looked up, from all that is matched in it, only when
/// it is wanted.
fn letters(
    conn: &mut PgConnection,
    company: CompanyId,
    groups: Vec<Uuid>,
    partial: bool,
) -> QueryResult<Vec<(Uuid, Letters)>> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let id = || Bind::Id(company.0);
    steady(
        "SELECT s.id, m.code, m.complete, m.lettered_on FROM unnest((SELECT ?)) s(id) \
         CROSS JOIN LATERAL (SELECT m.code, m.complete, CASE WHEN m.complete \
             THEN (SELECT max(i.settled_on) FROM items i WHERE i.company_id = ? AND i.matching_id = m.id) \
             ELSE (SELECT max(a.effective_on) FROM items i JOIN allocations a ON a.company_id = ? AND a.debit_item_id = i.id AND a.ended_on IS NULL \
                     WHERE i.company_id = ? AND i.matching_id = m.id) END AS lettered_on \
           FROM matchings m WHERE m.company_id = ? AND m.id = s.id AND (m.complete OR ?) OFFSET 0) m \
         WHERE m.lettered_on IS NOT NULL",
        [
            Bind::Ids(groups),
            id(),
            id(),
            id(),
            id(),
            Bind::Flag(partial),
        ],
    )
    .of_columns::<(SqlUuid, (Text, Bool, Date))>()
    .load(conn)
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
