//! A headless Chromium, driven through ChromeDriver as a person would: by keys and clicks, and by
//! what stands on the page. Every wait is for a condition, and ends with a panic after a while.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a page may take, on a machine with other work, before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser of its own, gone with the test.
pub struct Browser {
    client: Client,
    runtime: Runtime,
    /// After the client, which asks it for its end.
    _driver: Driver,
}

/// ChromeDriver, which ends with whatever holds it.
struct Driver {
    process: Child,
    /// It ends by itself where nobody reads what it says.
    said: BufReader<ChildStdout>,
    _home: TempDir,
}

impl Driver {
    fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", home.path()).env("TMPDIR", home.path()).env("LC_ALL", "C.UTF-8");
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = started.expect("chromedriver can be started; tests/run brings it");
        let said = BufReader::new(process.stdout.take().expect("standard output is piped"));
        Self { process, said, _home: home }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    pub fn start() -> Self {
        let mut driver = Driver::start();
        let port = port(&mut driver.said);
        let runtime = super::runtime();
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities()).connect(&format!("http://127.0.0.1:{port}")).await
        });
        Self { client: client.expect("Chromium can be started"), runtime, _driver: driver }
    }

    fn run<T>(&self, work: impl Future<Output = Result<T, CmdError>>) -> T {
        self.runtime.block_on(work).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn open(&self, url: &str) {
        self.run(self.client.goto(url));
    }

    pub fn reload(&self) {
        self.run(self.client.refresh());
    }

    pub fn back(&self) {
        self.run(self.client.back());
    }

    pub fn forward(&self) {
        self.run(self.client.forward());
    }

    pub fn url(&self) -> String {
        self.run(self.client.current_url()).to_string()
    }

    pub fn title(&self) -> String {
        self.run(self.client.title())
    }

    /// What a function with this body gives in the page.
    pub fn script(&self, body: &str) -> Value {
        self.run(self.client.execute(body, Vec::new()))
    }

    /// What a function with this body gives to the callback that is its last argument.
    pub fn script_that_calls_back(&self, body: &str) -> Value {
        self.run(self.client.execute_async(body, Vec::new()))
    }

    /// Returns once a condition holds.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < PATIENCE, "in vain: {what}\n{}", self.script("return document.body.innerText"));
        }
    }

    /// Returns once an element that a selector finds is seen, and its text is this.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        self.wait(&format!("{selector} to be {text:?}"), |browser| browser.text(selector) == text);
    }

    /// The texts of all that a selector finds, as people see them; what is hidden is not there.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let found = self.script(&format!(
            "return [...document.querySelectorAll({})].filter((found) => found.checkVisibility()).map((found) => found.innerText)",
            json!(selector)
        ));
        serde_json::from_value(found).expect("texts")
    }

    /// The text of the one element that a selector finds; empty where it is hidden.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let mut texts = self.texts(selector);
        assert!(texts.len() < 2, "{selector} finds {texts:?}");
        texts.pop().unwrap_or_default()
    }

    fn find(&self, selector: &str) -> Element {
        self.run(self.client.find(Locator::Css(selector)))
    }

    pub fn click(&self, selector: &str) {
        self.run(self.find(selector).click());
    }

    /// Empties a field and types into it.
    pub fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector);
        self.run(field.clear());
        self.run(field.send_keys(text));
    }

    /// Chooses the option that begins so, as typing does.
    pub fn choose(&self, selector: &str, option: &str) {
        self.run(self.find(selector).send_keys(option));
    }

    /// Presses keys one after another, wherever the focus is; see [`Key`] for those without a letter.
    pub fn keys(&self, keys: &str) {
        let presses = keys.chars().fold(KeyActions::new("keyboard".to_owned()), |actions, value| {
            actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
        });
        self.run(self.client.perform_actions(presses));
    }

    pub fn key(&self, key: Key) {
        self.keys(&char::from(key).to_string());
    }

    pub fn value(&self, selector: &str) -> String {
        self.run(self.find(selector).prop("value")).unwrap_or_default()
    }

    /// The accessible name of whatever has the focus.
    pub fn focus(&self) -> String {
        let element = self.run(self.client.active_element());
        self.label(&element)
    }

    fn label(&self, element: &Element) -> String {
        let command =
            Raw { method: Method::GET, path: format!("element/{}/computedlabel", &*element.element_id()), body: None };
        let label = self.run(self.client.issue_cmd(command));
        label.as_str().expect("a name").to_owned()
    }

    /// Role and accessible name, as Chromium tells them to a screen reader, of all that a selector
    /// finds.
    pub fn roles(&self, selector: &str) -> Vec<(String, String)> {
        let found = self.run(self.client.find_all(Locator::Css(selector)));
        let role = |element: &Element| {
            let path = format!("element/{}/computedrole", &*element.element_id());
            let role = self.run(self.client.issue_cmd(Raw { method: Method::GET, path, body: None }));
            (role.as_str().expect("a role").to_owned(), self.label(element))
        };
        found.iter().map(role).collect()
    }

    /// Shows the page in a window of this size.
    pub fn resize(&self, width: u32, height: u32, is_mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Sets what the page learns of the wishes of its reader, such as `prefers-color-scheme`.
    pub fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.run(self.client.issue_cmd(Raw {
            method: Method::POST,
            path: "goog/cdp/execute".to_owned(),
            body: Some(body),
        }))
    }

    /// What the browser's console has said since it was last asked: errors, and breaches of policies.
    pub fn complaints(&self) -> Vec<String> {
        let command = Raw { method: Method::POST, path: "se/log".to_owned(), body: Some(json!({ "type": "browser" })) };
        let entries = self.run(self.client.issue_cmd(command));
        let entries = entries.as_array().expect("an array of entries").iter();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What axe-core finds on the page as it is that keeps people from using it. `TEST_AXE` names
    /// its file `axe.min.js`; `tests/run` brings it.
    pub fn barriers(&self) -> Value {
        let path = std::env::var("TEST_AXE").expect("TEST_AXE is not set; run tests/run");
        self.script(&std::fs::read_to_string(path).expect("axe-core can be read"));
        self.script_that_calls_back(
            "const done = arguments[0];
             axe.run(document, { resultTypes: ['violations'] }).then(
                 ({ violations, passes }) => done({
                     passed: passes.length,
                     found: violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`)}`),
                 }),
                 (error) => done(String(error)))",
        )
    }

    /// A picture of the window, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        self.run(self.client.screenshot())
    }

    /// What the clipboard holds.
    pub fn clipboard(&self) -> String {
        self.devtools("Browser.grantPermissions", &json!({ "permissions": ["clipboardReadWrite"] }));
        let read = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))";
        self.script_that_calls_back(read).as_str().expect("a text").to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // ChromeDriver ends Chromium with the session; either may have failed already.
        let _ = self.runtime.block_on(self.client.clone().close());
    }
}

/// The port on which ChromeDriver says that it listens.
fn port(said: &mut BufReader<ChildStdout>) -> u16 {
    let mut line = String::new();
    while said.read_line(&mut line).expect("standard output can be read") > 0 {
        let port = line.split_once("started successfully on port ").map(|(_, port)| port.trim().trim_end_matches('.'));
        if let Some(port) = port {
            return port.parse().expect("a port");
        }
        line.clear();
    }
    panic!("chromedriver does not listen");
}

fn capabilities() -> Capabilities {
    // Chromium as root, and in containers, has no sandbox and little shared memory; what it talks
    // to by itself is not there.
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-proxy-server",
        "--window-size=1280,900",
        "--lang=en-US",
    ];
    let capabilities = json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
        "timeouts": { "script": 60_000 },
    });
    capabilities.as_object().expect("an object").clone()
}

/// A command of WebDriver that the client has no function for.
#[derive(Debug)]
struct Raw {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for Raw {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (self.method.clone(), self.body.as_ref().map(Value::to_string))
    }
}
