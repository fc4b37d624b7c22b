//! The pages for new users, followed to the letter: each of their commands, in order, in an empty
//! folder.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Database, Engine, Member, Start, get, id, image, on_both_engines};

const GETTING_STARTED: &str = include_str!("../../docs/getting-started.md");
const SEEDING: &str = include_str!("../../docs/seeding.md");
const MIGRATING: &str = include_str!("../../docs/migrating.md");

/// The commands of a page, block by block.
fn blocks(text: &'static str) -> Vec<&'static str> {
    text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Runs commands in a folder, with no settings but those given and those of its `.env`.
fn follow(commands: &str, folder: &Path, settings: &[(&str, &str)]) {
    let program = Path::new(env!("CARGO_BIN_EXE_glimpse")).parent().expect("a folder").display();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", commands])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{program}:{path}"))
        .env("RUST_LOG", "warn")
        .envs(settings.iter().copied())
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
}

fn getting_started_can_be_followed(engine: Engine) {
    let [first, second, postgres] = blocks(GETTING_STARTED)[..] else { panic!("three blocks") };
    let shown = GETTING_STARTED.split("```console\n$ curl '").nth(1).expect("a request");
    let (request, answer) = shown.split_once("'\n").expect("its answer");
    let answer = answer.split("\n```").next().expect("its end");
    let target = request.strip_prefix("http://127.0.0.1:9292").expect("the address");

    let database = Database::new(engine);
    let folder = database.folder.path().to_owned();
    follow(first, &folder, &[]);
    // The server below is told the same by variables, as every server of the tests is.
    assert_eq!(
        fs::read_to_string(folder.join(".env")).expect("settings"),
        "DATABASE_URL=sqlite://catalog.db\nSEEDS_DIR=seeds\n"
    );
    if engine == Engine::Postgres {
        let (named, rest) = postgres.split_once('\n').expect("two lines");
        let (name, _) = named.split_once('=').expect("a variable");
        follow(&format!("{name}={}\n{rest}", database.url), &folder, &[]);
        assert!(!folder.join("catalog.db").exists());
    }
    let server = Start::on(database).serve();
    assert_eq!(server.get(target).body, answer);
    let server = server.stop().serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), ["my-image"]);
    assert_eq!(server.get("/console").status, 200);
    let url = server.database().url.clone();
    let settings: &[(&str, &str)] = if engine == Engine::Postgres { &[("DATABASE_URL", &url)] } else { &[] };
    follow(second, &folder, settings);
    assert_eq!(server.get("/v1.1/images/detail").names(), ["my-other-image", "my-image"]);
    assert_eq!(server.get(target).body, answer);
}
on_both_engines!(getting_started_can_be_followed);

fn seeding_can_be_followed(engine: Engine) {
    let commands = blocks(SEEDING);
    assert_eq!(commands.len(), 4);
    let database = Database::new(engine);
    let folder = database.folder.path().to_owned();
    let settings = [("DATABASE_URL", database.url.as_str()), ("SEEDS_DIR", "seeds")];
    for commands in &commands[..3] {
        follow(commands, &folder, &settings);
    }
    let exported = |url: &str| {
        let file = folder.join("exported");
        follow("glimpse export --format ndjson > exported", &folder, &[("DATABASE_URL", url)]);
        fs::read_to_string(file).expect("an export")
    };
    let all = exported(&database.url);
    assert_eq!(all.lines().count(), 3);
    assert_eq!(all, exported("sqlite://fresh.db"), "the seeds give the same catalog again");
    let tokens = json!({ "b": { "user": "b", "project": "project-b", "roles": [] } });
    let server = Start::on(database).tokens(&tokens).serve();
    let seen = |query: &str| server.send(&get(&format!("/v1.1/images{query}")).token("b")).names();
    assert_eq!(seen(""), ["shared-with-project-b", "everybody-sees-this"]);
    let url = server.database().url.clone();
    follow(commands[3], &folder, &[("DATABASE_URL", &url)]);
    assert_eq!(server.database().count("images"), 1003);
}
on_both_engines!(seeding_can_be_followed);

/// Another Glimpse stands for Glance, whose API it has.
fn moving_from_glance_can_be_followed(engine: Engine) {
    let member = |member: &str, can_share| Member { member: member.to_owned(), can_share };
    let sql: String = (1..=60)
        .map(|number| {
            let mut image = image(number);
            image.is_public = number % 2 == 0;
            image.properties.insert("number".to_owned(), Some(number.to_string()));
            if number % 5 == 0 {
                image.members = vec![member("p", true), member("q", false)];
            }
            image.is_public = image.is_public && image.members.is_empty();
            image.insert()
        })
        .collect();
    let tokens = json!({ "t": { "user": "admin", "project": "owner", "roles": ["admin"] } });
    let glance = Start::new(Engine::Sqlite).seed("1_a.sql", sql).tokens(&tokens).serve();
    let database = Database::new(engine);
    let folder = database.folder.path().to_owned();
    let address = format!("http://{}", glance.address);
    let settings = [("DATABASE_URL", database.url.as_str()), ("OS_IMAGE", &address), ("OS_TOKEN", "t")];
    for commands in blocks(MIGRATING) {
        follow(commands, &folder, &settings);
    }
    let export = |url: &str| {
        follow("glimpse export --format ndjson > exported", &folder, &[("DATABASE_URL", url)]);
        let text = fs::read_to_string(folder.join("exported")).expect("an export");
        text.lines().map(|line| serde_json::from_str(line).expect("an image")).collect::<Vec<Value>>()
    };
    let (before, after) = (export(&glance.database().url), export(&database.url));
    assert_eq!(before.len(), 60);
    let shared = |images: &[Value]| images.iter().filter(|image| image["members"] != json!([])).count();
    assert_eq!(shared(&before), 12);
    for (before, mut after) in before.into_iter().zip(after) {
        // To be given members is a change, at the moment of the import.
        if before["members"] != json!([]) {
            after["updated_at"] = before["updated_at"].clone();
        }
        assert_eq!(before, after);
    }
    assert!(fs::read_to_string(folder.join("images.ndjson")).expect("pages").contains(&id(60).to_string()));
}
on_both_engines!(moving_from_glance_can_be_followed, "needs curl and Python: tests/run brings them");
