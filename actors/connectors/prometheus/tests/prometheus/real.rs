//! Against a Prometheus of the machine, where it has one.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use servo_connector_prometheus::{Query, QueryData, Window};

use crate::world::{PATIENCE, client, measure, measuring};

const PROGRAM: &str = "prometheus";

/// Killed when dropped.
struct Server {
    child: Child,
    base_url: String,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// One that scrapes itself each second.
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let config = data.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: own, static_configs: [{{targets: \
             ['{address}']}}]}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                data.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            base_url: format!("http://{address}"),
            _data: data,
        }
    }

    /// Waits until it has scraped itself.
    async fn ready(&self) {
        let client = client(&self.base_url, "metrics: []");
        let question = Query::Instant {
            query: "up",
            time: None,
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = client.ask(&question).await;
            if matches!(&answer, Ok(answer) if matches!(&answer.data, QueryData::Vector(v) if !v.is_empty()))
            {
                return;
            }
            assert!(Instant::now() < until, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs a Prometheus server; run by tests/with-servers"]
async fn a_real_prometheus_takes_what_is_sent_and_is_understood() {
    let server = Server::start();
    server.ready().await;

    let client = client(&server.base_url, "{metrics: [], query_timeout: 1500ms}");
    let now = jiff::Timestamp::now();
    let window = Window::starting(
        now - Duration::from_secs(60),
        Duration::from_secs(60).into(),
    )
    .unwrap();
    for step in ["1.5s", "30d", "1mm", "1y", "0.25s", "1m30s", "10.0005s"] {
        let question = Query::Range {
            query: "up",
            window,
            step: step.parse().unwrap(),
        };
        assert!(client.ask(&question).await.is_ok(), "{step}");
    }
    let long = format!("up{{instance!=\"{}\"}}", "x".repeat(8000));
    let question = Query::Instant {
        query: &long,
        time: Some(now),
    };
    assert!(matches!(
        client.ask(&question).await.unwrap().data,
        QueryData::Vector(_)
    ));

    let yaml = "
metrics:
- {name: up, query: up, step: 1s, absent: fail}
- {name: none, query: 'no_such_metric{a=\"b\"}', absent: zero}
- {name: scalar, query: '1 + 1', step: 5s}
- {name: empty, query: 'up > 5', absent: warn}
";
    let measurement = measure(&measuring(&server.base_url, yaml)).await.unwrap();
    let names: Vec<&str> = measurement
        .readings
        .iter()
        .map(|reading| reading.metric().name.as_str())
        .collect();
    assert_eq!(names, ["up", "none", "scalar"]);
    assert_eq!(measurement.max("up"), Some(1.0));
    assert_eq!(measurement.max("none"), Some(0.0));
    assert_eq!(measurement.max("scalar"), Some(2.0));

    for (query, policy, expected) in [
        (
            "no_such_metric",
            "fail",
            "Required metric 'm' is absent from Prometheus",
        ),
        ("rate(", "ignore", "request failed with error 'bad_data'"),
        ("'text'", "ignore", "request failed with error 'bad_data'"),
        ("1 + 1", "zero", "put the query into vector(...)"),
    ] {
        let yaml = format!("metrics: [{{name: m, query: \"{query}\", absent: {policy}}}]");
        let error = measure(&measuring(&server.base_url, &yaml))
            .await
            .unwrap_err();
        assert!(error.message.contains(expected), "{error}");
        assert!(error.message.contains("metric 'm'"), "{error}");
    }
}
