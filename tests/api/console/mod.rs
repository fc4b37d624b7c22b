//! The console: what is served, and what people do with it in a real browser.

mod deeds;
mod everybody;
mod pictures;
mod served;

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Browser, Engine, Glimpse, Image, Start, image};

/// Sixty images of many kinds.
fn catalog() -> Vec<Image> {
    let images = (1..=60).map(|number| {
        let mut image = image(number);
        let every = |nth: u32| number % nth == 0;
        image.disk_format = Some(if every(2) { "raw" } else { "qcow2" }.to_owned());
        image.container_format = Some(if every(3) { "ovf" } else { "bare" }.to_owned());
        image.status = if every(5) { "queued" } else { "active" }.to_owned();
        image.size = Some(i64::from(number) << 30);
        image.protected = every(7);
        image.is_public = !every(4);
        image.min_ram = if every(6) { 512 } else { 0 };
        image.min_disk = if every(10) { 5 } else { 0 };
        if every(3) {
            image.properties.insert("os_distro".to_owned(), Some("debian & co".to_owned()));
        }
        if every(9) {
            image.properties.insert("镜像".to_owned(), Some("it's".to_owned()));
        }
        image
    });
    images.collect()
}

fn start(images: &[Image]) -> Start {
    Start::new(Engine::Sqlite).seed("1_a.sql", images.iter().map(Image::insert).collect::<String>())
}

/// Images whose values are at the edge of what the catalog takes.
fn odd() -> Vec<Image> {
    let markup = "<img src=x onerror=\"document.title='broken'\"><b>x</b>";
    let nothing = Image {
        name: None,
        disk_format: None,
        container_format: None,
        size: None,
        owner: None,
        updated_at: None,
        is_public: false,
        ..image(1)
    };
    let properties = BTreeMap::from([(markup.to_owned(), Some(markup.to_owned())), ("none".to_owned(), None)]);
    let mut shared =
        Image { name: Some(markup.to_owned()), size: Some(i64::MAX), properties, protected: true, ..image(3) };
    shared.created_at = "2016-05-22T06:04:20.425843".to_owned();
    shared.members = serde_json::from_value(
        json!([{ "member": "beta", "can_share": true }, { "member": "gamma", "can_share": false }]),
    )
    .expect("members");
    vec![
        nothing,
        Image { name: Some("null".to_owned()), size: Some(0), ..image(2) },
        shared,
        Image { name: Some(String::new()), size: Some(13_167_616), ..image(4) },
    ]
}

/// A server, and a browser on its console.
struct Console {
    server: Glimpse,
    browser: Browser,
}

impl Console {
    fn new(start: Start) -> Self {
        Self { server: start.serve(), browser: Browser::start() }
    }

    /// The console on a catalog, opened with this query and fragment.
    fn on(images: &[Image], address: &str) -> Self {
        let console = Self::new(start(images));
        console.open(address);
        console
    }

    fn address(&self, address: &str) -> String {
        format!("http://{}/console{address}", self.server.address)
    }

    /// Opens the page, and returns once it has asked and been answered.
    fn open(&self, address: &str) {
        self.browser.open(&self.address(address));
        self.wait_for_answer();
    }

    fn wait_for_answer(&self) {
        let shown = "return ['found', 'empty', 'refusal'].some((id) => !document.getElementById(id).hidden) \
             && document.getElementById('state').textContent !== 'Loading…'";
        self.browser.wait("an answer", |browser| browser.script(shown) == json!(true));
    }

    /// The target of the request that the page tells.
    fn target(&self) -> String {
        let url = self.browser.text("#url");
        url.strip_prefix(&format!("http://{}", self.server.address)).expect("a URL of the server").to_owned()
    }

    fn names(&self) -> Vec<String> {
        self.browser
            .script("return [...document.querySelectorAll('#rows [data-image]')].map((name) => name.innerText)")
            .as_array()
            .expect("an array of names")
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect()
    }

    /// Returns once address, request and list are those of a query, as the API answers it.
    #[track_caller]
    fn wait_for_list(&self, query: &str) -> Vec<String> {
        let target = format!("/v1.1/images/detail{query}");
        let names = self.server.get(&target).names();
        let address = self.address(if query == "?limit=25" { "" } else { query });
        let expected = (address, target, names);
        let mut last = None;
        self.browser.wait("the list", |browser| {
            let shown = (browser.url(), self.target(), self.names());
            let is_done = shown == expected && browser.text("#state") != "Loading…";
            if !is_done && last.as_ref() != Some(&shown) {
                println!("not {expected:?} yet, but {shown:?}");
                last = Some(shown);
            }
            is_done
        });
        expected.2
    }

    fn focus(&self) -> String {
        self.browser.focus()
    }

    /// The page has broken no policy, and has had no error. Chromium tells of each refusal of the
    /// API, too.
    #[track_caller]
    fn assert_no_complaints(&self) {
        let complaints = self.browser.complaints();
        let own: Vec<_> =
            complaints.iter().filter(|line| !line.contains("the server responded with a status of")).collect();
        assert!(own.is_empty(), "{own:?}");
    }
}
