//! The program itself, apart from what it serves.

use std::fs::File;
use std::io::{PipeWriter, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use glimpse::version;

use crate::support::{Database, Engine, Start, image, on_both_engines};

/// What the program prints, which must have ended well.
fn printed(arguments: &[&str]) -> String {
    let start = arguments.iter().fold(Start::new(Engine::Sqlite), |start, argument| start.argument(argument));
    let output = start.output();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("what is printed is UTF-8")
}

#[test]
fn the_version_tells_the_commit_where_there_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let head = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root).output();
    let head = head.ok().filter(|output| root.join(".git").exists() && output.status.success());
    let version = version::VERSION;
    let shown = printed(&["--version"]);
    if std::env::var_os("GLIMPSE_COMMIT").is_some() {
        assert!(shown.starts_with(&format!("glimpse {version}")), "{shown}");
    } else if let Some(output) = head {
        let commit = String::from_utf8(output.stdout).expect("a commit is made of digits");
        assert_eq!(shown, format!("glimpse {version} ({})\n", &commit[..12]));
    } else {
        assert!(shown == format!("glimpse {version}\n") || shown.contains(" ("), "{shown}");
    }
}

#[test]
fn completions_know_every_command_and_flag() {
    let command = glimpse::config::command();
    let flags: Vec<String> =
        command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for name in command.get_subcommands().map(clap::Command::get_name) {
            assert!(script.contains(name), "{shell}: {name}");
        }
        for flag in &flags {
            // Fish names them without the dashes.
            let flag = if shell == "fish" { flag.trim_start_matches('-') } else { flag };
            assert!(script.contains(flag), "{shell}: {flag}");
        }
    }
    let script = printed(&["completions", "bash"]);
    let asked = "COMP_WORDS=(glimpse ser); COMP_CWORD=1; _glimpse glimpse ser glimpse; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash").args(["-c", &format!("{script}\n{asked}")]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "serve\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    let plain = |page: &str| page.replace("\\-", "-");
    let page = plain(&printed(&["man"]));
    assert!(page.contains(".TH glimpse 1") && page.contains("glimpse-generate(1)"), "{page}");
    for argument in glimpse::config::command().get_arguments() {
        let variable = argument.get_env().expect("a setting has a variable").to_string_lossy().into_owned();
        assert!(page.contains(&variable), "{variable}");
    }
    for command in glimpse::config::command().get_subcommands() {
        let name = command.get_name();
        let page = plain(&printed(&["man", name]));
        assert!(page.contains(&format!(".TH glimpse-{name} 1")), "{name}: {page}");
    }
    assert!(Start::new(Engine::Sqlite).argument("man").argument("nonsense").refusal().contains("`glimpse help`"));
}

