//! The memory of a server that has been busy, and how soon a server is ready.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt;
use anyhow::ensure;
use glimpse::random::Random;

use super::Arguments;
use super::load::{self, Connection, Expected};
use super::queries::Queries;
use super::servers::Server;

const CONNECTIONS: usize = 64;

/// How often it is started.
const STARTS: usize = 10;

pub async fn measure(arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    for program in &arguments.programs {
        println!("{}", program.display());
        starts(program, arguments, url).await?;
        memory(program, arguments, url).await?;
    }
    Ok(())
}

/// The time from the start of the process, with schema and seeds looked after, to the first 200
/// of `/ready`.
async fn starts(program: &Path, arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let server = Server::glimpse(program, url, &arguments.settings)?;
        Connection::open(&server.address).await?.ask(&load::get("/ready"), |_| {}).await?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("ready after {:.1} ms, at most {:.1} ms ({STARTS} starts)", times[STARTS / 2], times[STARTS - 1]);
    Ok(())
}

async fn memory(program: &Path, arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    let server = Server::glimpse(program, url, &arguments.settings)?;
    Connection::open(&server.address).await?.ask(&load::get("/ready"), |_| {}).await?;
    let idle = server.memory("RssAnon")?;

    let list = Rc::new(mixed(arguments, url, &server).await?);
    let next = Rc::new(Cell::new(0));
    let (asked, requests) = (Rc::clone(&next), arguments.requests);
    let most = Rc::new(Cell::new(0));
    let server = Rc::new(server);
    let (watched, peak) = (Rc::clone(&server), Rc::clone(&most));
    let watching = rt::spawn(async move {
        loop {
            peak.set(watched.memory("RssAnon").unwrap_or_default().max(peak.get()));
            rt::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let load = load::run(&server.address, CONNECTIONS, &list, &next, move || asked.get() >= requests).await?;
    watching.abort();
    ensure!(load.latencies.len() >= requests, "some requests were not made");
    let after = server.memory("RssAnon")?;
    rt::time::sleep(Duration::from_secs(3)).await;
    let later = server.memory("RssAnon")?;
    let mib = |kib: u32| f64::from(kib) / 1024.0;
    println!(
        "{} requests over {CONNECTIONS} connections in {:.1} s: {:.1} MiB idle; above that {:.1} MiB after them, {:.1} MiB \
         3 s later, and {:.1} MiB at the most (anonymous memory, so that mapped files do not count)",
        load.latencies.len(),
        load.elapsed.as_secs_f64(),
        mib(idle),
        mib(after.saturating_sub(idle)),
        mib(later.saturating_sub(idle)),
        mib(most.get().saturating_sub(idle))
    );
    Ok(())
}

/// Requests of all kinds, of which each tenth is for a page of 1000, with their answers' lengths.
async fn mixed(arguments: &Arguments, url: &str, server: &Server) -> anyhow::Result<Vec<Expected>> {
    let mut small = Queries::of(url, arguments.seed, 25).await?;
    let mut large = Queries::of(url, arguments.seed, 1000).await?;
    let mut random = Random::new(arguments.seed, 1);
    let mut connection = Connection::open(&server.address).await?;
    let mut list = Vec::new();
    while list.len() < 2000 {
        let drawn = if random.below(10) == 0 { large.next() } else { small.next() };
        let Some(query) = drawn else { break };
        let target = match random.below(10) {
            0 => query.target.replace("/images/detail?", "/images?"),
            1 => "/v1.1".to_owned(),
            _ => query.target,
        };
        let request = load::get(&target);
        let length = connection.ask(&request, |_| {}).await?.length;
        list.push(Expected { request, length });
    }
    Ok(list)
}
