//! Provision policies, individual estimates, and what is provided already.

use std::cmp::Reverse;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Numeric, Text, Uuid as SqlUuid};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::balances::Touched;
use super::client;
use super::list::{Bind, Keyset, Sql};
use super::schema::{provision_assessments, provision_policies};
use crate::domain::ids::{AssessmentId, ClientId, CompanyId, DocumentId, PolicyId};

/// One version of a policy.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_policies)]
pub struct Policy {
    pub company_id: CompanyId,
    pub id: PolicyId,
    pub name: String,
    pub version: i32,
    pub framework: String,
    pub content: serde_json::Value,
    pub recorded_by: String,
}

/// All versions of all policies, by name, latest first.
pub fn policies(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Policy>> {
    provision_policies::table
        .filter(provision_policies::company_id.eq(company))
        .order((provision_policies::name, provision_policies::version.desc()))
        .select(Policy::as_select())
        .load(conn)
}

/// The latest version of a policy that was recorded by an instant.
pub fn policy(
    conn: &mut PgConnection,
    company: CompanyId,
    name: &str,
    known_at: Option<DateTime<Utc>>,
) -> QueryResult<Option<Policy>> {
    let mut query = provision_policies::table
        .filter(
            provision_policies::company_id
                .eq(company)
                .and(provision_policies::name.eq(name.to_owned())),
        )
        .order(provision_policies::version.desc())
        .select(Policy::as_select())
        .into_boxed();
    if let Some(known_at) = known_at {
        query = query.filter(provision_policies::recorded_at.le(known_at));
    }
    query.first(conn).optional()
}

/// Adds a version.
pub fn insert_policy(conn: &mut PgConnection, policy: &Policy) -> QueryResult<()> {
    diesel::insert_into(provision_policies::table)
        .values(policy)
        .execute(conn)
        .map(drop)
}

/// An individual estimate (R5.3).
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = provision_assessments)]
pub struct Assessment {
    pub company_id: CompanyId,
    pub id: AssessmentId,
    pub client_id: ClientId,
    pub invoice_id: Option<DocumentId>,
    pub rate_percent: Decimal,
    pub reason: String,
    pub evidence: serde_json::Value,
    pub deductible: bool,
    pub valid_from: NaiveDate,
    pub valid_to: Option<NaiveDate>,
    pub recorded_by: String,
}

/// The estimates in force on a day, as known at an instant, latest first.
pub fn assessments(
    conn: &mut PgConnection,
    company: CompanyId,
    on: NaiveDate,
    known_at: Option<DateTime<Utc>>,
) -> QueryResult<Vec<Assessment>> {
    let mut query = provision_assessments::table
        .filter(
            provision_assessments::company_id
                .eq(company)
                .and(provision_assessments::valid_from.le(on)),
        )
        .filter(
            provision_assessments::valid_to
                .is_null()
                .or(provision_assessments::valid_to.ge(on)),
        )
        .order(provision_assessments::id.desc())
        .select(Assessment::as_select())
        .into_boxed();
    if let Some(known_at) = known_at {
        query = query.filter(provision_assessments::recorded_at.le(known_at));
    }
    query.load(conn)
}

/// Adds an estimate.
pub fn insert_assessment(conn: &mut PgConnection, assessment: &Assessment) -> QueryResult<()> {
    diesel::insert_into(provision_assessments::table)
        .values(assessment)
        .execute(conn)
        .map(drop)
}

/// What account 491 holds for a client, in the company's currency.
#[derive(Clone, Debug, QueryableByName)]
pub struct Provided {
    #[diesel(sql_type = SqlUuid)]
    pub client_id: Uuid,
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
}

/// An individual estimate in force, as far as a computation reads it.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    pub id: Uuid,
    pub client_id: ClientId,
    pub invoice_id: Option<Uuid>,
    pub rate_percent: Decimal,
}

/// What a computation reads of a company beside its claims.
#[derive(Clone, Debug, Default)]
pub struct Basis {
    /// The company's currency; none when there is no such company.
    pub currency: Option<String>,
    /// What account 491 holds; nothing unless it was asked for.
    pub provided: Vec<Provided>,
    /// The estimates in force, latest first.
    pub estimates: Vec<Estimate>,
    /// Who was touched; nobody unless it was asked for.
    pub touched: Option<Touched>,
}

