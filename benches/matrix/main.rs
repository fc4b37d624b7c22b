//! Runs the matrix of queries on a catalog and reports what each costs.

#[path = "../../tests/matrix/mod.rs"]
mod matrix;
mod plot;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use glimpse::query::{Limits, parse};
use glimpse::store::{Patience, Projection, StoreError, Target};
use matrix::Case;

/// Runs the matrix of queries on a catalog and reports what each costs.
#[derive(Parser)]
struct Arguments {
    /// The catalog
    #[arg(long, env, required_unless_present = "plot")]
    database_url: Option<String>,

    /// The file that takes every query with its figures, as tab-separated values
    #[arg(long, default_value = "target/matrix.tsv")]
    out: PathBuf,

    /// How often each query is timed
    #[arg(long, default_value_t = 5)]
    runs: usize,

    /// As WALK_LIMIT: what a page passes over before another plan is looked for
    #[arg(long, default_value_t = 200)]
    walk_limit: u32,

    /// Only every so many queries
    #[arg(long, default_value_t = 1)]
    every: usize,

    /// Instead draw an SVG of how the cost grows, from the files of runs on catalogs of several sizes
    #[arg(long, value_name = "PICTURE", requires = "tables")]
    plot: Option<PathBuf>,

    /// With --plot: the files
    #[arg(value_name = "FILE", requires = "plot")]
    tables: Vec<PathBuf>,

    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

struct Measured {
    case: Case,
    work: i64,
    buffers: i64,
    milliseconds: f64,
    plan: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(picture) = &arguments.plot {
        return plot::plot(picture, &arguments.tables);
    }
    let url = arguments.database_url.as_deref().context("clap asks for it")?;
    let patience = Patience {
        connections: Some(1),
        acquire: Duration::from_secs(30),
        query: Duration::from_mins(1),
        pooled: false,
        walk: arguments.walk_limit,
    };
    // What counts the work stays on a connection and slows it down.
    let [store, explaining] = [Target::parse(url)?.open(patience), Target::parse(url)?.open(patience)];
    let mut asking = matrix::Asking::connect(url).await;
    let images = asking.one("SELECT CAST(count(*) AS TEXT) FROM images").await.context("the images can be counted")?;
    let cases = matrix::cases(&store, &mut asking).await;
    eprintln!("{} queries", cases.len());
    let mut measured = Vec::new();
    let mut unit = "";
    for case in cases.into_iter().step_by(arguments.every) {
        let query = parse(&case.query, Limits { default: matrix::PAGE, max: matrix::PAGE })?;
        let mut times = Vec::new();
        for _ in 0..arguments.runs {
            let started = Instant::now();
            match store.page(&query, &case.view, Projection::Detail).await {
                Ok(_) => {}
                Err(StoreError::Unavailable(cause)) if case.properties > 1 => eprintln!("{}: {cause}", case.query),
                Err(error) => return Err(error.into()),
            }
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let explained = explaining.explain(&query, &case.view).await?;
        unit = explained.unit;
        measured.push(Measured {
            work: explained.work(),
            buffers: explained.statements.iter().map(matrix::buffers).sum(),
            milliseconds: times[times.len() / 2],
            plan: format!("{:?}", explained.choice.plan),
            case,
        });
    }

    measured.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    let mut table = format!("milliseconds\t{unit}\tranges\tproperties\tplan\tlabel\tquery\timages\tbuffers\n");
    for Measured { case, work, buffers, milliseconds, plan } in &measured {
        let Case { label, query, ranges, properties, .. } = case;
        write!(table, "{milliseconds:.3}\t{work}\t{ranges}\t{properties}\t{plan}\t{label}\t{query}\t{images}")?;
        writeln!(table, "\t{buffers}")?;
    }
    std::fs::write(&arguments.out, &table)?;
    println!("The worst twenty of {} queries by time; all are in {}.", measured.len(), arguments.out.display());
    print!("{}", table.lines().take(21).map(|line| format!("{line}\n")).collect::<String>());
    for ranges in 0..=2 {
        let of_kind: Vec<&Measured> =
            measured.iter().filter(|one| one.case.ranges == ranges && one.case.properties < 2).collect();
        let slowest = of_kind.iter().map(|one| one.milliseconds).fold(0.0, f64::max);
        let most = of_kind.iter().map(|one| one.work).max().unwrap_or_default();
        print!("{ranges} ranges, {} queries: at most {slowest:.3} ms at the median and {most} {unit}", of_kind.len());
        match of_kind.iter().map(|one| one.buffers).max().unwrap_or_default() {
            0 => println!("."),
            buffers => println!(", {buffers} buffers."),
        }
    }
    Ok(())
}
