//! `glimpse explain`: how a list is found, for the query and the caller that it is given.

use crate::indexes::fill;
use crate::support::{Database, Engine, Image, Start, id, image, on_both_engines};

fn prepared(engine: Engine, sql: &str) -> Database {
    let start = Start::new(engine).argument("migrate");
    assert!(start.output().status.success());
    start.database.execute(sql);
    start.database
}

/// However little time a query has elsewhere, here it is seen to its end.
fn explain(database: Database, arguments: &[&str]) -> Start {
    let start = Start::on(database).set("QUERY_TIMEOUT", "1ms").argument("explain");
    arguments.iter().fold(start, |start, argument| start.argument(argument))
}

/// What it prints, taken apart.
#[derive(Debug)]
struct Explained {
    /// Why the plan was chosen.
    findings: Vec<String>,
    answer: String,
    /// What stands in the places of the last statement, the page's own.
    binds: Vec<String>,
}

/// Runs it on a database, which it gives back, and holds what it prints to its form.
#[track_caller]
fn explained(database: Database, arguments: &[&str]) -> (Database, Explained) {
    let start = explain(database, arguments);
    let output = start.output();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    let mut parts = text.split("\n\nStatement ");
    let head: Vec<&str> = parts.next().unwrap_or_default().lines().collect();
    let [plan, findings @ .., answer, work] = head.as_slice() else { panic!("{text}") };
    assert!(plan.strip_prefix("Plan: ").is_some_and(|plan| !plan.is_empty()), "{text}");

    let (mut total, mut count, mut unit, mut binds) = (0, 0, "", Vec::new());
    for statement in parts {
        count += 1;
        let (title, rest) = statement.split_once("\n  ").expect("a title");
        let (number, cost) = title.split_once(": ").expect("a number");
        assert_eq!(number, count.to_string(), "{text}");
        let (cost, of_what) = cost.split_once(' ').expect("a unit");
        total += cost.parse::<i64>().expect("a number");
        unit = of_what;

        let (sql, rest) = rest.split_once("\n    ").expect("the engine's plan");
        let (sql, bound) = sql.split_once("\n  1 = ").unwrap_or((sql, ""));
        assert!(sql.contains("SELECT ") && !rest.is_empty(), "{text}");
        let places = match start.database.engine {
            Engine::Sqlite => sql.matches('?').count(),
            Engine::Postgres => (1..=99).take_while(|place| sql.contains(&format!("${place}"))).count(),
        };
        binds = bound
            .lines()
            .enumerate()
            .map(|(place, line)| match place {
                0 => line,
                _ => line.strip_prefix(&format!("  {} = ", place + 1)).expect("the next place"),
            })
            .collect();
        assert_eq!(binds.len(), places, "{text}");
    }
    let statements = if count == 1 { "1 statement".to_owned() } else { format!("{count} statements") };
    assert_eq!(*work, format!("Work: {total} {unit} in {statements}"), "{text}");
    assert!(total > 0, "{text}");

    let explained = Explained {
        findings: findings.iter().map(|finding| finding.strip_prefix("  ").expect("an indent").to_owned()).collect(),
        answer: answer.strip_prefix("Answer: ").expect("the answer").to_owned(),
        binds: binds.into_iter().map(str::to_owned).collect(),
    };
    (start.database, explained)
}

