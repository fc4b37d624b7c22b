//! The connections of clients, and the end of those that only keep one open.
//!
//! The HTTP library limits the time for the head of the first request alone. A client that sends the
//! next one, or the rest of a body, byte by byte, or that takes nothing of its answer, would keep
//! its connection for ever. Where it is late to look, it ends a connection that is not in use
//! although the next request is there already, which then is lost. And it parses all requests that
//! have come, up to 128 KiB, before it answers the first; each takes some six kilobytes.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::{self, ErrorKind::WouldBlock};
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Protocol, Request, Response};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep_until};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection without a request is kept for the next one.
const KEPT_ALIVE: Duration = Duration::from_secs(5);

/// The longest time in which a body is received that nobody reads, once its request is answered.
const UNREAD_BODY: Duration = Duration::from_secs(1);

/// By so much the clock may be late with which the library begins to wait for a head.
const LIBRARY_LATE: Duration = Duration::from_millis(500);

/// So many bytes of requests the library gets before it parses them, and as many again while it answers:
/// some fifty of the shortest requests.
const AHEAD: usize = 512;

/// Of what is unread at the end of a connection so many bytes are taken.
const UNREAD: usize = 128 * 1024;

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
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(patience + LIBRARY_LATE)
        .client_disconnect_timeout(UNREAD_BODY)
        // Else a request that is refused would take those before it with it. A client that has closed its
        // side is for [`Stream`] to see.
        .h1_allow_half_closed(true)
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
    /// When the client was last given something or left to itself, or began its next request.
    since: Cell<Instant>,
    /// Whether nothing has come since the head of the last request.
    is_idle: Cell<bool>,
    /// The task that is to go on once the answer is made, or taken: with requests that are still unread,
    /// or that the library has, and does not parse while sixteen wait before them.
    waiting: Cell<Option<Waker>>,
}

impl Progress {
    fn go_on(&self) {
        if let Some(task) = self.waiting.take() {
            task.wake();
        }
    }
}

/// A request of which the answer is being made.
pub struct Answering(Rc<Progress>);

impl Answering {
    pub fn begin(progress: &Rc<Progress>) -> Self {
        progress.is_answering.set(true);
        progress.is_idle.set(true);
        Self(Rc::clone(progress))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.since.set(Instant::now());
        self.0.is_answering.set(false);
        self.0.go_on();
    }
}

/// What is waited for, and how long:
///
/// | | `is_answering` | `is_full` | `is_idle` | |
/// | --- | --- | --- | --- | --- |
/// | the answer | yes | | | any time |
/// | that the client takes it | no | yes | | `patience` since it last took some |
/// | the next request | no | no | yes | [`KEPT_ALIVE`] since the last answer |
/// | the rest of a head, or of a body that nobody reads | no | no | no | `patience` since its first byte; of the first head, since a second after the connection was made |
///
/// A connection that ends by itself where, while no answer is being made, its client takes nothing
/// of the last one and sends no whole head of a next request within `patience`, or nothing at all
/// for as long as it is kept alive. Whatever else the client sends meanwhile does not count.
struct Stream {
    socket: TcpStream,
    progress: Rc<Progress>,
    patience: Duration,
    /// Whether the client has yet to take what was written before more can be.
    is_full: bool,
    /// How many bytes more the library gets before it has parsed, or answered, what it has.
    may_read: usize,
    /// Whether the library has yet to parse some of what it got.
    has_unparsed: bool,
    /// Rings no later than that.
    alarm: Pin<Box<Sleep>>,
}

impl Stream {
    fn new(socket: TcpStream, patience: Duration) -> Self {
        // The library answers a late first request by itself, if it is given the time.
        let since = Instant::now() + 2 * LIBRARY_LATE;
        let progress = Rc::new(Progress {
            is_answering: Cell::new(false),
            since: Cell::new(since),
            is_idle: Cell::new(false),
            waiting: Cell::new(None),
        });
        let alarm = Box::pin(sleep_until((since + patience).into()));
        Self { socket, progress, patience, is_full: false, may_read: AHEAD, has_unparsed: false, alarm }
    }

