//! Server-sent events: one operation per connection, for clients behind proxies that know no WebSockets.
//!
//! The "distinct connections mode" of GraphQL over SSE: a `POST` that accepts `text/event-stream` is answered
//! with events `next` and, when there is nothing more to say, `complete`.

use std::rc::Rc;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

use super::Closing;
use super::operation::{Answers, Said, answers, message};
use crate::http::auth::Admitted;
use crate::http::graphql::answer::{Reply, wants_events};
use crate::http::graphql::{GraphqlEndpoint, admitted, read};
use crate::http::guard::Rejection;

/// How often something is sent when there is nothing to say: proxies cut what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether the request wants its answers as events.
pub fn are_wanted(request: &HttpRequest) -> bool {
    request.method() == Method::POST && wants_events(request)
}

/// Answers with events. What is wrong with the operation is said in an event; what is wrong with the request, by status.
pub async fn answered(
    request: &HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
    reply: Reply,
) -> Result<HttpResponse, Rejection> {
    let admitted = admitted(request, &endpoint).await?;
    let asked = read::from_body(request, body).await?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "Accept, Authorization"))
        // A compressor, ours or a proxy's, would keep events until it has a block of them.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .insert_header(("x-request-id", reply.request_id()));
    let events = Events {
        closing: endpoint.closing.clone(),
        expires: Instant::now() + admitted.remaining(),
        answers: answers(endpoint.clone(), admitted.now(), Ok(asked), Rc::new(reply)),
        endpoint,
        admitted,
        state: State::Open,
    };
    Ok(response.streaming(events.sent()))
}

struct Events {
    answers: Answers,
    closing: Closing,
    expires: Instant,
    endpoint: web::Data<GraphqlEndpoint>,
    admitted: Admitted,
    state: State,
}

enum State {
    Open,
    /// The last answer is out.
    Said,
    Complete,
}

impl Events {
    fn sent(self) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
        stream::unfold(self, |mut events| async {
            let text = events.next().await?;
            Some((Ok(Bytes::from(text)), events))
        })
    }

    async fn next(&mut self) -> Option<String> {
        match self.state {
            State::Open => {}
            State::Said => {
                self.state = State::Complete;
                return Some("event: complete\ndata:\n\n".to_owned());
            }
            State::Complete => return None,
        }
        tokio::select! {
            biased;
            // Without `complete`: the client comes back, to another server or later.
            () = self.closing.told(), if !self.answers.once => None,
            said = self.answers.said.next() => match said {
                Some(said) => Some(next(&said)),
                None => {
                    self.state = State::Complete;
                    Some("event: complete\ndata:\n\n".to_owned())
                }
            },
            () = tokio::time::sleep_until(self.expires) => {
                self.state = State::Said;
                Some(next(&Err(Rejection::new("UNAUTHENTICATED", 401, "the token has expired"))))
            }
            () = tokio::time::sleep(KEEP_ALIVE) => {
                let (keys, db) = (&self.endpoint.authenticator, &self.endpoint.store);
                if keys.is_ended(&self.admitted, db).await {
                    self.state = State::Said;
                    return Some(next(&Err(Rejection::new("UNAUTHENTICATED", 401, "the log-in was ended"))));
                }
                Some(":\n\n".to_owned())
            }
        }
    }
}

fn next(said: &Said) -> String {
    // JSON has no line breaks of its own: one line of data.
    format!("event: next\ndata: {}\n\n", message(said))
}
