//! Requests per second and their latencies, all servers in turn.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use anyhow::{Context as _, ensure};
use glimpse::random::Random;
use tokio::time::timeout;

use super::Arguments;
use super::load::{self, Connection, Expected};
use super::queries::{Queries, Query};
use super::servers::{Learning, Server, worked};

/// Keep-alive connections, and clients of `pgbench`.
const CONNECTIONS: usize = 8;

/// The most scripts that `pgbench` takes; each holds one query.
const SCRIPTS: usize = 128;

/// How many queries are tried for one that fills a page.
const TRIES: usize = 20;

pub async fn measure(arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    let mut contenders = Vec::new();
    for (index, program) in arguments.programs.iter().enumerate() {
        let name = if index == 0 { "glimpse".to_owned() } else { program.display().to_string() };
        contenders.push(Contender::http(name, Server::glimpse(program, url, &arguments.settings)?));
    }
    let Kind::Http(first, _) = &contenders[0].kind else { unreachable!("glimpse speaks HTTP") };
    let (queries, expected, learning) = warm_up(arguments, url, &first.address).await?;
    contenders.push(Contender::http("static".to_owned(), learning.serve()?));
    if url.starts_with("postgres") {
        contenders.push(Contender { name: "pgbench".to_owned(), kind: Kind::Pgbench, slices: Vec::new() });
    }

    let mut random = Random::new(arguments.seed, 1);
    println!("{:>8}{:>12}{:>10}{:>10}{:>10}", "", "requests/s", "p50 ms", "p99 ms", "p99.9 ms");
    for round in 1..=arguments.rounds {
        println!("round {round}");
        for Contender { name, kind, slices } in &mut contenders {
            let slice = match kind {
                Kind::Http(server, next) => http(server, next, &expected, arguments.seconds).await?,
                Kind::Pgbench => pgbench(url, &queries, &mut random, arguments.seconds)?,
            };
            println!("{name:>8}{slice}");
            slices.push(slice);
        }
    }
    println!("medians");
    for Contender { name, slices, .. } in &contenders {
        println!("{name:>8}{}", Slice::median(slices));
    }
    let glimpse = Slice::median(&contenders[0].slices).rate;
    for Contender { name, slices, .. } in &contenders[1..] {
        println!("glimpse is at {:.1} % of {name}", glimpse / Slice::median(slices).rate * 100.0);
    }
    Ok(())
}

/// Asks for queries until enough of them fill a page; the static server learns their answers.
async fn warm_up(
    arguments: &Arguments,
    url: &str,
    address: &str,
) -> anyhow::Result<(Vec<Query>, Rc<Vec<Expected>>, Learning)> {
    let started = Instant::now();
    let wanted = usize::try_from(arguments.queries)?;
    let mut drawn = Queries::of(url, arguments.seed, arguments.limit).await?.take(wanted * TRIES);
    let (mut queries, mut expected) = (Vec::new(), Vec::new());
    let mut learning = Learning::start()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(address).await?);
    }
    let mut tried = 0;
    while queries.len() < wanted && !connections.is_empty() {
        // A connection without a query is dropped.
        let asked: Vec<_> = connections
            .drain(..)
            .zip(&mut drawn)
            .map(|(mut connection, query)| {
                rt::spawn(async move {
                    let request = load::get(&query.target);
                    let mut body = Vec::new();
                    let head = connection.ask(&request, |piece| body.extend_from_slice(piece)).await?;
                    anyhow::Ok((connection, query, request, head, body))
                })
            })
            .collect();
        for answer in asked {
            let (connection, query, request, head, body) = answer.await??;
            tried += 1;
            if head.is_full && queries.len() < wanted {
                learning.learn(&query.target, &body)?;
                expected.push(Expected { request, length: head.length });
                queries.push(query);
            }
            connections.push(connection);
        }
    }
    ensure!(
        queries.len() == wanted,
        "only {} of {tried} queries fill a page of {}; ask for fewer by --queries",
        queries.len(),
        arguments.limit
    );
    println!(
        "{wanted} distinct queries (of {tried} drawn by the seed {}) that fill a page of {}, {} bytes on average, each \
         asked once within {:.1} s. Then in turn {} times {} s each, over {CONNECTIONS} connections.",
        arguments.seed,
        arguments.limit,
        expected.iter().map(|expected| expected.length).sum::<usize>() / wanted,
        started.elapsed().as_secs_f64(),
        arguments.rounds,
        arguments.seconds
    );
    Ok((queries, Rc::new(expected), learning))
}

