//! The connector on a servo's bus, under its supervisor.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use servo_connector_vegeta::{LoadMetric, Vegeta};
use servo_dispatch::{
    Bus, Connector as _, ConnectorPolicy, ConnectorType, Describe, DispatchOptions, Dispatcher,
    DispatcherRef, Measure, Metrics, Mount, Scope,
};
use servo_messages::{Control, ErrorKind, EventError, Measurement, Reading};
use servo_supervision::Root;

use crate::server::{Answer, Server, ok, response};

/// Runs `body` on a bus with the stanza as the only connector.
pub(crate) fn on_a_bus<F: Future<Output = ()>>(yaml: &str, body: impl FnOnce(DispatcherRef) -> F) {
    let stanza = ConnectorType::of::<Vegeta>()
        .parse(serde_yaml::from_str(yaml).unwrap())
        .unwrap();
    actix::System::new().block_on(async {
        let (spec, dispatcher) = Dispatcher::spec("test".into(), Bus::default());
        let seat = dispatcher.clone();
        let root = Root::start("test", move |children| {
            children.start(spec.clone());
            stanza.mount(Mount {
                servo: "test".into(),
                name: "vegeta".into(),
                settings: std::sync::Arc::default(),
                dispatcher: seat.clone(),
                policy: ConnectorPolicy::default(),
                children,
            })
        });
        let until = Instant::now() + Duration::from_secs(10);
        while dispatcher
            .dispatch(Metrics, DispatchOptions::default())
            .await
            .is_err()
        {
            assert!(Instant::now() < until, "the connector does not come up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        body(dispatcher).await;
        root.shutdown(Duration::from_secs(10)).await.unwrap();
    });
}

fn control(warmup: u64, duration: u64) -> Control {
    Control {
        warmup: Duration::from_millis(warmup).into(),
        duration: Duration::from_millis(duration).into(),
        ..Control::default()
    }
}

async fn measure(
    bus: &DispatcherRef,
    metrics: Option<&[&str]>,
    control: Control,
    options: DispatchOptions,
) -> Result<Measurement, EventError> {
    let metrics = metrics.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let outcome = bus.dispatch(Measure { metrics, control }, options).await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

#[test]
fn a_measurement_has_a_series_of_each_metric_and_says_what_was_sent() {
    let server = Server::new(|seen| {
        Answer::Now(if seen.sequence() % 4 == 3 {
            response("503 Service Unavailable", "", "")
        } else {
            ok("")
        })
    });
    let yaml = format!(
        "{{rate: 100/1s, reporting_interval: 200ms, target: '{}'}}",
        server.get("/x")
    );
    on_a_bus(&yaml, async |bus| {
        let told = Arc::<Mutex<Vec<(f64, String)>>>::default();
        let sink = told.clone();
        let options = DispatchOptions {
            progress: Some(Arc::new(move |update| {
                sink.lock()
                    .unwrap()
                    .push((update.percent, update.message.unwrap_or_default()));
            })),
            ..DispatchOptions::default()
        };
        let measurement = measure(&bus, None, control(200, 600), options)
            .await
            .unwrap();
        assert_eq!(server.seen().len(), 80);
        let names: Vec<_> = measurement
            .readings
            .iter()
            .map(|reading| reading.metric().to_string())
            .collect();
        assert_eq!(names.len(), 10);
        assert!(
            names[0].starts_with("throughput (") && names[2].starts_with("latency_total ("),
            "{names:?}"
        );
        for reading in &measurement.readings {
            assert!(
                matches!(reading, Reading::Series(series) if series.len() == 3),
                "{reading:?}"
            );
        }
        let last = |metric: LoadMetric| {
            measurement
                .readings_of(metric.name())
                .next()
                .unwrap()
                .values()[2]
        };
        assert!((last(LoadMetric::ErrorRate) - 25.0).abs() < 1e-9);
        assert!(
            (last(LoadMetric::Throughput) - 4_500.0).abs() < 500.0,
            "{}",
            last(LoadMetric::Throughput)
        );
        assert!(last(LoadMetric::LatencyMin) <= last(LoadMetric::Latency50th));
        assert!(last(LoadMetric::Latency99th) <= last(LoadMetric::LatencyMax));
        assert_eq!(
            measurement.annotations["load_profile"],
            "Loading 1 URL(s) for 600ms (delay of 0, warmup of 200ms) at a rate of 100/1s (reporting every 200ms)"
        );
        assert!(!measurement.annotations.contains_key("load_missed"));
        assert_eq!(
            measurement.annotations["load_errors"],
            "25.00% of 60 requests failed: 503 Service Unavailable"
        );
        let mut told = told.lock().unwrap().clone();
        told.retain(|(_, text)| text.contains("Vegeta attacking"));
        assert_eq!(told.len(), 3, "{told:?}");
        let (percent, text) = &told[0];
        assert!((45.0..65.0).contains(percent), "{percent}");
        let attacking = format!(
            "ms elapsed - Vegeta attacking \"{}\" @ 100/1s: ~",
            server.get("/x")
        );
        assert!(
            text.starts_with(&format!("{percent:.2}% complete, ")) && text.contains(&attacking),
            "{text}"
        );
        assert!(
            text.contains("% errors) [latencies: 50th=") && text.ends_with("ms]"),
            "{text}"
        );
    });
}

#[test]
fn only_wanted_metrics_are_given_but_the_load_always_runs() {
    let server = Server::friendly();
    let yaml = format!(
        "{{rate: 100, max_workers: 1, target: '{}'}}",
        server.get("/")
    );
    on_a_bus(&yaml, async |bus| {
        for (wanted, given) in [(&["throughput", "cpu"][..], 1), (&["cpu"], 0), (&[], 10)] {
            let before = server.seen().len();
            let measurement = measure(
                &bus,
                Some(wanted),
                control(0, 200),
                DispatchOptions::default(),
            )
            .await
            .unwrap();
            assert_eq!(measurement.readings.len(), given);
            assert_eq!(server.seen().len() - before, 20);
        }
        let outcome = bus
            .dispatch(
                Describe {
                    control: Control::default(),
                },
                DispatchOptions::default(),
            )
            .await
            .unwrap();
        let description = outcome.values().next().unwrap();
        assert_eq!(
            (description.components.len(), description.metrics.len()),
            (0, 10)
        );
    });
}

#[test]
fn a_load_that_cannot_be_kept_up_is_annotated() {
    let server = Server::new(|seen| Answer::At(seen.at + Duration::from_millis(100), ok("")));
    let yaml = format!(
        "{{rate: 100, max_workers: 1, target: '{}'}}",
        server.get("/")
    );
    on_a_bus(&yaml, async |bus| {
        let measurement = measure(&bus, None, control(0, 300), DispatchOptions::default())
            .await
            .unwrap();
        let missed = 30 - server.seen().len();
        assert_eq!(
            measurement.annotations["load_missed"],
            format!(
                "could not sustain the rate: {missed} of 30 requests were not sent (max_workers=1)"
            )
        );
        assert_eq!(
            measurement.annotations["load_health"],
            format!("invalid: {missed} of 30 requests were not sent")
        );
    });
}

#[test]
fn a_target_that_nobody_serves_is_named() {
    // Taken and given back: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let yaml = format!("{{rate: 100, target: 'GET http://{address}/'}}");
    on_a_bus(&yaml, async |bus| {
        let measurement = measure(&bus, None, control(0, 200), DispatchOptions::default())
            .await
            .unwrap();
        let error_rate = LoadMetric::ErrorRate.name();
        assert_eq!(measurement.max(error_rate), Some(100.0));
        assert_eq!(measurement.max(LoadMetric::Throughput.name()), Some(0.0));
        assert_eq!(
            measurement.annotations["load_errors"],
            format!(
                "all 20 requests failed (latencies tell how fast): GET http://{address}/: connection refused"
            )
        );
    });
}

#[test]
fn no_duration_is_no_load_unless_the_stanza_has_one() {
    let server = Server::friendly();
    let zero = || control(0, 0);
    on_a_bus(
        &format!("{{rate: 100, target: '{}'}}", server.get("/")),
        async |bus| {
            let measurement = measure(&bus, None, zero(), DispatchOptions::default())
                .await
                .unwrap();
            assert!(measurement.is_empty() && server.seen().is_empty());
        },
    );
    on_a_bus(
        &format!(
            "{{rate: 100, duration: 100ms, target: '{}'}}",
            server.get("/")
        ),
        async |bus| {
            measure(&bus, None, zero(), DispatchOptions::default())
                .await
                .unwrap();
            assert_eq!(server.seen().len(), 10);
            let commanded = DispatchOptions {
                command_uid: Some("1".into()),
                ..DispatchOptions::default()
            };
            measure(&bus, None, zero(), commanded).await.unwrap();
            assert_eq!(server.seen().len(), 10);
        },
    );
}

#[test]
fn a_load_that_cannot_run_fails_the_measurement_and_the_next_one_reads_the_file_again() {
    let server = Server::friendly();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("targets");
    std::fs::write(
        &file,
        format!("{}\n@{}/gone", server.get("/"), directory.path().display()),
    )
    .unwrap();
    on_a_bus(
        &format!("{{rate: 100, targets: {}}}", file.display()),
        async |bus| {
            let error = measure(&bus, None, control(0, 100), DispatchOptions::default())
                .await
                .unwrap_err();
            assert_eq!(error.kind, ErrorKind::MeasurementFailed);
            assert!(
                error
                    .message
                    .contains("no load could be generated: bad body: "),
                "{error}"
            );
            std::fs::remove_file(&file).unwrap();
            let error = measure(&bus, None, control(0, 100), DispatchOptions::default())
                .await
                .unwrap_err();
            assert!(error.message.contains("does not exist"), "{error}");
            std::fs::write(&file, server.get("/")).unwrap();
            let measurement = measure(&bus, None, control(0, 100), DispatchOptions::default())
                .await
                .unwrap();
            assert_eq!((measurement.readings.len(), server.seen().len()), (10, 10));
        },
    );
}

#[test]
fn a_cancelled_measurement_ends_and_so_does_its_load() {
    let server = Server::friendly();
    on_a_bus(
        &format!("{{rate: 200, target: '{}'}}", server.get("/")),
        async |bus| {
            let options = DispatchOptions::default();
            let cancel = options.cancel.clone();
            let measuring = measure(&bus, None, control(0, 60_000), options);
            tokio::pin!(measuring);
            while server.seen().len() < 10 {
                tokio::select! {
                    ended = &mut measuring => panic!("{ended:?}"),
                    () = tokio::time::sleep(Duration::from_millis(1)) => {}
                }
            }
            cancel.cancel();
            let began = Instant::now();
            assert_eq!(measuring.await.unwrap_err().kind, ErrorKind::Cancelled);
            assert!(
                began.elapsed() < Duration::from_millis(1_800),
                "{:?}",
                began.elapsed()
            );
            let before = server.seen().len();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(server.seen().len(), before);
        },
    );
}

/// Dispatches the connector's own command as the command line does.
async fn attack(bus: &DispatcherRef, args: Value) -> Result<Value, EventError> {
    let [command] = Vegeta::COMMANDS else {
        panic!("other commands");
    };
    let options = DispatchOptions {
        scope: Scope::Only(vec!["vegeta".into()]),
        ..DispatchOptions::default()
    };
    let outcome = bus.dispatch_named(command.event, args, options).await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

#[test]
fn an_attack_sends_the_configured_load_for_as_long_as_it_is_told() {
    let server = Server::friendly();
    let yaml = format!(
        "{{rate: 100/1s, duration: 100ms, target: '{}'}}",
        server.get("/configured")
    );
    on_a_bus(&yaml, async |bus| {
        let report = attack(&bus, json!({"duration": "300ms"})).await.unwrap();
        assert_eq!(server.seen().len(), 30);
        assert_eq!(report["requests"], 30);
        assert_eq!(report["status_codes"], json!({"200": 30}));
        assert_eq!(report["errors"], json!([]));
        assert!(report["latencies"]["99th"].as_u64().unwrap() > 0);
        let (header, key) = Vegeta::COMMANDS[0].columns[0];
        assert_eq!(header, "REPORT");
        let text = report[key].as_str().unwrap();
        assert!(
            text.starts_with("Requests      [total, rate, throughput]  30, "),
            "{text}"
        );
        assert!(text.contains("200:30"), "{text}");

        let report = attack(&bus, json!({})).await.unwrap();
        assert_eq!(report["requests"], 10);
    });
}

#[test]
fn an_attack_may_have_another_rate_and_other_targets() {
    let server = Server::friendly();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("targets");
    std::fs::write(
        &file,
        format!("{}\n{}\n", server.get("/one"), server.get("/two")),
    )
    .unwrap();
    let yaml = format!(
        "{{rate: 1/1s, target: '{}', max_workers: 1}}",
        server.get("/configured")
    );
    on_a_bus(&yaml, async |bus| {
        let args = json!({"duration": "200ms", "rate": "50/1s", "targets": file});
        let report = attack(&bus, args).await.unwrap();
        assert_eq!(report["requests"], 10);
        let paths: Vec<String> = server
            .seen()
            .iter()
            .map(|seen| seen.path().to_owned())
            .collect();
        assert_eq!(paths[..3], ["/one", "/two", "/one"]);
        let args = json!({"duration": "50ms", "rate": "100", "target": server.get("/three")});
        attack(&bus, args).await.unwrap();
        assert_eq!(server.seen().last().unwrap().path(), "/three");
    });
}

#[test]
fn an_attack_that_cannot_be_made_says_why_and_sends_nothing() {
    let server = Server::friendly();
    let yaml = format!("{{rate: 100, target: '{}'}}", server.get("/"));
    on_a_bus(&yaml, async |bus| {
        for (args, message, usage) in [
            (
                json!({"duration": "zz"}),
                "invalid duration parameter: Invalid duration 'zz'",
                true,
            ),
            (
                json!({"duration": "0"}),
                "invalid duration parameter: expected more than 0",
                true,
            ),
            (
                json!({"rate": "fast"}),
                "invalid rate parameter: rate strings are of the form hits/interval",
                true,
            ),
            (
                json!({"rte": "1"}),
                "invalid rte parameter: attack takes no such argument",
                true,
            ),
            (
                json!({"target": "JUMP http://a/"}),
                "invalid target: JUMP http://a/",
                false,
            ),
            (
                json!({"targets": "/nowhere/at/all"}),
                "\"/nowhere/at/all\" does not exist",
                false,
            ),
            (
                json!({"target": format!("{}\n@/nowhere/at/all", server.get("/"))}),
                "bad body: /nowhere/at/all",
                false,
            ),
        ] {
            let error = attack(&bus, args).await.unwrap_err();
            assert!(error.message.contains(message), "{error}");
            assert_eq!(error.reason.as_deref() == Some("invalid-argument"), usage);
        }
        assert!(server.seen().is_empty());
    });
}

#[test]
fn an_attack_without_a_single_answer_is_a_report_all_the_same() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let yaml = format!("{{rate: 100, target: 'GET http://{address}/'}}");
    on_a_bus(&yaml, async |bus| {
        let report = attack(&bus, json!({"duration": "100ms"})).await.unwrap();
        assert_eq!(report["success"], 0.0);
        assert_eq!(report["status_codes"], json!({"0": 10}));
        let text = report["report"].as_str().unwrap();
        assert!(text.ends_with("connection refused"), "{text}");
        assert!(
            report["annotations"]["load_errors"]
                .as_str()
                .unwrap()
                .starts_with("all 10 requests failed")
        );
    });
}
