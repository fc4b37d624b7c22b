//! The end of a server that has clients. tests/restart/restart does it under load, and behind nginx.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command};

use crate::support::{Answer, Engine, Glimpse, Image, Start, get, image, on_both_engines};

/// They are in the queue of the kernel, and some are accepted before the signal is seen, some after.
fn connections_that_are_there_at_the_signal_are_served(engine: Engine) {
    for signal in ["TERM", "INT", "HUP"] {
        serves_all_at(engine, signal);
    }
}
on_both_engines!(connections_that_are_there_at_the_signal_are_served);

fn serves_all_at(engine: Engine, signal: &str) {
    // The tests themselves may be run by nohup, which is told by what SIGHUP does at the start.
    let start = Start::new(engine).after("exec env --default-signal=HUP \"$0\" \"$@\"");
    // On a busy machine they take their time.
    let start = start.set("ACQUIRE_TIMEOUT", "1m").set("SHUTDOWN_TIMEOUT", "1m");
    let mut server = start.seed("0001_images.sql", image(1).insert()).serve();
    let mut kept = server.connect();
    let request = "GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n";
    kept.write_all(request.as_bytes()).expect("the request can be sent");
    let read = kept.read(&mut [0; 4096]).expect("an answer");
    assert!(read > 0);
    server.pause();
    let waiting: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("the request can be sent");
            stream
        })
        .collect();
    kept.write_all(request.as_bytes()).expect("the request can be sent");
    server.signal(signal);
    server.signal("CONT");
    for stream in waiting.into_iter().chain([kept]) {
        assert_eq!(Answer::read(stream, "GET").images().len(), 1);
    }
    assert!(server.wait().success());
}

/// A worker of the server ends with its last client. Connections to the database that it has opened
/// serve the other workers to their end.
#[test]
#[ignore = "needs PostgreSQL: tests/run brings it"]
fn a_worker_that_ends_takes_no_connection_with_it() {
    let start = Start::new(Engine::Postgres).seed("0001_images.sql", image(1).insert());
    let patient = ["QUERY_TIMEOUT", "SHUTDOWN_TIMEOUT"].into_iter().fold(start, |start, name| start.set(name, "1m"));
    let server = patient.set("DATABASE_CONNECTIONS", "1").serve();
    let list = get("/v1.1/images/detail");
    // Clients go to the workers in turn: another one uses the connection next.
    assert_eq!(server.send(&list).images().len(), 1);
    let mut lock = server.database().lock("images");
    let mut stream = server.connect();
    stream.write_all(b"GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n").expect("the request can be sent");
    lock.wait_for_another();
    is_served_though_another_worker_ends(server, stream, || lock.release());
}

/// Ends a server that holds one request up, and lets it go on once no other worker is left.
pub fn is_served_though_another_worker_ends(mut server: Glimpse, stream: TcpStream, release: impl FnOnce()) {
    assert!(workers(&server) > 0);
    server.signal("TERM");
    while workers(&server) > 1 {}
    release();
    assert_eq!(Answer::read(stream, "GET").images().len(), 1);
    assert!(server.wait().success());
}

fn workers(server: &Glimpse) -> usize {
    let tasks = fs::read_dir(server.process().join("task")).expect("Linux");
    let names = tasks.map(|task| fs::read_to_string(task.expect("a thread").path().join("comm")).unwrap_or_default());
    // The kernel keeps fifteen letters of a name.
    names.filter(|name| name.trim_end() == "actix-rt|system").count()
}

/// Starts a command for a database that is not there; returns once it says so.
fn waiting(start: &Start) -> (Child, BufReader<ChildStderr>) {
    let mut process = start.spawn();
    let mut said = BufReader::new(process.stderr.take().expect("it is piped"));
    wait_on(&mut said);
    (process, said)
}

fn wait_on(said: &mut BufReader<ChildStderr>) {
    let mut line = String::new();
    while !line.contains("waiting for PostgreSQL") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("it can be read"), 0, "it does not wait");
    }
}

pub fn kill(process: &Child, signal: &str) {
    let command = format!("kill -{signal} {}", process.id());
    assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
}

/// One that asks for a database which never comes.
fn vain(command: &str) -> Start {
    let words = command.split(' ').fold(Start::new(Engine::Sqlite), Start::argument);
    words.set("DATABASE_URL", "postgres://glimpse@127.0.0.1:9/glimpse").set("CONNECT_TIMEOUT", "1m")
}

/// The first process of a container gets only those signals that it hears, so that the end must be
/// its own.
#[test]
fn a_signal_ends_what_waits_for_its_database() {
    for (command, status) in [("serve", 0), ("migrate", 143), ("generate --count 1", 143), ("import images.json", 143)]
    {
        let start = vain(command);
        std::fs::write(start.database.folder.path().join("images.json"), "[]").expect("a file can be written");
        let (mut process, _said) = waiting(&start);
        kill(&process, "TERM");
        assert_eq!(process.wait().expect("it ends").code(), Some(status), "{command}");
    }
}

#[test]
fn what_is_started_by_nohup_goes_on_when_its_terminal_closes() {
    let start = vain("serve").after("trap '' HUP");
    let (mut process, mut said) = waiting(&start);
    kill(&process, "HUP");
    wait_on(&mut said);
    wait_on(&mut said);
    kill(&process, "INT");
    assert!(process.wait().expect("it ends").success());
}

#[test]
fn clients_that_hold_a_connection_do_not_keep_the_server_from_its_end() {
    let properties = [("text".to_owned(), Some("x".repeat(4000)))].into_iter().collect();
    let large = Image { properties, ..image(1) };
    let sql: String = (1..=1000).map(|number| Image { id: image(number).id, ..large.clone() }.insert()).collect();
    let start = Start::new(Engine::Sqlite).seed("1_large.sql", sql).set("CLIENT_TIMEOUT", "1day");
    let mut server = start.set("SHUTDOWN_TIMEOUT", "800ms").serve();
    let page = "GET /v1.1/images/detail HTTP/1.1\r\nHost: x\r\n\r\n";
    let held = ["", "GET / HTTP/1.1\r\nHos", &page.repeat(8)].map(|text| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).expect("it can be sent");
        stream
    });
    assert_eq!(server.get("/healthcheck").status, 200);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(server.log().contains("SHUTDOWN_TIMEOUT"), "{}", server.log());
    drop(held);
}

/// As systemd wants to know it of a service of Type=notify.
#[test]
fn systemd_is_told_of_the_start_and_of_the_end() {
    let start = Start::new(Engine::Sqlite);
    let path = start.database.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut server = start.set("NOTIFY_SOCKET", path.display().to_string()).serve();
    let told = || {
        let mut bytes = [0; 100];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1\n");
    assert_eq!(server.send(&get("/ready")).status, 200);
    server.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert!(server.wait().success());
}
