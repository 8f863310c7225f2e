//! A WebSocket: one connection, many operations, by the protocol `graphql-transport-ws`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, ProtocolError};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, Sleep};

use super::operation::{Answers, answers, message, request_errors};
use super::protocol::{self, Close, Incoming};
use crate::http::auth::Admitted;
use crate::http::graphql::answer::Reply;
use crate::http::graphql::{GraphqlEndpoint, read, token};
use crate::http::guard::Rejection;

/// Longest wait for `connection_init`.
const INIT_TIME: Duration = Duration::from_secs(10);
/// How often the client is asked whether it is still there.
const BEAT: Duration = Duration::from_secs(5);
/// How long a client may say nothing, not even a pong.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a client may leave its messages unread.
const UNREAD: Duration = Duration::from_secs(30);
/// How long queries and mutations under way may take when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(8);
/// Operations of one socket at once.
const OPERATIONS: usize = 20;

/// Whether the request wants to become a WebSocket.
pub fn is_wanted(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    request.method() == Method::GET
        && upgrade
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.to_ascii_lowercase().contains("websocket"))
}

/// Opens a WebSocket. Who comes is asked on it: a browser cannot send a token before.
pub fn open(
    request: &HttpRequest,
    body: web::Payload,
    endpoint: web::Data<GraphqlEndpoint>,
) -> HttpResponse {
    let opened = actix_ws::handle_with_protocols(request, body, &[protocol::NAME]);
    let (response, session, messages) = match opened {
        Ok(opened) => opened,
        Err(error) => return error.error_response(),
    };
    let speaks = response
        .headers()
        .contains_key(header::SEC_WEBSOCKET_PROTOCOL);
    let (finished, ends) = mpsc::channel(OPERATIONS);
    let socket = Socket {
        reply: Rc::new(Reply::to(request, &endpoint.authenticator)),
        endpoint,
        header: token(request).map(str::to_owned),
        session,
        admitted: None,
        operations: HashMap::new(),
        started: 0,
        finished,
    };
    let messages = messages
        .max_frame_size(read::BODY_BYTES)
        .aggregate_continuations()
        .max_continuation_size(read::BODY_BYTES);
    rt::spawn(socket.run(messages, ends, speaks));
    response
}

/// The end of an operation.
enum End {
    /// It has nothing more to say: its id, and which of those with that id it was.
    Over(String, u64),
    /// Nobody reads what it says.
    Unread,
}

struct Operation {
    number: u64,
    task: JoinHandle<()>,
    /// Whether it ends by itself.
    once: bool,
}

struct Socket {
    endpoint: web::Data<GraphqlEndpoint>,
    reply: Rc<Reply>,
    header: Option<String>,
    session: actix_ws::Session,
    /// Once acknowledged.
    admitted: Option<Admitted>,
    operations: HashMap<String, Operation>,
    started: u64,
    finished: mpsc::Sender<End>,
}

/// The client is gone, or does not read.
struct Gone;

impl Socket {
    async fn run(
        mut self,
        messages: AggregatedMessageStream,
        ends: mpsc::Receiver<End>,
        speaks: bool,
    ) {
        let close = match speaks {
            true => self.serve(messages, ends).await,
            false => Some(Close::Subprotocol),
        };
        for operation in self.operations.into_values() {
            operation.task.abort();
        }
        if let Some(close) = close {
            let _ = tokio::time::timeout(UNREAD, self.session.close(Some(close.into()))).await;
        }
    }

