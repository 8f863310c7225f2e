//! What the operator watches.

use diesel::pg::PgConnection;

use crate::error::Result;
use crate::store;

/// What waits over all companies, by name.
pub fn gauges(conn: &mut PgConnection) -> Result<Vec<(String, i64)>> {
    Ok(store::company::gauges(conn)?)
}
