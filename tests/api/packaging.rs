//! What the program is run by, as far as that shows without a daemon of Docker: the image's files,
//! built as the Dockerfile builds them, serve in a root of their own; each command and variable
//! that the files name is one of the program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::clients::{python, said};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const UNIT: &str = include_str!("../../glimpse.service");

/// The instructions of the Dockerfile with their arguments, in order.
fn instructions() -> Vec<(&'static str, String)> {
    let lines: Vec<&str> = DOCKERFILE.lines().filter(|line| !line.starts_with('#')).collect();
    let text = lines.join("\n").replace("\\\n", " ");
    let instructions = text.lines().filter_map(|line| line.split_once(' '));
    let names = [
        "FROM",
        "WORKDIR",
        "COPY",
        "ARG",
        "RUN",
        "USER",
        "VOLUME",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    let known = |name: &str| *names.iter().find(|known| **known == name).unwrap_or_else(|| panic!("{name}"));
    instructions.map(|(name, arguments)| (known(name), arguments.trim().to_owned())).collect()
}

fn all(name: &str) -> Vec<String> {
    let instructions = instructions().into_iter().filter(|(own, _)| *own == name);
    instructions.map(|(_, arguments)| arguments).collect()
}

fn assert_settings<'a>(names: impl IntoIterator<Item = &'a str>) {
    let command = glimpse::config::command();
    for name in names {
        let known = command.get_arguments().any(|setting| setting.get_env().is_some_and(|own| own == name));
        assert!(known, "{name} is no setting");
    }
}

/// That the program takes a command line, given as JSON, whose first word is its path.
fn assert_understood(line: &Value, program: &str) {
    let words: Vec<&str> = line.as_array().expect("words").iter().filter_map(Value::as_str).collect();
    let words: &[&str] = if words.first() == Some(&"CMD") { &words[1..] } else { &words };
    assert_eq!(words.first(), Some(&program), "{line}");
    let understood = glimpse::config::command().try_get_matches_from(words);
    assert!(understood.is_ok(), "{words:?}");
}

#[test]
fn the_dockerfile_names_what_is_there() {
    // What is copied out of the sources is there, and not kept from Docker.
    let ignore = fs::read_to_string(format!("{ROOT}/.dockerignore")).expect("the file of what is no source");
    let kept: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &kept {
        assert!(Path::new(ROOT).join(path).exists(), "{path} of .dockerignore");
    }
    let sources = all("COPY").into_iter().filter(|arguments| !arguments.starts_with("--from"));
    for source in sources.map(|arguments| arguments.split(' ').next().unwrap_or_default().to_owned()) {
        let top = source.split('/').next().unwrap_or_default();
        assert!(Path::new(ROOT).join(&source).exists() && (top == "." || kept.contains(&top)), "{source}");
    }
    // The compiler is one that the sources are made for, the user not root.
    let manifest = fs::read_to_string(format!("{ROOT}/Cargo.toml")).expect("the manifest");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let from = all("FROM");
    assert_eq!(from, [format!("rust:{}-bookworm AS build", version.expect("a version")), "scratch".to_owned()]);
    assert_eq!(all("USER"), ["10001:10001"]);
    // The commands are those of the program.
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let mut line = json(&all("ENTRYPOINT")[0]);
    line.as_array_mut().expect("words").extend(json(&all("CMD")[0]).as_array().expect("words").clone());
    assert_understood(&line, "/usr/bin/glimpse");
    let health = all("HEALTHCHECK");
    assert_understood(&json(health[0].split_once(" CMD ").expect("a command").1), "/usr/bin/glimpse");
    let environment = all("ENV").join(" ");
    assert_settings(environment.split(' ').filter_map(|pair| Some(pair.split_once('=')?.0)));
}

