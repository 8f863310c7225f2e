//! One operation of a connection that stays open: its answers, one after the other.

use std::rc::Rc;

use actix_web::web;
use async_graphql::parser::types::OperationType;
use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};

use crate::domain::access::Caller;
use crate::http::graphql::answer::{Presented, Reply, refusal};
use crate::http::graphql::read::Asked;
use crate::http::graphql::{GraphqlEndpoint, Running};
use crate::http::guard::Rejection;
use crate::store::patience;

/// What an operation has to say: an answer, or why there is none.
pub type Said = Result<Presented, Rejection>;

/// What an operation has to say, in turn.
pub struct Answers {
    /// The answers.
    pub said: LocalBoxStream<'static, Said>,
    /// Whether it ends by itself, at once: not a subscription.
    pub once: bool,
}

/// Checks and runs an operation of any kind. A query or mutation says one thing.
pub fn answers(
    endpoint: web::Data<GraphqlEndpoint>,
    caller: Caller,
    asked: Result<Asked, Rejection>,
    reply: Rc<Reply>,
) -> Answers {
    let checked = match asked.and_then(|asked| endpoint.checked(asked)) {
        Ok(checked) => checked,
        Err(rejection) => {
            return Answers {
                said: stream::iter([Err(rejection)]).boxed_local(),
                once: true,
            };
        }
    };
    if checked.kind() == OperationType::Subscription {
        let running = endpoint.started(caller, checked, &reply);
        return Answers {
            said: followed(endpoint, running, reply).boxed_local(),
            once: false,
        };
    }
    let said = stream::once(async move {
        let executed = patience::shared(endpoint.executed(caller, checked, &reply));
        Ok(executed.await?.presented)
    });
    Answers {
        said: said.boxed_local(),
        once: true,
    }
}

fn followed(
    endpoint: web::Data<GraphqlEndpoint>,
    running: Running,
    reply: Rc<Reply>,
) -> impl futures_util::Stream<Item = Said> {
    stream::unfold(Some(running), move |running| {
        let (endpoint, reply) = (endpoint.clone(), Rc::clone(&reply));
        async move {
            let mut running = running?;
            let said = running.next(&endpoint, &reply).await?;
            let goes_on = said.is_ok();
            Some((said, goes_on.then_some(running)))
        }
    })
}

/// The errors of something that was not executed; none when it was.
pub fn request_errors(said: &Said) -> Option<serde_json::Value> {
    match said {
        Ok(presented) if presented.executed => None,
        Ok(presented) => serde_json::to_value(&presented.errors).ok(),
        Err(rejection) => Some(serde_json::json!([refusal(rejection)])),
    }
}

/// The whole of it as one message.
pub fn message(said: &Said) -> serde_json::Value {
    match said {
        Ok(presented) => presented.message(),
        Err(rejection) => serde_json::json!({ "errors": [refusal(rejection)] }),
    }
}
