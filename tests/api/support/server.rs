//! The real program as a child process, and raw requests to it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Database, Engine};

/// A server that is about to be started.
pub struct Start {
    pub database: Database,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    before: Option<String>,
}

impl Start {
    /// On an empty database, with nothing else set.
    pub fn new(engine: Engine) -> Self {
        Self::on(Database::new(engine))
    }

    pub fn on(database: Database) -> Self {
        Self { database, variables: Vec::new(), arguments: Vec::new(), before: None }
    }

    pub fn set(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.push((variable.to_owned(), value.into()));
        self
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Lets a shell run commands in the process first, such as those that set its limits.
    pub fn after(mut self, commands: &str) -> Self {
        self.before = Some(commands.to_owned());
        self
    }

    /// Writes a file into the folder of seeds.
    pub fn seed(self, name: &str, sql: impl AsRef<[u8]>) -> Self {
        let folder = self.seeds();
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join(name), sql).expect("a file can be written");
        self
    }

    /// The folder of seeds.
    pub fn seeds(&self) -> PathBuf {
        self.database.folder.path().join("seeds")
    }

    /// Writes the file of tokens, and asks for them.
    pub fn tokens(self, tokens: &Value) -> Self {
        let path = self.database.folder.path().join("tokens.json");
        fs::write(&path, tokens.to_string()).expect("a file can be written");
        self.set("AUTH", "tokens").set("AUTH_TOKENS_FILE", path.display().to_string())
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_glimpse");
        let mut command = match &self.before {
            Some(commands) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("{commands}; exec \"$0\" \"$@\""), program]);
                shell
            }
            None => Command::new(program),
        };
        command
            .env_clear()
            .current_dir(self.database.folder.path())
            .envs(self.database.variables())
            .env("LISTEN", "127.0.0.1:0")
            .args(&self.arguments)
            .stdin(Stdio::null());
        if self.seeds().exists() {
            command.env("SEEDS_DIR", self.seeds());
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program to its end, for what does not serve.
    pub fn output(&self) -> Output {
        self.command().output().expect("the program can be run")
    }

    /// Runs the program to its end on an input.
    pub fn output_of(&self, input: &str) -> Output {
        output_of(&mut self.command(), input)
    }

    /// Starts the program with its messages piped, for what tells how far it is.
    pub fn spawn(&self) -> Child {
        let started = self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        started.expect("the program can be started")
    }

    /// Starts the program with its input and its messages piped, for what reads.
    pub fn spawn_reading(&self) -> Child {
        let mut command = self.command();
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("the program can be started")
    }

    /// The message of a start that is refused.
    pub fn refusal(&self) -> String {
        let mut child =
            self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        stdout.read_line(&mut line).expect("standard output can be read");
        if !line.is_empty() {
            // It serves, and would do so for ever.
            child.kill().expect("the process can be ended");
        }
        let output = child.wait_with_output().expect("the process ends");
        let message = String::from_utf8(output.stderr).expect("messages are UTF-8");
        assert!(!output.status.success() && line.is_empty(), "the start was not refused: {message}");
        message
    }

    /// Starts the server and waits until it serves.
    pub fn serve(self) -> Glimpse {
        let file = File::options().create(true).append(true).open(self.log()).expect("a log file");
        self.serve_and_log_to(file)
    }

    fn log(&self) -> PathBuf {
        self.database.folder.path().join("log")
    }

    /// The same with a log that goes elsewhere.
    pub fn serve_and_log_to(self, stderr: impl Into<Stdio>) -> Glimpse {
        let log = self.log();
        let mut command = self.command();
        if self.variable("RUST_LOG").is_none() {
            // All that there is to say, so that every test looks for secrets in it.
            command.env("RUST_LOG", "trace");
        }
        let started = command.stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = started.expect("the program can be started");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        stdout.read_line(&mut line).expect("standard output can be read");
        let Some(address) = line.trim_end().strip_prefix("listening on http://") else {
            panic!("no server, but {line:?}: {}", fs::read_to_string(&log).unwrap_or_default());
        };
        let secrets = Mutex::new(self.secrets());
        Glimpse { address: address.to_owned(), child, log, start: self, secrets }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().rev().find(|(variable, _)| variable == name).map(|(_, value)| value.as_str())
    }

    /// What is in the settings that no log may show.
    fn secrets(&self) -> BTreeSet<String> {
        let tokens = self.variable("AUTH_TOKENS_FILE").and_then(|path| fs::read(path).ok());
        let tokens: Value = tokens.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let tokens = tokens.as_object().into_iter().flat_map(|tokens| tokens.keys().cloned());
        let password = self.variable("KEYSTONE_PASSWORD").map(str::to_owned);
        let of_database = self.database.url.split_once('@').and_then(|(user, _)| user.rsplit(':').next());
        let of_database = of_database.filter(|password| !password.starts_with('/')).map(str::to_owned);
        tokens.chain(password).chain(of_database).collect()
    }
}

/// Runs a program to its end on an input.
pub fn output_of(command: &mut Command, input: &str) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    thread::scope(|scope| {
        // It may end before it has read all of it.
        scope.spawn(move || stdin.write_all(input.as_bytes()).ok());
        child.wait_with_output().expect("the program can be run")
    })
}

