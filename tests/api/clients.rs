//! Clients of the time as they are, with tokens of a file and through a real Keystone.
//!
//! `TEST_CLIENTS` names the Python of a virtual environment with `tests/clients/requirements.txt`,
//! `TEST_KEYSTONE_URL` a Keystone as `tests/keystone/serve` serves it; `tests/run` brings both.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{Engine, Glimpse, Image, Member, Start, get, image, on_both_engines};

const CLIENTS: &str = "TEST_CLIENTS";
const KEYSTONE: &str = "TEST_KEYSTONE_URL";

fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run tests/run"))
}

/// What a caller in a project may see, and all that an admin may see besides.
struct Catalog {
    seen: Vec<Image>,
    /// Only a list of what has changed since some time shows it.
    deleted: Image,
    unseen: Vec<Image>,
}

/// Images of many kinds, some of them the project's own, one shared with it.
fn catalog(project: &str) -> Catalog {
    let member = |member: &str, can_share| Member { member: member.to_owned(), can_share };
    let mut seen: Vec<Image> = (1..=40)
        .map(|number| {
            let mut image = image(number);
            let every = |nth: u32| number % nth == 0;
            image.name = Some(match number {
                _ if every(9) => "two words".to_owned(),
                _ if every(17) => "снимок 镜像".to_owned(),
                _ => format!("image-{number}"),
            });
            image.disk_format = if every(13) { None } else { Some(if every(3) { "raw" } else { "qcow2" }.to_owned()) };
            image.container_format = Some(if every(4) { "ovf" } else { "bare" }.to_owned());
            image.status = if every(5) { "queued" } else { "active" }.to_owned();
            image.size = (!every(6)).then(|| i64::from(number) * 100);
            image.protected = every(7);
            image.min_ram = if every(8) { 512 } else { 0 };
            image.min_disk = if every(10) { 5 } else { 0 };
            image.owner = Some(if every(2) { project } else { "another" }.to_owned());
            image.is_public = !every(2);
            if every(16) {
                image.members = vec![member("beta", true), member("gamma", false)];
            }
            if every(11) {
                image.properties.insert("os".to_owned(), Some("linux".to_owned()));
            }
            image
        })
        .collect();
    let others = |number| Image { is_public: false, owner: Some("another".to_owned()), ..image(number) };
    seen.push(Image { members: vec![member(project, false), member("unseen", false)], ..others(46) });
    let deleted = Image { deleted: true, status: "deleted".to_owned(), owner: Some(project.to_owned()), ..image(47) };
    Catalog { seen, deleted, unseen: (41..=45).map(others).collect() }
}

/// A server on the catalog, with a file beside it that tells what each client must get.
fn start(engine: Engine, project: &str) -> Start {
    let Catalog { seen, deleted, unseen } = catalog(project);
    let all = seen.iter().chain([&deleted]).chain(&unseen);
    let start = Start::new(engine).seed("1_a.sql", all.map(Image::insert).collect::<String>());
    let documents = |images: &[Image]| images.iter().map(Image::document).collect::<Vec<_>>();
    let owns = |image: &Image| image.owner.as_deref() == Some(project);
    let members = seen.iter().flat_map(|image| {
        let told = image.members.iter().filter(move |member| owns(image) || member.member == project);
        told.map(|Member { member, can_share }| json!([image.id, member, can_share]))
    });
    let members: Vec<Value> = members.collect();
    let expected = json!({
        "project": project,
        "seen": documents(&seen),
        "deleted": documents(&[deleted]),
        "unseen": documents(&unseen),
        "members": members,
    });
    let file = start.database.folder.path().join("expected.json");
    fs::write(file, expected.to_string()).expect("a file can be written");
    start
}

pub fn python(script: &str) -> Command {
    let mut command = Command::new(needed(CLIENTS));
    command.arg("-W").arg("ignore").arg(format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")));
    command.env_clear().env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command
}

#[track_caller]
pub fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.trim().to_owned()
}

#[track_caller]
fn check(server: &Glimpse, configure: impl FnOnce(&mut Command) -> &mut Command) {
    let expected = server.database().folder.path().join("expected.json");
    let mut command = python("clients/check.py");
    command.arg(format!("http://{}", server.address)).arg(expected);
    let said = said(&configure(&mut command).output().expect("Python can be run"));
    assert!(said.ends_with("answers of the clients agree with the database"), "{said}");
}

fn clients_work_with_tokens_of_a_file(engine: Engine) {
    let tokens = json!({
        "client-token": { "user": "u", "project": "alpha", "roles": ["member"] },
        "admin-token": { "user": "a", "project": "admin", "roles": ["admin"] },
    });
    let server = start(engine, "alpha").tokens(&tokens).serve();
    check(&server, |command| command.args(["client-token", "admin-token"]));
}
on_both_engines!(clients_work_with_tokens_of_a_file, "needs the clients: tests/run brings them");

/// Through the catalog, in which the endpoint stands without a version.
fn clients_work_through_keystone(engine: Engine) {
    let url = needed(KEYSTONE);
    let prepare = |endpoint: &str| {
        let output = python("keystone/prepare.py").args([&url, endpoint]).output();
        said(&output.expect("Python can be run"))
    };
    let project = prepare("http://127.0.0.1:1");
    let server = start(engine, &project)
        .set("AUTH", "keystone")
        .set("KEYSTONE_URL", &url)
        .set("KEYSTONE_USERNAME", "glance")
        .set("KEYSTONE_PASSWORD", "glance-pass")
        .set("KEYSTONE_PROJECT", "service")
        // Beside the other tests Keystone may take its time.
        .set("KEYSTONE_TIMEOUT", "30s")
        .set("RUST_LOG", "trace")
        .serve();
    prepare(&format!("http://{}", server.address));
    check(&server, |command| {
        command.envs([
            ("OS_AUTH_URL", url.as_str()),
            ("OS_USERNAME", "alice"),
            ("OS_PASSWORD", "alice-pass"),
            ("OS_PROJECT_NAME", "alpha"),
            ("OS_USER_DOMAIN_ID", "default"),
            ("OS_PROJECT_DOMAIN_ID", "default"),
            ("OS_REGION_NAME", "RegionOne"),
            ("OS_IDENTITY_API_VERSION", "3"),
        ])
    });
    server.send(&get("/v1/images/detail").token("no-token-of-keystone")).refusal(401);
    let log = server.log();
    assert!(
        !log.contains("gAAAA") && !log.contains("glance-pass") && !log.contains("no-token-of"),
        "a token is logged"
    );
}

/// One test for both engines, because there is one catalog.
#[test]
#[ignore = "needs the clients, Keystone and PostgreSQL: tests/run brings them"]
fn clients_work_through_a_real_keystone() {
    clients_work_through_keystone(Engine::Sqlite);
    clients_work_through_keystone(Engine::Postgres);
}
