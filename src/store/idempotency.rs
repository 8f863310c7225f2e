//! The first outcome of each idempotency key, written in the business transaction, and the first
//! answer read from it, so that a replay is byte for byte the same.

use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::list::{Bind, steady};
use super::schema::{idempotency, idempotency_answers};
use crate::domain::ids::CompanyId;

/// What a key was first used for.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = idempotency)]
pub struct First {
    /// The mutation.
    pub operation: String,
    /// Digest of its input.
    pub request_hash: String,
    /// The records it made.
    pub outcome: serde_json::Value,
}

/// Claims a key for this transaction, or answers what it was first used for.
///
/// Another transaction that claims the same key at the same time is waited for.
pub fn claim(
    conn: &mut PgConnection,
    company: CompanyId,
    key: &str,
    operation: &str,
    request_hash: &str,
) -> QueryResult<Option<First>> {
    let claimed = diesel::insert_into(idempotency::table)
        .values((
            idempotency::company_id.eq(company),
            idempotency::key.eq(key),
            idempotency::operation.eq(operation),
            idempotency::request_hash.eq(request_hash),
            idempotency::outcome.eq(serde_json::Value::Null),
        ))
        .on_conflict_do_nothing()
        .execute(conn)?;
    if claimed == 1 {
        return Ok(None);
    }
    idempotency::table
        .find((company, key))
        .select(First::as_select())
        .first(conn)
        .optional()
}

/// A key with what its first use makes, known before it is done.
#[derive(Clone, Debug)]
pub struct Claim {
    pub key: String,
    /// The mutation.
    pub operation: String,
    /// Digest of its input.
    pub request_hash: String,
    /// The records that it makes.
    pub outcome: serde_json::Value,
}

/// Claims keys with their outcomes for this transaction, in this order; says whether all were free.
pub fn claim_all(
    conn: &mut PgConnection,
    company: CompanyId,
    claims: &[&Claim],
) -> QueryResult<bool> {
    if claims.is_empty() {
        return Ok(true);
    }
    let texts = |of: fn(&Claim) -> String| Bind::Texts(claims.iter().map(|c| of(c)).collect());
    let claimed = steady(
        "INSERT INTO idempotency (company_id, key, operation, request_hash, outcome) \
         SELECT k.company_id, c.key, c.operation, c.request_hash, c.outcome::jsonb \
         FROM companies k CROSS JOIN unnest(?, ?, ?, ?) c(key, operation, request_hash, outcome) WHERE k.company_id = ? \
         ON CONFLICT DO NOTHING",
        [
            texts(|claim| claim.key.clone()),
            texts(|claim| claim.operation.clone()),
            texts(|claim| claim.request_hash.clone()),
            texts(|claim| claim.outcome.to_string()),
            Bind::Id(company.0),
        ],
    )
    .execute(conn)?;
    Ok(claimed == claims.len())
}

/// Whether a key was used before.
pub fn is_used(conn: &mut PgConnection, company: CompanyId, key: &str) -> QueryResult<bool> {
    let used = idempotency::table.find((company, key));
    let used = used.select(idempotency::key).first::<String>(conn);
    used.optional().map(|used| used.is_some())
}

/// Keeps the outcome of the use that claimed the key.
pub fn keep(
    conn: &mut PgConnection,
    company: CompanyId,
    key: &str,
    outcome: &serde_json::Value,
) -> QueryResult<()> {
    // An update of diesel's is parsed anew each time.
    steady(
        "UPDATE idempotency SET outcome = ?::jsonb WHERE company_id = ? AND key = ?",
        [
            Bind::Text(outcome.to_string()),
            Bind::Id(company.0),
            Bind::Text(key.to_owned()),
        ],
    )
    .execute(conn)
    .map(drop)
}

/// The answer that was first read for this selection of fields.
pub fn answer(
    conn: &mut PgConnection,
    company: CompanyId,
    key: &str,
    selection: &str,
) -> QueryResult<Option<String>> {
    idempotency_answers::table
        .find((company, key, selection))
        .select(idempotency_answers::answer)
        .first(conn)
        .optional()
}

/// Keeps the answer unless one is kept already; says which one counts.
pub fn keep_answer(
    conn: &mut PgConnection,
    company: CompanyId,
    key: &str,
    selection: &str,
    text: &str,
) -> QueryResult<String> {
    diesel::insert_into(idempotency_answers::table)
        .values((
            idempotency_answers::company_id.eq(company),
            idempotency_answers::key.eq(key),
            idempotency_answers::selection_hash.eq(selection),
            idempotency_answers::answer.eq(text),
        ))
        .on_conflict_do_nothing()
        .execute(conn)?;
    answer(conn, company, key, selection).map(|kept| kept.unwrap_or_else(|| text.to_owned()))
}