/// What is measured in turn with others.
struct Contender {
    name: String,
    kind: Kind,
    slices: Vec<Slice>,
}

enum Kind {
    /// A server, and where in the list of queries it stands.
    Http(Server, Rc<Cell<usize>>),
    Pgbench,
}

impl Contender {
    fn http(name: String, server: Server) -> Self {
        Self { name, kind: Kind::Http(server, Rc::default()), slices: Vec::new() }
    }
}

/// What was measured in one go.
#[derive(Clone)]
struct Slice {
    rate: f64,
    /// Of all latencies the 50th, 99th and 99.9th in a hundred, in milliseconds.
    percentiles: [f64; 3],
    /// What the load generator took of one processor.
    generator: Option<f64>,
}

impl Slice {
    fn new(elapsed: Duration, mut latencies: Vec<Duration>) -> anyhow::Result<Self> {
        ensure!(!latencies.is_empty(), "there was not one answer");
        latencies.sort_unstable();
        let at = |permille: usize| latencies[(latencies.len() * permille / 1000).min(latencies.len() - 1)];
        let percentiles = [500, 990, 999].map(|permille| at(permille).as_secs_f64() * 1e3);
        let rate = f64::from(u32::try_from(latencies.len())?) / elapsed.as_secs_f64();
        Ok(Self { rate, percentiles, generator: None })
    }

    fn median(slices: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| {
            let mut values: Vec<f64> = slices.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let percentiles =
            [of(|slice| slice.percentiles[0]), of(|slice| slice.percentiles[1]), of(|slice| slice.percentiles[2])];
        Self { rate: of(|slice| slice.rate), percentiles, generator: None }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all] = self.percentiles;
        write!(formatter, "{:>12.0}{half:>10.3}{most:>10.3}{nearly_all:>10.3}", self.rate)?;
        match self.generator {
            Some(share) => write!(formatter, "  load generator {:.0} % of a processor", share * 100.0),
            None => Ok(()),
        }
    }
}

async fn http(
    server: &Server,
    next: &Rc<Cell<usize>>,
    expected: &Rc<Vec<Expected>>,
    seconds: u64,
) -> anyhow::Result<Slice> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let before = worked("self")?;
    let running = load::run(&server.address, CONNECTIONS, expected, next, move || Instant::now() >= until);
    let load = timeout(Duration::from_secs(seconds + 30), running).await.context("the server does not answer")??;
    let generator = worked("self")?.saturating_sub(before).as_secs_f64() / load.elapsed.as_secs_f64();
    Ok(Slice { generator: Some(generator), ..Slice::new(load.elapsed, load.latencies)? })
}

/// Runs the SQL of some queries, drawn anew each time.
fn pgbench(url: &str, queries: &[Query], random: &mut Random, seconds: u64) -> anyhow::Result<Slice> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("pgbench");
    command.args([
        "-n",
        "-M",
        "prepared",
        "-c",
        &CONNECTIONS.to_string(),
        "-j",
        "1",
        "-T",
        &seconds.to_string(),
        "--log",
    ]);
    for number in 0..SCRIPTS {
        let script = folder.path().join(format!("{number}.sql"));
        fs::write(&script, &random.pick(queries).sql)?;
        command.arg("-f").arg(script);
    }
    // As glimpse has it: compiling costs more than it gains here.
    let output = command.arg(url).env("PGOPTIONS", "-c jit=off").current_dir(&folder).output();
    let output = output.context("pgbench cannot be run")?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let rate = report.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());

    let mut latencies = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            // CLIENT NUMBER MICROSECONDS ...
            let log = fs::read_to_string(path)?;
            let microseconds = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse().ok());
            latencies.extend(microseconds.map(Duration::from_micros));
        }
    }
    let rate = rate.context("pgbench tells the transactions per second")?;
    Ok(Slice { rate, ..Slice::new(Duration::from_secs(seconds), latencies)? })
}
