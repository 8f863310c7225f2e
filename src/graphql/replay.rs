//! Replays answer byte for byte the same: the first answer to an idempotency key is kept, per
//! selection of fields, and given again whatever became of the records since. It is kept for those who may see what it
//! says: somebody with other rights or another portfolio gets an answer of their own.

use std::sync::Mutex;

use async_graphql::{Request, Response, Value, Variables};
use sha2::{Digest, Sha256};

use super::mutation::hash_of;
use crate::domain::access::Caller;
use crate::domain::hex::hex;
use crate::store::{self, Session};

/// What a request asks, and the keys that its mutations succeeded under.
pub struct Asked {
    operation: Option<String>,
    document: String,
    variables: Variables,
    keys: Mutex<Vec<(String, String)>>,
}

impl Asked {
    /// Of a request.
    pub fn of(request: &Request) -> Asked {
        Asked {
            operation: request.operation_name.clone(),
            document: request.query.clone(),
            variables: request.variables.clone(),
            keys: Mutex::default(),
        }
    }

    /// Digest of what the caller asks to see and may see. Variables may say which fields are asked for, or how many rows
    /// below them; in which order they were sent says nothing.
    fn digest(&self, caller: &Caller) -> String {
        let (operation, document) = (&self.operation, &self.document);
        let may = (caller.permissions(), caller.portfolio());
        let variables = self.variables.iter();
        let variables = hash_of(variables.map(|(name, value)| (name.as_str(), value)));
        hex(&Sha256::digest(format!(
            "{operation:?}{may:?}{variables}{document}"
        )))
    }

    /// Remembers that the root field with this response name succeeded under a key.
    pub fn succeeded(&self, response_name: &str, key: &str) {
        if let Ok(mut keys) = self.keys.lock() {
            keys.push((response_name.to_owned(), key.to_owned()));
        }
    }
}

/// Puts first answers in place of later ones.
pub async fn settle(asked: &Asked, session: &Session, response: &mut Response) {
    let keys = asked
        .keys
        .lock()
        .map(|mut keys| std::mem::take(&mut *keys))
        .unwrap_or_default();
    let Value::Object(fields) = &mut response.data else {
        return;
    };
    if keys.is_empty() || !response.errors.is_empty() {
        return;
    }
    let selection = asked.digest(session.caller());
    for (name, key) in keys {
        let Some(answer) = fields.get_mut(name.as_str()) else {
            continue;
        };
        match first_answer(session, key, format!("{selection}/{name}"), answer).await {
            Ok(first) => *answer = first,
            // The write is done and answered rightly: only its replay may differ.
            Err(error) => {
                tracing::warn!(%error, "the first answer to an idempotency key was not kept")
            }
        }
    }
}

async fn first_answer(
    session: &Session,
    key: String,
    selection: String,
    answer: &Value,
) -> crate::error::Result<Value> {
    let text = serde_json::to_string(answer)
        .map_err(|error| crate::error::Error::Internal(error.to_string()))?;
    let kept = session
        .write(move |conn, caller| {
            Ok(store::idempotency::keep_answer(
                conn,
                caller.company,
                &key,
                &selection,
                &text,
            )?)
        })
        .await?;
    serde_json::from_str(&kept).map_err(|error| crate::error::Error::Internal(error.to_string()))
}
