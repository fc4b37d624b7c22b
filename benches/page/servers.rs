//! The servers that are asked: glimpse itself, and one that knows its answers by heart.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, absolute};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// A child process that ends with this one's interest in it.
struct Process {
    child: Child,
    /// Its working folder, where no `.env` lies; holds its log.
    folder: TempDir,
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        // To a file, as a service's would go.
        let log = File::create(folder.path().join("log"))?;
        let child = command.current_dir(&folder).stdout(Stdio::piped()).stderr(log).spawn();
        Ok(Self { child: child.with_context(|| format!("{command:?} cannot be started"))?, folder })
    }

    /// Waits until it says where it listens.
    fn listening(mut self) -> anyhow::Result<Server> {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().context("standard output is piped")?).read_line(&mut line)?;
        match line.trim_end().strip_prefix("listening on http://") {
            Some(address) => Ok(Server { address: address.to_owned(), process: self }),
            None => bail!("no server, but: {}", fs::read_to_string(self.folder.path().join("log"))?),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that serves.
pub struct Server {
    pub address: String,
    process: Process,
}

impl Server {
    /// Starts glimpse on a catalog.
    pub fn glimpse(program: &Path, url: &str, settings: &[(String, String)]) -> anyhow::Result<Self> {
        let url = match url.strip_prefix("sqlite://") {
            Some(path) => format!("sqlite://{}", absolute(path)?.display()),
            None => url.to_owned(),
        };
        let mut command = Command::new(absolute(program)?);
        command.env_clear().env("DATABASE_URL", url).env("LISTEN", "127.0.0.1:0").stdin(Stdio::null());
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Process::start(&mut command)?.listening()
    }

    /// A line of `/proc/PID/status`, such as of RssAnon, in KiB.
    pub fn memory(&self, name: &str) -> anyhow::Result<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).context("the kernel counts memory")
    }
}

/// The time that a process has had of the processors.
pub fn worked(process: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program comes before, in brackets, and may hold anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    // Linux counts in hundredths of a second towards programs, whatever it does itself.
    Ok(Duration::from_millis(ticks * 10))
}

/// The static server, as long as it is told what to serve.
pub struct Learning {
    process: Process,
    input: BufWriter<ChildStdin>,
}

impl Learning {
    /// Starts this program once more, as the static server.
    pub fn start() -> anyhow::Result<Self> {
        let mut process = Process::start(Command::new(std::env::current_exe()?).arg("--fixed").stdin(Stdio::piped()))?;
        let input = BufWriter::new(process.child.stdin.take().context("standard input is piped")?);
        Ok(Self { process, input })
    }

    pub fn learn(&mut self, target: &str, body: &[u8]) -> anyhow::Result<()> {
        writeln!(self.input, "{} {target}", body.len())?;
        Ok(self.input.write_all(body)?)
    }

    pub fn serve(mut self) -> anyhow::Result<Server> {
        writeln!(self.input, "that is all")?;
        drop(self.input.into_inner()?);
        self.process.listening()
    }
}

/// Serves what standard input says, from memory, by as many workers as glimpse has.
pub async fn serve_fixed() -> anyhow::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut bodies = HashMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let (length, target) = line.trim_end().split_once(' ').context("the benchmark has ended")?;
        let Ok(length) = length.parse() else { break };
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        bodies.insert(target.to_owned(), Bytes::from(body));
    }
    let bodies = Data::new(bodies);
    let server =
        HttpServer::new(move || App::new().app_data(bodies.clone()).route("/v1.1/images/detail", web::get().to(fixed)));
    let server = server.bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening on http://{}", server.addrs().first().context("the server has an address")?);
    Ok(server.run().await?)
}

async fn fixed(request: HttpRequest, bodies: Data<HashMap<String, Bytes>>) -> HttpResponse {
    let body = request.uri().path_and_query().and_then(|target| bodies.get(target.as_str()));
    body.map_or_else(
        || HttpResponse::NotFound().finish(),
        |body| {
            let json = (header::CONTENT_TYPE, "application/json; charset=UTF-8");
            HttpResponse::Ok().insert_header(json).body(body.clone())
        },
    )
}
