//! How long a body may take to arrive, on every route: who dribbles holds a connection, not a worker, and not for long.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

/// Longest silence, and the time that every body has.
const SILENCE: Duration = Duration::from_secs(10);
/// Bytes that must arrive in each second after that, on average.
const PACE: u64 = 8 * 1024;

/// Cuts a body off that comes too slowly.
pub async fn patient(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // A WebSocket begins as a GET, and its messages are no body.
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.call(request).await;
    }
    let is_late = Rc::new(Cell::new(false));
    let body = request.take_payload();
    request.set_payload(hurried(body, Rc::clone(&is_late)));
    let mut response = next.call(request).await?;
    if is_late.get() {
        // The rest of the body is not waited for either.
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

fn hurried(body: Payload, is_late: Rc<Cell<bool>>) -> Payload {
    let began = Instant::now();
    let chunks = stream::unfold((Some(body), 0_u64), move |(body, received)| {
        let is_late = Rc::clone(&is_late);
        async move {
            let mut body = body?;
            let most = began + SILENCE + Duration::from_secs(received / PACE);
            let until = most.min(Instant::now() + SILENCE);
            match tokio::time::timeout_at(until, body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    let received = received + chunk.len() as u64;
                    Some((Ok(chunk), (Some(body), received)))
                }
                Ok(Some(Err(error))) => Some((Err(error), (None, received))),
                Ok(None) => None,
                Err(_) => {
                    is_late.set(true);
                    let late =
                        io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time");
                    Some((Err(PayloadError::Io(late)), (None, received)))
                }
            }
        }
    });
    Payload::Stream {
        payload: chunks.boxed_local(),
    }
}
