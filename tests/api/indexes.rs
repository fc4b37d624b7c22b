//! Each documented filter alone, and the unfiltered page, use an index.

use std::time::Duration;

use glimpse::query::{Limits, Markers, Scope, View, parse};
use glimpse::store::{Patience, Target};

use crate::support::{Engine, Start, on_both_engines, run};

/// A list of [`fill`] that is put together of several, in a transaction.
pub const PUT_TOGETHER: &str = "/v1.1/images/detail?size_min=5000000&sort_key=container_format&sort_dir=asc&limit=5";

/// Ten thousand images, made by the database itself. Each filter's value is rare, so that its own
/// index is the way to it, and not a walk along the default order.
pub fn fill(engine: Engine) -> String {
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
    let rare =
        |value: &str, rest: usize, usual: &str| format!("CASE n % 500 WHEN {rest} THEN '{value}' ELSE '{usual}' END");
    format!(
        "INSERT INTO images (id, name, status, disk_format, container_format, size, is_public, created_at, updated_at)
         SELECT {id}, 'image-' || (n % 1000), {}, {}, {}, n * 1000, TRUE, {time}, {time} FROM {numbers} AS numbers;
         ANALYZE;",
        rare("saving", 1, "active"),
        rare("raw", 2, "qcow2"),
        rare("ova", 3, "bare"),
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
            pooled: false,
            walk: 200,
        };
        let store = Target::parse(&start.database.url).expect("a target").open(patience);
        let mut plans = Vec::new();
        for (query, index) in [
            ("", "images_by_created_at"),
            ("name=image-7", "images_by_name"),
            ("container_format=ova", "images_by_container_format"),
            ("disk_format=raw", "images_by_disk_format"),
            ("status=saving", "images_by_status"),
            ("size_min=9990000", "images_by_size"),
            ("size_max=20000", "images_by_size"),
            ("changes-since=2016-01-07T22:00:00Z&sort_dir=asc", "images_by_updated_at"),
        ] {
            let parsed = parse(query, Limits { default: 25, max: 1000 }).expect("a query");
            let view = View { listed: Scope::All, markers: Markers::Any };
            let explained = store.explain(&parsed, &view).await.expect("a plan");
            let steps: Vec<String> = explained.statements.into_iter().flat_map(|statement| statement.steps).collect();
            plans.push((query, index, steps.join("\n")));
        }
        store.close().await;
        plans
    });
    for (query, index, plan) in plans {
        let ways = match engine {
            Engine::Sqlite => {
                ["", "COVERING "].map(|kind| format!("SEARCH images USING {kind}INDEX {index} (")).to_vec()
            }
            Engine::Postgres => vec![index.to_owned()],
        };
        assert!(ways.iter().any(|way| plan.contains(way)), "{query}: {plan}");
        assert!(!plan.contains("Seq Scan"), "{query}: {plan}");
        assert!(engine == Engine::Sqlite || plan.contains("Index Cond"), "{query}: {plan}");
    }
}
on_both_engines!(every_single_filter_uses_an_index);
