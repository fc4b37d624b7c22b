//! The page by keyboard, to screen readers, on a phone and in the dark, and shut off from all else.

use fantoccini::key::Key;
use serde_json::json;

use super::{Console, catalog, odd, start};
use crate::support::{Browser, Image, id, image};

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn the_tab_key_reaches_all_in_the_order_of_the_page_and_shows_where_it_is() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    browser.script("document.querySelector('#more').open = true; document.querySelector('#access').open = true");
    let mut reached = Vec::new();
    loop {
        browser.key(Key::Tab);
        let outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle");
        if browser.script("return document.activeElement === document.body") == true {
            break;
        }
        assert_ne!(outline, "none", "{reached:?}");
        let focused = browser.script(
            "return document.activeElement.id || document.activeElement.innerText || document.activeElement.closest('[id]').id",
        );
        let focused = focused.as_str().expect("a text").to_owned();
        // A picker has several stops.
        if reached.last() != Some(&focused) {
            reached.push(focused);
        }
        assert!(reached.len() < 100, "{reached:?}");
    }
    let expected = [
        "Skip to the images",
        "Documentation",
        "Token",
        "token",
        "Use the token",
        "Filters",
        "name",
        "status",
        "disk_format",
        "container_format",
        "size_min",
        "size_max",
        "More filters",
        "changes-since",
        "min_ram",
        "min_disk",
        "protected",
        "is_public",
        "add-property",
        "sort_key",
        "sort_dir",
        "limit",
        "Search",
        "reset",
        "Copy the URL",
        "Copy the curl line",
        "Name",
        "Status",
        "Disk",
        "Container",
        "Size",
        "Created",
        "Updated",
        "ID",
        "image-60",
        "image-59",
        "next",
    ];
    let reached: Vec<String> =
        reached.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ▼", "")).collect();
    assert_eq!(reached, expected);
}