    /// How long the client may go on as it does.
    fn end(&self, now: Instant) -> Instant {
        if self.progress.is_answering.get() {
            return now + self.patience;
        }
        let is_unused = self.progress.is_idle.get() && !self.is_full;
        self.progress.since.get() + if is_unused { self.kept_alive() } else { self.patience }
    }

    fn kept_alive(&self) -> Duration {
        KEPT_ALIVE.min(self.patience)
    }

    /// Whether there is something to read, or the end, of which the runtime has yet to hear: a late one
    /// looks at its clock first.
    fn has_sent(&self) -> bool {
        !matches!(SockRef::from(&self.socket).peek(&mut [MaybeUninit::uninit()]), Err(error) if error.kind() == WouldBlock)
    }

    /// Whether an answer is on its way to being taken, behind which other requests may wait.
    fn has_answers(&self) -> bool {
        self.progress.is_answering.get() || self.is_full
    }

    /// Has the task go on by itself where the library is to parse, or answer, what it has before there is more.
    fn wait_for_the_library(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.has_answers() {
            self.progress.waiting.set(Some(context.waker().clone()));
        } else {
            // By the next time it has parsed.
            self.may_read = AHEAD;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the client has had its time; else the task is woken in time to ask again.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        while self.alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let end = self.end(now);
            if end <= now {
                return true;
            }
            self.alarm.as_mut().reset(end.into());
        }
        false
    }
}

impl AsyncRead for Stream {
    /// Where the client has had its time, it seems to have sent all that it ever will. The next request
    /// of one that was idle is taken all the same where it is there already.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let is_over = self.is_over(context);
        if is_over && !self.progress.is_idle.get() {
            return Poll::Ready(Ok(()));
        }
        if self.may_read == 0 {
            return self.wait_for_the_library(context);
        }
        let most = self.may_read.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let read = Pin::new(&mut self.socket).poll_read(context, &mut part);
        let length = part.filled().len();
        buffer.advance(length);
        self.may_read -= length;
        let has_unparsed = mem::replace(&mut self.has_unparsed, length > 0);
        match &read {
            Poll::Ready(Ok(())) if length > 0 => {
                if self.progress.is_idle.replace(false) {
                    self.progress.since.set(Instant::now());
                }
            }
            Poll::Ready(Ok(())) if has_unparsed => {
                // Once the library has parsed what came before, it is known whether somebody waits for an answer.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            // Who has closed its side of the connection is taken to be gone, which ends its query.
            Poll::Ready(Ok(())) if self.progress.is_answering.get() => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            // The library would take it for the end of a client that waits for the answer to what came before.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            Poll::Ready(_) => {}
            Poll::Pending if is_over && !self.has_sent() => return Poll::Ready(Ok(())),
            Poll::Pending if self.has_answers() => self.progress.waiting.set(Some(context.waker().clone())),
            // All that has come is parsed now.
            Poll::Pending => self.may_read = AHEAD,
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.is_full = written.is_pending();
        match &written {
            Poll::Ready(Ok(_)) => {
                let now = Instant::now();
                self.progress.since.set(now);
                let end = now + self.kept_alive();
                self.alarm.as_mut().reset(end.into());
                // It wakes this task only once it was asked.
                self.is_over(context);
                self.progress.go_on();
            }
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

/// Takes from the kernel what is unread, or the client might lose the answer.
impl Drop for Stream {
    fn drop(&mut self) {
        let mut part = [MaybeUninit::uninit(); 4096];
        let mut unread = UNREAD;
        while unread > 0
            && let Ok(length @ 1..) = SockRef::from(&self.socket).recv(&mut part)
        {
            unread = unread.saturating_sub(length);
        }
    }
}
