//! The load generator: keep-alive connections on one thread, over bare sockets, so that it costs
//! little beside the servers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request, and how long the body of its answer must be.
pub struct Expected {
    pub request: Vec<u8>,
    pub length: usize,
}

/// A request for `target`, as its bytes.
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 256 * 1024] })
    }

    /// Sends a request, hands over the body in pieces, and returns the head. Any status but 200 is
    /// an error.
    pub async fn ask(&mut self, request: &[u8], mut take: impl FnMut(&[u8])) -> anyhow::Result<Head> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let body = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            // The end may lie across two reads.
            let from = filled.saturating_sub(3);
            filled += read;
            let end = self.buffer[from..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                break from + end + 4;
            }
        };
        let head = Head::parse(&self.buffer[..body]);
        let head = head.with_context(|| {
            let request = String::from_utf8_lossy(request);
            let answer = String::from_utf8_lossy(&self.buffer[..filled]);
            format!("asked {}, got {}", request.trim_end(), answer.trim_end())
        })?;
        take(&self.buffer[body..filled]);
        let mut left = head.length.checked_sub(filled - body).context("more was sent than Content-Length says")?;
        while left > 0 {
            let most = left.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..most]).await?;
            ensure!(read > 0, "the server closed the connection");
            take(&self.buffer[..read]);
            left -= read;
        }
        Ok(head)
    }
}

/// What the head of an answer says.
pub struct Head {
    pub length: usize,
    /// Whether it links to a next page, so that this one is full.
    pub is_full: bool,
}

impl Head {
    /// Reads the head of an answer of 200 that has a length.
    fn parse(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        lines.next().filter(|status| status.starts_with("HTTP/1.1 200 "))?;
        let (mut length, mut is_full) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().ok();
            }
            is_full |= name.eq_ignore_ascii_case("link");
        }
        Some(Self { length: length?, is_full })
    }
}

/// What a server did under load.
pub struct Load {
    pub elapsed: Duration,
    /// How long each request took, in no order.
    pub latencies: Vec<Duration>,
}

/// Asks the server on so many connections until `is_over`, and goes on in the list where `next`
/// stands, round and round.
pub async fn run(
    address: &str,
    connections: usize,
    list: &Rc<Vec<Expected>>,
    next: &Rc<Cell<usize>>,
    is_over: impl Fn() -> bool + Clone + 'static,
) -> anyhow::Result<Load> {
    let mut tasks = Vec::new();
    let started = Instant::now();
    for _ in 0..connections {
        let mut connection = Connection::open(address).await?;
        let (list, next, is_over) = (Rc::clone(list), Rc::clone(next), is_over.clone());
        tasks.push(rt::spawn(async move {
            let mut latencies = Vec::new();
            while !is_over() {
                let Expected { request, length } = &list[next.replace(next.get() + 1) % list.len()];
                let sent = Instant::now();
                let head = connection.ask(request, |_| {}).await?;
                latencies.push(sent.elapsed());
                ensure!(
                    head.length == *length,
                    "{} gave {} bytes in place of {length}",
                    String::from_utf8_lossy(request).trim_end(),
                    head.length
                );
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Load { elapsed: started.elapsed(), latencies })
}
