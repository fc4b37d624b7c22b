//! The connections of clients, and the end of those that only keep one open.
//!
//! The HTTP library limits the time for the head of the first request alone. A client that sends the
//! next one, or the rest of a body, byte by byte, or that takes nothing of its answer, would keep
//! its connection for ever.

use std::cell::Cell;
use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection without a request is kept for the next one.
const KEPT_ALIVE: Duration = Duration::from_secs(5);

/// The longest time in which a body is received that nobody reads, once its request is answered.
const UNREAD_BODY: Duration = Duration::from_secs(1);

/// By so much the clock may be late with which the library begins to wait for a head.
const LIBRARY_LATE: Duration = Duration::from_millis(500);

/// Serves an app on connections whose clients are waited for no longer than `patience`.
pub fn serve<F, S, B>(
    app: F,
    patience: Duration,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    F: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let app = app.into_factory().map_err(|error| error.into().error_response());
    let http = HttpService::build()
        .keep_alive(KEPT_ALIVE)
        .client_request_timeout(patience + LIBRARY_LATE)
        .client_disconnect_timeout(UNREAD_BODY)
        // Who has closed its side of the connection is taken to be gone, which ends its query.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .on_connect_ext(|stream: &Stream, extensions| {
            extensions.insert(Rc::clone(&stream.progress));
        })
        .finish(map_config(app, |()| AppConfig::default()));
    fn_service(move |stream: TcpStream| async move {
        let peer = stream.peer_addr().ok();
        Ok((Stream::new(stream, patience), Protocol::Http1, peer))
    })
    .and_then(http)
}

/// How far a connection is, as its client and its requests tell.
pub struct Progress {
    /// Whether an answer is being made, for which the client waits, and not the other way round.
    is_answering: Cell<bool>,
    /// When the client was last given something, or left to itself.
    since: Cell<Instant>,
}

/// A request of which the answer is being made.
pub struct Answering(Rc<Progress>);

impl Answering {
    pub fn begin(progress: &Rc<Progress>) -> Self {
        progress.is_answering.set(true);
        Self(Rc::clone(progress))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.since.set(Instant::now());
        self.0.is_answering.set(false);
    }
}

/// A connection that ends by itself where, while no answer is being made, its client takes nothing
/// of the last one and sends no whole head of a next request within `patience`. Whatever else the
/// client sends meanwhile does not count.
struct Stream {
    socket: TcpStream,
    progress: Rc<Progress>,
    patience: Duration,
    /// Rings no later than the end of the patience.
    alarm: Pin<Box<Sleep>>,
}

impl Stream {
    fn new(socket: TcpStream, patience: Duration) -> Self {
        // The library answers a late first request by itself, if it is given the time.
        let since = Instant::now() + 2 * LIBRARY_LATE;
        let progress = Rc::new(Progress { is_answering: Cell::new(false), since: Cell::new(since) });
        Self { socket, progress, patience, alarm: Box::pin(sleep_until((since + patience).into())) }
    }

    /// Whether the patience is at its end; else the task is woken in time to ask again.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while self.alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let end = if self.progress.is_answering.get() { now } else { self.progress.since.get() } + self.patience;
            if end <= now {
                return true;
            }
            self.alarm.as_mut().reset(end.into());
        }
        false
    }
}

impl AsyncRead for Stream {
    /// Where the patience is at its end, the client seems to have sent all that it ever will.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        match &written {
            Poll::Ready(Ok(_)) => self.progress.since.set(Instant::now()),
            Poll::Pending if self.is_over(context) => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
