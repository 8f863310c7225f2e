//! Replays answer byte for byte the same: the first answer to an idempotency key is kept, per
//! selection of fields, and given again whatever became of the records since.

use std::sync::Mutex;

use async_graphql::{Response, Value};
use sha2::{Digest, Sha256};

use crate::store::{self, Session};

/// The document of the request, and the keys that its mutations succeeded under.
pub struct Asked {
    document: String,
    keys: Mutex<Vec<(String, String)>>,
}

impl Asked {
    /// Of a document and the operation chosen in it.
    pub fn new(document: &str, operation: Option<&str>) -> Asked {
        Asked {
            document: format!("{}\n{document}", operation.unwrap_or_default()),
            keys: Mutex::default(),
        }
    }

    fn digest(&self) -> String {
        crate::domain::hex::hex(&Sha256::digest(&self.document))
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
    let document = asked.digest();
    for (name, key) in keys {
        let Some(answer) = fields.get_mut(name.as_str()) else {
            continue;
        };
        match first_answer(session, key, format!("{document}/{name}"), answer).await {
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
