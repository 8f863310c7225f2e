//! `graphql-transport-ws`: its messages, its close codes, subscriptions.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use super::{PATIENCE, issue, kinds, now};
use crate::harness::{Api, Company, Second, tamper, url};

const CHANGES: &str = "subscription($after: String, $topics: [ChangeTopic!]) { changes(after: $after, topics: $topics) { cursor kind subjectId client { number } } }";

/// A client of a server's WebSocket.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn to(server: &str, protocol: Option<&str>) -> Socket {
        let address = server.strip_prefix("http://").expect("an address");
        let stream = TcpStream::connect(address).expect("a connection");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let mut request = format!("ws://{address}/graphql")
            .into_client_request()
            .expect("a request");
        if let Some(protocol) = protocol {
            request.headers_mut().insert(
                "sec-websocket-protocol",
                protocol.parse().expect("a header"),
            );
        }
        let (socket, _) = tungstenite::client::client(request, stream).expect("a WebSocket");
        Socket(socket)
    }

    fn open() -> Socket {
        Socket::to(url(), Some("graphql-transport-ws"))
    }

    /// An acknowledged connection.
    fn of(api: &Api) -> Socket {
        Socket::open().admitted(api)
    }

    fn admitted(mut self, api: &Api) -> Socket {
        let payload = json!({ "authorization": api.authorization() });
        self.say(json!({ "type": "connection_init", "payload": payload }));
        assert_eq!(self.hear(), json!({ "type": "connection_ack" }));
        self
    }

    fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .expect("sent");
    }

    fn start(&mut self, id: &str, document: &str, variables: Value) {
        let payload = json!({ "query": document, "variables": variables });
        self.say(json!({ "id": id, "type": "subscribe", "payload": payload }));
    }

    /// The next message.
    #[track_caller]
    fn hear(&mut self) -> Value {
        loop {
            match self.0.read().expect("a message") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a text is expected: {other:?}"),
            }
        }
    }

    /// The code that the server closes with.
    #[track_caller]
    fn closed(&mut self) -> u16 {
        loop {
            match self.0.read().expect("a message") {
                Message::Close(Some(frame)) => return frame.code.into(),
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }

    /// The change in the next message of an operation.
    #[track_caller]
    fn change(&mut self, id: &str) -> Value {
        let mut message = self.hear();
        assert_eq!(
            (&message["id"], &message["type"]),
            (&json!(id), &json!("next")),
            "{message}"
        );
        message["payload"]["data"]["changes"].take()
    }
}

fn init(authorization: &str) -> Value {
    json!({ "type": "connection_init", "payload": { "authorization": authorization } })
}

#[test]
fn every_fault_closes_with_its_code() {
    let api = Company::new().admin();
    let token = api.authorization();
    let operation = json!({ "id": "1", "type": "subscribe", "payload": { "query": CHANGES } });
    let large = json!({ "type": "ping", "payload": { "a": "a".repeat(300 * 1024) } });
    for (name, messages, code) in [
        ("an unknown type", vec![json!({ "type": "start" })], 4400),
        ("no object", vec![json!("hello")], 4400),
        (
            "a subscription without payload",
            vec![init(&token), json!({ "id": "1", "type": "subscribe" })],
            4400,
        ),
        (
            "an operation before the acknowledgment",
            vec![operation.clone()],
            4401,
        ),
        (
            "a foreign token",
            vec![init("Bearer eyJhbGciOiJub25lIn0.e30.")],
            4403,
        ),
        ("no token", vec![json!({ "type": "connection_init" })], 4403),
        (
            "an id twice",
            vec![init(&token), operation.clone(), operation],
            4409,
        ),
        ("two beginnings", vec![init(&token), init(&token)], 4429),
        ("too large a message", vec![large], 1009),
    ] {
        let mut socket = Socket::open();
        for message in messages {
            // The server may have closed before all of it was sent.
            let _ = socket.0.send(Message::text(message.to_string()));
        }
        assert_eq!(socket.closed(), code, "{name}");
    }
    let mut binary = Socket::open();
    binary.0.send(Message::binary(vec![1])).expect("sent");
    assert_eq!(binary.closed(), 4400);
    assert_eq!(Socket::to(url(), None).closed(), 4406);
}

#[test]
fn a_client_that_says_nothing_is_closed() {
    assert_eq!(Socket::open().closed(), 4408);
}

#[test]
fn the_socket_ends_with_its_token() {
    let company = Company::new();
    let mut socket = Socket::of(&company.as_role_for("AUDITOR", "3s"));
    socket.start("1", CHANGES, json!({}));
    assert_eq!(socket.closed(), 4403);
}

#[test]
fn queries_and_mutations_pass_the_same_guards() {
    let api = Company::new().admin();
    let mut socket = Socket::of(&api);
    socket.say(json!({ "type": "ping", "payload": { "a": 1 } }));
    assert_eq!(
        socket.hear(),
        json!({ "type": "pong", "payload": { "a": 1 } })
    );
    socket.start("q", "{ viewer { role } }", json!({}));
    let answer = socket.hear();
    assert_eq!(answer["payload"]["data"]["viewer"]["role"], "ADMIN");
    assert!(
        answer["payload"]["extensions"]["cost"].is_object(),
        "{answer}"
    );
    assert_eq!(socket.hear(), json!({ "id": "q", "type": "complete" }));
    // The id is free again.
    let create = "mutation { createClient(input: { number: \"C001\", name: \"Client\" }) { client { number } } }";
    socket.start("q", create, json!({}));
    assert_eq!(
        socket.hear()["payload"]["data"]["createClient"]["client"]["number"],
        "C001"
    );
    assert_eq!(socket.hear()["type"], "complete");
    let twice = "subscription { a: changes { kind } b: changes { kind } }";
    let fragment = "subscription { ...f } fragment f on Subscription { changes { kind } }";
    let deep = format!("{{ {}", "a { ".repeat(60));
    for (document, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        (deep.as_str(), "OPERATION_TOO_COMPLEX"),
        (twice, "GRAPHQL_VALIDATION_FAILED"),
        (fragment, "GRAPHQL_VALIDATION_FAILED"),
    ] {
        socket.start("x", document, json!({}));
        let answer = socket.hear();
        assert_eq!(answer["type"], "error", "{answer}");
        assert_eq!(answer["payload"][0]["extensions"]["code"], code, "{answer}");
    }
    socket.start("c", CHANGES, json!({ "after": "nonsense" }));
    let refused = socket.hear();
    let error = if refused["type"] == "error" {
        &refused["payload"][0]
    } else {
        &refused["payload"]["errors"][0]
    };
    assert_eq!(error["extensions"]["field"], "after", "{refused}");
    // Who says goodbye is answered.
    socket.0.close(None).expect("sent");
    while !matches!(socket.0.read(), Ok(Message::Close(_))) {
        assert!(socket.0.can_read(), "no goodbye");
    }
}

#[test]
fn a_socket_runs_twenty_operations() {
    let api = Company::new().admin();
    let mut socket = Socket::of(&api);
    for number in 0..20 {
        socket.start(&number.to_string(), CHANGES, json!({}));
    }
    socket.start("more", CHANGES, json!({}));
    let refused = socket.hear();
    assert_eq!(
        (&refused["id"], &refused["type"]),
        (&json!("more"), &json!("error"))
    );
    assert_eq!(
        refused["payload"][0]["extensions"]["code"],
        "OPERATION_TOO_COMPLEX"
    );
    socket.say(json!({ "id": "7", "type": "complete" }));
    socket.start("more", "{ viewer { role } }", json!({}));
    assert_eq!(socket.hear()["payload"]["data"]["viewer"]["role"], "ADMIN");
}

#[test]
fn a_subscriber_hears_of_an_invoice_and_goes_on_where_it_stopped() {
    let api = Company::new().admin();
    api.client("C001");
    let start = now(&api);
    let invoice = issue(&api, "C001", "FA-1");
    let mut socket = Socket::of(&api);
    socket.start("1", CHANGES, json!({ "after": start }));
    // First what has happened since, then what happens.
    let first = socket.change("1");
    assert_eq!(first["subjectId"], invoice["id"]);
    let invoice = issue(&api, "C001", "FA-2");
    let second = socket.change("1");
    assert_eq!(
        (
            &second["subjectId"],
            &second["kind"],
            &second["client"]["number"]
        ),
        (&invoice["id"], &json!("INVOICE_ISSUED"), &json!("C001"))
    );
    drop(socket);
    issue(&api, "C001", "FA-3");
    issue(&api, "C001", "FA-4");
    let mut socket = Socket::of(&api);
    socket.start(
        "2",
        CHANGES,
        json!({ "after": second["cursor"], "topics": ["DOCUMENTS"] }),
    );
    let resumed = [socket.change("2"), socket.change("2")];
    assert_eq!(kinds(&resumed), ["INVOICE_ISSUED", "INVOICE_ISSUED"]);
    socket.say(json!({ "id": "2", "type": "complete" }));
    issue(&api, "C001", "FA-5");
    socket.start("3", "{ viewer { role } }", json!({}));
    assert_eq!(socket.hear()["id"], "3", "an ended subscription is silent");
}

#[test]
fn subscribers_hear_of_what_they_may_see() {
    let company = Company::new();
    let admin = company.admin();
    let (sales, user) = company.as_member("SALES");
    admin.client("C001");
    admin.client("C002");
    admin.done(
        "mutation($input: UpdateClientInput!) { updateClient(input: $input) { client { number } userErrors { code field message } } }",
        json!({ "input": { "client": { "number": "C002" }, "salesOwner": user } }),
    );
    let documents = json!({ "topics": ["DOCUMENTS"], "after": now(&admin) });
    let stranger = Company::new().admin();
    let mut sockets = [&admin, &sales, &stranger].map(|api| {
        let mut socket = Socket::of(api);
        socket.start("1", CHANGES, documents.clone());
        socket
    });
    issue(&admin, "C001", "FA-1");
    issue(&admin, "C002", "FA-2");
    let [everything, portfolio, nothing] = &mut sockets;
    let numbers = [everything.change("1"), everything.change("1")]
        .map(|change| change["client"]["number"].clone());
    assert_eq!(numbers, ["C001", "C002"]);
    // The first that the sales person hears of is the second.
    assert_eq!(portfolio.change("1")["client"]["number"], "C002");
    stranger.client("C001");
    issue(&stranger, "C001", "FA-9");
    assert_eq!(nothing.change("1")["client"]["number"], "C001");
    let worklist = json!({ "topics": ["WORKLIST"] });
    portfolio.start("2", CHANGES, worklist);
    let refused = portfolio.hear().to_string();
    assert!(refused.contains("FORBIDDEN"), "{refused}");
}

#[test]
fn a_burst_larger_than_any_buffer_arrives_whole() {
    const BURST: usize = 4000;
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let mut socket = Socket::of(&api);
    socket.start("1", CHANGES, json!({ "after": now(&api) }));
    issue(&api, "C001", "FA-1");
    assert_eq!(socket.change("1")["kind"], "INVOICE_ISSUED");
    let id = company.id.strip_prefix("com_").expect("an id");
    tamper(&format!(
        "INSERT INTO changes (company_id, topic, kind, subject_id) \
         SELECT '{id}', 'CLIENTS', 'CLIENT_CHANGED', gen_random_uuid() FROM generate_series(1, {BURST})"
    ));
    let mut cursors: Vec<String> = (0..BURST)
        .map(|_| socket.change("1")["cursor"].to_string())
        .collect();
    issue(&api, "C001", "FA-2");
    assert_eq!(socket.change("1")["kind"], "INVOICE_ISSUED");
    cursors.sort();
    cursors.dedup();
    assert_eq!(cursors.len(), BURST);
}

#[test]
fn every_server_tells_and_a_stopping_one_says_so() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let second = Second::start(&[]);
    let mut socket = Socket::to(&second.url, Some("graphql-transport-ws")).admitted(&api);
    socket.start("1", CHANGES, json!({ "after": now(&api) }));
    // Written through the first server.
    let invoice = issue(&api, "C001", "FA-1");
    assert_eq!(socket.change("1")["subjectId"], invoice["id"]);
    second.terminate();
    assert_eq!(socket.closed(), 1001);
    assert!(second.ended_well());
}
