//! An identity provider of our own: keys that the test server fetches, and tokens signed by them.
//!
//! The keys were made for these tests and open nothing else.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://idp.example";
pub const AUDIENCE: &str = "encours";
/// The public keys.
pub const SET: &str = include_str!("keys/jwks.json");

/// Serves the key set for as long as this process lives; its address.
pub fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the key set");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            // The head of the request, to the empty line.
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                line.clear();
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let length = SET.len();
            let _ = write!(&stream, "{head}content-length: {length}\r\n\r\n{SET}");
        }
    });
    format!("http://{address}/keys")
}

/// The private key of an id, and its algorithm.
pub fn key(kid: &str) -> (EncodingKey, Algorithm) {
    match kid {
        "rsa" => (
            EncodingKey::from_rsa_der(include_bytes!("keys/rsa.der")),
            Algorithm::RS256,
        ),
        "ec" => (
            EncodingKey::from_ec_der(include_bytes!("keys/ec.der")),
            Algorithm::ES256,
        ),
        "ed" => (
            EncodingKey::from_ed_der(include_bytes!("keys/ed.der")),
            Algorithm::EdDSA,
        ),
        other => panic!("no key {other}"),
    }
}

/// The claims of a token for us; `more` adds to them or replaces them.
pub fn claims(more: Value) -> Value {
    let now = Utc::now().timestamp();
    let mut claims =
        json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "42", "iat": now, "exp": now + 60 });
    let all = claims.as_object_mut().expect("claims");
    all.extend(more.as_object().expect("claims").clone());
    claims
}

/// A token by one of the keys.
pub fn token(kid: &str, claims: &Value) -> String {
    let (key, algorithm) = key(kid);
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, claims, &key).expect("a token")
}