/// Runs a program of the image in its root and working folder, as its user where that can be.
fn in_image(root: &Path, is_root: bool) -> Command {
    let mut command = Command::new("unshare");
    let user: &[&str] = if is_root { &["--setgid=10001", "--setuid=10001"] } else { &["--map-root-user"] };
    let folder = all("WORKDIR").pop().expect("a working folder");
    command.args(user).arg("--root").arg(root).arg("--wd").arg(folder);
    command.arg("/usr/bin/glimpse").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let environment = all("ENV").join(" ");
    command.envs(environment.split(' ').filter_map(|pair| pair.split_once('=')));
    command.env("LISTEN", "127.0.0.1:0").env("SEEDS_DIR", "/usr/share/glimpse/seeds");
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs Debian's certificates and a root of its own: tests/run brings them"]
fn the_files_of_the_image_serve_by_themselves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image");
    let run = all("RUN").into_iter().find(|line| line.contains("root=/image ")).expect("the image is made");
    let run = run.replace("/src/target/release/glimpse", env!("CARGO_BIN_EXE_glimpse"));
    let run = run.replace("root=/image ", &format!("root={} ", image.display()));
    let made = Command::new("sh").args(["-euc", &run]).output().expect("a shell");
    assert!(made.status.success(), "{run}: {}", String::from_utf8_lossy(&made.stderr));
    let is_root = fs::metadata(&image).expect("a folder").uid() == 0;
    if is_root {
        chown(image.join("data"), Some(10001), Some(10001)).expect("root may give away");
    }
    let seeds = image.join("usr/share/glimpse/seeds");
    fs::create_dir_all(&seeds).expect("a folder");
    fs::copy(format!("{ROOT}/migrations/seeds/0001_demo.sql"), seeds.join("0001_demo.sql")).expect("a seed");

    let started = in_image(&image, is_root).arg("serve").stdout(Stdio::piped()).spawn();
    let mut server = Running(started.expect("the image can be entered"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("piped")).read_line(&mut line).expect("standard output can be read");
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
    let health = |arguments: &[&str]| -> Output {
        let mut command = in_image(&image, is_root);
        command.arg("health").args(arguments).env("LISTEN", &address).output().expect("the image can be entered")
    };
    for arguments in [&[][..], &["--ready"]] {
        let output = health(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(image.join("data/glimpse.db").exists(), "the catalog is in the volume");
    // Nothing that the image sets stands in the way of a secret in a file.
    fs::write(image.join("tmp/url"), "sqlite:///data/other.db\n").expect("a file can be written");
    let mut config = in_image(&image, is_root);
    let told = config.arg("config").env("DATABASE_URL_FILE", "/tmp/url").output().expect("the image can be entered");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    // Names are looked up by the C library, in the file that Docker writes, too.
    fs::write(image.join("etc/hosts"), "127.0.0.1 localhost\n").expect("a file can be written");
    let database = "postgres://u@localhost:9/db";
    let lookup = in_image(&image, is_root)
        .args(["migrate", "--database-url", database, "--connect-timeout=100ms"])
        .output()
        .expect("the image can be entered");
    let said = String::from_utf8_lossy(&lookup.stderr);
    assert!(said.contains("localhost:9 did not answer") && said.contains("refused"), "{said}");
}

#[test]
#[ignore = "needs a reader of YAML: tests/run brings it"]
fn the_compose_file_names_what_is_there() {
    let mut command = python("clients/yaml_as_json.py");
    let compose = said(&command.arg(format!("{ROOT}/compose.yaml")).output().expect("Python can be run"));
    let compose: Value = serde_json::from_str(&compose).expect("JSON");
    let services = compose["services"].as_object().expect("services");
    let glimpse = &services["glimpse"];
    assert_settings(glimpse["environment"].as_object().expect("variables").keys().map(String::as_str));
    assert_understood(&glimpse["healthcheck"]["test"], "/usr/bin/glimpse");
    assert!(DOCKERFILE.contains(&format!("ARG {}=", "GLIMPSE_COMMIT")));
    assert!(glimpse["build"]["args"]["GLIMPSE_COMMIT"].is_string());
    let seeds = glimpse["environment"]["SEEDS_DIR"].as_str().expect("a path");
    assert!(all("COPY").contains(&format!("migrations/seeds {seeds}")));
    for (service, condition) in glimpse["depends_on"].as_object().expect("services") {
        assert!(services.contains_key(service) && condition["condition"] == "service_healthy", "{service}");
        assert!(services[service]["healthcheck"].is_object(), "{service}");
    }
    let database = glimpse["environment"]["DATABASE_URL"].as_str().expect("a URL");
    let of_database = &services["database"]["environment"];
    let (user, password, name) =
        (&of_database["POSTGRES_USER"], &of_database["POSTGRES_PASSWORD"], &of_database["POSTGRES_DB"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    assert_eq!(database, format!("postgres://{}:{}@database:5432/{}", text(user), text(password), text(name)));
    for port in glimpse["ports"].as_array().expect("ports") {
        assert!(text(port).starts_with("127.0.0.1:"), "{port} is open to other machines without a token");
    }
}

#[test]
#[ignore = "needs systemd-analyze: tests/run brings it"]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("glimpse.service");
    let program = "/usr/local/bin/glimpse";
    assert!(UNIT.contains(&format!("ExecStart={program} serve\n")));
    fs::write(&path, UNIT.replace(program, env!("CARGO_BIN_EXE_glimpse"))).expect("a file can be written");
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().expect("systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("glimpse.service"), "{said}");
    let mut security = Command::new("systemd-analyze");
    let output = security.args(["security", "--offline=true", "--threshold=20"]).arg(&path).output().expect("systemd");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
