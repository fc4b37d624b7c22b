//! The settings: each wrong value stops the start by name, and no secret is shown.

use std::fs;

use crate::support::{Engine, FakeKeystone, Start, get, image, on_both_engines};

#[test]
fn a_wrong_value_is_named_with_what_is_accepted() {
    for (variable, value, accepted) in [
        ("LISTEN", "9292", "127.0.0.1:9292"),
        ("LISTEN", "example.org:80", "127.0.0.1:9292"),
        ("AUTH", "maybe", "none, tokens, keystone"),
        ("ALLOW_UNAUTHENTICATED", "yes", "true, false"),
        ("ANONYMOUS_PUBLIC", "1", "true, false"),
        ("MIGRATE", "no", "true, false"),
        ("DEFAULT_LIMIT", "0", "1 to 10000"),
        ("DEFAULT_LIMIT", "many", "1 to 10000"),
        ("MAX_LIMIT", "10001", "1 to 10000"),
        ("DATABASE_CONNECTIONS", "0", "1 to 1000"),
        ("ACQUIRE_TIMEOUT", "5", "5s, 200ms"),
        ("QUERY_TIMEOUT", "0s", "5s, 200ms"),
        ("CONNECT_TIMEOUT", "-1s", "5s, 200ms"),
        ("SHUTDOWN_TIMEOUT", "soon", "5s, 200ms"),
        ("QUERY_TIMEOUT", "500us", "1ms to 1day"),
        ("ACQUIRE_TIMEOUT", "500000000000years", "1ms to 1day"),
        ("PUBLIC_URL", "https://images.example.org/path", "https://"),
        ("PUBLIC_URL", "images.example.org", "https://"),
        ("PUBLIC_URL", "ftp://images.example.org", "https://"),
        ("LOG_FORMAT", "xml", "text, json"),
        ("RUST_LOG", "a=b=c", "info"),
    ] {
        let message = Start::new(Engine::Sqlite).set(variable, value).refusal();
        for part in [variable, value, accepted] {
            assert!(message.contains(part), "{variable}={value}: {part} is not in {message}");
        }
    }
    let message = Start::new(Engine::Sqlite).set("PUBLIC_URL", "https://user:secret@images.example.org").refusal();
    assert!(message.contains("PUBLIC_URL") && !message.contains("secret"), "{message}");
    let message = Start::new(Engine::Sqlite).set("DEFAULT_LIMIT", "20").set("MAX_LIMIT", "10").refusal();
    assert!(message.contains("DEFAULT_LIMIT") && message.contains("MAX_LIMIT"), "{message}");
    let seed = image(1).insert() + &image(2).insert();
    let server = Start::new(Engine::Sqlite).seed("1_a.sql", seed).set("MAX_LIMIT", "1").serve();
    assert_eq!(server.get("/v1.1/images/detail").names(), ["image-2"], "DEFAULT_LIMIT follows MAX_LIMIT");
}

