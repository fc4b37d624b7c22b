//! Many clients that ask without a pause, and what becomes of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The number of answers of each status.
    pub answers: BTreeMap<u16, u64>,
    /// The longest wait for one.
    pub longest: Duration,
    /// What is wrong with answers, and connections that were lost.
    pub faults: Vec<String>,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        for (status, count) in other.answers {
            *self.answers.entry(status).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.faults.extend(other.faults);
    }

    pub fn of(&self, status: u16) -> u64 {
        self.answers.get(&status).copied().unwrap_or_default()
    }

    /// Every answer was a whole 200, or a 503 that says when to come back.
    #[track_caller]
    pub fn expect_only_200_and_503(&self) {
        assert_eq!(self.faults, Vec::<String>::new(), "{:?}", self.answers);
        assert!(self.answers.keys().all(|status| [200, 503].contains(status)), "{:?}", self.answers);
    }
}

/// What all clients share.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
}

/// Clients at work.
pub struct Clients {
    shared: Arc<Shared>,
    thread: JoinHandle<Seen>,
}

impl Clients {
    /// Opens so many connections, and from then on asks for `target` on each of them, again and
    /// again. A 200 must have exactly the body `expected`.
    pub fn start(address: &str, connections: usize, target: &str, expected: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let (address, expected): (Arc<str>, Arc<str>) = (address.into(), expected.into());
        let request: Arc<str> = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").into();
        let all_are_open = Arc::new(Barrier::new(2));
        let opened = Arc::clone(&all_are_open);
        let thread = thread::spawn(move || {
            super::runtime().block_on(async move {
                let (mut seen, mut streams) = (Seen::default(), Vec::new());
                for _ in 0..connections {
                    match TcpStream::connect(&*address).await {
                        Ok(stream) => streams.push(stream),
                        Err(error) => seen.faults.push(format!("no connection: {error}")),
                    }
                }
                opened.wait();
                let mut clients = JoinSet::new();
                for stream in streams {
                    let (request, expected) = (Arc::clone(&request), Arc::clone(&expected));
                    clients.spawn(ask(stream, request, expected, Arc::clone(&theirs)));
                }
                while let Some(client) = clients.join_next().await {
                    seen.add(client.expect("a client does not panic"));
                }
                seen
            })
        });
        all_are_open.wait();
        Self { shared, thread }
    }

    /// The numbers of the answers of 200 and of 503 up to now.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.served.load(Ordering::Relaxed), self.shared.refused.load(Ordering::Relaxed))
    }

    /// Ends the load; each client takes its last answer.
    pub fn stop(self) -> Seen {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the clients end")
    }
}

async fn ask(mut stream: TcpStream, request: Arc<str>, expected: Arc<str>, shared: Arc<Shared>) -> Seen {
    let mut seen = Seen::default();
    let mut buffer = Vec::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let answered = answer(&mut stream, &request, &mut buffer).await;
        seen.longest = seen.longest.max(sent.elapsed());
        match answered {
            Ok(Answered { status, has_retry_after, body }) => {
                *seen.answers.entry(status).or_default() += 1;
                let count = if status == 200 { &shared.served } else { &shared.refused };
                count.fetch_add(1, Ordering::Relaxed);
                if status == 200 && body != expected.as_bytes() {
                    seen.faults.push(format!("a 200 of {} bytes, not {}", body.len(), expected.len()));
                } else if status == 503 && !has_retry_after {
                    seen.faults.push("a 503 without Retry-After".to_owned());
                }
            }
            Err(error) => {
                seen.faults.push(format!("no answer after {:?}: {error}", sent.elapsed()));
                break;
            }
        }
    }
    seen
}

struct Answered<'a> {
    status: u16,
    has_retry_after: bool,
    body: &'a [u8],
}

/// Sends a request, and reads its answer into the buffer.
async fn answer<'a>(stream: &mut TcpStream, request: &str, buffer: &'a mut Vec<u8>) -> io::Result<Answered<'a>> {
    stream.write_all(request.as_bytes()).await?;
    buffer.clear();
    let (head, length) = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        break (head, end + 4 + length.ok_or(io::ErrorKind::InvalidData)?);
    };
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let body = buffer.iter().as_slice();
    let start = head.len() + 4;
    Ok(Answered { status, has_retry_after: head.contains("\r\nretry-after: "), body: &body[start..] })
}
