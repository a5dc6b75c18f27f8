//! The page at `/` of the admin server, in a headless Chromium.
//!
//! They are ignored where cargo runs all tests: `tests/with-servers` runs them where there is a browser.

mod browser;

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{Script, ScriptedOptimizer};

use crate::{
    bench::{Bench, SOON, skipped, wait},
    operating::{
        daemon::Daemon,
        double::{AdminDouble, measuring, parked, servo},
    },
};
use browser::Browser;

/// A browser; none, loudly, where there is none.
fn browser() -> Option<Browser> {
    match Browser::find() {
        Some(program) => Some(Browser::start(&program)),
        None => {
            skipped("the page in a browser: there is no Chromium");
            None
        }
    }
}

fn few() -> AdminDouble {
    AdminDouble::start(vec![servo("calm"), measuring("busy", 42.0), parked("ill")])
}

/// 10,000 servos, a hundred of them parked.
fn many() -> AdminDouble {
    let servos = (0..10_000).map(|n| match n % 100 {
        7 => parked(&format!("shop-{n:05}")),
        8 => measuring(&format!("shop-{n:05}"), 30.0),
        _ => servo(&format!("shop-{n:05}")),
    });
    AdminDouble::start(servos.collect())
}

/// The names on the page.
const NAMES: &str = "[...document.querySelectorAll('#rows .c-name a')].map((a) => a.textContent)";

fn text(id: &str) -> String {
    format!("document.getElementById('{id}').innerText")
}

fn row(name: &str) -> String {
    let name = Value::from(name).to_string();
    format!("[...document.querySelectorAll('#rows tr')].find((r) => r.dataset.name === {name})")
}

