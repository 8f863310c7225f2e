//! The integrity check: every invariant of the books, asked of the records themselves.

use diesel::pg::PgConnection;

use crate::domain::ids::CompanyId;
use crate::error::Result;
use crate::store::integrity::{CHECKS, LATEST_AUDIT, LATEST_SEALS, first_broken, prepare};

/// How far back the seals are proven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seals {
    /// All of them.
    Every,
    /// The end of each year's chain: a question over the API is answered within seconds.
    Latest,
}

/// Every check with its code, what it looks at, and the first fact that breaks it, if any. The transaction is one that
/// only checks: what else it reads is planned as these are.
pub fn check(
    conn: &mut PgConnection,
    company: CompanyId,
    seals: Seals,
) -> Result<Vec<(&'static str, &'static str, Option<String>)>> {
    prepare(conn)?;
    CHECKS
        .iter()
        .map(|&(code, description, statement)| {
            let statement = match (code, seals) {
                ("SEALS", Seals::Latest) => LATEST_SEALS,
                ("AUDIT_TRAIL", Seals::Latest) => LATEST_AUDIT,
                _ => statement,
            };
            Ok((code, description, first_broken(conn, company, statement)?))
        })
        .collect()
}
