//! What `settings` of the configuration does to the traffic with an optimizer (`spec/config-and-cli.md` §2.4).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};
use servo_messages::CommonConfig;
use servo_protocol::{
    Budget, Event, HttpOptimizer, OpsaniEndpoint, OptimizerClient as _, PostError, Request,
    Response, TokenSource, Transport, TransportKind,
};

fn settings(json: Value) -> CommonConfig {
    serde_json::from_value(json).unwrap()
}

async fn post(base_url: &str, settings: &CommonConfig) -> Result<Response, PostError> {
    let id = "dev.opsani.com/app1".parse().unwrap();
    let endpoint =
        OpsaniEndpoint::new(id, TokenSource::Inline("t".into()), Some(base_url), None).unwrap();
    let http = Transport::from(settings).client().unwrap();
    let client = HttpOptimizer::new(http, endpoint, "servo v0");
    let request = Request {
        event: Event::WhatsNext,
        servo_uid: None,
    };
    client
        .post(&request, Budget::standard_of(settings).attempt)
        .await
}

/// A proxy that answers each request itself, in the optimizer's place, and tells the head of each.
fn proxy() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let _ = heads.send(head);
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
            let _ = reader.get_mut().write_all(answer);
        }
    });
    (address, received)
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn equal_settings_share_a_client() {
    let base = json!({"timeouts": "5s", "proxies": {"all://": "http://u:p@proxy:1"}, "ssl_verify": "/x.pem"});
    let key = |settings_json: &Value| Transport::from(&settings(settings_json.clone()));
    let mut clients = HashMap::from([(key(&base), ())]);
    let mut retries = base.clone();
    retries["backoff"] = json!({"connect": {"max_time": "3s"}});
    clients.insert(key(&retries), ());
    assert_eq!(clients.len(), 1, "retries are no affair of the client");
    for (name, value) in [
        ("timeouts", json!("6s")),
        ("proxies", json!({"all://": "http://u:q@proxy:1"})),
        ("ssl_verify", json!(false)),
    ] {
        let mut other = base.clone();
        other[name] = value;
        assert!(!clients.contains_key(&key(&other)), "{name}");
    }
    assert!(!format!("{:?}", key(&base)).contains("u:p@"));
    assert_eq!(key(&json!({})), Transport::default());
}

#[tokio::test]
async fn each_attempt_at_a_silent_optimizer_ends_at_its_time_limit() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let began = Instant::now();
    let settings = settings(json!({"timeouts": "1s", "proxies": {}}));
    let error = post(&optimizer.base_url(), &settings).await.unwrap_err();
    let took = began.elapsed();
    assert!(
        matches!(
            error,
            PostError::Transport {
                kind: TransportKind::Timeout,
                ..
            }
        ),
        "{error:?}"
    );
    assert!((900..2000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_proxy_by_pattern_takes_the_request_and_null_goes_directly() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let (address, heads) = proxy();
    let settings = settings(json!({"proxies": {
        "all://": format!("http://ann:hush%20hush@{address}"),
        "all://127.0.0.1": null,
    }}));

    // Nobody else could find this host.
    post("http://optimizer.invalid:8080", &settings)
        .await
        .unwrap();
    let head = heads.recv_timeout(LONG).unwrap();
    assert!(
        head.starts_with("POST http://optimizer.invalid:8080/accounts/dev.opsani.com/applications/app1/servo HTTP/1.1"),
        "{head}"
    );
    // ann:hush hush
    assert!(
        head.to_ascii_lowercase()
            .contains("proxy-authorization: basic yw5uomh1c2ggahvzaa=="),
        "{head}"
    );

    post(&optimizer.base_url(), &settings).await.unwrap();
    assert_eq!(optimizer.received().len(), 1);
    assert!(heads.try_recv().is_err(), "this one went past the proxy");
}

#[tokio::test]
async fn one_proxy_is_for_everything_and_for_https_it_is_asked_for_a_tunnel() {
    let (address, heads) = proxy();
    let settings = settings(json!({"proxies": format!("http://{address}")}));
    post("http://127.0.0.1:9", &settings).await.unwrap();
    assert!(
        heads
            .recv_timeout(LONG)
            .unwrap()
            .starts_with("POST http://127.0.0.1:9/")
    );
    // What this proxy answers is no TLS.
    post("https://optimizer.invalid", &settings)
        .await
        .unwrap_err();
    let head = heads.recv_timeout(LONG).unwrap();
    assert!(
        head.starts_with("CONNECT optimizer.invalid:443 HTTP/1.1"),
        "{head}"
    );
    assert!(!head.contains("Bearer"), "{head}");
}

/// Run by the next test with an environment that names a proxy.
#[tokio::test]
#[ignore = "needs the environment that `the_environment_names_the_proxy_where_none_is_configured` gives it"]
async fn posts_by_the_environment() {
    let nothing = settings(json!({"timeouts": "5s"}));
    let optimizer = ScriptedOptimizer::start(Script::new());
    post(&optimizer.base_url(), &nothing)
        .await
        .expect("NO_PROXY holds this one out");
    post("http://optimizer.invalid", &nothing)
        .await
        .expect("HTTP_PROXY takes this one");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        post("http://cluster.invalid", &nothing)
            .await
            .expect_err("the cluster's own API is no matter of the proxy's");
    }
    let directly = settings(json!({"proxies": {"all://": null}}));
    post("http://optimizer.invalid", &directly)
        .await
        .expect_err("configuration beats the environment");
}