/// Packages are built, and questions asked, where nothing is set up.
#[test]
fn what_describes_the_program_is_told_whatever_the_settings_are() {
    for arguments in [&["man"][..], &["man", "generate"], &["completions", "zsh"], &["--help"], &["--version"]] {
        let start = arguments.iter().fold(Start::new(Engine::Sqlite), |start, argument| start.argument(argument));
        std::fs::write(start.database.folder.path().join(".env"), "no variable").expect("written");
        let start = start.set("LISTEN", "nowhere").set("RUST_LOG", "[[").set("DATABASE_URL_FILE", "missing");
        let output = start.output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
        if arguments[0] != "--help" {
            // Help tells what is set.
            assert_eq!(String::from_utf8_lossy(&output.stdout), printed(arguments), "{arguments:?}");
        }
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    for arguments in ["config", "man", "completions bash", "--help"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glimpse"));
        command.args(arguments.split(' ')).env_clear().current_dir(std::env::temp_dir()).stdout(unread());
        let output = command.stderr(Stdio::piped()).output().expect("the program can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments}: {said}");
    }
}

/// The writing end of a pipe that nobody reads any more.
fn unread() -> PipeWriter {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer
}

#[test]
fn messages_that_nobody_takes_do_not_change_the_end() {
    let to: [fn() -> Stdio; 2] = [
        || unread().into(),
        || File::options().write(true).open("/dev/full").expect("a file that takes nothing").into(),
    ];
    for stderr in to {
        for (arguments, status) in [("migrate", 0), ("generate --count 10", 0), ("import nowhere.json", 1)] {
            let database = Database::new(Engine::Sqlite);
            let mut command = Command::new(env!("CARGO_BIN_EXE_glimpse"));
            command.args(arguments.split(' ')).env_clear().env("DATABASE_URL", &database.url);
            let ended = command.stdout(Stdio::null()).stderr(stderr()).status().expect("the program can be run");
            assert_eq!(ended.code(), Some(status), "{arguments}");
        }
        let mut server = Start::new(Engine::Sqlite).serve_and_log_to(stderr());
        for _ in 0..3 {
            assert_eq!(server.get("/v1.1/images/detail").status, 200);
        }
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut server = Start::new(Engine::Sqlite).serve_and_log_to(writer);
    // At trace each has more than a kilobyte to say, and a pipe takes 64.
    for _ in 0..200 {
        assert_eq!(server.get("/v1.1/images/detail").status, 200);
    }
    let mut read = || {
        let mut bytes = vec![0; 1 << 17];
        let length = reader.read(&mut bytes).expect("the pipe can be read");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    read();
    assert_eq!(server.get("/healthcheck").status, 200);
    let said = read();
    assert!(said.contains(" lines of the log were lost"), "{said}");
    for _ in 0..200 {
        assert_eq!(server.get("/v1.1/images/detail").status, 200);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

/// Words as a shell takes them.
pub fn words(line: &str) -> Vec<String> {
    let script = "eval \"set -- $0\"; for word; do printf '%s\\n' \"$word\"; done";
    let output = Command::new("sh").args(["-c", script, line]).output().expect("a shell");
    let text = String::from_utf8(output.stdout).expect("words are UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// What the command line is understood as.
fn understood(words: &[&str]) -> clap::ArgMatches {
    let matches = glimpse::config::command().try_get_matches_from(words);
    matches.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn help_gives_each_option_a_default_and_an_example_that_works() {
    let command = glimpse::config::command();
    let of_settings = command.get_arguments().map(|option| ("config", option));
    let of_commands = command
        .get_subcommands()
        .flat_map(|command| command.get_arguments().map(|option| (command.get_name(), option)).collect::<Vec<_>>());
    let mut count = 0;
    for (command, option) in of_settings.chain(of_commands) {
        let id = option.get_id().as_str();
        let help = option.get_long_help().unwrap_or_else(|| panic!("{id} has no long help")).to_string();
        let defaults = option.get_default_values();
        let is_shown = defaults.iter().any(|value| !value.is_empty());
        assert_ne!(help.contains("Default: "), is_shown, "{id}: {help}");
        let example = help.split_once("Example: `").and_then(|(_, rest)| rest.split_once('`'));
        let example = words(example.unwrap_or_else(|| panic!("{id}: {help}")).0);
        let mut line = vec!["glimpse", command];
        line.extend(example.iter().map(String::as_str));
        if command == "completions" {
            assert!(!printed(&line[1..]).is_empty());
            continue;
        }
        let matches = understood(&line);
        let (_, matches) = matches.subcommand().expect("a command");
        assert_eq!(matches.value_source(id), Some(clap::parser::ValueSource::CommandLine), "{line:?}");
        count += 1;
    }
    assert!(count >= 40, "{count}");
}

#[test]
fn help_gives_each_command_examples_that_work() {
    let command = glimpse::config::command();
    let whole = ("glimpse", command.get_after_long_help());
    let each = command.get_subcommands().map(|command| (command.get_name(), command.get_after_help()));
    for (name, help) in std::iter::once(whole).chain(each) {
        let help = help.unwrap_or_else(|| panic!("{name} has no examples")).to_string();
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name}: {help}"));
        for example in examples.lines() {
            let line = example.split(['|', '>']).find(|part| part.trim().starts_with("glimpse "));
            let line = words(line.unwrap_or_else(|| panic!("{example}")));
            understood(&line.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(name == "glimpse" || line[1] == name, "{example}");
        }
    }
}

#[test]
fn help_shows_no_secret() {
    for argument in ["-h", "--help"] {
        let start = Start::new(Engine::Sqlite).argument(argument).set("KEYSTONE_PASSWORD", "hidden");
        let start = start.set("DATABASE_URL", "postgres://u:hidden@h/d").set("KEYSTONE_URL", "http://u:hidden@h");
        let output = start.output();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("KEYSTONE_PASSWORD") && !text.contains("hidden"), "{text}");
    }
}

/// How `glimpse health` ends, and what it says.
fn health(start: &Start) -> (Option<i32>, String) {
    let output = start.output();
    (output.status.code(), String::from_utf8(output.stderr).expect("messages are UTF-8"))
}

fn ask(listen: &str, arguments: &[&str]) -> Start {
    let start = Start::new(Engine::Sqlite).set("LISTEN", listen).set("AUTH", "none");
    arguments.iter().fold(start.argument("health"), |start, argument| start.argument(argument))
}

fn health_follows_the_server_and_its_database(engine: Engine) {
    let mut server = Start::new(engine).seed("1_a.sql", image(1).insert()).serve();
    let address = server.address.clone();
    let port = address.rsplit_once(':').expect("a port").1;
    for listen in [address.clone(), format!("0.0.0.0:{port}")] {
        for arguments in [&[][..], &["--ready"]] {
            let open =
                ask(&listen, arguments).set("ALLOW_UNAUTHENTICATED", "true").set("HTTP_PROXY", "http://127.0.0.1:9");
            assert_eq!(health(&open), (Some(0), String::new()), "{listen} {arguments:?}");
        }
    }
    if engine == Engine::Postgres {
        server.database().forbid_connections(true);
        assert_eq!(health(&ask(&address, &[])), (Some(0), String::new()));
        let (status, said) = health(&ask(&address, &["--ready"]));
        assert_eq!((status, said), (Some(1), format!("glimpse: http://{address}/ready answers 503.\n")));
        server.database().forbid_connections(false);
    }
    server.signal("TERM");
    server.wait();
    let said = format!("glimpse: Nothing answers at http://{address}/healthcheck.\n");
    assert_eq!(health(&ask(&address, &[])), (Some(1), said));
}
on_both_engines!(health_follows_the_server_and_its_database);

#[test]
fn health_waits_no_longer_than_it_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let (status, said) = health(&ask(&address, &["--timeout=50ms"]));
    assert_eq!(
        (status, said),
        (Some(1), format!("glimpse: http://{address}/healthcheck does not answer within 50ms.\n"))
    );
    let (status, said) = health(&ask("127.0.0.1:0", &[]));
    assert!(status == Some(1) && said.contains("LISTEN has port 0"), "{said}");
}