/// What to read beside what every computation needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// What account 491 holds.
    pub provided: bool,
    /// Who was touched by transactions from one on, at most so many rows of each kind.
    pub touched: Option<(i64, usize)>,
}

/// Reads what belongs to all clients of a computation, by one statement.
pub fn basis(
    conn: &mut PgConnection,
    company: CompanyId,
    as_of: NaiveDate,
    known_at: Option<DateTime<Utc>>,
    wanted: Wanted,
) -> QueryResult<Basis> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Nullable<SqlUuid>)]
        id: Option<Uuid>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        client_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<SqlUuid>)]
        invoice_id: Option<Uuid>,
        #[diesel(sql_type = Nullable<BigInt>)]
        amount: Option<i64>,
        #[diesel(sql_type = Nullable<BigInt>)]
        xid: Option<i64>,
        #[diesel(sql_type = Nullable<Numeric>)]
        rate_percent: Option<Decimal>,
        #[diesel(sql_type = Nullable<Text>)]
        currency: Option<String>,
    }
    let id = || Bind::Id(company.0);
    let mut sql = Sql::default();
    sql.push(
        "SELECT NULL::uuid AS id, NULL::uuid AS client_id, NULL::uuid AS invoice_id, NULL::bigint AS amount, NULL::bigint AS xid, \
           NULL::numeric AS rate_percent, currency::text AS currency FROM companies WHERE company_id = ? \
         UNION ALL SELECT id, client_id, invoice_id, NULL, NULL, rate_percent, NULL FROM provision_assessments \
           WHERE company_id = ? AND valid_from <= ? AND (valid_to IS NULL OR valid_to >= ?) AND recorded_at <= coalesce(?, 'infinity'::timestamptz)",
        [id(), id(), Bind::Day(as_of), Bind::Day(as_of), Bind::Instant(known_at)],
    );
    if wanted.provided {
        // An account few entries touch: the same plan whoever asks.
        sql.push(
            " UNION ALL SELECT NULL, client_id, NULL, sum(base_credit - base_debit)::bigint, NULL, NULL, NULL FROM journal_lines \
               WHERE company_id = ? AND account >= '491' AND account < '492' AND client_id IS NOT NULL AND NOT carried AND posted_on <= ? \
                 AND recorded_at <= coalesce(?, 'infinity'::timestamptz) \
               GROUP BY client_id HAVING sum(base_credit - base_debit) <> 0",
            [id(), Bind::Day(as_of), Bind::Instant(known_at)],
        );
    }
    if let Some((since, most)) = wanted.touched {
        let most = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
        sql.push(
            " UNION ALL SELECT NULL, client_id, NULL, NULL, xid, NULL, NULL FROM clients_touched(?, ?::text::xid8, ?)",
            [id(), Bind::Text(since.to_string()), Bind::Number(most)],
        );
    }
    let mut basis = Basis::default();
    let mut touched = Vec::new();
    for line in sql.steady().load::<Line>(conn)? {
        match (line.rate_percent, line.id, line.client_id) {
            (Some(rate_percent), Some(id), Some(client)) => basis.estimates.push(Estimate {
                id,
                client_id: ClientId(client),
                invoice_id: line.invoice_id,
                rate_percent,
            }),
            _ => match (line.amount, line.xid, line.client_id) {
                (Some(amount), _, Some(client_id)) => {
                    basis.provided.push(Provided { client_id, amount });
                }
                (_, Some(xid), client) => touched.push((xid, client)),
                _ => basis.currency = line.currency,
            },
        }
    }
    basis.estimates.sort_by_key(|estimate| Reverse(estimate.id));
    basis.touched = wanted.touched.map(|(_, most)| Touched::of(touched, most));
    Ok(basis)
}

/// What account 491 holds for each client now, in the company's currency.
pub fn held(conn: &mut PgConnection, company: CompanyId) -> QueryResult<Vec<Provided>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT client_id, sum(amount)::bigint AS amount FROM provision_movements WHERE company_id = ? \
         GROUP BY client_id HAVING sum(amount) <> 0",
        [Bind::Id(company.0)],
    );
    sql.query().load(conn)
}

