//! Each documented filter alone, and the unfiltered page, use an index.

use std::time::Duration;

use glimpse::query::{Limits, Markers, Scope, View, parse};
use glimpse::store::{Patience, Target};

use crate::support::{Engine, Start, on_both_engines, run};

/// Ten thousand images, made by the database itself: the names are many, the formats and
/// statuses few, the sizes and times spread.
fn fill(engine: Engine) -> String {
    let (numbers, id, time) = match engine {
        Engine::Sqlite => (
            "(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 10000) SELECT n FROM g)",
            "printf('00000000-0000-4000-8000-%012d', n)",
            "strftime('%Y-%m-%dT%H:%M:%f000', '2016-01-01', n || ' minutes')",
        ),
        Engine::Postgres => (
            "(SELECT n FROM generate_series(1, 10000) AS n)",
            "('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid",
            "timestamp '2016-01-01' + n * interval '1 minute'",
        ),
    };
    let pick = |values: &[&str]| {
        let cases: String =
            values.iter().enumerate().map(|(index, value)| format!(" WHEN {index} THEN '{value}'")).collect();
        format!("CASE n % {}{cases} END", values.len())
    };
    format!(
        "INSERT INTO images (id, name, status, disk_format, container_format, size, is_public, created_at, updated_at)
         SELECT {id}, 'image-' || (n % 1000), {}, {}, {}, n * 1000, TRUE, {time}, {time} FROM {numbers} AS numbers;
         ANALYZE;",
        pick(&["active", "queued", "saving", "deactivated", "killed"]),
        pick(&["qcow2", "raw", "vhd", "vmdk"]),
        pick(&["bare", "ovf", "ova"]),
    )
}

fn every_single_filter_uses_an_index(engine: Engine) {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(fill(engine));
    let plans = run(async {
        let patience = Patience {
            connections: Some(1),
            acquire: Duration::from_secs(30),
            query: Duration::from_secs(30),
            connect: Duration::from_secs(30),
        };
        let store = Target::parse(&start.database.url).expect("a target").open(patience);
        let mut plans = Vec::new();
        for query in [
            "",
            "name=image-7",
            "container_format=ova",
            "disk_format=raw",
            "status=saving",
            "size_min=9990000",
            "size_max=20000",
            "changes-since=2016-01-07T22:00:00Z",
        ] {
            let parsed = parse(query, Limits { default: 25, max: 1000 }).expect("a query");
            let view = View { listed: Scope::All, markers: Markers::Any };
            plans.push((query, store.explain(&parsed, &view).await.expect("a plan").join("\n")));
        }
        store.close().await;
        plans
    });
    for (query, plan) in plans {
        assert!(plan.contains("images_by_"), "{query}: {plan}");
        assert!(!plan.contains("Seq Scan"), "{query}: {plan}");
        let scans = plan.lines().filter(|line| line.starts_with("SCAN images"));
        assert!(scans.into_iter().all(|line| line.contains("USING INDEX")), "{query}: {plan}");
    }
}
on_both_engines!(every_single_filter_uses_an_index);
