//! Brings the database up to date, beside a former binary that serves.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::db::{TAKE, holds};
use super::{audit, balances, change, distribution, owner};
use crate::error::{Error, Result};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
/// Any constant: every instance that starts takes the same lock before it migrates.
const MIGRATION_LOCK: i64 = 0x0065_6e63_6f75_7273;
/// Pause between two questions whether another instance has done migrating.
const MIGRATION_TURN: Duration = Duration::from_millis(200);
/// Longest wait of a migration for a table.
const MIGRATION_LOCK_WAIT: Duration = Duration::from_secs(3);
/// Pause before it is tried again.
const MIGRATION_PAUSE: Duration = Duration::from_secs(2);
/// Tries of a migration that does not get its table.
const MIGRATION_TRIES: u32 = 20;

/// Brings the database at `url` up to date, as its owner. Instances that start together wait in line.
///
/// Answers the names of the migrations that were run.
pub fn migrate(url: &str) -> Result<Vec<String>> {
    let mut conn = owner(url)?;
    // Asked for again and again: who waits for it inside a statement holds a snapshot, for which an index that is built
    // beside the work would wait in turn. The lock goes with the connection.
    while !holds(&mut conn, TAKE, MIGRATION_LOCK)? {
        std::thread::sleep(MIGRATION_TURN);
    }
    let versions = run_pending(&mut conn)?;
    // Tables that a migration has added, whoever wrote it.
    audit::include_all(&mut conn)?;
    distribution::spread(&mut conn, !versions.is_empty())?;
    if audit::rebase(&mut conn)? {
        tracing::warn!("the audit trail came from another server: it was sealed as it came");
    }
    if change::rebase(&mut conn)? {
        tracing::warn!("changes came from another server: they are told again");
    }
    balances::rebase(&mut conn)?;
    Ok(versions)
}

/// Runs what is pending. A statement that waits for a table makes everybody else wait behind it, so it gives up soon
/// and is tried again: the former binary serves meanwhile.
fn run_pending(conn: &mut PgConnection) -> Result<Vec<String>> {
    conn.batch_execute(&format!(
        "SET lock_timeout = '{}'; SET statement_timeout = 0",
        MIGRATION_LOCK_WAIT.as_millis()
    ))?;
    let (mut done, mut tries) = (Vec::new(), 1);
    loop {
        let waiting = conn
            .pending_migrations(MIGRATIONS)
            .map_err(|error| Error::Internal(format!("migrations: {error}")))?;
        let Some(next) = waiting.first() else {
            return Ok(done);
        };
        match conn.run_migration(next.as_ref()) {
            Ok(version) => {
                done.push(version.to_string());
                tries = 1;
            }
            Err(error) if is_lock_timeout(error.as_ref()) && tries < MIGRATION_TRIES => {
                tracing::warn!("a migration waits for a table that is in use: tried again");
                tries += 1;
                std::thread::sleep(MIGRATION_PAUSE);
            }
            Err(error) => return Err(Error::Internal(format!("migration failed: {error}"))),
        }
    }
}

/// Whether a lock was not given in time: Postgres says so in its own language unless it is told otherwise, the code
/// 55P03 is not passed on.
fn is_lock_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("lock timeout")
}

/// Whether every migration has been run on the database that `conn` reaches.
pub fn is_migrated(conn: &mut PgConnection) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let count = |conn: &mut PgConnection, sql: &str| -> Result<i64> {
        Ok(diesel::sql_query(sql).get_result::<Found>(conn)?.count)
    };
    let journal = "SELECT count(to_regclass('__diesel_schema_migrations')) AS count";
    if count(conn, journal)? == 0 {
        return Ok(false);
    }
    let applied = count(
        conn,
        "SELECT count(*) AS count FROM __diesel_schema_migrations",
    )?;
    let known = diesel::migration::MigrationSource::<diesel::pg::Pg>::migrations(&MIGRATIONS)
        .map_err(|error| Error::Internal(format!("embedded migrations: {error}")))?;
    // More than this binary knows: a newer one has migrated, and this one keeps working.
    Ok(applied >= i64::try_from(known.len()).unwrap_or(i64::MAX))
}