/// A server that serves; it ends with the test.
pub struct Glimpse {
    pub address: String,
    child: Child,
    log: PathBuf,
    start: Start,
    /// What no log may show.
    secrets: Mutex<BTreeSet<String>>,
}

impl Glimpse {
    pub fn database(&self) -> &Database {
        &self.start.database
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send(&get(target))
    }

    /// Sends a request on a connection of its own.
    pub fn send(&self, request: &Request) -> Answer {
        let tokens = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("X-Auth-Token"));
        let mut secrets = self.secrets.lock().expect("no thread has panicked");
        secrets.extend(tokens.map(|(_, token)| token.trim().to_owned()));
        drop(secrets);
        request.send_to(&self.address)
    }

    pub fn connect(&self) -> TcpStream {
        connect(&self.address)
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
    }

    /// Holds the process up until it is sent CONT.
    pub fn pause(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        while !fs::read_to_string(&stat).expect("the process lives").contains(") T ") {
            std::thread::yield_now();
        }
    }

    /// The process of the server in `/proc`.
    pub fn process(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// Memory of the process in KiB: `VmRSS`, or `VmHWM` for the most that it ever was.
    pub fn memory(&self, field: &str) -> u64 {
        let text = fs::read_to_string(self.process().join("status")).expect("the process lives");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("a field");
        value.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// How many connections of clients the process has open, as the kernel tells it.
    pub fn connections(&self) -> usize {
        let port = self.address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
        let port = format!(":{port:04X}");
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        // The address here, the state (0A is one that listens), and the file, 0 where no process has it.
        rows.filter(|row| row[1].ends_with(&port) && row[3] != "0A" && row[9] != "0").count()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("the process can be waited for")
    }

    /// What has been logged up to now.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// Returns once something has been logged.
    pub fn wait_for_log(&self, text: &str) {
        while !self.log().contains(text) {
            std::thread::yield_now();
        }
    }

    /// Stops the server, and gives what it was started with.
    pub fn stop(mut self) -> Start {
        self.signal("TERM");
        self.wait();
        std::mem::replace(&mut self.start, Start::new(Engine::Sqlite))
    }
}

impl Glimpse {
    /// No line of the log tells a secret, nor the headers that carry them.
    fn check_log(&self) {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let secrets = self.secrets.lock().expect("no thread has panicked");
        // A shorter one may stand there by chance.
        let secrets = secrets.iter().map(String::as_str).filter(|secret| secret.len() > 6);
        for secret in secrets.chain(["x-auth-token", "x-subject-token", "gAAAA"]) {
            // In capitals the name of the header stands in messages of the program's own.
            if let Some(line) = log.lines().find(|line| line.contains(secret)) {
                panic!("the log tells {secret}: {line}");
            }
        }
    }

    /// What the server itself has to say of a test that fails.
    fn show_warnings(&self) {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        for line in log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")) {
            println!("{line}");
        }
    }
}

impl Drop for Glimpse {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.show_warnings();
        } else {
            self.check_log();
        }
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out can be set");
    stream
}

/// A request, sent just as it stands.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

pub fn get(target: &str) -> Request {
    Request { method: "GET".to_owned(), target: target.to_owned(), headers: Vec::new(), body: String::new() }
}

impl Request {
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("X-Auth-Token", token)
    }

    /// Sends it on a connection of its own to whoever serves there.
    pub fn send_to(&self, address: &str) -> Answer {
        let mut stream = connect(address);
        stream.write_all(&self.bytes(address)).expect("the request can be sent");
        Answer::read(stream, &self.method)
    }

    fn bytes(&self, address: &str) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", self.method, self.target), "Connection: close".to_owned()];
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            lines.push(format!("Host: {address}"));
        }
        lines.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        if !self.body.is_empty() {
            lines.push(format!("Content-Length: {}", self.body.len()));
        }
        (lines.join("\r\n") + "\r\n\r\n" + &self.body).into_bytes()
    }
}

/// An answer, just as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Reads an answer up to the end of the connection.
    pub fn read(mut stream: TcpStream, method: &str) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the answer can be read");
        let text = String::from_utf8(bytes).expect("answers are UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer, but {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a header has a colon"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let answer = Self { status: status.expect("a status"), headers, body: body.to_owned() };
        if method == "HEAD" {
            assert_eq!(answer.body, "", "an answer to HEAD has no body");
        } else {
            let length = answer.header("Content-Length").map(str::to_owned);
            assert_eq!(length, Some(answer.body.len().to_string()), "{answer:?}");
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The images of a list.
    #[track_caller]
    pub fn images(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()["images"].as_array().expect("an array of images").clone()
    }

    /// The names of a list's images, in order; null as "null".
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        self.images().iter().map(|image| image["name"].as_str().unwrap_or("null").to_owned()).collect()
    }

    /// The message of a refusal, whose form is checked.
    #[track_caller]
    pub fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("Content-Type"), Some("application/json; charset=UTF-8"));
        let body = self.json();
        let keys: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "title"]);
        let title = body["title"].as_str().expect("a title");
        assert_eq!(body["code"], format!("{status} {title}"));
        body["message"].as_str().expect("a message").to_owned()
    }
}
