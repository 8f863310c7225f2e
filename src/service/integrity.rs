//! The integrity check: every invariant of the books, asked of the records themselves.

use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::domain::ids::CompanyId;
use crate::error::Result;
use crate::store;
use crate::store::integrity::{CHECKS, LATEST_SEALS, by_hashing, first_broken};

/// How far back the seals are proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seals {
    /// All of them.
    Every,
    /// The end of each year's chain, and of the trail's: a question over the API is answered within seconds.
    Latest,
}

/// A check: its code, what it looks at, and the first fact that breaks it, if any.
pub type Checked = (&'static str, &'static str, Option<String>);

/// Every check. In a transaction: one snapshot sees a booking whole or not at all.
pub fn check(conn: &mut PgConnection, company: CompanyId, seals: Seals) -> Result<Vec<Checked>> {
    let mut results = by_hashing(conn, |conn| {
        let each = CHECKS.iter().map(|&(code, description, statement)| {
            let statement = match (code, seals) {
                ("SEALS", Seals::Latest) => LATEST_SEALS,
                _ => statement,
            };
            Ok((code, description, first_broken(conn, company, statement)?))
        });
        each.collect::<QueryResult<Vec<_>>>()
    })?;
    results.push(audit_trail(conn, company, seals)?);
    Ok(results)
}

fn audit_trail(conn: &mut PgConnection, company: CompanyId, seals: Seals) -> Result<Checked> {
    let most = match seals {
        Seals::Every => i64::MAX,
        Seals::Latest => 10_000,
    };
    let proof = store::audit::verify(conn, company, most)?;
    let broken = proof.broken_at.zip(proof.broken_why);
    Ok((
        "AUDIT_TRAIL",
        "the audit trail is as it was sealed: no entry was changed, removed or put between, and none lost its content without an erasure",
        broken.map(|(place, why)| format!("entry {place}: {why}")),
    ))
}
