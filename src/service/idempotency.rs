//! A key makes a write happen once: a replay gets the first outcome, another request is refused.

use diesel::pg::PgConnection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::access::Caller;
use crate::domain::refusal::{Refusal, RefusalCode};
use crate::error::{Error, Result};
use crate::store;

/// Runs `work` unless the key was used before; then answers what it made the first time.
pub fn once<T: Serialize + DeserializeOwned>(
    conn: &mut PgConnection,
    caller: &Caller,
    key: &str,
    operation: &str,
    request_hash: &str,
    work: impl FnOnce(&mut PgConnection, &Caller) -> Result<T>,
) -> Result<T> {
    if key.trim().is_empty() || key.chars().count() > 200 {
        return Err(Refusal::invalid("idempotencyKey", "a key has 1 to 200 characters").into());
    }
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
            let kept = serde_json::to_value(&outcome)
                .map_err(|error| Error::Internal(error.to_string()))?;
            store::idempotency::keep(conn, caller.company, key, &kept)?;
            Ok(outcome)
        }
    }
}
