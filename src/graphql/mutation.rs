//! How every mutation runs: one transaction, its idempotency key, its refusals as data.

use async_graphql::{Context, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::UserError;
use super::replay::Asked;
use super::session;
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::error::{Error, Result};
use crate::service::idempotency;
use crate::store::Conn;

/// How the caller wants the write done.
#[derive(Clone, Debug, Default)]
pub struct How {
    pub idempotency_key: Option<String>,
    pub validate_only: bool,
}

/// What a mutation made, or why it was refused.
pub struct Done<T> {
    pub made: Option<T>,
    pub user_errors: Vec<UserError>,
}

/// Runs a mutation. `work` may run twice after a deadlock; what it answers is kept under the key.
pub async fn mutate<T, F>(ctx: &Context<'_>, how: How, mut work: F) -> Result<Done<T>>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut Conn, &Caller) -> Result<T> + Send + 'static,
{
    let operation = ctx.field().name().to_owned();
    let response_name = ctx.field().alias().unwrap_or(ctx.field().name()).to_owned();
    let hash = request_hash(ctx)?;
    let key = how.idempotency_key.clone();
    let result = session(ctx)?
        .write(move |conn, caller| {
            let made = match &key {
                Some(key) => idempotency::once(conn, caller, key, &operation, &hash, &mut work)?,
                None => work(conn, caller)?,
            };
            if how.validate_only {
                Err(Error::Validated)
            } else {
                Ok(made)
            }
        })
        .await;
    match result {
        Ok(made) => {
            if let (Some(key), Some(asked)) = (&how.idempotency_key, ctx.data_opt::<Asked>()) {
                asked.succeeded(&response_name, key);
            }
            Ok(Done {
                made: Some(made),
                user_errors: Vec::new(),
            })
        }
        Err(Error::Validated) => Ok(Done {
            made: None,
            user_errors: Vec::new(),
        }),
        Err(Error::Refused(refusals)) => Ok(Done {
            made: None,
            user_errors: refusals.into_iter().map(UserError::from).collect(),
        }),
        Err(error) => Err(error),
    }
}

/// A digest of the arguments, whatever the order of their fields.
fn request_hash(ctx: &Context<'_>) -> Result<String> {
    let arguments = ctx.field().arguments().map_err(|error| Error::BadInput {
        field: "input",
        message: error.message,
    })?;
    let mut text = String::new();
    for (name, value) in arguments {
        text.push_str(&name);
        canonical(&value, &mut text);
    }
    Ok(hex(&Sha256::digest(text)))
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(_, value)| **value != Value::Null)
                .collect();
            fields.sort_by(|a, b| a.0.cmp(b.0));
            text.push('{');
            for (name, value) in fields {
                text.push_str(&format!("{name:?}:"));
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::List(values) => {
            text.push('[');
            for value in values {
                canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}
