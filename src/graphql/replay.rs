//! Replays answer byte for byte the same: the first answer to an idempotency key is kept, per
//! selection of fields, and given again whatever became of the records since.

use std::sync::{Arc, Mutex};

use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo,
};
use async_graphql::{Response, ServerResult, Value};
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
        let document = Sha256::digest(format!("{}\n{document}", operation.unwrap_or_default()));
        Asked {
            document: crate::domain::hex::hex(&document),
            keys: Mutex::default(),
        }
    }

    /// Remembers that the root field with this response name succeeded under a key.
    pub fn succeeded(&self, response_name: &str, key: &str) {
        if let Ok(mut keys) = self.keys.lock() {
            keys.push((response_name.to_owned(), key.to_owned()));
        }
    }
}

/// Puts first answers in place of later ones.
pub struct Replays;

impl ExtensionFactory for Replays {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Replay)
    }
}

struct Replay;

#[async_graphql::async_trait::async_trait]
impl Extension for Replay {
    // Here, since each extension more costs every field of every answer.
    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        match info.path_node.parent {
            Some(_) => next.run(ctx, info).await,
            None => super::watch::resolved(ctx, info, next).await,
        }
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        let (Some(asked), Some(session)) = (ctx.data_opt::<Asked>(), ctx.data_opt::<Session>())
        else {
            return response;
        };
        let keys = asked
            .keys
            .lock()
            .map(|mut keys| std::mem::take(&mut *keys))
            .unwrap_or_default();
        if keys.is_empty() || !response.errors.is_empty() {
            return response;
        }
        if let Value::Object(fields) = &mut response.data {
            for (name, key) in keys {
                let Some(answer) = fields.get_mut(name.as_str()) else {
                    continue;
                };
                match first_answer(session, key, format!("{}/{name}", asked.document), answer).await
                {
                    Ok(first) => *answer = first,
                    // The write is done and answered rightly: only its replay may differ.
                    Err(error) => {
                        tracing::warn!(%error, "the first answer to an idempotency key was not kept")
                    }
                }
            }
        }
        response
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
