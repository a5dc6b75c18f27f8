//! Where requests go, and with what: items 1 to 8, and 46.

use std::{fs, time::Instant};

use base64::Engine as _;
use servo_doubles::{Fault, HttpRequest, HttpTarget, On, TargetAnswer};

use super::*;
use crate::bench::wait;

/// The first request of a servo with this `optimizer`, `{}` standing for the address, and variables.
fn first_request(optimizer: &str, variables: &[(&str, &str)]) -> (ReceivedEvent, Ended) {
    let double = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    let optimizer = optimizer.replace("{}", &double.base_url());
    bench.write("servo.yaml", &format!("optimizer: {optimizer}\n{WAIT}"));
    bench.write("token", "from-a-file\n");
    let mut command = bench.servo(&["run", "--no-banner"]);
    command.envs(variables.iter().copied());
    let servo = Running::start(command);
    until(&double, "WHATS_NEXT", 1);
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended.assert_code(0);
    (double.received().remove(0), ended)
}

fn path(event: &ReceivedEvent) -> &str {
    event.http.path()
}

/// §23 item 1
#[test]
fn item_01_the_first_request_is_hello() {
    let (hello, _) = first_request(
        "{id: dev.opsani.com/app1, token: t-1, base_url: \"{}/\"}",
        &[],
    );
    assert_eq!(hello.http.method, "POST");
    assert_eq!(
        path(&hello),
        "/accounts/dev.opsani.com/applications/app1/servo"
    );
    assert_eq!(hello.event, "HELLO");
    assert_eq!(hello.json.get("servo_uid"), Some(&Value::Null));
    assert!(hello.param["telemetry"].is_object(), "{}", hello.param);
    assert_eq!(hello.header("authorization"), Some("Bearer t-1"));
    assert_eq!(hello.header("content-type"), Some("application/json"));
    let agent = hello.param["agent"].as_str().unwrap();
    assert_eq!(hello.header("user-agent"), Some(agent));
}

/// §23 item 2
#[test]
fn item_02_a_url_overrides_the_computed_one() {
    let (hello, _) = first_request(
        "{id: dev.opsani.com/app1, token: t, url: \"{}/over/ride\"}",
        &[],
    );
    assert_eq!(path(&hello), "/over/ride/servo");
}

/// §23 item 3
#[test]
fn item_03_tokens_that_say_which_header_they_are_for() {
    for (token, own, authorization) in [
        ("X-SF-Token abc", Some("abc"), None),
        ("Bearer zzz", None, Some("Bearer zzz")),
    ] {
        let optimizer =
            format!("{{id: dev.opsani.com/app1, token: \"{token}\", base_url: \"{{}}\"}}");
        let (hello, _) = first_request(&optimizer, &[]);
        assert_eq!(hello.header("x-sf-token"), own, "{token}");
        assert_eq!(hello.header("authorization"), authorization, "{token}");
    }
}

/// §23 item 4
#[test]
fn item_04_a_token_from_a_file() {
    let (hello, _) = first_request(
        "{id: dev.opsani.com/app1, base_url: \"{}\"}",
        &[("OPSANI_TOKEN_FILE", "token")],
    );
    assert_eq!(hello.header("authorization"), Some("Bearer from-a-file"));
}

/// §23 item 5
#[test]
fn item_05_ids_that_are_none() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    for id in ["abc/x", "-abcd.com/x", "a/b/c"] {
        let bench = Bench::new();
        let url = optimizer.base_url();
        bench.write(
            "servo.yaml",
            &format!("optimizer: {{id: {id}, token: t, base_url: \"{url}\"}}\n{WAIT}"),
        );
        bench
            .run(&["run"])
            .assert_code(1)
            .assert_stderr(&["optimizer -> id", id]);
    }
    assert_eq!(optimizer.events(), Vec::<String>::new());
}

const APPD: &str = "/rest/optimize/co/v1/optimizers/opt-1/servo";
const OAUTH: &str = "/auth/tenant-1/default/oauth2/token";

fn json(status: u16, body: &Value) -> TargetAnswer {
    TargetAnswer::Http {
        status,
        latency: Duration::ZERO,
        body: body.to_string().into_bytes(),
    }
}

fn token(name: &str, expires_in: u32) -> TargetAnswer {
    let body = json!({"access_token": name, "token_type": "bearer", "expires_in": expires_in});
    json(200, &body)
}