/// A search, an order, a page and the details of an image, without a pointer.
#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn the_keyboard_is_enough() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    browser.key(Key::Tab);
    assert_eq!(console.focus(), "Skip to the images");
    for _ in ["the documentation", "the token", "the fold", "the name"] {
        browser.key(Key::Tab);
    }
    assert_eq!(console.focus(), "Name");
    browser.keys("in:image-1,image-2,image-3");
    browser.key(Key::Enter);
    console.wait_for_list("?name=in:image-1,image-2,image-3&limit=2");
    assert_eq!(console.focus(), "Name");
    browser.key(Key::Enter);
    let tab_to = |name: &str| {
        browser.wait(&format!("the focus on {name}"), |browser| {
            browser.key(Key::Tab);
            browser.focus() == name
        });
    };
    tab_to("Copy the curl line");
    tab_to("Name");
    browser.key(Key::Enter);
    console.wait_for_list("?name=in:image-1,image-2,image-3&sort_key=name&sort_dir=asc&limit=2");
    assert_eq!(console.focus(), "Name");
    tab_to("Next page");
    browser.key(Key::Enter);
    let second = format!("?name=in:image-1,image-2,image-3&sort_key=name&sort_dir=asc&limit=2&marker={}", id(2));
    console.wait_for_list(&second);
    tab_to("image-3");
    browser.keys(" ");
    browser.wait("the details", |_| console.focus() == "Close");
    // The focus stays in the details while they are open.
    let inside = "return document.activeElement === document.body || document.querySelector('#details').contains(document.activeElement)";
    for _ in 0..8 {
        browser.key(Key::Tab);
        assert_eq!(browser.script(inside), true);
    }
    browser.key(Key::Escape);
    browser.wait("the focus back on the image", |_| console.focus() == "image-3");
    // The skip link leads past the form.
    console.open("?limit=2");
    browser.key(Key::Tab);
    browser.key(Key::Enter);
    browser.wait("the focus on the images", |_| console.focus() == "Images");
    // It is no image that the address names.
    assert_eq!((browser.url(), browser.text("#missing")), (console.address("?limit=2"), String::new()));
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn screen_readers_are_told_what_things_are() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    browser.script("document.querySelector('#more').open = true; document.querySelector('#access').open = true");
    browser.click("#add-property");
    for (role, name) in browser.roles("input, select, button") {
        assert!(role == "none" || !name.is_empty(), "a {role} without a name");
    }
    // A placeholder is no label: it goes where it is needed most.
    let unlabelled = "return [...document.querySelectorAll('input, select')].filter((own) => !own.labels.length).map((own) => own.id)";
    assert_eq!(browser.script(unlabelled), json!([]));
    let control = |selector: &str| browser.roles(selector).remove(0);
    assert_eq!(control("#status"), ("combobox".to_owned(), "Status".to_owned()));
    assert_eq!(control("table"), ("table".to_owned(), "By created_at, descending. Times are UTC.".to_owned()));
    assert_eq!(control("[data-sort=size]"), ("columnheader".to_owned(), "Size".to_owned()));
    assert_eq!(control("#pages"), ("navigation".to_owned(), "Pages".to_owned()));
    let cells =
        |browser: &Browser| browser.roles("#rows tr, #rows td").into_iter().map(|(role, _)| role).collect::<Vec<_>>();
    let wide = cells(browser);
    // The cards of a phone are a table still.
    browser.resize(320, 640, true);
    assert_eq!(cells(browser), wide);
    assert_eq!(wide.iter().filter(|role| *role == "row").count(), 2);
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium and axe-core: tests/run brings them"]
fn no_state_of_the_page_has_barriers() {
    let mut images = catalog();
    images.extend(odd().into_iter().map(|image| Image { id: uuid::Uuid::new_v4(), ..image }));
    let console = Console::on(&images, "");
    let browser = &console.browser;
    let states: [(&str, &[&str]); 5] = [
        ("", &[]),
        ("?property-os_distro=debian%20%26%20co&limit=3&changes-since=2016", &["#access summary"]),
        ("?name=no-such-image", &[]),
        ("?size_min=ten", &[]),
        ("?limit=3", &["#rows button"]),
    ];
    for scheme in ["light", "dark"] {
        browser.prefer("prefers-color-scheme", scheme);
        for (width, height, is_mobile) in [(1280, 900, false), (320, 640, true)] {
            browser.resize(width, height, is_mobile);
            for (address, clicks) in states {
                console.open(address);
                for target in clicks {
                    browser.click(target);
                }
                let found = browser.barriers();
                assert_eq!(found["found"], json!([]), "{scheme}, {width} wide, {address}");
                assert!(found["passed"].as_u64().is_some_and(|passed| passed > 15), "{found}");
            }
        }
    }
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn a_phone_shows_all_without_scrolling_sideways() {
    let mut images = odd();
    images.push(Image {
        name: Some("x".repeat(255)),
        owner: Some("y".repeat(255)),
        disk_format: Some("z".repeat(255)),
        ..image(5)
    });
    let console = Console::new(start(&images));
    let browser = &console.browser;
    let assert_it_fits = |state: &str| {
        let beyond = browser.script(
            "const width = document.documentElement.clientWidth;
             return [...document.querySelectorAll('body, body *')].filter((part) => part.checkVisibility() && !part.closest('.heard, .skip')
                 && part.getBoundingClientRect().right > width + 0.5).map((part) => `${part.tagName} ${part.id} ${part.className}`)",
        );
        let width =
            browser.script("return [document.documentElement.clientWidth, document.documentElement.scrollWidth]");
        assert_eq!((&width, &beyond), (&json!([320, 320]), &json!([])), "{state}");
    };
    browser.resize(320, 640, true);
    console.open("");
    assert_it_fits("the list");
    // The form is folded, so that the images are not far.
    assert!(browser.texts("#filters").is_empty());
    browser.click("#fold > summary");
    browser.click("#more summary");
    browser.click("#add-property");
    browser.click("#access summary");
    assert_it_fits("the form");
    browser.fill("#name", &"in:x,".repeat(50));
    assert_it_fits("a long request");
    browser.key(Key::Enter);
    browser.wait_for_text("#state", "Nothing matches.");
    assert!(browser.texts("#filters").is_empty());
    assert_it_fits("nothing found");
    console.open(&format!("?size_min={}", "x".repeat(200)));
    assert_it_fits("a refusal");
    for number in [3, 5] {
        console.open(&format!("#{}", id(number)));
        browser.wait("the details", |browser| !browser.texts("#details").is_empty());
        assert_it_fits("details");
    }
    console.assert_no_complaints();
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn the_page_follows_the_wishes_of_its_reader() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    let brightness = |part: &str| {
        let script = format!(
            "const of = (colour) => colour.match(/\\d+/g).slice(0, 3).reduce((sum, own) => sum + Number(own), 0);
             const style = getComputedStyle(document.querySelector('{part}'));
             return [of(style.backgroundColor), of(style.color)]"
        );
        let found = browser.script(&script);
        (found[0].as_i64().expect("a number"), found[1].as_i64().expect("a number"))
    };
    for part in ["body", "section", "input", "#url", "dialog"] {
        browser.prefer("prefers-color-scheme", "light");
        let (back, front) = brightness(part);
        assert!(back > front + 300, "{part} {back} {front}");
        browser.prefer("prefers-color-scheme", "dark");
        let (back, front) = brightness(part);
        assert!(front > back + 300, "{part} {back} {front}");
    }
    let motion =
        "return [...document.querySelectorAll('*')].some((part) => getComputedStyle(part).transitionDuration !== '0s')";
    assert_eq!(browser.script(motion), true);
    browser.prefer("prefers-reduced-motion", "reduce");
    assert_eq!(browser.script(motion), false);
}

#[test]
#[ignore = "needs Chromium: tests/run brings it"]
fn the_policy_of_the_page_is_in_force() {
    let console = Console::on(&catalog(), "?limit=2");
    let browser = &console.browser;
    console.assert_no_complaints();
    let breach = |attempt: &str| {
        let script = format!(
            "const done = arguments[0];
             const breached = (event) => done(`${{event.effectiveDirective}} ${{event.blockedURI}}`);
             document.addEventListener('securitypolicyviolation', breached, {{ once: true }});
             const add = (name, own) => document.body.append(Object.assign(document.createElement(name), own));
             try {{ {attempt} }} catch {{}}"
        );
        browser.script_that_calls_back(&script).as_str().expect("a directive").to_owned()
    };
    let breaches = [
        ("document.body.innerHTML = '<b>x</b>'", "require-trusted-types-for trusted-types-sink"),
        ("add('script', { textContent: 'document.title = 1' })", "require-trusted-types-for trusted-types-sink"),
        ("document.body.setAttribute('onclick', 'document.title = 1')", "require-trusted-types-for trusted-types-sink"),
        ("setTimeout('document.title = 1')", "require-trusted-types-for trusted-types-sink"),
        ("trustedTypes.createPolicy('own', {})", "trusted-types trusted-types-policy"),
        ("document.body.setAttribute('style', 'color: red')", "style-src-attr inline"),
        ("add('style', { textContent: 'body { color: red }' })", "style-src-elem inline"),
        ("fetch('http://127.0.0.1:9/').catch(() => {})", "connect-src http://127.0.0.1:9/"),
        ("add('img', { src: 'http://127.0.0.1:9/x.png' })", "img-src http://127.0.0.1:9/x.png"),
        ("add('iframe', { src: '/console' })", "frame-src"),
        ("add('base', { href: 'http://127.0.0.1:9/' })", "base-uri http://127.0.0.1:9/"),
    ];
    for (attempt, directive) in breaches {
        let reported = breach(attempt);
        assert!(reported.starts_with(directive), "{attempt}: {reported}");
    }
    // Markup that got into the page all the same would run nothing.
    let bare = console.server.get("/console").header("Content-Security-Policy").expect("a policy").to_owned();
    assert!(bare.contains("script-src 'self';"), "{bare}");
    assert_eq!(browser.title(), "Images · Glimpse");
    // Nobody puts it into a page of their own.
    browser.open(&format!("http://{}/versions", console.server.address));
    let framed = |path: &str| {
        let script = format!(
            "const frame = Object.assign(document.createElement('iframe'), {{ src: '{path}' }});
             const done = arguments[0];
             frame.addEventListener('load', () => done(frame.contentDocument?.title ?? 'refused'));
             document.body.append(frame)"
        );
        browser.script_that_calls_back(&script)
    };
    assert_eq!((framed("/console"), framed("/healthcheck")), (json!("refused"), json!("")));
}
