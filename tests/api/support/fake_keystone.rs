//! A Keystone that does on demand what a real one will not: it dawdles, talks nonsense, forgets
//! the service's token, and lets tokens end within a second.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

/// How the fake behaves, and what it has seen.
#[derive(Default)]
pub struct State {
    /// Callers' tokens: project, role, and the seconds that each has left.
    pub tokens: HashMap<String, (String, String, i64)>,
    /// Overrides the answer to a validation, as status and body.
    pub answer: Option<(u16, String)>,
    /// So many requests get no answer, but the end of their connection.
    pub hung_up: usize,
    /// Overrides the status of a login.
    pub login: Option<u16>,
    /// Logins that come in while this is so are held, and come to nothing.
    pub logins_held: bool,
    /// The number of the service token that is valid; a login makes the next.
    pub valid_login: u32,
    /// The life of a service token, in seconds.
    pub login_life: i64,
    /// Valid tokens are answered by a body of so many blanks, as far as it is taken.
    pub blanks: usize,
    /// How many of them were taken.
    pub taken: usize,
    /// Requests are held while this is so.
    pub held: bool,
    pub logins: u32,
    /// The subject tokens that were asked for.
    pub validated: Vec<String>,
}

pub struct FakeKeystone {
    pub url: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl FakeKeystone {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v3", listener.local_addr().expect("an address"));
        let state = State { login_life: 3600, ..State::default() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let served = Arc::clone(&shared);
        // The thread ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&served);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    while serve(&mut reader, &stream, &shared).is_some() {}
                });
            }
        });
        Self { url, shared }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no test thread has panicked")
    }

    /// Lets a token stand for a project and a role, for so many seconds.
    pub fn know(&self, token: &str, project: &str, role: &str, seconds: i64) {
        self.state().tokens.insert(token.to_owned(), (project.to_owned(), role.to_owned(), seconds));
    }

    /// Answers what has been held up.
    pub fn release(&self) {
        self.state().held = false;
        self.state().logins_held = false;
        self.shared.1.notify_all();
    }

    /// Returns once so many validations have come in.
    pub fn wait_for_validations(&self, count: usize) {
        let (state, changed) = &*self.shared;
        let state = state.lock().expect("no test thread has panicked");
        drop(changed.wait_while(state, |state| state.validated.len() < count));
    }
}

/// Answers one request; `None` where none will follow.
fn serve(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream, shared: &(Mutex<State>, Condvar)) -> Option<()> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        // Whoever connected has gone.
        return None;
    }
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, token, body) = answer(&line, &headers, &serde_json::from_slice(&body).unwrap_or_default(), shared);
    {
        // Locked no longer than this.
        let hung_up = &mut shared.0.lock().expect("no test thread has panicked").hung_up;
        if *hung_up > 0 {
            *hung_up -= 1;
            return None;
        }
    }
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        token.map(|token| format!("X-Subject-Token: {token}\r\n")).unwrap_or_default()
    );
    let blanks = shared.0.lock().expect("no test thread has panicked").blanks;
    if status == 200 && blanks > 0 {
        stream.write_all(b"HTTP/1.1 200 Answer\r\nConnection: close\r\n\r\n").ok()?;
        for _ in 0..blanks / 4096 {
            stream.write_all(&[b' '; 4096]).ok()?;
            shared.0.lock().expect("no test thread has panicked").taken += 4096;
        }
        return None;
    }
    stream.write_all((head + &body).as_bytes()).ok()
}

/// Status, the service's new token if it logged in, and body.
fn answer(
    line: &str,
    headers: &HashMap<String, String>,
    body: &Value,
    (state, changed): &(Mutex<State>, Condvar),
) -> (u16, Option<String>, String) {
    let mut state = state.lock().expect("no test thread has panicked");
    let token_body = |project: &str, role: &str, seconds: i64| {
        let expires = (Utc::now() + TimeDelta::seconds(seconds)).format("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let user = json!({ "id": "u", "name": "u" });
        json!({ "token": { "user": user, "project": { "id": project }, "roles": [{ "name": role }], "expires_at": expires } })
            .to_string()
    };
    if line.starts_with("POST /v3/auth/tokens ") {
        state.logins += 1;
        let user = &body["auth"]["identity"]["password"]["user"];
        if user["name"] != "glance" || user["password"] != "glance-pass" || user["domain"]["id"] != "default" {
            return (401, None, String::new());
        }
        if state.logins_held {
            drop(changed.wait_while(state, |state| state.logins_held));
            return (503, None, String::new());
        }
        if let Some(status) = state.login {
            return (status, None, String::new());
        }
        state.valid_login += 1;
        let token = format!("service-token-{}", state.valid_login);
        return (201, Some(token), token_body("service", "admin", state.login_life));
    }
    assert!(line.starts_with("GET /v3/auth/tokens?nocatalog "), "{line}");
    let subject = headers.get("x-subject-token").cloned().unwrap_or_default();
    state.validated.push(subject.clone());
    changed.notify_all();
    let mut state = changed.wait_while(state, |state| state.held).expect("no test thread has panicked");
    if headers.get("x-auth-token") != Some(&format!("service-token-{}", state.valid_login)) {
        return (401, None, String::new());
    }
    if let Some((status, body)) = state.answer.take() {
        state.answer = Some((status, body.clone()));
        return (status, None, body);
    }
    match state.tokens.get(&subject) {
        Some((project, role, seconds)) => (200, None, token_body(project, role, *seconds)),
        None => (404, None, String::new()),
    }
}