#[test]
fn a_wrong_database_is_named_without_its_secrets() {
    for (url, accepted) in [
        ("mysql://user:secret@host/db", "postgres://"),
        ("postgres://user:secret@host:port/db", "postgres://"),
        ("glimpse-secret.db", "sqlite://"),
        ("sqlite::memory:", "sqlite://"),
        ("sqlite://:memory:", "sqlite://"),
        ("", "sqlite://"),
        ("u:secret://x@host/db", "sqlite://"),
        ("postgres://user@host/db?passwort=secret", "password"),
        ("postgres://user:12?secret@host/db", "%3F"),
        ("postgres://user:12?word=secret@host/db", "%3F"),
        ("postgres://user:12?secret=word@host/db", "%3F"),
        ("postgres://user:pass@word/secret@host/db", "%2F"),
        ("postgres://user:pass@secret/word@host/db", "%2F"),
    ] {
        let message = Start::new(Engine::Sqlite).set("DATABASE_URL", url).refusal();
        assert!(message.contains("DATABASE_URL") && message.contains(accepted), "{url}: {message}");
        assert!(!message.contains("secret"), "{url}: {message}");
    }
    let nobody = "postgres://user:secret@127.0.0.1:9/db";
    let message = Start::new(Engine::Sqlite).set("DATABASE_URL", nobody).set("CONNECT_TIMEOUT", "200ms").refusal();
    assert!(message.contains("127.0.0.1:9") && message.contains("CONNECT_TIMEOUT"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    // What stands in brackets is an address, and not a name to look up.
    let nobody = "postgres://user:secret@[::1]:9/db";
    let message = Start::new(Engine::Sqlite).set("DATABASE_URL", nobody).set("CONNECT_TIMEOUT", "200ms").refusal();
    assert!(message.contains("PostgreSQL at ::1:9 ") && !message.contains("lookup"), "{message}");
    let message = Start::new(Engine::Sqlite).set("DATABASE_URL", "sqlite:///nowhere/at/all.db").refusal();
    assert!(message.contains("/nowhere/at/all.db"), "{message}");
}

#[test]
fn nobody_serves_everybody_by_accident() {
    let open = || Start::new(Engine::Sqlite).set("LISTEN", "0.0.0.0:0");
    let message = open().refusal();
    assert!(message.contains("LISTEN") && message.contains("ALLOW_UNAUTHENTICATED"), "{message}");
    drop(open().set("ALLOW_UNAUTHENTICATED", "true").serve());
    let message = Start::new(Engine::Sqlite).set("AUTH", "tokens").refusal();
    assert!(message.contains("AUTH_TOKENS_FILE"), "{message}");
}

#[test]
fn an_unusable_file_of_tokens_is_named_without_its_tokens() {
    let start = || Start::new(Engine::Sqlite).set("AUTH", "tokens").set("AUTH_TOKENS_FILE", "tokens.json");
    let message = start().refusal();
    assert!(message.contains("tokens.json") && message.contains("AUTH_TOKENS_FILE"), "{message}");
    for text in [
        "",
        "\"secret\"",
        "[\"secret\"]",
        r#"{"secret": "secret"}"#,
        r#"{"secret": {"user": "u", "project": "p"}}"#,
        r#"{"secret": {"user": "u", "project": "p", "roles": "secret"}}"#,
        r#"{"secret": {"user": "u", "project": "p", "roles": [], "secret": 1}}"#,
        r#"{"secret": {"user": "u", "project": "", "roles": []}}"#,
        r#"{"a secret": {"user": "u", "project": null, "roles": []}}"#,
        r#"{"": {"user": "u", "project": null, "roles": []}}"#,
    ] {
        let start = start();
        fs::write(start.database.folder.path().join("tokens.json"), text).expect("written");
        let message = start.refusal();
        assert!(message.contains("AUTH_TOKENS_FILE"), "{text}: {message}");
        assert!(!message.contains("secret"), "{text}: {message}");
    }
}

fn a_file_of_variables_is_read(engine: Engine) {
    let start = Start::new(engine).set("DEFAULT_LIMIT", "7");
    let env = start.database.folder.path().join(".env");
    fs::write(&env, "AUTH=tokens\nAUTH_TOKENS_FILE=tokens.json\nDEFAULT_LIMIT=nonsense\nSEEDS_DIR=\nPUBLIC_URL=\n")
        .expect("written");
    let tokens = r#"{"t": {"user": "u", "project": null, "roles": []}}"#;
    fs::write(start.database.folder.path().join("tokens.json"), tokens).expect("written");
    let server = start.serve();
    server.get("/v1.1/images/detail").refusal(401);
    assert_eq!(server.send(&get("/v1.1/images/detail").token("t")).status, 200);
}
on_both_engines!(a_file_of_variables_is_read);

#[test]
fn a_broken_file_of_variables_is_named_by_its_line() {
    let start = Start::new(Engine::Sqlite);
    fs::write(start.database.folder.path().join(".env"), "AUTH=none\nTOKEN 'secret\n").expect("written");
    let message = start.refusal();
    assert!(message.contains(".env") && message.contains("line 2"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn only_the_working_folder_is_looked_into() {
    let start = Start::new(Engine::Sqlite);
    let folder = start.database.folder.path();
    fs::write(folder.join(".env"), "DATABASE_URL=sqlite://a\0secret\n").expect("written");
    let message = start.refusal();
    assert!(message.contains(".env") && !message.contains("secret"), "{message}");
    let below = folder.join("below");
    fs::create_dir(&below).expect("a folder");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_glimpse"))
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", &start.database.url)
        .current_dir(below)
        .output()
        .expect("the program can be run");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

#[test]
fn flags_go_before_variables_on_either_side_of_the_subcommand() {
    for arguments in [["serve", "--default-limit=1"], ["--default-limit=1", "serve"]] {
        let start = Start::new(Engine::Sqlite).set("DEFAULT_LIMIT", "2").seed("1_a.sql", image(1).insert());
        let start = start.seed("2_b.sql", image(2).insert()).argument(arguments[0]).argument(arguments[1]);
        assert_eq!(start.serve().get("/v1.1/images/detail").names(), ["image-2"], "{arguments:?}");
    }
    let start = Start::new(Engine::Sqlite).argument("--seeds=/nowhere").argument("migrate");
    assert!(start.refusal().contains("/nowhere"));
}

/// The lines of `glimpse config`, as variable, origin and value.
fn told(start: &Start) -> Vec<(String, String, String)> {
    let output = start.output();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it is UTF-8");
    let lines = text.lines().map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        (next(), next(), next())
    });
    lines.collect()
}

#[test]
fn every_setting_is_told_with_its_value_and_origin() {
    let start = Start::new(Engine::Sqlite).argument("config").argument("--max-limit=50").argument("--migrate");
    let start = start.set("DATABASE_URL", "postgres://user:hidden@host/db").set("KEYSTONE_PASSWORD", "hidden");
    fs::write(start.database.folder.path().join(".env"), "MAX_LIMIT=7\nQUERY_TIMEOUT=9s\nLISTEN=127.0.0.1:1\n")
        .expect("written");
    let told = told(&start);
    for (variable, origin, value) in [
        ("DATABASE_URL", "environment", "postgres://user:***@host/db"),
        ("KEYSTONE_PASSWORD", "environment", "***"),
        ("LISTEN", "environment", "127.0.0.1:0"),
        ("MAX_LIMIT", "flag", "50"),
        ("MIGRATE", "flag", "true"),
        ("QUERY_TIMEOUT", ".env", "9s"),
        ("ACQUIRE_TIMEOUT", "default", "2s"),
        ("SEEDS_DIR", "default", ""),
    ] {
        let expected = (variable.to_owned(), origin.to_owned(), value.to_owned());
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
    let command = glimpse::config::command();
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    let variables: Vec<String> = variables.map(|variable| variable.to_string_lossy().into_owned()).collect();
    assert_eq!(told.iter().map(|(variable, ..)| variable.clone()).collect::<Vec<_>>(), variables);
}

#[test]
fn settings_that_a_start_would_refuse_are_told_all_the_same() {
    let start = Start::new(Engine::Sqlite).argument("config").set("LISTEN", "0.0.0.0:80");
    let output = start.output();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("0.0.0.0:80") && err.contains("ALLOW_UNAUTHENTICATED"), "{out}{err}");
}

#[test]
fn the_start_warns_of_what_is_no_setting() {
    let start = Start::new(Engine::Sqlite).seed("1_a.sql", image(1).insert());
    let env = "MAX_LIMT=7\nAN_OTHER=hidden\nPGUSER=hidden\nPOSTGRES_PASSWORD=hidden\nMAX_LIMIT=9\n";
    fs::write(start.database.folder.path().join(".env"), env).expect("written");
    let server = start.serve();
    let log = server.log();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(warnings[0].contains(".env sets MAX_LIMT,") && warnings[0].ends_with("; MAX_LIMIT may be meant"), "{log}");
    assert!(warnings[1].ends_with(".env sets AN_OTHER, which is no setting"), "{log}");
    assert!(!log.contains("hidden"), "{log}");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let keystone = FakeKeystone::start();
    keystone.know("t", "p", "member", 600);
    // The end of the line does not count; anything else is a part of the password.
    for (text, status) in [
        ("glance-pass", 200),
        ("glance-pass\n", 200),
        ("glance-pass\r\n", 200),
        ("glance-pass\n\n", 503),
        (" glance-pass", 503),
    ] {
        let start = Start::new(Engine::Sqlite);
        let folder = start.database.folder.path();
        fs::write(folder.join("password"), text).expect("written");
        fs::write(folder.join("url"), format!("{}\n", start.database.url)).expect("written");
        let start = start.set("DATABASE_URL", "").set("DATABASE_URL_FILE", "url").set("AUTH", "keystone");
        let start = start.set("KEYSTONE_URL", &keystone.url).set("KEYSTONE_USERNAME", "glance");
        let start = start.set("KEYSTONE_PROJECT", "service").argument("--keystone-password-file=password");
        let server = start.serve();
        assert_eq!(server.send(&get("/v1.1/images/detail").token("t")).status, status, "{text:?}");
    }
}

#[test]
fn the_file_of_a_secret_is_told_but_not_what_it_holds() {
    let start = Start::new(Engine::Sqlite).argument("config").set("DATABASE_URL", "").set("DATABASE_URL_FILE", "url");
    let start = start.set("KEYSTONE_PASSWORD_FILE", "password");
    fs::write(start.database.folder.path().join("url"), "postgres://user:hidden@host/db\n").expect("written");
    fs::write(start.database.folder.path().join("password"), "hidden\n").expect("written");
    let told = told(&start);
    for (variable, origin, value) in [
        ("DATABASE_URL", "file", "postgres://user:***@host/db"),
        ("DATABASE_URL_FILE", "environment", "url"),
        ("KEYSTONE_PASSWORD", "file", "***"),
        ("KEYSTONE_PASSWORD_FILE", "environment", "password"),
    ] {
        let expected = (variable.to_owned(), origin.to_owned(), value.to_owned());
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
}

#[test]
fn a_secret_that_cannot_be_had_stops_the_start_in_one_line() {
    let folder = |start: Start| {
        let folder = start.database.folder.path();
        fs::write(folder.join("good"), "hidden").expect("written");
        fs::write(folder.join("empty"), "\n").expect("written");
        fs::write(folder.join("bytes"), b"hidden\xff").expect("written");
        start
    };
    for (variable, path, said) in [
        ("DATABASE_URL", "good", "DATABASE_URL (environment) and DATABASE_URL_FILE are both given"),
        ("KEYSTONE_PASSWORD", "good", "KEYSTONE_PASSWORD (environment) and KEYSTONE_PASSWORD_FILE are both given"),
        ("", "missing", "The file missing (DATABASE_URL_FILE) cannot be read: No such file"),
        ("", ".", "The file . (DATABASE_URL_FILE) cannot be read: Is a directory"),
        ("", "empty", "The file empty (DATABASE_URL_FILE) is empty"),
        ("", "bytes", "The file bytes (DATABASE_URL_FILE) is no UTF-8"),
    ] {
        let start = folder(Start::new(Engine::Sqlite));
        let start = match variable {
            "" => start.set("DATABASE_URL", "").set("DATABASE_URL_FILE", path),
            variable => start.set(variable, "hidden").set(&format!("{variable}_FILE"), path),
        };
        let message = start.refusal();
        assert!(message.contains(said), "{said}: {message}");
        assert!(message.lines().count() == 1 && !message.contains("hidden"), "{message}");
    }
}