/// The last day on which 491 moved after this one, of any client for whom it holds something else by now.
pub fn moved_after(
    conn: &mut PgConnection,
    company: CompanyId,
    on: NaiveDate,
) -> QueryResult<Option<NaiveDate>> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT max(m.day) AS day FROM (SELECT max(posted_on) AS day FROM provision_movements WHERE company_id = ? AND posted_on > ? \
           GROUP BY client_id HAVING sum(amount) <> 0) m",
        [Bind::Id(company.0), Bind::Day(on)],
    );
    super::list::day(conn, sql)
}

/// The individual estimates in force, latest first, and whether each is tax-deductible (R5.4).
#[derive(Clone, Debug, Default)]
pub struct Deductible(Vec<(ClientId, Option<Uuid>, bool)>);

impl Deductible {
    /// Whether the estimate that counts for a claim is deductible: the latest of its own, else of its client's.
    pub fn holds(&self, client: ClientId, invoice: Option<Uuid>) -> bool {
        let latest = |about: Option<Uuid>| {
            let mut estimates = self.0.iter();
            estimates.find(|(of, document, _)| *of == client && *document == about)
        };
        let own = invoice.and_then(|invoice| latest(Some(invoice)));
        own.or_else(|| latest(None))
            .is_some_and(|(_, _, deductible)| *deductible)
    }
}

/// Which estimates in force on a day are deductible.
pub fn deductible_claims(
    conn: &mut PgConnection,
    company: CompanyId,
    on: NaiveDate,
) -> QueryResult<Deductible> {
    Ok(Deductible(
        assessments(conn, company, on, None)?
            .into_iter()
            .map(|assessment| {
                (
                    assessment.client_id,
                    assessment.invoice_id.map(|invoice| invoice.0),
                    assessment.deductible,
                )
            })
            .collect(),
    ))
}

/// `FROM clients c WHERE …`: a population's clients with something open, and those for whom something is held.
fn listed(population: &super::aging::Population, held: &[Uuid]) -> Sql {
    let mut sql = Sql::default();
    sql.push(
        " FROM clients c WHERE c.company_id = ? AND (c.id IN (SELECT client_id FROM aged) OR c.id = ANY(?))",
        [Bind::Id(population.company.0), Bind::Ids(held.to_vec())],
    );
    sql
}

/// A page of them by number; all without a page.
pub fn clients(
    conn: &mut PgConnection,
    population: &super::aging::Population,
    held: &[Uuid],
    page: &Keyset,
) -> QueryResult<(Vec<Uuid>, bool)> {
    let mut sql = population.with();
    sql.push(" SELECT c.id", [])
        .append(&listed(population, held));
    client::page_by_number(conn, sql, page)
}

/// How many rows they make: one each in the company's currency, and one for each other in which something is open.
pub fn row_count(
    conn: &mut PgConnection,
    population: &super::aging::Population,
    held: &[Uuid],
    currency: &str,
) -> QueryResult<i64> {
    let mut sql = population.with();
    sql.push(" SELECT (SELECT count(*)", [])
        .append(&listed(population, held))
        .push(
            ") + (SELECT count(*) FROM (SELECT DISTINCT a.client_id, a.currency FROM aged a WHERE a.currency <> ?) f) AS count",
            [Bind::Text(currency.to_owned())],
        );
    super::list::counted(conn, sql)
}

/// Clients in the order of their numbers, from behind one on.
pub fn client_numbers(
    conn: &mut PgConnection,
    company: CompanyId,
    page: &Keyset,
) -> QueryResult<Vec<(Uuid, String)>> {
    #[derive(QueryableByName)]
    struct Numbered {
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Text)]
        number: String,
    }
    let mut sql = Sql::default();
    sql.push(
        "SELECT c.id, c.number FROM clients c WHERE c.company_id = ?",
        [Bind::Id(company.0)],
    );
    client::in_number_order(&mut sql, page, page.size);
    let rows: Vec<Numbered> = sql.steady().load(conn)?;
    Ok(rows.into_iter().map(|row| (row.id, row.number)).collect())
}