    /// Serves until the connection is to be closed; none when the client is gone.
    async fn serve(
        &mut self,
        mut messages: AggregatedMessageStream,
        mut ends: mpsc::Receiver<End>,
    ) -> Option<Close> {
        let closing = self.endpoint.closing.clone();
        let mut told = Box::pin(closing.told());
        // The end of the time for connection_init, later of the token.
        let mut deadline = Box::pin(tokio::time::sleep(INIT_TIME));
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let answered = tokio::select! {
                // An operation that is over is forgotten before its id is looked at again.
                biased;
                () = &mut told => return self.drained(&mut ends).await,
                Some(end) = ends.recv() => match end {
                    End::Over(id, number) => { self.forget(&id, number); Ok(()) }
                    // The client goes on with `after`, on another connection.
                    End::Unread => return None,
                },
                () = &mut deadline => return Some(match self.admitted {
                    Some(_) => Close::Forbidden,
                    None => Close::InitTimeout,
                }),
                _ = beat.tick() => {
                    if heard.elapsed() > SILENCE { return None }
                    if self.is_ended().await { return Some(Close::Forbidden) }
                    sent(self.session.ping(b"")).await.map_err(|Gone| None)
                }
                message = messages.next() => {
                    heard = Instant::now();
                    self.take(message, &mut deadline).await
                }
            };
            if let Err(close) = answered {
                return close;
            }
        }
    }

    /// Lets queries and mutations give their answers; subscriptions, which would go on, end.
    async fn drained(&mut self, ends: &mut mpsc::Receiver<End>) -> Option<Close> {
        self.operations.retain(|_, operation| {
            if !operation.once {
                operation.task.abort();
            }
            operation.once
        });
        let mut last = Box::pin(tokio::time::sleep(LAST_ANSWERS));
        while !self.operations.is_empty() {
            tokio::select! {
                () = &mut last => break,
                Some(end) = ends.recv() => match end {
                    End::Over(id, _) => if let Some(operation) = self.operations.remove(&id) {
                        // It still says that it is complete.
                        let _ = operation.task.await;
                    }
                    End::Unread => return None,
                },
            }
        }
        Some(Close::GoingAway)
    }

    /// Whether the log-in was ended, or the key revoked, since the connection was opened.
    async fn is_ended(&self) -> bool {
        let (keys, db) = (&self.endpoint.authenticator, &self.endpoint.store);
        match &self.admitted {
            Some(admitted) => keys.is_ended(admitted, db).await,
            None => false,
        }
    }

    fn forget(&mut self, id: &str, number: u64) {
        if self
            .operations
            .get(id)
            .is_some_and(|operation| operation.number == number)
        {
            self.operations.remove(id);
        }
    }

    /// Takes what came; an error closes the connection, silently when the client is gone.
    async fn take(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
        deadline: &mut Pin<Box<Sleep>>,
    ) -> Result<(), Option<Close>> {
        match message {
            None => Err(None),
            Some(Ok(AggregatedMessage::Close(reason))) => {
                let _ = sent(self.session.clone().close(reason)).await;
                Err(None)
            }
            Some(Ok(AggregatedMessage::Ping(payload))) => {
                sent(self.session.pong(&payload)).await.map_err(|Gone| None)
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => Err(Some(Close::BadMessage)),
            Some(Ok(AggregatedMessage::Text(text))) => {
                let incoming = protocol::read(&text).ok_or(Some(Close::BadMessage))?;
                self.act(incoming, deadline).await
            }
            Some(Err(ProtocolError::Overflow)) => Err(Some(Close::TooLarge)),
            // Parts that are too large together.
            Some(Err(ProtocolError::Io(error))) if error.kind() == ErrorKind::Other => {
                Err(Some(Close::TooLarge))
            }
            Some(Err(_)) => Err(Some(Close::BadMessage)),
        }
    }

    async fn act(
        &mut self,
        incoming: Incoming,
        deadline: &mut Pin<Box<Sleep>>,
    ) -> Result<(), Option<Close>> {
        let text = match incoming {
            Incoming::Init(_) if self.admitted.is_some() => return Err(Some(Close::TooManyInits)),
            Incoming::Init(payload) => {
                let token = protocol::token(&payload).or(self.header.as_deref());
                let (keys, db) = (&self.endpoint.authenticator, &self.endpoint.store);
                let admitted = keys.admit(token, db).await;
                let admitted = admitted.map_err(|_| Some(Close::Forbidden))?;
                deadline.set(tokio::time::sleep(admitted.remaining()));
                self.admitted = Some(admitted);
                protocol::ack()
            }
            Incoming::Ping(payload) => protocol::pong(payload),
            Incoming::Pong => return Ok(()),
            Incoming::Subscribe(id, payload) => return self.start(id, payload).await,
            Incoming::Complete(id) => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.task.abort();
                }
                return Ok(());
            }
        };
        sent(self.session.text(text)).await.map_err(|Gone| None)
    }

    async fn start(
        &mut self,
        id: String,
        payload: Map<String, Value>,
    ) -> Result<(), Option<Close>> {
        let admitted = self.admitted.as_ref().ok_or(Some(Close::Unauthorized))?;
        if self.operations.contains_key(&id) {
            return Err(Some(Close::DuplicateId(id)));
        }
        if self.operations.len() >= OPERATIONS {
            let errors = request_errors(&Err(too_many())).unwrap_or_default();
            let text = protocol::error(&id, &errors);
            return sent(self.session.text(text)).await.map_err(|Gone| None);
        }
        self.started += 1;
        let operation = Told {
            id: id.clone(),
            number: self.started,
            session: self.session.clone(),
            finished: self.finished.clone(),
        };
        let Answers { said, once } = answers(
            self.endpoint.clone(),
            admitted.now(),
            read::asked(payload),
            Rc::clone(&self.reply),
        );
        let task = rt::spawn(operation.tell(said));
        let number = self.started;
        self.operations.insert(id, Operation { number, task, once });
        Ok(())
    }
}

/// An operation that tells its client what it answers.
struct Told {
    id: String,
    number: u64,
    session: actix_ws::Session,
    finished: mpsc::Sender<End>,
}

impl Told {
    async fn tell(
        mut self,
        mut answers: futures_util::stream::LocalBoxStream<'static, super::operation::Said>,
    ) {
        let mut last = protocol::complete(&self.id);
        while let Some(said) = answers.next().await {
            if let Some(errors) = request_errors(&said) {
                last = protocol::error(&self.id, &errors);
                break;
            }
            let text = protocol::next(&self.id, &message(&said));
            if sent(self.session.text(text)).await.is_err() {
                let _ = self.finished.send(End::Unread).await;
                return;
            }
        }
        // Before the client hears of it: it may use the id again at once.
        let _ = self.finished.send(End::Over(self.id, self.number)).await;
        let _ = sent(self.session.text(last)).await;
    }
}

async fn sent(sending: impl Future<Output = Result<(), actix_ws::Closed>>) -> Result<(), Gone> {
    match tokio::time::timeout(UNREAD, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

fn too_many() -> Rejection {
    let mut rejection = Rejection::new(
        "OPERATION_TOO_COMPLEX",
        400,
        format!(
            "a socket runs at most {OPERATIONS} operations at once: complete one, or open another socket"
        ),
    );
    let details = [
        ("measure", Value::from("operations")),
        ("limit", OPERATIONS.into()),
    ];
    rejection
        .details
        .extend(details.map(|(name, value)| (name.to_owned(), value)));
    rejection
}
