//! A PostgreSQL of a test's own, which it may break, on a port of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// Names the folder of initdb and pg_ctl.
const PROGRAMS: &str = "TEST_POSTGRES_PROGRAMS";

/// Names the command before theirs that makes them run as somebody else than root, word by word.
const AS_OWNER: &str = "TEST_POSTGRES_AS_OWNER";

/// Gone with the test.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// One that runs, with the superuser glimpse, and takes so many connections.
    pub fn new(connections: u32) -> Self {
        let cluster = Self::absent();
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-U", "glimpse", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]);
        cluster
            .add_settings(&format!("\nlisten_addresses = '127.0.0.1'\nfsync = off\nmax_connections = {connections}\n"));
        cluster.give_address();
        cluster.start();
        cluster
    }

    /// A place and a port for one.
    pub fn absent() -> Self {
        Self { folder: folder(), port: free_port() }
    }

    /// Another that follows this one, read-only.
    pub fn standby(&self) -> Self {
        let standby = Self::absent();
        let (data, from) = (standby.data(), self.url("glimpse"));
        standby.run("pg_basebackup", &["-d", &from, "-D", &data, "-R", "-X", "stream", "-c", "fast"]);
        standby.give_address();
        standby.start();
        standby
    }

    /// Gives a copy of another one its own place and port.
    pub fn give_address(&self) {
        let folder = self.folder.display();
        self.add_settings(&format!("\nport = {}\nunix_socket_directories = '{folder}'\n", self.port));
    }

    fn add_settings(&self, settings: &str) {
        let path = self.folder.join("data/postgresql.conf");
        let text = fs::read_to_string(&path).expect("initdb makes it") + settings;
        fs::write(&path, text).expect("a file can be written");
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The folder of its data.
    pub fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// A program that runs as the owner of clusters.
    pub fn as_owner(program: &str) -> Command {
        let before = std::env::var(AS_OWNER).unwrap_or_default();
        let mut words = before.split_whitespace().chain([program]);
        let mut command = Command::new(words.next().expect("there is the program"));
        command.args(words).current_dir("/").stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        let programs = std::env::var(PROGRAMS).unwrap_or_else(|_| panic!("{PROGRAMS} is not set; run tests/run"));
        let mut command = Self::as_owner(&format!("{programs}/{program}"));
        let log = fs::File::create(self.folder.join("output")).expect("a file can be made");
        let status = command.args(arguments).stdout(Stdio::null()).stderr(log).status().expect("it can be run");
        let said = fs::read_to_string(self.folder.join("output")).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {said}{}", self.log());
    }

    /// Returns once it takes connections.
    pub fn start(&self) {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "start"]);
    }

    /// Returns once it has ended; `immediate` is like a crash.
    pub fn stop(&self, mode: &str) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", mode, "-w", "stop"]);
    }

    pub fn restart(&self) {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-m", "fast", "-w", "restart"]);
    }

    /// Holds all its processes up, so that it answers nobody.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        // The first of them makes the others.
        let script = format!(
            "first=$(head -n 1 '{}/postmaster.pid') && kill -{name} \"$first\" && kill -{name} $(cat /proc/$first/task/*/children)",
            self.data()
        );
        let status = Self::as_owner("sh").args(["-c", &script]).status().expect("a shell");
        assert!(status.success() || name == "CONT", "{script}");
    }

    /// The URL of its first database, for a user.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// A pooler before it.
    pub fn pooler(&self) -> Pooler {
        self.pooler_with("")
    }

    /// The same with another line in its file of settings.
    pub fn pooler_with(&self, line: &str) -> Pooler {
        let (folder, port) = (folder(), free_port());
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pooler"));
        command.arg(&folder).args([&port.to_string(), &self.port.to_string(), line]);
        let log = fs::File::create(folder.join("log")).expect("a file can be made");
        let mut process = command.stderr(log).spawn().expect("it can be run");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().expect("it can be asked for");
            assert!(ended.is_none(), "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        }
        Pooler { folder, port, process }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let programs = std::env::var(PROGRAMS).unwrap_or_default();
        let mut command = Self::as_owner(&format!("{programs}/pg_ctl"));
        if thread::panicking() {
            // It may be held up.
            self.resume();
        }
        // It may be down.
        let _ = command.args(["-D", &self.data(), "-m", "immediate", "-w", "stop"]).stderr(Stdio::null()).output();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// PgBouncer, with the lines of `docs/SCALING.md`.
pub struct Pooler {
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl Pooler {
    /// The URL of the first database of its cluster, for a user.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}:secret@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder of the owner of clusters.
fn folder() -> PathBuf {
    let made = Cluster::as_owner("mktemp").args(["-d", "/tmp/glimpse-cluster.XXXXXX"]).output();
    let folder = String::from_utf8(made.expect("mktemp can be run").stdout).expect("a path is UTF-8");
    folder.trim_end().into()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
