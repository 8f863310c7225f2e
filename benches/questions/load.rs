//! Requests over HTTP/1.1 on connections that stay open, and how long each took. As little as possible is done
//! for a request: server, database and this share the machine.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How fast something was.
#[derive(Clone, Debug, Default)]
pub struct Speed {
    pub per_second: f64,
    /// Microseconds, in order.
    latencies: Vec<u32>,
}

impl Speed {
    pub fn of(per_second: f64, mut latencies: Vec<u32>) -> Speed {
        latencies.sort_unstable();
        Speed {
            per_second,
            latencies,
        }
    }

    /// The time that this share of the requests took at most, in milliseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = ((last as f64) * share).round() as usize;
        self.latencies
            .get(place)
            .map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    }
}

/// Where to ask, and as whom.
#[derive(Clone)]
pub struct Target {
    pub address: String,
    pub token: String,
}

/// A connection to the server.
pub struct Connection {
    stream: TcpStream,
    target: Target,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(target: &Target) -> Result<Connection> {
        let stream = TcpStream::connect(&target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Connection {
            stream,
            target: target.clone(),
            read: Vec::with_capacity(64 * 1024),
        })
    }

    /// Sends a GraphQL request; the bytes of a good answer.
    pub fn ask(&mut self, body: &str) -> Result<&[u8]> {
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.target.address,
            self.target.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes())?;
        self.answer()
    }

    /// Fetches a path to its end, however long; how many bytes it had.
    pub fn fetch(mut self, path: &str) -> Result<u64> {
        // It may be written whole before its first byte.
        self.stream
            .set_read_timeout(Some(Duration::from_secs(600)))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            self.target.address, self.target.token
        );
        self.stream.write_all(request.as_bytes())?;
        let mut buffer = vec![0; 256 * 1024];
        let (mut bytes, mut first) = (0, Vec::new());
        loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            if first.len() < 12 {
                first.extend_from_slice(&buffer[..read.min(12)]);
            }
            bytes += read as u64;
        }
        if !first.starts_with(b"HTTP/1.1 200") {
            bail!("{path}: {}", String::from_utf8_lossy(&first));
        }
        Ok(bytes)
    }

    fn answer(&mut self) -> Result<&[u8]> {
        self.read.clear();
        let mut buffer = [0; 32 * 1024];
        let (head, length) = loop {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            self.read.extend_from_slice(&buffer[..read]);
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break (end + 4, length(&self.read[..end])?);
            }
        };
        while self.read.len() < head + length {
            let read = self.stream.read(&mut buffer)?;
            if read == 0 {
                bail!("the answer was cut off");
            }
            self.read.extend_from_slice(&buffer[..read]);
        }
        let body = &self.read[head..];
        let refused = find(body, b"\"errors\"").is_some()
            || find(body, b"\"code\":\"").is_some() && find(body, b"\"userErrors\":[{").is_some();
        if !self.read.starts_with(b"HTTP/1.1 200") || refused {
            let shown = String::from_utf8_lossy(&self.read);
            bail!("{}", shown.chars().take(1500).collect::<String>());
        }
        Ok(&self.read[head..])
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

fn length(head: &[u8]) -> Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .context("an answer without a length")
}

/// Asks on `connections` at once for `time`: connection and turn give the body.
pub fn run(
    target: &Target,
    connections: usize,
    time: Duration,
    body: impl Fn(usize, usize) -> String + Sync,
) -> Result<Speed> {
    let barrier = Barrier::new(connections);
    let results: Vec<Result<(Vec<u32>, Duration)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|connection| {
                let (barrier, body) = (&barrier, &body);
                scope.spawn(move || {
                    let opened = Connection::open(target);
                    barrier.wait();
                    let mut asking = opened?;
                    let mut latencies = Vec::new();
                    let since = Instant::now();
                    for turn in 0.. {
                        let text = body(connection, turn);
                        let began = Instant::now();
                        asking.ask(&text)?;
                        let took = began.elapsed().as_micros();
                        latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
                        if since.elapsed() >= time {
                            break;
                        }
                    }
                    Ok((latencies, since.elapsed()))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
            .collect()
    });
    let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
    for result in results {
        let (latencies, took) = result?;
        all.extend(latencies);
        longest = longest.max(took);
    }
    Ok(Speed::of(all.len() as f64 / longest.as_secs_f64(), all))
}
