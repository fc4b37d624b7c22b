//! How fast pages are served, and at what cost in memory: through HTTP, server and load generator
//! on one machine.
//!
//! The program is asked in turn with others that bound it: an actix-web handler that returns the
//! same bytes from memory, and for PostgreSQL `pgbench`, which selects the rows of the same pages.

mod load;
mod memory;
mod queries;
mod servers;
mod speed;

use std::path::PathBuf;

use clap::Parser;

/// Measures how fast pages of an existing catalog are served, or with --memory at what cost.
#[derive(Parser)]
struct Arguments {
    /// The catalog, filled
    #[arg(long, env, required_unless_present = "fixed")]
    database_url: Option<String>,

    /// Images in a page: 25 or 1000
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,

    /// Distinct queries, each of which fills a page
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,

    /// What queries and their order are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How long each is asked in a round, in seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,

    /// How often all are asked in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// A build of glimpse other than this one; several are compared
    #[arg(long = "program", value_name = "PATH", default_value = env!("CARGO_BIN_EXE_glimpse"))]
    programs: Vec<PathBuf>,

    /// A setting of glimpse, such as WALK_LIMIT=100
    #[arg(long = "set", value_name = "VARIABLE=VALUE", value_parser = variable)]
    settings: Vec<(String, String)>,

    /// Instead measure the memory after --requests requests, and the time until it is ready
    #[arg(long)]
    memory: bool,

    /// With --memory: how many requests
    #[arg(long, default_value_t = 100_000)]
    requests: usize,

    /// Serve what comes on standard input; how the benchmark starts its static server
    #[arg(long, hide = true)]
    fixed: bool,

    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("VARIABLE=VALUE is accepted")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    actix_web::rt::System::new().block_on(async {
        match &arguments.database_url {
            _ if arguments.fixed => servers::serve_fixed().await,
            Some(url) if arguments.memory => memory::measure(&arguments, url).await,
            Some(url) => speed::measure(&arguments, url).await,
            None => unreachable!("clap asks for it"),
        }
    })
}
