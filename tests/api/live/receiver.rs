//! A tiny HTTP server that takes webhooks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::PATIENCE;

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HashMap<String, String>,
    pub text: String,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// Whether the signature is that of the secret, computed as a receiver would.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").expect("a secret");
        let key = STANDARD.decode(key).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        let header = |name: &str| &self.headers[name];
        let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
        mac.update(format!("{id}.{timestamp}.{}", self.text).as_bytes());
        let expected = STANDARD.encode(mac.finalize().into_bytes());
        *header("webhook-signature") == format!("v1,{expected}")
    }
}

/// Listens, and answers with these statuses, one after the other, then with 200.
pub struct Hook {
    pub url: String,
    received: Receiver<Received>,
}

impl Hook {
    pub fn answering(statuses: &[u16]) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (send, received) = channel();
        let mut statuses = Vec::from(statuses).into_iter();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(message) = taken(&stream) else {
                    continue;
                };
                let status = statuses.next().unwrap_or(200);
                answer(stream, status);
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        Hook { url, received }
    }

    /// The next message.
    #[track_caller]
    pub fn next(&self) -> Received {
        self.received.recv_timeout(PATIENCE).expect("a message")
    }

    /// Whether nothing has come that was not looked at.
    pub fn is_quiet(&self) -> bool {
        self.received.try_recv().is_err()
    }
}

fn taken(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let headers: HashMap<String, String> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        headers,
        text: String::from_utf8(body).ok()?,
    })
}

fn answer(mut stream: TcpStream, status: u16) {
    let location = if status == 302 {
        "location: http://127.0.0.1:1/\r\n"
    } else {
        ""
    };
    let text =
        format!("HTTP/1.1 {status} X\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(text.as_bytes());
}
