//! How every mutation runs: one transaction, its idempotency key, its refusals as data.

use std::sync::Arc;

use async_graphql::{Context, Name, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::UserError;
use super::replay::Asked;
use super::{approval, session};
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::domain::refusal::Refusal;
use crate::error::{Error, Result};
use crate::service::approval::{self as approvals, Made};
use crate::service::idempotency;
use crate::store::Conn;
use crate::store::gather::Record;
use crate::store::numbering::Drawers;

/// How the caller wants the write done.
#[derive(Clone, Debug, Default)]
pub struct How {
    pub idempotency_key: Option<String>,
    pub validate_only: bool,
    /// Why, for whoever approves it when a second person is needed.
    pub reason: Option<String>,
    /// The row of a bulk form; none when the call is about one record.
    pub row: Option<Row>,
}

/// A row of a bulk form stands for a call of the single form: the same key repeats it in either.
#[derive(Clone, Debug)]
pub struct Row {
    operation: &'static str,
    hash: String,
    input: Value,
}

/// Runs the single form on each row, one transaction each: one row's refusal does not touch the others.
/// A row without a key is refused, since a broken off call could not be repeated without it.
pub async fn in_bulk<I, P, F>(
    ctx: &Context<'_>,
    operation: &'static str,
    inputs: Vec<I>,
    mut one: impl FnMut(I, Row) -> F,
    key: fn(&I) -> Option<&str>,
    refused: fn(Vec<UserError>) -> P,
) -> Result<Vec<P>>
where
    F: Future<Output = Result<P>>,
{
    // As they were sent: what the single form is told apart by.
    let sent: Vec<Value> = match arguments(ctx)?
        .into_iter()
        .find(|(name, _)| name == "inputs")
    {
        Some((_, Value::List(rows))) => rows,
        Some((_, row)) => vec![row],
        None => Vec::new(),
    };
    let mut payloads = Vec::with_capacity(inputs.len());
    for (input, sent) in inputs.into_iter().zip(&sent) {
        if key(&input).is_none() {
            payloads.push(refused(vec![UserError::from(Refusal::invalid(
                "idempotencyKey",
                "each row of a bulk call needs its own key: sent again, rows that are done are not done twice",
            ))]));
            continue;
        }
        let row = Row {
            operation,
            hash: hash_of([("input", sent)]),
            input: sent.clone(),
        };
        payloads.push(one(input, row).await?);
    }
    Ok(payloads)
}

/// What a mutation made, or why it was refused.
pub struct Done<T> {
    pub made: Option<T>,
    pub user_errors: Vec<UserError>,
}

/// What makes a record ready to be written together with others, see [`crate::store::Session::gathered`]; with what it will have made.
pub type Ahead<T> =
    Box<dyn FnOnce(&mut Conn, &Caller) -> Result<Option<(T, Drawers, Record)>> + Send>;

/// Runs a mutation. `work` may run twice after a deadlock; what it answers is kept under the key.
pub async fn mutate<T, F>(ctx: &Context<'_>, how: How, work: F) -> Result<Done<T>>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut Conn, &Caller) -> Result<T> + Send + 'static,
{
    mutate_or_gather(ctx, how, None, work).await
}

/// The same for a record which is written together with others that are under way, where that can be: then `work` is
/// not run.
pub async fn mutate_or_gather<T, F>(
    ctx: &Context<'_>,
    how: How,
    ahead: Option<Ahead<T>>,
    mut work: F,
) -> Result<Done<T>>
where
    T: Serialize + DeserializeOwned + Send + 'static,
    F: FnMut(&mut Conn, &Caller) -> Result<T> + Send + 'static,
{
    let response_name = ctx.field().alias().unwrap_or(ctx.field().name()).to_owned();
    let single = how.row.is_none();
    let (operation, hash, input) = match how.row {
        Some(row) => (row.operation.to_owned(), row.hash, Some(row.input)),
        None => (ctx.field().name().to_owned(), request_hash(ctx)?, None),
    };
    // A key that was used for what another portfolio holds is not a way to see it.
    let hash = match session(ctx)?.caller().portfolio() {
        Some(user) => format!("{hash}/{user:?}"),
        None => hash,
    };
    let key = how.idempotency_key.clone();
    let is_service = session(ctx)?.caller().is_service();
    if single && is_service && key.is_none() && super::access::takes_key(&operation) {
        return Ok(Done {
            made: None,
            user_errors: vec![UserError::from(Refusal::invalid(
                "idempotencyKey",
                "a service account gives a key for what it creates, so that a call that broke off can be repeated (R12.5)",
            ))],
        });
    }
    // What may have to wait for a second person; checked only, nothing waits.
    let asked = if approval::may_wait(&operation) && !how.validate_only {
        let input = match input {
            Some(input) => Some(input),
            None => arguments(ctx)?
                .into_iter()
                .find_map(|(name, value)| (name == "input").then_some(value)),
        };
        Some(approvals::Asked {
            operation: operation.clone(),
            input: input
                .unwrap_or_default()
                .into_json()
                .map_err(|error| Error::Internal(error.to_string()))?,
            hash: hash.clone(),
            reason: how.reason.clone(),
            keyed: key.is_some(),
        })
    } else {
        None
    };
    let doing = session(ctx)?.doing(ctx.field().name());
    // Rows of a bulk call follow each other on one connection.
    let ahead = ahead.filter(|_| single && !how.validate_only);
    let turn = ahead.is_some().then(|| doing.turn());
    let gathered = match ahead {
        Some(ahead) if turn.as_ref().is_some_and(|turn| !turn.is_first) => {
            let use_of = key
                .clone()
                .map(|key| (key, operation.clone(), hash.clone()));
            doing
                .gathered(move |conn, caller| idempotency::ready(conn, caller, use_of, ahead))
                .await?
        }
        _ => None,
    };
    let result = match gathered {
        Some(made) => Ok(Ok(made)),
        None => {
            doing
                .write(move |conn, caller| {
                    let mut done = |conn: &mut Conn, caller: &Caller| match &asked {
                        Some(asked) => approvals::or_ask(conn, caller, asked, &mut work),
                        None => work(conn, caller).map(Made::Done),
                    };
                    let made = match &key {
                        Some(key) => idempotency::once(conn, caller, key, &operation, &hash, done)?,
                        None => done(conn, caller)?,
                    };
                    match made {
                        Made::Done(_) if how.validate_only => Err(Error::Validated),
                        Made::Done(made) => Ok(Ok(made)),
                        Made::Waiting { approval_request } => {
                            approvals::answer(conn, caller, approval_request)
                        }
                    }
                })
                .await
        }
    };
    drop(turn);
    match result {
        // Something was written, the request that waits: no error, so that it stays.
        Ok(Err(waits)) => Ok(Done {
            made: None,
            user_errors: vec![UserError::from(waits)],
        }),
        Ok(Ok(made)) => {
            // A bulk answer is made anew when it is repeated: its rows need not be the same ones.
            if let (Some(key), Some(asked), true) =
                (&how.idempotency_key, ctx.data_opt::<Arc<Asked>>(), single)
            {
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
    let arguments = arguments(ctx)?;
    Ok(hash_of(
        arguments.iter().map(|(name, value)| (name.as_str(), value)),
    ))
}

fn arguments(ctx: &Context<'_>) -> Result<Vec<(Name, Value)>> {
    ctx.field().arguments().map_err(|error| Error::BadInput {
        field: "input",
        message: error.message,
    })
}

/// A digest of named values, whatever the order of their fields.
pub fn hash_of<'a>(arguments: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let mut text = String::new();
    for (name, value) in arguments {
        text.push_str(name);
        canonical(value, &mut text);
    }
    hex(&Sha256::digest(text))
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
