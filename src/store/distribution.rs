//! Companies over the machines of a Citus cluster: `docs/DISTRIBUTED.md`.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;

use super::list::{self, Sql};

const LAYOUT: &str = include_str!("distribution.sql");

const COORDINATES: &str =
    "SELECT EXISTS (SELECT FROM pg_dist_local_group WHERE groupid = 0) AS found";
/// Whether tables of companies are not spread yet, or functions not passed on: what a migration brought whose layout was
/// cut off.
const LEFT_OVER: &str = "SELECT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace \
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_object o WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid)) \
     OR EXISTS (SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id' \
     WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace \
       AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = c.oid)) AS found";

/// Whether the database of this process is one of a cluster. It does not change while it is open.
static SPREAD: AtomicBool = AtomicBool::new(false);

fn is_cluster(conn: &mut PgConnection) -> QueryResult<bool> {
    list::found(
        conn,
        Sql::new("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS found"),
    )
}

/// Spreads what is not yet, where the database is the coordinator of a cluster: for its owner. `is_new` says that
/// migrations were run.
pub fn spread(conn: &mut PgConnection, is_new: bool) -> QueryResult<()> {
    if !is_cluster(conn)? || !list::found(conn, Sql::new(COORDINATES))? {
        return Ok(());
    }
    if !is_new && !list::found(conn, Sql::new(LEFT_OVER))? {
        return Ok(());
    }
    // One by one: of several in one message, a coordinator passes all on where it should pass one.
    conn.transaction(|conn| {
        let statements = LAYOUT.split("\n\n");
        statements
            .into_iter()
            .try_for_each(|statement| conn.batch_execute(statement))
    })
}

/// Looks whether companies may lie on other machines than the one that this connection reaches.
pub(super) fn look(conn: &mut PgConnection) -> QueryResult<()> {
    SPREAD.store(is_cluster(conn)?, Ordering::Relaxed);
    Ok(())
}

/// Whether a transaction has to ask if its company lies here.
pub(super) fn is_spread() -> bool {
    SPREAD.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::LAYOUT;
    use crate::error::{ELSEWHERE, Error};

    #[test]
    fn whoever_asks_the_wrong_instance_is_told_so() {
        assert!(LAYOUT.contains(&format!("RAISE EXCEPTION '{ELSEWHERE}'")));
        assert!(Error::advice(ELSEWHERE).contains("another instance"));
        assert!(Error::advice("lock timeout").contains("busy"));
    }
}
