//! The integrity check: every invariant of the books, asked of the records themselves.

use diesel::pg::PgConnection;

use crate::domain::ids::CompanyId;
use crate::error::Result;
use crate::store::integrity::{CHECKS, first_broken};

/// Every check with its code, what it looks at, and the first fact that breaks it, if any.
pub fn check(
    conn: &mut PgConnection,
    company: CompanyId,
) -> Result<Vec<(&'static str, &'static str, Option<String>)>> {
    CHECKS
        .iter()
        .map(|&(code, description, statement)| {
            Ok((code, description, first_broken(conn, company, statement)?))
        })
        .collect()
}