fn it_tells_the_plan_the_statements_and_the_answer(engine: Engine) {
    let mut database = prepared(engine, &fill(engine));
    for before in ["", "?", "/v1.1/images/detail?", "http://images.example.org/v1.1/images/detail?"] {
        let (back, easy) = explained(database, &[&format!("{before}status=active&limit=3")]);
        assert_eq!(easy.answer, "3 images, and more follow", "{before}");
        assert!(easy.binds.contains(&"\"active\"".to_owned()), "{easy:?}");
        database = back;
    }
    let (database, odd) = explained(database, &["status=active&limit=3&other=what?name=nothing"]);
    assert_eq!(odd.answer, "3 images, and more follow");

    // One of the oldest two, which a walk from the newest on does not find soon.
    let (database, sparse) = explained(database, &["size_max=2000&status=active&limit=5"]);
    assert_eq!(sparse.answer, "1 image");
    assert!(sparse.binds.contains(&"2000".to_owned()), "{sparse:?}");
    assert!(sparse.findings.iter().any(|finding| finding.contains("next costs about ")), "{sparse:?}");

    // All but a few are of one format, whose older half does not match.
    let list = "size_min=5000000&sort_key=container_format&sort_dir=asc&limit=5";
    let (database, apart) = explained(database, &[list]);
    assert_eq!(apart.answer, "5 images, and more follow");
    for piece in ["among those without container_format:", "among those of container_format \"bare\":"] {
        assert!(apart.findings.iter().any(|finding| finding == piece), "{apart:?}");
    }

    let marker = "00000000-0000-4000-8000-000000000002";
    let (database, after) = explained(database, &[&format!("marker={marker}&limit=2")]);
    assert_eq!(after.answer, "1 image");
    assert!(after.binds.contains(&marker.to_owned()), "{after:?}");
    assert_eq!(explained(database, &[]).1.answer, "1000 images, and more follow", "the list without a query");
}
on_both_engines!(it_tells_the_plan_the_statements_and_the_answer);

fn it_asks_as_the_caller_that_it_is_told(engine: Engine) {
    let private = |number: u32, owner: &str| Image { is_public: false, owner: Some(owner.to_owned()), ..image(number) };
    let named = Image { properties: [("min_disk".to_owned(), Some("9".to_owned()))].into(), ..image(1) };
    let images = [named, private(2, "ours"), private(3, "theirs"), private(4, "theirs")];
    let mut database = prepared(engine, &images.iter().map(Image::insert).collect::<String>());
    for (arguments, answer) in [
        (&[""][..], "4 images"),
        (&["", "--anonymous"], "1 image"),
        (&["", "--project", "ours"], "2 images"),
        (&["", "--project", "ours", "--admin"], "2 images"),
        (&["is_public=none", "--project", "ours", "--admin"], "4 images"),
        (&["is_public=none", "--project", "ours"], "2 images"),
    ] {
        let (back, explained) = explained(database, arguments);
        assert_eq!(explained.answer, answer, "{arguments:?}");
        let of_project = arguments.len() == 3;
        assert!(!of_project || explained.binds.contains(&"\"ours\"".to_owned()), "{arguments:?}: {explained:?}");
        database = back;
    }
}
on_both_engines!(it_asks_as_the_caller_that_it_is_told);

fn what_the_api_refuses_is_refused_in_the_same_words(engine: Engine) {
    let hidden = Image { is_public: false, ..image(1) };
    let server = Start::on(prepared(engine, &hidden.insert())).serve();
    let unknown = format!("marker={}", id(2));
    let queries = ["size_min=one", "limit=-1", "sort_key=colour", "name=%00", &unknown];
    let messages = queries.map(|query| server.get(&format!("/v1.1/images/detail?{query}")).refusal(400));
    let mut database = server.stop().database;
    let mut refused = |arguments: &[&str], message: &str| {
        let start = explain(std::mem::replace(&mut database, Database::new(Engine::Sqlite)), arguments);
        let output = start.output();
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("glimpse: {message}\n"), "{arguments:?}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{arguments:?}");
        database = start.database;
    };
    for (query, message) in queries.iter().zip(&messages) {
        refused(&[query], message);
    }
    let seen_by_others = messages[4].replace(&id(2).to_string(), &id(1).to_string());
    refused(&[&format!("marker={}", id(1)), "--anonymous"], &seen_by_others);
}
on_both_engines!(what_the_api_refuses_is_refused_in_the_same_words);
