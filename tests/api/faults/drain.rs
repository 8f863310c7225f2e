//! SIGTERM: not ready first, then every request that was sent is answered, WebSockets included, then a good end.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::{Ground, seconds, within};

/// From the signal to the end.
const ENDED: Duration = Duration::from_secs(15);
const CREATE: &str = "mutation($name: String!) { createClient(input: { name: $name }) { client { name } userErrors { code } } }";

fn socket(ground: &Ground) -> WebSocket<TcpStream> {
    let url = ground.url().expect("a server");
    let address = url.strip_prefix("http://").expect("an address");
    let stream = TcpStream::connect(address).expect("a connection");
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).expect("a limit");
    let mut request = format!("ws://{address}/graphql")
        .into_client_request()
        .expect("a request");
    let protocol = "graphql-transport-ws".parse().expect("a header");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = tungstenite::client::client(request, stream).expect("a WebSocket");
    let payload = json!({ "authorization": format!("Bearer {}", ground.token) });
    say(
        &mut socket,
        &json!({ "type": "connection_init", "payload": payload }),
    );
    assert_eq!(heard(&mut socket), Ok(json!({ "type": "connection_ack" })));
    socket
}

fn say(socket: &mut WebSocket<TcpStream>, message: &Value) {
    socket
        .send(Message::text(message.to_string()))
        .expect("sent");
}

/// The next message, or the code that the server closes with.
fn heard(socket: &mut WebSocket<TcpStream>) -> Result<Value, u16> {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return Ok(serde_json::from_str(&text).expect("JSON")),
            Message::Close(frame) => return Err(frame.map_or(0, |frame| frame.code.into())),
            _ => {}
        }
    }
}

#[test]
fn every_request_that_was_sent_is_answered_before_the_end() {
    let Some(ground) = Ground::new(&[("ENCOURS_STOP_NOTICE", "2")]) else {
        return;
    };
    let mut socket = socket(&ground);
    let start = |id: &str, query: &str, name: &str| {
        json!({ "id": id, "type": "subscribe",
        "payload": { "query": query, "variables": { "name": name } } })
    };
    say(
        &mut socket,
        &json!({ "id": "live", "type": "subscribe", "payload": { "query": "subscription { changes { kind } }" } }),
    );
    assert_eq!(ground.status("/ready").0, 200);
    // What is under way waits for a lock that is let go after the signal.
    let mut locking = ground.owner();
    locking
        .batch_execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        .expect("locked");
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..12)
            .map(|n| {
                let ground = &ground;
                let body =
                    json!({ "query": CREATE, "variables": { "name": format!("Under way {n}") } });
                scope.spawn(move || ground.tried(&body).expect("an answer"))
            })
            .collect();
        say(&mut socket, &start("last", CREATE, "On a socket"));
        // All of them have reached the server.
        std::thread::sleep(Duration::from_millis(500));
        let server = ground.take();
        let url = server.url.clone();
        let signalled = Instant::now();
        server.terminate();
        // It says so first, and goes on answering whoever has not heard of it.
        let ready = loop {
            let answer = ureq::get(format!("{url}/ready"))
                .config()
                .http_status_as_error(false)
                .build()
                .call();
            let status = answer.expect("still answered").status().as_u16();
            if status != 200 || signalled.elapsed() > Duration::from_secs(5) {
                break status;
            }
        };
        assert_eq!(ready, 503);
        let late = crate::harness::tried(
            &url,
            &ground.token,
            &json!({ "query": "{ viewer { role } }" }),
        );
        assert_eq!(late.expect("an answer")["data"]["viewer"]["role"], "ADMIN");
        std::thread::sleep(Duration::from_millis(2200));
        locking.batch_execute("ROLLBACK").expect("unlocked");
        drop(locking);
        for asked in asked {
            let answer = asked.join().expect("asked");
            assert!(
                answer["data"]["createClient"]["client"]["name"].is_string(),
                "{answer}"
            );
        }
        // The mutation on the socket is answered whole; the subscription ends with the socket.
        let (mut answered, mut complete) = (false, false);
        let code = loop {
            match heard(&mut socket) {
                Ok(message) if message["id"] == "last" && message["type"] == "next" => {
                    let made = &message["payload"]["data"]["createClient"]["client"]["name"];
                    assert_eq!(made, "On a socket", "{message}");
                    answered = true;
                }
                Ok(message) => complete |= message["id"] == "last" && message["type"] == "complete",
                Err(code) => break code,
            }
        };
        assert!(answered && complete);
        assert_eq!(code, 1001);
        // Whoever closes a connection waits for the other to do the same.
        drop(socket);
        assert!(server.ended_well(), "the end was not a good one");
        let took = signalled.elapsed();
        println!(
            "SIGTERM: not ready at once, 13 requests under way answered, exit 0 after {}",
            seconds(took)
        );
        assert!(took < within(ENDED), "{took:?}");
    });
    ground.start();
    let answer = ground.ask("{ clients { totalCount } }");
    assert_eq!(answer["data"]["clients"]["totalCount"], 14, "{answer}");
}
