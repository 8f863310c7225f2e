//! The records, and the two doors to them.
//!
//! [`Session::read`] is one read-only snapshot for a whole query document; [`Session::write`] is one
//! transaction. Both first set the company (and a sales person's portfolio) for row-level security,
//! and nothing else opens a transaction on behalf of a caller. Work that no request asks for goes through [`Db`].

pub mod account;
pub mod aging;
pub mod approval;
pub mod audit;
pub mod balances;
pub mod bank;
mod bulk;
pub mod change;
pub mod chart;
pub mod client;
pub mod collection;
pub mod company;
mod db;
pub mod dispute;
mod distribution;
pub mod document;
pub mod doubtful;
pub mod dunning;
pub mod dunning_run;
pub mod export;
pub mod fec;
pub mod file;
pub mod foreseen;
pub mod gather;
pub mod idempotency;
pub mod imports;
pub mod integrity;
pub mod item;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod list;
pub mod litigation;
pub mod mail;
pub mod matching;
pub mod member;
mod migrate;
pub mod nested;
pub mod numbering;
pub mod operation;
pub mod patience;
pub mod payment;
pub mod penalty;
pub mod personal;
pub mod provision;
pub mod provision_run;
pub mod remittance;
pub mod replica;
mod request;
mod revocation;
pub mod schema;
pub mod session;
mod sql_types;
pub mod task;
mod transaction;
mod watch;
pub mod webhook;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::pg::PgConnection;

pub use db::{Db, Limits, Settings};
pub use diesel::pg::PgConnection as Conn;
pub use migrate::{is_migrated, migrate};
pub use request::{Session, Shown};
pub use transaction::{Snapshot, has_our_time, snapshot, snapshot_instant};

use crate::domain::ids::CompanyId;
use crate::error::{Error, Result};

/// A connection as the owner of the tables: migrations, new companies, and checks across companies.
pub fn owner(url: &str) -> Result<PgConnection> {
    PgConnection::establish(url).map_err(|error| Error::Unavailable(error.to_string()))
}

/// Names the company on a connection of the owner, whose rows row-level security does not bound.
pub fn enter(conn: &mut PgConnection, company: CompanyId) -> Result<()> {
    conn.batch_execute(&format!(
        "SET encours.company = '{}'; SET encours.portfolio = ''",
        company.0
    ))?;
    Ok(())
}