/// A tenant that welcomes a servo and then has it sleep for a tenth of a second each time.
fn tenant(first_token: TargetAnswer) -> HttpTarget {
    let tenant = HttpTarget::start(json(200, &sleep(json!(0.1))));
    tenant.next(1, json(200, &json!({"status": "ok"})));
    tenant.set_path(OAUTH, first_token);
    tenant
}

fn of_path(tenant: &HttpTarget, path: &str) -> Vec<HttpRequest> {
    let all = tenant.last_requests().into_iter();
    all.filter(|request| request.path() == path).collect()
}

fn authorization(request: &HttpRequest) -> &str {
    request
        .headers
        .get("authorization")
        .map_or("", String::as_str)
}

fn at_appdynamics(tenant: &HttpTarget) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{optimizer_id: opt-1, tenant_id: tenant-1, client_id: me, client_secret: s3cr3t, base_url: \"{}\"}}\n{WAIT}",
            tenant.url()
        ),
    );
    let servo = bench.start(&["run", "--no-banner"]);
    (bench, servo)
}

/// §23 item 6
#[test]
fn item_06_an_oauth_token_is_fetched_once_and_renewed_a_minute_before_its_end() {
    let tenant = tenant(token("tok-1", 63));
    let (_bench, servo) = at_appdynamics(&tenant);
    wait("the first token", SOON, || {
        (!of_path(&tenant, APPD).is_empty()).then_some(())
    });
    let began = Instant::now();
    tenant.set_path(OAUTH, token("tok-2", 3600));
    let with = |token: &str| {
        let requests = of_path(&tenant, APPD);
        let value = format!("Bearer {token}");
        requests
            .iter()
            .filter(|r| authorization(r) == value)
            .count()
    };
    wait("the second token", SOON, || {
        (with("tok-2") >= 5).then_some(())
    });
    let took = began.elapsed();
    assert!(took >= seconds(2.0) && took < seconds(10.0), "{took:?}");
    assert!(with("tok-1") > 5);
    assert_eq!(with("tok-1") + with("tok-2"), of_path(&tenant, APPD).len());
    let fetched = of_path(&tenant, OAUTH);
    assert_eq!(fetched.len(), 2, "not for each request");
    for request in fetched {
        let basic = base64::engine::general_purpose::STANDARD.encode("me:s3cr3t");
        assert_eq!(authorization(&request), format!("Basic {basic}"));
        assert_eq!(request.method, "POST");
        let body = String::from_utf8(request.body).unwrap();
        assert_eq!(body, "grant_type=client_credentials");
    }
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
}

/// §23 item 7
#[test]
fn item_07_a_refused_oauth_token_is_replaced() {
    let tokens = HttpTarget::start(token("tok-2", 3600));
    tokens.next(1, token("tok-1", 3600));
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("WHATS_NEXT"), Fault::status(401));
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{optimizer_id: opt-1, tenant_id: t, client_id: me, client_secret: s, base_url: \"{}\", token_url: \"{}{}\"}}\n{WAIT}",
            optimizer.base_url(),
            tokens.url(),
            &OAUTH[1..],
        ),
    );
    let servo = bench.start(&["run", "--no-banner"]);
    until(&optimizer, "WHATS_NEXT", 2);
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended.assert_code(0);
    let received = optimizer.received();
    let used: Vec<_> = received
        .iter()
        .filter(|r| r.event == "WHATS_NEXT")
        .map(|r| r.header("authorization").unwrap())
        .collect();
    assert_eq!(used, ["Bearer tok-1", "Bearer tok-2"], "no tight loop");
    assert_eq!(of_path(&tokens, OAUTH).len(), 2);
    // Mended before it was an error.
    assert!(!ended.stderr.contains("no usable answer"), "{ended}");
}

