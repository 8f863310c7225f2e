//! A mail server for tests: it speaks SMTP on a port of its own, and keeps what it takes.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A message that the server took.
#[derive(Clone, Debug)]
pub struct Message {
    pub to: String,
    /// As it came over the wire.
    pub data: String,
}

impl Message {
    /// A header's value, unfolded; empty when it is missing.
    pub fn header(&self, name: &str) -> String {
        let mut lines = self.data.split("\r\n").peekable();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix(&format!("{name}: ")) {
                let mut value = value.to_owned();
                while let Some(more) = lines.next_if(|next| next.starts_with(' ')) {
                    value.push_str(more);
                }
                return value;
            }
        }
        String::new()
    }
}

/// A mail server that refuses every address that begins with `bounce`.
pub struct MailServer {
    pub url: String,
    taken: Arc<Mutex<Vec<Message>>>,
}

impl MailServer {
    pub fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                thread::spawn(move || talk(stream, &kept));
            }
        });
        MailServer { url, taken }
    }

    /// What was taken so far.
    pub fn messages(&self) -> Vec<Message> {
        self.taken.lock().expect("messages").clone()
    }
}

fn talk(stream: TcpStream, kept: &Mutex<Vec<Message>>) {
    let mut out = stream.try_clone().expect("a stream");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut say = |text: &str| {
        // A client that has gone hears nothing.
        let _ = out.write_all(format!("{text}\r\n").as_bytes());
    };
    say("220 test ESMTP");
    let mut to = String::new();
    while let Some(line) = lines.next() {
        let command = line.to_uppercase();
        if command.starts_with("EHLO") {
            say("250-test");
            say("250 8BITMIME");
        } else if command.starts_with("RCPT") {
            to = line[line.find('<').map_or(0, |at| at + 1)..line.rfind('>').unwrap_or(line.len())]
                .to_owned();
            if to.starts_with("bounce") {
                say("550 5.1.1 no such user");
            } else {
                say("250 ok");
            }
        } else if command == "DATA" {
            say("354 go on");
            let mut data = String::new();
            for line in lines.by_ref() {
                if line == "." {
                    break;
                }
                data.push_str(line.strip_prefix('.').unwrap_or(&line));
                data.push_str("\r\n");
            }
            kept.lock().expect("messages").push(Message {
                to: to.clone(),
                data,
            });
            say("250 taken");
        } else if command == "QUIT" {
            say("221 bye");
            return;
        } else {
            say("250 ok");
        }
    }
}
