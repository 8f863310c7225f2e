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

/// What an operation has to say: an answer, or why there is none.
pub type Said = Result<Presented, Rejection>;

/// Checks and runs an operation of any kind. A query or mutation says one thing.
pub fn answers(
    endpoint: web::Data<GraphqlEndpoint>,
    caller: Caller,
    asked: Result<Asked, Rejection>,
    reply: Rc<Reply>,
) -> LocalBoxStream<'static, Said> {
    let checked = match asked.and_then(|asked| endpoint.checked(asked)) {
        Ok(checked) => checked,
        Err(rejection) => return stream::iter([Err(rejection)]).boxed_local(),
    };
    if checked.kind() == OperationType::Subscription {
        let running = endpoint.started(caller, checked, &reply);
        return followed(endpoint, running, reply).boxed_local();
    }
    stream::once(async move {
        let done = endpoint.executed(caller, checked, &reply).await?;
        Ok(done.presented)
    })
    .boxed_local()
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