/// §23 item 8
#[test]
fn item_08_a_connection_file_that_is_replaced_and_deleted() {
    let script = || Script::new().idle(sleep(json!(0.2)));
    let [old, new] = [script(), script()].map(ScriptedOptimizer::start);
    let connection = |token: &str, optimizer: &ScriptedOptimizer| {
        format!(
            "Authorization: Bearer {token}\nEndpoint: {}/\nTenantId: t\n",
            optimizer.base_url()
        )
    };
    let bench = Bench::new();
    bench.write("connection.yaml", &connection("first", &old));
    bench.write(
        "servo.yaml",
        &format!("optimizer: {{optimizer_id: opt-1, connection_file: connection.yaml}}\n{WAIT}"),
    );
    let mut servo = bench.start(&["run", "--no-banner"]);
    until(&old, "WHATS_NEXT", 2);
    let replace = |text: &str| {
        bench.write("connection.new", text);
        fs::rename(bench.path("connection.new"), bench.path("connection.yaml")).unwrap();
    };
    replace(&connection("second", &new));
    let began = Instant::now();
    new.wait_for(SOON, |received| !received.is_empty()).unwrap();
    assert!(began.elapsed() < seconds(5.0), "{:?}", began.elapsed());
    let first = &new.received()[0];
    assert_eq!(path(first), APPD);
    assert_eq!(first.header("authorization"), Some("Bearer second"));
    let asked = old.received();
    assert_eq!(asked[0].header("authorization"), Some("Bearer first"));

    fs::remove_file(bench.path("connection.yaml")).unwrap();
    let before = new.received().len();
    thread::sleep(seconds(2.0));
    assert!(!servo.has_ended());
    assert!(new.received().len() > before + 3, "it goes on as it was");
    replace(&connection("third", &new));
    new.wait_for(SOON, |received| {
        let last = received.last().and_then(|r| r.header("authorization"));
        last == Some("Bearer third")
    })
    .unwrap();
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
}

/// §23 item 46
#[test]
fn item_46_the_most_talkative_log_tells_no_secret() {
    let plain = ScriptedOptimizer::start(Script::new().describe("d1"));
    let signal_fx = ScriptedOptimizer::start(Script::new().describe("d1"));
    let tenant = tenant(token("0auth-9911-token", 3600));
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "name: a\noptimizer: {{id: example.com/a, token: t0ken-7311, base_url: \"{}\"}}\n{WAIT}\
             ---\nname: b\noptimizer: {{id: example.com/b, token: X-SF-Token sf-8822-value, base_url: \"{}\"}}\n{WAIT}\
             ---\nname: c\noptimizer: {{optimizer_id: opt-1, tenant_id: tenant-1, client_id: me, client_secret: cl1ent-6633, base_url: \"{}\"}}\n{WAIT}",
            plain.base_url(),
            signal_fx.base_url(),
            tenant.url()
        ),
    );
    let servo = bench.start(&["--log-level", "TRACE", "run", "--no-banner"]);
    for optimizer in [&plain, &signal_fx] {
        until(optimizer, "WHATS_NEXT", 2);
    }
    wait("the third", SOON, || {
        (of_path(&tenant, APPD).len() >= 3).then_some(())
    });
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended.assert_code(0).assert_stderr(&["TRACE", "[REDACTED]"]);
    let used = of_path(&tenant, APPD);
    assert_eq!(authorization(&used[0]), "Bearer 0auth-9911-token");
    let basic = base64::engine::general_purpose::STANDARD.encode("me:cl1ent-6633");
    let mut said = vec![ended.stderr, ended.stdout];
    for entry in fs::read_dir(bench.path("logs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        said.push(fs::read_to_string(entry.path()).unwrap());
    }
    for secret in [
        "t0ken-7311",
        "sf-8822-value",
        "cl1ent-6633",
        "0auth-9911-token",
        &basic,
    ] {
        assert!(!said.iter().any(|text| text.contains(secret)), "{secret}");
    }
}

/// Why a servo is not connected can be asked for (`spec/optimizer-protocol.md` §11: the log tells it but once).
#[test]
fn the_condition_of_an_optimizer_is_told_while_it_lasts() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("HELLO").always(), Fault::status(503));
    let daemon = crate::admin::one(&optimizer);
    let error = |wanted: &dyn Fn(&Value) -> bool| {
        daemon.until("/api/v1/servos/solo", |servo| {
            wanted(&servo["error"]).then(|| servo["error"].clone())
        })
    };
    let told = error(&|error| error.is_string());
    assert!(told.as_str().unwrap().contains("503"), "{told}");
    let url = format!("http://{}", daemon.address);
    let ended = daemon.bench.run(&["status", "solo", "--admin", &url]);
    assert!(ended.stdout.contains("503"), "{ended}");
    optimizer.heal();
    until(&optimizer, "WHATS_NEXT", 1);
    error(&|error| error.is_null());
    daemon.end();
}
