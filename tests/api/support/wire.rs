//! The wire between Glimpse and PostgreSQL, on which a test does what networks do: it cuts, it is
//! silent, it lets through little by little.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

#[derive(Default)]
struct State {
    /// The connections, in the order in which they came, on which nothing passes in either direction.
    silent: Range<usize>,
    /// New connections get an answer that no PostgreSQL would give.
    is_mad: bool,
    /// Answers pass byte by byte.
    is_slow: bool,
    /// So many bytes of answers still pass, on all connections together; the next one cuts its
    /// connection.
    left: Option<usize>,
    /// So many still pass, and then it is silent.
    silent_after: Option<usize>,
    /// A byte of the next answer, by its place, is changed to that one.
    garbled: Option<(usize, u8)>,
    /// Bytes of answers that have passed.
    passed: usize,
    /// How many connections there have been.
    count: usize,
    open: Vec<TcpStream>,
}

/// A proxy that ends with the process of the tests.
pub struct Wire {
    /// The database behind it.
    pub url: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Wire {
    /// Before the server of a URL, whose database, user and password stay the same.
    pub fn to(url: &str) -> Self {
        let (user, rest) = url.split_once('@').expect("the URL names a user");
        let (target, database) = rest.split_once('/').expect("the URL names a database");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (state, target) = (Arc::clone(&shared), target.to_owned());
        thread::spawn(move || {
            for (number, mut client) in listener.incoming().flatten().enumerate() {
                if state.0.lock().expect("no thread has panicked").is_mad {
                    // No TLS; and a password is asked for, but not of which kind. Whoever gets it may have gone.
                    let _ = client.write_all(b"NR\0\0\0\x05x");
                    state.0.lock().expect("no thread has panicked").open.push(client);
                    continue;
                }
                state.0.lock().expect("no thread has panicked").count = number + 1;
                let server = TcpStream::connect(&target).expect("PostgreSQL accepts connections");
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a socket");
                    let open = stream.try_clone().expect("a socket");
                    state.0.lock().expect("no thread has panicked").open.push(open);
                }
                let other = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                let shared = (Arc::clone(&state), Arc::clone(&state));
                thread::spawn(move || pass(number, &other.0, &other.1, &shared.0, false));
                thread::spawn(move || pass(number, &server, &client, &shared.1, true));
            }
        });
        Self { url: format!("{user}@{address}/{database}"), shared }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no thread has panicked")
    }

    /// Cuts the connection whose answer goes beyond so many bytes from now on.
    pub fn cut_after(&self, bytes: usize) {
        self.state().left = Some(bytes);
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        for stream in self.state().open.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn silence(&self) {
        self.state().silent = 0..usize::MAX;
    }

    /// Is silent on the connections that there are; new ones pass.
    pub fn silence_old(&self) {
        let mut state = self.state();
        state.silent = 0..state.count;
    }

    /// Is silent on all but the connections that there are.
    pub fn silence_new(&self) {
        let mut state = self.state();
        state.silent = state.count..usize::MAX;
    }

    /// Answers new connections by nonsense.
    pub fn go_mad(&self) {
        self.state().is_mad = true;
    }

    /// Is silent once so many bytes of answers have passed from now on.
    pub fn silence_after(&self, bytes: usize) {
        self.state().silent_after = Some(bytes);
    }

    pub fn slow(&self) {
        self.state().is_slow = true;
    }

    /// Changes a byte of the next answer.
    pub fn garble(&self, place: usize, byte: u8) {
        self.state().garbled = Some((place, byte));
    }

    /// Lets all through again, what has been held up first.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.silent, state.is_slow, state.left, state.silent_after) = (0..0, false, None, None);
        state.is_mad = false;
        drop(state);
        self.shared.1.notify_all();
    }

    /// How many bytes of answers have passed since the last call.
    pub fn passed(&self) -> usize {
        std::mem::take(&mut self.state().passed)
    }
}

fn pass(
    number: usize,
    mut from: &TcpStream,
    mut to: &TcpStream,
    (state, changed): &(Mutex<State>, Condvar),
    is_answer: bool,
) {
    let mut bytes = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let state = state.lock().expect("no thread has panicked");
        let mut state =
            changed.wait_while(state, |state| state.silent.contains(&number)).expect("no thread has panicked");
        let mut passing = length;
        if is_answer {
            if let Some(left) = &mut state.left {
                passing = length.min(*left);
                *left -= passing;
            }
            state.passed += passing;
            if let Some(left) = &mut state.silent_after {
                *left = left.saturating_sub(passing);
                if *left == 0 {
                    state.silent = 0..usize::MAX;
                }
            }
            if let Some((place, byte)) = state.garbled.take() {
                bytes[place] = byte;
            }
        }
        let step = if is_answer && state.is_slow { 1 } else { passing.max(1) };
        drop(state);
        let sent = bytes[..passing].chunks(step).try_for_each(|part| to.write_all(part));
        if sent.is_err() || passing < length {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