#[test]
fn the_environment_names_the_proxy_where_none_is_configured() {
    through_the_proxy_of_the_environment(|command| command.env_remove("KUBERNETES_SERVICE_HOST"));
}

/// `spec/optimizer-protocol.md` §3
#[test]
fn inside_kubernetes_the_cluster_itself_is_reached_directly() {
    through_the_proxy_of_the_environment(|command| {
        command.env("KUBERNETES_SERVICE_HOST", "cluster.invalid")
    });
}

fn through_the_proxy_of_the_environment(prepare: impl Fn(&mut Command) -> &mut Command) {
    let (address, heads) = proxy();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = prepare(&mut command)
        .args(["--exact", "posts_by_the_environment", "--ignored"])
        .env("HTTP_PROXY", format!("http://{address}"))
        .env("http_proxy", format!("http://{address}"))
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env_remove("REQUEST_METHOD")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert!(
        heads
            .recv_timeout(LONG)
            .unwrap()
            .starts_with("POST http://optimizer.invalid/")
    );
    assert!(heads.try_recv().is_err(), "one request only");
}

#[test]
fn backoff_and_timeouts_bound_the_retries() {
    let budget = |json: Value| {
        let settings = settings(json);
        (
            Budget::connect_of(&settings),
            Budget::standard_of(&settings),
            Budget::progress().within(&settings),
        )
    };
    let (connect, standard, progress) = budget(json!({}));
    assert_eq!((connect, standard), (Budget::connect(), Budget::standard()));
    assert_eq!(Budget::connect().max_time, Some(Duration::from_secs(3600)));
    assert_eq!(Budget::standard().max_time, Some(Duration::from_secs(600)));
    assert_eq!(progress, Budget::progress());

    let (connect, standard, progress) = budget(json!({
        "timeouts": "1s",
        "backoff": {"connect": {"max_time": "3s"}, "__default__": {"max_time": null, "max_tries": 7}},
    }));
    assert_eq!(
        (connect.max_time, connect.max_tries),
        (Some(Duration::from_secs(3)), None)
    );
    assert_eq!((standard.max_time, standard.max_tries), (None, Some(7)));
    for budget in [connect, standard, progress] {
        assert_eq!(
            budget.attempt,
            Duration::from_secs(3),
            "connect, write and read"
        );
    }
    let endless = budget(json!({"timeouts": {"read": 1.8e19}})).1;
    assert!(
        endless.attempt > Duration::from_secs(u64::MAX / 4),
        "no overflow"
    );
}
