//! A key makes a write happen once: a replay gets the first outcome, another request is refused.

use diesel::pg::PgConnection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::access::Caller;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::service::approval::Made;
use crate::store;
use crate::store::gather::{Ready, Record};
use crate::store::idempotency::Claim;
use crate::store::numbering::Drawers;

/// Runs `work` unless the key was used before; then answers what it made the first time.
pub fn once<T: Serialize + DeserializeOwned>(
    conn: &mut PgConnection,
    caller: &Caller,
    key: &str,
    operation: &str,
    request_hash: &str,
    work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
) -> Result<T> {
    check(key)?;
    match store::idempotency::claim(conn, caller.company, key, operation, request_hash)? {
        Some(first) if first.operation == operation && first.request_hash == request_hash => {
            serde_json::from_value(first.outcome)
                .map_err(|error| Error::Internal(format!("stored outcome: {error}")))
        }
        Some(first) => Err(Refusal::new(
            RefusalCode::IdempotencyKeyReused,
            "idempotencyKey",
            format!(
                "this key was used for another {}: take a new key for a new request",
                first.operation
            ),
        )
        .into()),
        None => {
            let outcome = work(conn, caller)?;
            store::idempotency::keep(conn, caller.company, key, &kept(&outcome)?)?;
            Ok(outcome)
        }
    }
}

fn check(key: &str) -> Result<()> {
    if key.trim().is_empty() || key.chars().count() > 200 {
        return Err(Refusal::invalid("idempotencyKey", "a key has 1 to 200 characters").into());
    }
    Ok(())
}

fn kept<T: Serialize>(outcome: &T) -> Result<serde_json::Value> {
    serde_json::to_value(outcome).map_err(|error| Error::Internal(error.to_string()))
}

/// Makes a record ready to be written together with others, under its key, mutation and digest if it has any. None for
/// a key that was used before: [`once`] answers for it.
pub fn ready<T: Serialize>(
    conn: &mut PgConnection,
    caller: &Caller,
    used: Option<(String, String, String)>,
    ahead: impl FnOnce(&mut PgConnection, &Caller) -> Result<Option<(T, Drawers, Record)>>,
) -> Result<Option<(T, Ready)>> {
    if let Some((key, ..)) = &used {
        check(key)?;
        if store::idempotency::is_used(conn, caller.company, key)? {
            return Ok(None);
        }
    }
    let Some((made, series, record)) = ahead(conn, caller)? else {
        return Ok(None);
    };
    let claim = match used {
        Some((key, operation, request_hash)) => Some(Claim {
            key,
            operation,
            request_hash,
            outcome: kept(&Made::Done(&made))?,
        }),
        None => None,
    };
    let ready = Ready {
        series,
        record,
        claim,
    };
    Ok(Some((made, ready)))
}