fn chip(state: &str) -> String {
    format!("document.querySelector('#chips [data-state=\"{state}\"]')")
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn ten_thousand_servos_within_a_second() {
    let Some(mut browser) = browser() else { return };
    let daemon = many();
    browser.ask(
        "Page.addScriptToEvaluateOnNewDocument",
        json!({"source": "new MutationObserver(() => { if (document.querySelectorAll('#rows tr').length === 100) window.shownAt ??= performance.now(); }).observe(document, {childList: true, subtree: true});"}),
    );
    // Whatever else this machine is doing.
    let best = (0..3)
        .map(|_| {
            browser.open(&daemon.url());
            browser.until("window.shownAt");
            browser.value("window.shownAt").as_f64().unwrap()
        })
        .fold(f64::MAX, f64::min);
    assert!(best < 1000.0, "{best} ms");
    browser.until_is(&text("total"), "10,000");
    browser.until_is(&text("range"), "1–100 of 10,000");
    browser.until_is(&text("page-number"), "1 / 100");
    for (id, shown) in [
        ("version", "9.8.7"),
        ("uptime", "3 d 4 h"),
        ("memory", "164 MiB"),
        ("cpu", "12 m 14 s"),
        ("ready-text", "ready"),
        ("live-text", "live"),
        ("reloads", "12 done, 1 refused"),
    ] {
        browser.until_is(&text(id), shown);
    }
    browser.until_is(
        &format!("{}.innerText.replace(/\\s+/g, ' ').trim()", chip("parked")),
        "parked 100",
    );
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn filters_and_pages_of_ten_thousand() {
    let Some(mut browser) = browser() else { return };
    let daemon = many();
    browser.open(&daemon.url());
    browser.until(&chip("parked"));
    browser.click(&chip("parked"));
    browser.until_is(&text("range"), "1–100 of 100");
    browser.until_is(&format!("{NAMES}[1]"), "shop-00107");
    browser.until_is("location.hash", "#state=parked");
    browser.until_is(
        &format!("{}.getAttribute('aria-pressed')", chip("parked")),
        "true",
    );
    // Once more lets all through again.
    browser.click(&chip("parked"));
    browser.until_is(&text("range"), "1–100 of 10,000");
    browser.click("document.getElementById('next')");
    browser.until_is(&text("range"), "101–200 of 10,000");
    browser.until_is(&format!("{NAMES}[0]"), "shop-00100");
    browser.press("/");
    browser.until_is("document.activeElement.id", "search");
    browser.type_text("SHOP-012");
    browser.until_is(&text("range"), "1–100 of 100");
    browser.until_is(&format!("{NAMES}[0]"), "shop-01200");
    // The address holds all of it.
    browser.until_is("location.hash", "#q=SHOP-012");
    let address = browser.value("location.href");
    browser.open(address.as_str().unwrap());
    browser.until_is(&format!("{NAMES}[0]"), "shop-01200");
    browser.until_is("document.getElementById('search').value", "SHOP-012");
    browser.open(&format!(
        "{}#state=parked&q=5&page=2&servo=shop-00107",
        daemon.url()
    ));
    browser.until_is(&text("page-number"), "1 / 1");
    browser.until_is(&text("panel-name"), "shop-00107");
    browser.click("document.getElementById('search')");
    browser.type_text("nobody");
    browser.until_is(&text("empty-text"), "No servo matches.");
    browser.click("document.getElementById('clear')");
    browser.until_is(&text("range"), "1–100 of 10,000");
    let previous = previous(&mut browser);
    browser.ask("Page.navigateToHistoryEntry", json!({"entryId": previous}));
    browser.until_is(&text("empty-text"), "No servo matches.");
    browser.assert_no_complaints();
}

/// The heads of columns sort all 10,000, not the hundred that are on the page.
#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn rows_in_another_order() {
    let Some(mut browser) = browser() else { return };
    let daemon = many();
    let head =
        |sort: &str| format!("document.querySelector('#servos thead [data-sort=\"{sort}\"]')");
    let order = |sort: &str| format!("{}.parentElement.getAttribute('aria-sort')", head(sort));
    browser.open(&daemon.url());
    browser.until_is(&order("name"), "ascending");
    browser.click(&head("state"));
    browser.until_is(&format!("{NAMES}[0]"), "shop-00007");
    browser.until_is(&order("state"), "ascending");
    browser.until_is(&order("name"), Value::Null);
    browser.until_is("location.hash", "#sort=state");
    browser.click(&head("name"));
    browser.until_is(&format!("{NAMES}[0]"), "shop-00000");
    // The same once more: the other way round.
    browser.click(&head("name"));
    browser.until_is(&format!("{NAMES}[0]"), "shop-09999");
    browser.until_is(&order("name"), "descending");
    browser.open(&format!("{}#sort=restarts&page=2", daemon.url()));
    browser.until_is(&text("page-number"), "2 / 100");
    browser.until_is(&order("restarts"), "descending");
    browser.until_is(&format!("{NAMES}[0]"), "shop-00000");
    browser.open(&format!("{}#sort=nonsense", daemon.url()));
    browser.until_is(&order("name"), "ascending");
    browser.assert_no_complaints();
}

fn previous(browser: &mut Browser) -> Value {
    let history = browser.ask("Page.getNavigationHistory", json!({}));
    let current = history["currentIndex"].as_u64().unwrap();
    history["entries"][usize::try_from(current).unwrap() - 1]["id"].clone()
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn rows_change_in_their_places() {
    let Some(mut browser) = browser() else { return };
    let daemon = many();
    browser.open(&daemon.url());
    let busy = row("shop-00008");
    browser.until(&busy);
    browser.value(&format!("{busy}.kept = true"));
    browser.value("document.getElementById('scroll').scrollTop = 400");
    browser.click(&row("shop-00020"));
    browser.until_is(&text("panel-name"), "shop-00020");
    let scrolled = browser.value("document.getElementById('scroll').scrollTop");
    assert!(scrolled.as_f64().unwrap() > 0.0);
    browser.until_is(
        &format!("{busy}.querySelector('.percent').textContent"),
        "30%",
    );
    daemon.change("shop-00008", |servo| {
        servo["command"]["percent"] = 77.4.into();
        servo["command"]["message"] = "ramp-down".into();
        servo["not_ok"] = 3.into();
    });
    browser.until_is(
        &format!("{busy}.querySelector('.percent').textContent"),
        "77%",
    );
    browser.until_is(
        &format!("{busy}.querySelector('[role=progressbar]').ariaValueNow"),
        "77",
    );
    browser.until_is(
        &format!("{busy}.querySelector('[role=progressbar] span').style.width"),
        "77.4%",
    );
    browser.until(&format!("{busy}.innerText.includes('ramp-down')"));
    daemon.change("shop-00008", |servo| *servo = parked("shop-00008"));
    browser.until_is(
        &format!("{busy}.querySelector('.word').textContent"),
        "parked",
    );
    browser.until(&format!(
        "{busy}.innerText.includes('no space left on device')"
    ));
    browser.until_is(
        &format!("{}.innerText.replace(/\\s+/g, ' ').trim()", chip("parked")),
        "parked 101",
    );
    // Nothing has moved under the reader.
    assert_eq!(browser.value(&format!("{busy}.kept")), true);
    assert_eq!(
        browser.value("document.getElementById('scroll').scrollTop"),
        scrolled
    );
    assert_eq!(browser.value(&text("panel-name")), "shop-00020");
    assert_eq!(
        browser.value(&format!("{}.className", row("shop-00020"))),
        "selected"
    );
    daemon.world().servos.remove(3);
    browser.until(&format!("!({})", row("shop-00003")));
    assert_eq!(browser.value(&format!("{busy}.kept")), true);
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn a_servo_in_full() {
    let Some(mut browser) = browser() else { return };
    let daemon = few();
    daemon.change("ill", |servo| {
        servo["full"] = json!({
            "optimizer": {"url": "https://o.example.com/", "outage_seconds": 75.0},
            "recent_errors": [
                {"at": "2026-01-21T12:00:01Z", "level": "ERROR", "text": "the older"},
                {"at": "2026-01-21T12:00:02Z", "level": "WARNING", "text": "the newer"},
            ],
        });
    });
    browser.open(&daemon.url());
    browser.until(&row("ill"));
    browser.click(&row("ill"));
    let panel = "document.getElementById('panel').innerText.replace(/\\s+/g, ' ')";
    for part in [
        "parked for 12 s · (retry in 42s)",
        "Optimizer https://o.example.com/",
        "Optimizer outage no usable answer for 1 m 15 s",
        "Commands 41 finished, 0 not ok",
        "Restarts 8",
        "Last result ADJUST ok in 3.2 s, 5 m 13 s ago",
        "Error no space left on device",
        "load vegeta running measure last exit: panicked: out of ideas 2",
        "WARNING the newer",
    ] {
        browser.until(&format!("{panel}.includes({})", Value::from(part)));
    }
    browser.until("document.querySelector('#panel-errors li .text').textContent === 'the newer'");
    browser.click("document.querySelector('#panel-tree summary')");
    browser.until(&format!("{panel}.includes('load backing off for 7 s · 3 restarts last exit: panicked: out of ideas')"));
    browser.until(&format!(
        "{panel}.includes('optimizer running for 7 s · parked')"
    ));
    browser.until_is("location.hash", "#servo=ill&tree=1");
    // The next one is another's.
    browser.click(&row("busy"));
    browser.until(&format!("{panel}.includes('uid c-1')"));
    browser.until(&format!("{panel}.includes('warm-up')"));
    browser.until("document.getElementById('panel-error').hidden");
    daemon
        .world()
        .servos
        .retain(|servo| servo["name"] != "busy");
    browser.until(&format!(
        "{panel}.includes('There is no servo of this name (any more).')"
    ));
    browser.click("document.getElementById('panel-close')");
    browser.until("document.getElementById('panel').hidden");
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn hostile_texts_stay_texts() {
    let Some(mut browser) = browser() else { return };
    const EVIL: &str =
        "\"'><img src=x onerror=\"window.hacked=1;alert(1)\"><script>window.hacked=2</script>";
    let names = [
        EVIL,
        "javascript:alert(1)",
        "__proto__",
        "a/b?c#d%2Fe&f=g+h",
        "%00%zz",
        "../status",
        "constructor",
    ];
    let daemon = AdminDouble::start(
        names
            .iter()
            .map(|name| {
                let mut servo = measuring(name, 1e300);
                for field in ["detail", "error"] {
                    servo[field] = EVIL.into();
                }
                servo["command"]["message"] = EVIL.into();
                servo["command"]["operation"] = EVIL.into();
                servo["last"]["message"] = EVIL.into();
                servo["last"]["status"] = EVIL.into();
                servo["full"] = json!({
                    "optimizer": {"url": "javascript:alert(1)", "outage_seconds": null},
                    "connectors": [{"name": EVIL, "type": EVIL, "state": EVIL, "doing": EVIL, "restarts": 1, "last_exit": EVIL}],
                    "recent_errors": [{"at": EVIL, "level": EVIL, "text": EVIL}],
                });
                servo
            })
            .collect(),
    );
    daemon.world().last_reload = json!({"ok": false, "at": EVIL, "text": EVIL});
    daemon.world().servos[0]["state"] = EVIL.into();
    browser.open(&daemon.url());
    for name in names {
        browser.until(&row(name));
        browser.click(&row(name));
        browser.until_is("document.getElementById('panel-name').textContent", name);
        browser.until("document.querySelector('#panel-errors .text') && document.getElementById('panel-notice').hidden");
        browser.until_is(
            "document.querySelector('#panel-connectors .failure').textContent",
            format!("last exit: {EVIL}"),
        );
    }
    browser.click(&chip(""));
    browser.until(&row(EVIL));
    // The mark of the page is the only picture, its start the only script.
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 1);
    assert_eq!(
        browser.value("document.querySelectorAll('script').length"),
        1
    );
    assert_eq!(
        browser.value("document.querySelectorAll('[onerror]').length"),
        0
    );
    assert_eq!(browser.value("typeof window.hacked"), "undefined");
    assert_eq!(
        browser.value("[...document.querySelectorAll('a')].every((a) => a.protocol === 'http:')"),
        true
    );
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn a_daemon_that_goes_away_and_comes_back() {
    let Some(mut browser) = browser() else { return };
    let daemon = few();
    let address = daemon.address();
    browser.open(&daemon.url());
    browser.until(&row("calm"));
    drop(daemon);
    browser.until("!document.getElementById('banner').hidden");
    let told = browser.value(&text("banner"));
    let told = told.as_str().unwrap();
    assert!(
        told.starts_with(&format!(
            "The daemon at http://{address} does not answer: no connection."
        )),
        "{told}"
    );
    assert!(told.contains("What you see is from"), "{told}");
    browser.until_is(&text("ready-text"), "unreachable");
    browser.until_is(&text("live-text"), "not live");
    assert_eq!(browser.value(&format!("{NAMES}.length")), 3);
    let _daemon = AdminDouble::start_at(address, vec![servo("new")]);
    browser.until_is(NAMES, json!(["new"]));
    browser.until("document.getElementById('banner').hidden");
    browser.until_is(&text("live-text"), "live");
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn a_token_is_asked_for_and_kept_by_the_tab_only() {
    let Some(mut browser) = browser() else { return };
    let daemon = few();
    daemon.world().token = Some("s3cret".to_owned());
    browser.open(&daemon.url());
    browser.until("!document.getElementById('token-form').hidden");
    browser.until_is("document.activeElement.id", "token");
    browser.until_is(&text("live-text"), "waits for a token");
    browser.type_text("wrong");
    browser.press("Enter");
    browser.until_is(&text("banner"), "The daemon does not accept this token.");
    assert_eq!(browser.value("sessionStorage.length"), 0);
    browser.type_text("s3cret");
    browser.press("Enter");
    browser.until(&row("calm"));
    browser.until(
        "document.getElementById('token-form').hidden && document.getElementById('banner').hidden",
    );
    assert_eq!(browser.value("document.getElementById('token').value"), "");
    assert_eq!(
        browser.value("[sessionStorage.length, localStorage.length, document.cookie]"),
        json!([1, 0, ""])
    );
    assert_eq!(browser.value("location.href.includes('s3cret')"), false);
    // The tab still has it.
    browser.open(&daemon.url());
    browser.until(&row("calm"));
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn the_keyboard_does_it_all() {
    let Some(mut browser) = browser() else { return };
    let daemon = few();
    browser.open(&daemon.url());
    browser.until(&row("ill"));
    browser.press("/");
    browser.until_is("document.activeElement.id", "search");
    browser.press("ArrowDown");
    let focused = "document.activeElement.closest('tr')?.dataset.name";
    browser.until_is(focused, "busy");
    browser.press("ArrowDown");
    browser.press("ArrowDown");
    browser.press("ArrowDown");
    browser.until_is(focused, "ill");
    browser.press("ArrowUp");
    browser.until_is(focused, "calm");
    // One stop of the tab key for all rows.
    assert_eq!(
        browser.value("document.querySelectorAll('#rows [tabindex=\"0\"]').length"),
        1
    );
    browser.press("Enter");
    browser.until_is(&text("panel-name"), "calm");
    browser.until_is("document.activeElement.id", "panel-name");
    browser.press("Escape");
    browser.until("document.getElementById('panel').hidden");
    browser.until_is(focused, "calm");
    // What is focused stays so while the rows change.
    let asked = daemon.world().requests.len();
    wait("another look", SOON, || {
        (daemon.world().requests.len() > asked + 2).then_some(())
    });
    assert_eq!(browser.value(focused), "calm");
    browser.assert_no_complaints();
}

#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn nobody_looks_and_nothing_is_asked() {
    let Some(mut browser) = browser() else { return };
    let daemon = few();
    browser.open(&daemon.url());
    browser.until(&row("calm"));
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{configurable: true, get: () => {hidden}}}); document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    browser.value(&hide(true));
    browser.until_is(&text("live-text"), "paused");
    let asked = daemon.world().requests.len();
    // Longer than the time between two looks.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(daemon.world().requests.len(), asked);
    browser.value(&hide(false));
    browser.until_is(&text("live-text"), "live");
    wait("a look", SOON, || {
        (daemon.world().requests.len() > asked).then_some(())
    });
    browser.assert_no_complaints();
}

/// As the program itself serves it, with everything that it says to browsers.
#[test]
#[ignore = "needs a browser: tests/with-servers runs it"]
fn the_page_of_a_daemon_that_runs() {
    let Some(mut browser) = browser() else { return };
    let bench = Bench::new();
    bench.write("token", "s3cret\n");
    let optimizers = ["one", "team/two"].map(|name| {
        let name = name.to_owned();
        (name, ScriptedOptimizer::start(Script::new()))
    });
    let mut daemon = Daemon::of(bench, optimizers.into(), "token_file = \"token\"");
    browser.open(&format!("http://127.0.0.1:{}/", daemon.port));
    browser.until_is("document.activeElement.id", "token");
    browser.type_text("s3cret");
    browser.press("Enter");
    browser.until_is(NAMES, json!(["one", "team/two"]));
    browser.until_is(&text("ready-text"), "ready");
    browser.until_is(&text("version"), env!("CARGO_PKG_VERSION"));
    browser.until_is(
        &format!(
            "{}.innerText.replace(/\\s+/g, ' ').trim()",
            chip("sleeping")
        ),
        "sleeping 2",
    );
    browser.click(&row("team/two"));
    browser.until("document.getElementById('panel-connectors').innerText.includes('wait')");
    browser.click("document.querySelector('#panel-tree summary')");
    browser.until("document.getElementById('panel-tree-root').innerText.includes('dispatcher')");
    daemon.write_another("three");
    daemon.ask(&["reload"]).assert_code(0);
    browser.until_is(NAMES, json!(["one", "team/two", "three"]));
    browser.until(&format!(
        "{}.includes('reload finished: +1 ~0 -0 =2 in')",
        text("reload-last")
    ));
    daemon.running.signal(Signal::TERM);
    daemon.running.ended(SOON).assert_code(0);
    browser.until_is(&text("ready-text"), "unreachable");
    browser.assert_no_complaints();
}
