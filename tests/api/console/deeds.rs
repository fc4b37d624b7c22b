//! What people do with the page.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use fantoccini::key::Key;
use serde_json::{Value, json};

use super::{Console, catalog, odd, start};
use crate::support::{get, id};

/// What a line of the page prints in a shell where `OS_TOKEN` is this.
fn by_curl(line: &str, token: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("OS_TOKEN", token).env("no_proxy", "*").output();
    String::from_utf8(output.expect("a shell").stdout).expect("answers are UTF-8")
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn every_control_asks_for_its_filter() {
    let console = Console::on(&catalog(), "");
    let browser = &console.browser;
    console.wait_for_list("?limit=25");
    browser.click("#more summary");
    let typed: [(&str, &str, &str); 11] = [
        ("#name", "image-7", "name=image-7"),
        ("#name", "in:image-7,image-8", "name=in:image-7,image-8"),
        ("#status", "queued", "status=queued"),
        ("#disk_format", "raw", "disk_format=raw"),
        ("#container_format", "ovf", "container_format=ovf"),
        ("#size_min", "58 GiB", "size_min=62277025792"),
        ("#size_min", "1.5g", "size_min=1610612736"),
        ("#size_max", "5 GB", "size_max=5000000000"),
        ("#size_max", "1073741824", "size_max=1073741824"),
        ("#min_ram", "512", "min_ram=512"),
        ("#min_disk", "5", "min_disk=5"),
    ];
    let chosen: [(&str, &str, &str); 7] = [
        ("#protected", "protected", "protected=true"),
        ("#protected", "not protected", "protected=false"),
        ("#is_public", "not public", "is_public=false"),
        ("#is_public", "public", "is_public=true"),
        ("#is_public", "all images", "is_public=none"),
        ("#sort_key", "name", "sort_key=name"),
        ("#sort_dir", "asc", "sort_dir=asc"),
    ];
    for (number, (control, value, pair)) in typed.into_iter().chain(chosen).enumerate() {
        if number < typed.len() {
            browser.fill(control, value);
        } else {
            browser.choose(control, value);
        }
        // The request is told before it is sent.
        let query = format!("?{pair}&limit=25");
        assert_eq!(console.target(), format!("/v1.1/images/detail{query}"));
        assert_eq!(browser.text("#edited"), "The filters have been changed; Search sends this request.");
        browser.click("button.main");
        assert!(!console.wait_for_list(&query).is_empty(), "{pair}");
        assert_eq!(browser.text("#edited"), "");
        browser.click("#reset");
        console.wait_for_list("?limit=25");
        assert!(browser.value("#size_min").is_empty() && browser.value("#name").is_empty());
    }
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn filters_hold_together_with_properties_and_a_picked_time() {
    let console = Console::on(&catalog(), "");
    let browser = &console.browser;
    browser.click("#more summary");
    browser.key(Key::Tab);
    // Month, day and year, then hours, minutes and seconds, as in American English.
    browser.keys("01012016");
    browser.key(Key::Tab);
    browser.keys("120010A");
    browser.click("#add-property");
    // The new row has the focus.
    browser.keys("os_distro");
    browser.key(Key::Tab);
    browser.keys("debian & co");
    browser.click("#add-property");
    browser.keys("镜像");
    browser.key(Key::Tab);
    browser.keys("it's");
    browser.fill("#size_min", "20 GiB");
    assert_eq!(browser.text("#size_min-hint"), "21,474,836,480 bytes");
    browser.key(Key::Enter);
    let query = "?size_min=21474836480&changes-since=2016-01-01T00:00:10&limit=25&property-os_distro=debian%20%26%20co\
         &property-%E9%95%9C%E5%83%8F=it%27s";
    assert_eq!(console.wait_for_list(query), ["image-54", "image-45", "image-36", "image-27"]);

    // The line for curl is just that request, whatever the shell makes of it.
    let line = browser.text("#curl");
    browser.click("[data-copy=curl]");
    browser.wait_for_text("section .outcome", "Copied.");
    assert_eq!(browser.clipboard(), line);
    browser.click("[data-copy=url]");
    browser.wait("the URL in the clipboard", |browser| browser.clipboard() == browser.text("#url"));
    assert_eq!(by_curl(&line, ""), console.server.get(&console.target()).body);

    browser.click(".property button");
    assert_eq!(console.focus(), "Add a property");
    browser.click("button.main");
    console.wait_for_list(
        "?size_min=21474836480&changes-since=2016-01-01T00:00:10&limit=25&property-%E9%95%9C%E5%83%8F=it%27s",
    );
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn pages_are_turned_by_markers_and_back_by_the_history() {
    let console = Console::on(&catalog(), "?sort_key=size&sort_dir=asc&limit=25");
    let browser = &console.browser;
    let first = "?sort_key=size&sort_dir=asc&limit=25";
    let after = |number| format!("{first}&marker={}", id(number));
    console.wait_for_list(first);
    assert_eq!(browser.text("#state"), "25 images, more follow.");
    browser.click("#next");
    assert_eq!(console.wait_for_list(&after(25))[0], "image-26");
    browser.wait_for_text("#state", "Page 2: 25 images, more follow.");
    assert_eq!((browser.title(), console.focus()), ("Images, page 2 · Glimpse".to_owned(), "Images".to_owned()));
    browser.click("#next");
    assert_eq!(console.wait_for_list(&after(50)).len(), 10);
    browser.wait_for_text("#state", "Page 3: 10 images.");
    assert_eq!(browser.script("return document.querySelector('#next').disabled"), true);

    browser.click("#previous");
    console.wait_for_list(&after(25));
    browser.back();
    console.wait_for_list(first);
    browser.forward();
    console.wait_for_list(&after(25));
    browser.reload();
    console.wait_for_list(&after(25));
    browser.wait_for_text("#state", "Page 2: 25 images, more follow.");
    browser.click("#previous");
    console.wait_for_list(first);
    assert_eq!(browser.script("return document.querySelector('#previous').disabled"), true);

    // Who is sent a page in the middle can go on, and to the first.
    console.open(&after(25));
    browser.wait_for_text("#state", "Page after a marker: 25 images, more follow.");
    assert_eq!(browser.script("return document.querySelector('#previous').disabled"), true);
    browser.click("#next");
    console.wait_for_list(&after(50));
    browser.click("#first");
    console.wait_for_list(first);

    // Another order begins at its first page.
    browser.click("#next");
    console.wait_for_list(&after(25));
    browser.click("[data-sort=name] button");
    console.wait_for_list("?sort_key=name&sort_dir=asc&limit=25");
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn headers_sort_and_say_so() {
    let console = Console::on(&catalog(), "");
    let browser = &console.browser;
    let order = || {
        let sorted = "return [...document.querySelectorAll('[aria-sort]')].map((header) => \
             `${header.dataset.sort} ${header.getAttribute('aria-sort')}`).join()";
        browser.script(sorted).as_str().expect("a text").to_owned()
    };
    assert_eq!(order(), "created_at descending");
    for key in ["name", "status", "container_format", "disk_format", "id"] {
        for (direction, word) in [("asc", "ascending"), ("desc", "descending")] {
            browser.click(&format!("[data-sort={key}] button"));
            console.wait_for_list(&format!("?sort_key={key}&sort_dir={direction}&limit=25"));
            assert_eq!(order(), format!("{key} {word}"));
            assert_eq!(browser.text("caption"), format!("By {key}, {word}. Times are UTC."));
        }
    }
    for key in ["size", "updated_at", "created_at"] {
        browser.click(&format!("[data-sort={key}] button"));
        console.wait_for_list(&format!("?sort_key={key}&sort_dir=desc&limit=25"));
    }
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn an_address_restores_form_and_list() {
    let console = Console::on(&catalog(), "");
    let browser = &console.browser;
    let query = "?name=eq:&status=active&size_min=1610612736&size_max=20000000&changes-since=2016-01-01T00:00:00.719791%2B08:00\
         &min_ram=512&protected=false&is_public=none&sort_key=name&sort_dir=asc&limit=7&property-os_distro=debian%20%26%20co";
    console.open(query);
    let shown = [
        ("#name", "eq:"),
        ("#status", "active"),
        ("#size_min", "1536 MiB"),
        ("#size_max", "20 MB"),
        ("#changes-since", "2016-01-01T00:00:00.719791+08:00"),
        ("#min_ram", "512"),
        ("#protected", "false"),
        ("#is_public", "none"),
        ("#sort_key", "name"),
        ("#sort_dir", "asc"),
        ("#limit", "7"),
        ("[data-property=name]", "os_distro"),
        ("[data-property=value]", "debian & co"),
    ];
    for again in [false, true] {
        if again {
            browser.reload();
            console.wait_for_answer();
        }
        for (control, value) in shown {
            assert_eq!(browser.value(control), value, "{control}");
        }
        console.wait_for_list(query);
        assert!(!browser.texts("#changes-since").is_empty(), "filters in use are not folded away");
    }
    // Each query is a place in the history, with its form.
    browser.click("#reset");
    console.wait_for_list("?limit=25");
    browser.fill("#name", "image-3");
    browser.key(Key::Enter);
    console.wait_for_list("?name=image-3&limit=25");
    browser.back();
    console.wait_for_list("?limit=25");
    assert_eq!(browser.value("#name"), "");
    browser.back();
    console.wait_for_list(query);
    assert_eq!(browser.value("#size_min"), "1536 MiB");

    // Another way to write the same, and what the API does not know, is no state of its own.
    console.open("?foo=1&size_min=&limit=2&limit=3&name=&protected=0");
    console.wait_for_list("?name=eq:&protected=0&limit=3");
    assert_eq!(browser.value("#protected"), "0");
    // No limit is one thing, and the page's own another.
    console.open("?");
    console.wait_for_answer();
    assert_eq!((console.target().as_str(), console.names().len()), ("/v1.1/images/detail", 60));
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn refusals_are_shown_in_the_words_of_the_api() {
    let console = Console::on(&catalog(), "");
    let browser = &console.browser;
    let refused = |status: u16, title: &str, message: &str| {
        browser.wait_for_text("#refusal-code", &format!("{status} {title}"));
        assert_eq!(browser.text("#refusal-message"), message);
        assert!(browser.text("#refusal-id").starts_with("Request id: req-"));
        assert_eq!(browser.roles("#refusal")[0].0, "alert");
        assert!(browser.texts("#rows td").is_empty());
    };
    browser.fill("#size_min", "ten");
    assert_eq!(browser.text("#size_min-hint"), "no size; sent as it stands");
    browser.key(Key::Enter);
    let message = |query: &str| console.server.get(&format!("/v1.1/images/detail{query}")).refusal(400);
    refused(400, "Bad Request", &message("?size_min=ten"));
    for query in ["?sort_key=owner", "?changes-since=soon", "?limit=-1", "?protected=perhaps", "?name=%00", "?marker=x"]
    {
        console.open(query);
        refused(400, "Bad Request", &message(query));
    }
    // The last was of a marker, which a way leads out of.
    browser.click("#first");
    browser.wait("all images", |_| console.names().len() == 60);
    // What was wrong stands in the form, to be put right.
    console.open("?changes-since=soon&protected=perhaps");
    assert_eq!(
        (browser.value("#changes-since"), browser.value("#protected")),
        ("soon".to_owned(), "perhaps".to_owned())
    );
    browser.choose("#protected", "protected");
    browser.fill("#changes-since", "2016-01-01");
    browser.click("button.main");
    assert!(!console.wait_for_list("?changes-since=2016-01-01&protected=true").is_empty());

    console.server.database().execute("DROP TABLE image_members; DROP TABLE images");
    browser.click("button.main");
    refused(500, "Internal Server Error", &console.server.get("/v1.1/images/detail").refusal(500));
    console.server.signal("KILL");
    browser.click("button.main");
    browser.wait_for_text("#refusal-code", "No answer");
    assert!(browser.text("#refusal-message").starts_with("The server cannot be reached"));
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn a_token_is_asked_for_and_kept_in_memory_alone() {
    let mut images = catalog();
    images[0].owner = Some("p".to_owned());
    images[0].is_public = false;
    let tokens = json!({ "s3cr3t-t0ken": { "user": "u", "project": "p", "roles": ["member"] } });
    let console = Console::new(start(&images).tokens(&tokens));
    let browser = &console.browser;
    console.open("?name=image-1");
    let needed = "A valid token is needed in the header X-Auth-Token.";
    assert_eq!(
        (browser.text("#refusal-code"), browser.text("#refusal-message")),
        ("401 Unauthorized".to_owned(), needed.to_owned())
    );
    assert_eq!(
        (browser.text("#token-state"), console.focus()),
        ("A token is needed.".to_owned(), "Token for X-Auth-Token".to_owned())
    );
    browser.keys("wrong");
    browser.key(Key::Enter);
    browser.wait_for_text("#token-state", "The token has been refused.");
    browser.wait_for_text("#refusal-message", needed);
    browser.fill("#token", "not one");
    browser.key(Key::Enter);
    browser.wait_for_text("#token-state", "No header can carry this token: printable ASCII without blanks is needed.");
    browser.fill("#token", " s3cr3t-t0ken ");
    browser.key(Key::Enter);
    browser.wait("the image", |_| console.names() == ["image-1"]);
    browser.wait("the focus on the images", |_| console.focus() == "Images");

    let curl = browser.text("#curl");
    assert_eq!(curl, format!("curl -H \"X-Auth-Token: $OS_TOKEN\" '{}'", browser.text("#url")));
    let answer = console.server.send(&get(&console.target()).token("s3cr3t-t0ken"));
    assert_eq!((answer.names(), by_curl(&curl, "s3cr3t-t0ken")), (vec!["image-1".to_owned()], answer.body.clone()));
    let kept = browser.script(
        "return JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, history.state, \
         document.documentElement.outerHTML, [...document.querySelectorAll('input')].map((input) => input.value)])",
    );
    assert!(!kept.to_string().contains("s3cr3t"), "{kept}");
    // It goes along with every request, and ends with the page.
    browser.click("#rows button");
    browser.wait_for_text("#members", "No project that you are told of.");
    browser.key(Key::Escape);
    browser.wait("the address of the list", |browser| browser.url() == console.address("?name=image-1"));
    browser.reload();
    browser.wait_for_text("#token-state", "A token is needed.");

    browser.fill("#token", "s3cr3t-t0ken");
    browser.key(Key::Enter);
    browser.wait("the image", |_| console.names() == ["image-1"]);
    browser.click("#access summary");
    browser.click("#forget");
    browser.wait_for_text("#refusal-message", needed);
    assert_eq!(browser.text("#token-state"), "A token is needed.");
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn a_page_that_waits_says_so_and_the_last_search_counts() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    console.server.pause();
    for name in ["image-1", "image-2"] {
        browser.fill("#name", name);
        browser.key(Key::Enter);
        browser.wait_for_text("#state", "Loading…");
        assert_eq!(browser.script("return document.querySelector('#found').ariaBusy"), "true");
        assert_eq!(console.names(), ["image-60", "image-59"]);
    }
    // The first is given up: the answer that comes is the second's.
    browser.back();
    browser.wait("the first search", |browser| browser.value("#name") == "image-1");
    browser.forward();
    browser.wait("the second search", |browser| browser.value("#name") == "image-2");
    console.server.signal("CONT");
    assert_eq!(console.wait_for_list("?name=image-2&limit=2"), ["image-2"]);
    assert_eq!(browser.script("return document.querySelector('#found').ariaBusy"), Value::Null);
    browser.wait_for_text("#state", "1 image.");
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn console_and_documentation_lead_to_each_other_and_a_token_does_not_outlast_the_way() {
    let tokens = json!({ "s3cr3t": { "user": "u", "project": "p", "roles": ["admin"] } });
    let console = Console::new(start(&catalog()).tokens(&tokens));
    let browser = &console.browser;
    console.open("?name=image-1");
    browser.fill("#token", "s3cr3t");
    browser.key(Key::Enter);
    browser.wait("the image", |_| console.names() == ["image-1"]);
    browser.click("header a[href=docs]");
    browser.wait("the documentation", |browser| browser.title().starts_with("API"));
    browser.click("header a[href=console]");
    browser.wait_for_text("#token-state", "A token is needed.");
    browser.back();
    browser.wait("the documentation", |browser| browser.title().starts_with("API"));
    // The page that was left may be shown as it was, but for what the token has shown.
    browser.back();
    browser.wait_for_text("#token-state", "A token is needed.");
    assert_eq!((browser.url(), console.names()), (console.address("?name=image-1"), Vec::new()));
    console.assert_no_complaints();
}

/// A proxy that serves a server under `/images`; it ends with the process of the tests.
fn proxy(server: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = server.to_owned();
    let pass_on = move |client: TcpStream| -> io::Result<()> {
        let mut reader = BufReader::new(&client);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
        let mut upstream = TcpStream::connect(&server)?;
        let head = head.replacen(" /images/", " /", 1).replace("Connection: keep-alive", "Connection: close");
        upstream.write_all(head.as_bytes())?;
        io::copy(&mut upstream, &mut &client).map(drop)
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let pass_on = pass_on.clone();
            thread::spawn(move || pass_on(client));
        }
    });
    address
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn a_proxy_may_put_a_path_before_all() {
    let console = Console::new(start(&catalog()));
    let browser = &console.browser;
    let base = format!("http://{}/images", proxy(&console.server.address));
    browser.open(&format!("{base}/console/?limit=2"));
    browser.wait_for_text("#state", "2 images, more follow.");
    assert_eq!((browser.url(), console.names().len()), (format!("{base}/console?limit=2"), 2));
    browser.click("#next");
    browser.wait("the second page", |_| console.names() == ["image-58", "image-57"]);
    assert_eq!(browser.text("#url"), format!("{base}/v1.1/images/detail?limit=2&marker={}", id(59)));
    browser.click("#rows button");
    browser.wait_for_text("#members", "No project that you are told of.");
    console.assert_no_complaints();
}

/// The line for curl with a token, as `docs/console.md` shows it.
#[test]
#[ignore = "needs curl: tests/run brings it"]
fn the_line_for_curl_works_as_documented() {
    let tokens = json!({ "tok": { "user": "u", "project": "p", "roles": [] } });
    let server = start(&catalog()).tokens(&tokens).serve();
    let page = include_str!("../../../docs/console.md");
    let commands = page.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```")).expect("commands").0;
    let commands = commands.replace("127.0.0.1:9292", &server.address);
    let request = get("/v1.1/images/detail?disk_format=in:raw,qcow2&limit=25").token("tok");
    assert_eq!(by_curl(&commands, ""), server.send(&request).body);
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn a_token_may_show_more_where_none_is_needed() {
    let mut images = catalog();
    images[0].owner = Some("p".to_owned());
    images[0].is_public = false;
    let tokens = json!({ "t": { "user": "u", "project": "p", "roles": [] } });
    let console = Console::new(start(&images).tokens(&tokens).set("ANONYMOUS_PUBLIC", "true"));
    let browser = &console.browser;
    console.open("?name=image-1");
    assert_eq!(browser.text("#empty-text"), "No image matches these filters.");
    browser.click("#access summary");
    browser.fill("#token", "t");
    browser.key(Key::Enter);
    browser.wait("the image", |_| console.names() == ["image-1"]);
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn nothing_found_is_said_so() {
    let console = Console::on(&catalog(), "?name=no-such-image");
    let browser = &console.browser;
    assert_eq!(
        (browser.text("#state").as_str(), browser.text("#empty-text").as_str()),
        ("Nothing matches.", "No image matches these filters.")
    );
    assert_eq!(browser.roles("#state")[0].0, "status");
    assert!(browser.texts("table").is_empty() && browser.texts("#pages").is_empty());
    browser.click("#empty-reset");
    console.wait_for_list("?limit=25");
    assert_eq!(console.focus(), "Images");
    console.open(&format!("?limit=25&marker={}", id(1)));
    assert_eq!(browser.text("#empty-text"), "No image comes after the marker.");
    browser.click("#first");
    console.wait_for_list("?limit=25");
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn values_are_read_at_a_glance_and_exact_on_demand() {
    let console = Console::on(&odd(), "?sort_key=id&sort_dir=asc");
    let browser = &console.browser;
    let cell = |row: usize, label: &str| format!("#rows tr:nth-child({row}) [data-label={label}]");
    let rough = |row, label: &str| browser.text(&format!("{} [aria-hidden]", cell(row, label)));
    let title = |row, label: &str| {
        let script = format!("return document.querySelector({}).title", json!(format!("{} [title]", cell(row, label))));
        browser.script(&script).as_str().expect("a text").to_owned()
    };
    let heard = |row, label: &str| browser.text(&format!("{} .heard", cell(row, label)));
    for label in ["Disk", "Container", "Size", "Updated"] {
        assert_eq!(browser.text(&format!("{} i.null", cell(1, label))), "null", "{label}");
    }
    // Text that says null is no null.
    assert_eq!(browser.text(&cell(2, "Name")), "null");
    assert!(browser.texts(&format!("{} .null", cell(2, "Name"))).is_empty());
    assert_eq!(browser.text(&format!("{} i.null", cell(4, "Name"))), "empty");
    for (row, expected, exact) in
        [(2, "0 B", "0 bytes"), (3, "8.0 EiB", "9,223,372,036,854,775,807 bytes"), (4, "12.6 MiB", "13,167,616 bytes")]
    {
        assert_eq!(
            (rough(row, "Size"), title(row, "Size"), heard(row, "Size")),
            (expected.to_owned(), exact.to_owned(), exact.to_owned())
        );
    }
    let exact = "2016-05-22T06:04:20.425843 UTC";
    assert_eq!((rough(3, "Created").as_str(), title(3, "Created").as_str()), ("22 May 2016, 06:04", exact));
    assert_eq!(heard(3, "Created"), exact);
    assert_eq!(browser.text(&cell(3, "Flags")), "public, protected");
    assert_eq!(browser.text(&cell(1, "Flags")), "not public");
    // What the catalog says is text, whatever it looks like.
    let name = odd()[2].name.clone().expect("a name");
    assert_eq!((browser.text(&cell(3, "Name")), browser.title()), (name, "Images · Glimpse".to_owned()));
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn details_of_an_image_are_whole_and_have_an_address() {
    let console = Console::on(&odd(), "?sort_key=id&sort_dir=asc");
    let browser = &console.browser;
    let button = format!("[data-image='{}']", id(3));
    browser.click(&button);
    browser.wait_for_text("#members", "beta (can share it), gamma");
    let address = format!("?sort_key=id&sort_dir=asc#{}", id(3));
    assert_eq!((browser.url(), console.focus()), (console.address(&address), "Close".to_owned()));
    assert_eq!(browser.roles("#details")[0], ("dialog".to_owned(), odd()[2].name.clone().expect("a name")));
    // Just the record of the list, numbers included.
    let record = console.server.get("/v1.1/images/detail?sort_key=id&sort_dir=asc").images()[2].clone();
    let json: Value = serde_json::from_str(&browser.text("#json")).expect("JSON");
    assert_eq!((&json, &json["size"]), (&record, &json!(i64::MAX)));
    let fields = browser.texts("#fields dt");
    assert_eq!(fields.len(), 17 + 2, "{fields:?}");
    browser.click("[data-copy=json]");
    browser.wait_for_text("#details .outcome", "Copied.");
    assert_eq!(browser.clipboard(), browser.text("#json"));
    let line = browser.text("#image-curl");
    assert_eq!(line, format!("curl -I 'http://{}/v1.1/images/{}'", console.server.address, id(3)));
    assert!(by_curl(&line, "").to_lowercase().contains(&format!("x-image-meta-id: {}", id(3))));

    // Escape, the button and the history close them, and the focus is where it was.
    browser.key(Key::Escape);
    browser.wait("the address of the list", |browser| browser.url() == console.address("?sort_key=id&sort_dir=asc"));
    assert!(browser.texts("#details").is_empty());
    assert_eq!(browser.script(&format!("return document.activeElement.matches({})", json!(button))), true);
    browser.forward();
    browser.wait_for_text("#details #details-title", &odd()[2].name.clone().expect("a name"));
    browser.reload();
    browser.wait_for_text("#members", "beta (can share it), gamma");
    browser.click("#close");
    browser.wait("the address of the list", |browser| browser.url() == console.address("?sort_key=id&sort_dir=asc"));
    browser.click(&format!("[data-image='{}']", id(1)));
    browser.wait("the details", |browser| browser.url().ends_with(&id(1).to_string()));
    browser.back();
    browser.wait("the list", |browser| browser.texts("#details").is_empty());

    // An address with details can be passed on; closed, the list stays.
    for query in ["?sort_key=id&sort_dir=asc", "?", ""] {
        console.open(&format!("{query}#{}", id(3)));
        browser.wait_for_text("#members", "beta (can share it), gamma");
        browser.key(Key::Escape);
        browser.wait("the address of the list", |browser| browser.url() == console.address(query));
    }
    console.open(&format!("?limit=1&sort_key=id#{}", id(1)));
    browser.wait_for_text("#missing", &format!("The image {} is not on this page.", id(1)));
    console.assert_no_complaints();
}
