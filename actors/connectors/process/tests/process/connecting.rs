//! The connector on a servo's bus, under its supervisor.
//!
//! The connector finds its warden by the environment, so each test runs in a process of its own.

use std::time::Duration;

use servo_connector_process::Process;
use servo_connector_process::warden::PROGRAM_VARIABLE;
use servo_dispatch::{
    Adjust, Bus, ConnectorPolicy, ConnectorType, Describe, DispatchOptions, Dispatcher,
    DispatcherRef, Measure, Metrics, Mount, Shutdown, Startup,
};
use servo_messages::{
    Adjustment, Control, Description, ErrorKind, EventError, Measurement, SettingValue,
};
use servo_supervision::Root;
use tokio_util::sync::CancellationToken;

use crate::world::{Mark, eventually, kill, this_binary, within};

/// Runs `body` on a bus with the stanza as the only connector, in a process of its own.
fn on_a_bus<F: Future<Output = ()>>(test: &str, yaml: &str, body: impl FnOnce(DispatcherRef) -> F) {
    let warden = env!("CARGO_BIN_EXE_servo-warden");
    with_warden(warden, &format!("connecting::{test}"), yaml, body);
}

/// As [`on_a_bus`], with a path to the test and another warden.
pub fn with_warden<F: Future<Output = ()>>(
    warden: &str,
    test: &str,
    yaml: &str,
    body: impl FnOnce(DispatcherRef) -> F,
) {
    if std::env::var_os(PROGRAM_VARIABLE).is_none() {
        let output = std::process::Command::new(this_binary())
            .args(["--exact", test, "--nocapture"])
            .env(PROGRAM_VARIABLE, warden)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    let stanza = ConnectorType::of::<Process>()
        .parse(serde_yaml::from_str(yaml).unwrap())
        .unwrap();
    assert!(stanza.problems().is_empty(), "{:?}", stanza.problems());
    actix::System::new().block_on(async {
        let (spec, dispatcher) = Dispatcher::spec("test".into(), Bus::default());
        let seat = dispatcher.clone();
        let root = Root::start("test", move |children| {
            children.start(spec.clone());
            stanza.mount(Mount {
                servo: "test".into(),
                name: "process".into(),
                settings: std::sync::Arc::default(),
                dispatcher: seat.clone(),
                policy: ConnectorPolicy::default(),
                children,
            })
        });
        within(up(&dispatcher)).await;
        body(dispatcher).await;
        root.shutdown(Duration::from_secs(10)).await.unwrap();
    });
}

/// Waits until the connector answers.
async fn up(bus: &DispatcherRef) {
    while bus
        .dispatch(Metrics, DispatchOptions::default())
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn web(mark: &Mark) -> String {
    format!(
        r#"
components:
  web:
    command: [sh, -c, 'if [ $WORKERS = 3 ]; then echo three is too many; exit 7; fi; echo up; while :; do :; done']
    env: {{MARK: {}}}
    settings: [{{name: workers, min: 1, max: 8, step: 1, value: 1}}]
    ready: {{log: up}}
    restart: {{backoff: 10ms}}
"#,
        mark.text()
    )
}

async fn describe(bus: &DispatcherRef) -> Description {
    let event = Describe {
        control: Control::default(),
    };
    let outcome = within(bus.dispatch(event, DispatchOptions::default()))
        .await
        .unwrap();
    outcome.values().next().unwrap()
}

fn workers(description: &Description) -> SettingValue {
    description
        .setting("web", "workers")
        .unwrap()
        .value()
        .unwrap()
}

async fn adjust(
    bus: &DispatcherRef,
    workers: i64,
    control: Control,
) -> Result<Description, EventError> {
    let adjustments = vec![
        Adjustment::new("web", "workers", workers),
        Adjustment::new("other", "cpu", 2),
    ];
    let outcome = within(bus.dispatch(
        Adjust {
            adjustments,
            control,
        },
        DispatchOptions::default(),
    ))
    .await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

async fn measure(bus: &DispatcherRef, options: DispatchOptions) -> Result<Measurement, EventError> {
    let control = Control {
        warmup: Duration::from_millis(100).into(),
        duration: Duration::from_millis(600).into(),
        ..Control::default()
    };
    let outcome = within(bus.dispatch(
        Measure {
            metrics: None,
            control,
        },
        options,
    ))
    .await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

#[test]
fn describe_measure_adjust_without_any_startup() {
    let mark = Mark::new();
    on_a_bus(
        "describe_measure_adjust_without_any_startup",
        &web(&mark),
        async |bus| {
            let description = describe(&bus).await;
            assert_eq!(workers(&description), 1.into());
            let names: Vec<&str> = description
                .metrics
                .iter()
                .map(|metric| metric.name.as_str())
                .collect();
            assert_eq!(names, ["cpu_seconds", "cpu_cores", "rss"]);
            assert_eq!(mark.living(), [0; 0]);

            let measurement = measure(&bus, DispatchOptions::default()).await.unwrap();
            let cores = measurement.max("cpu_cores").unwrap();
            assert!(
                cores > 0.05 && cores < 1.5,
                "a busy loop takes {cores} cores"
            );
            assert!(measurement.max("cpu_seconds").unwrap() > 0.02);
            assert!(measurement.min("rss").unwrap() > 100_000.0);

            let description = adjust(&bus, 2, Control::default()).await.unwrap();
            assert_eq!(workers(&description), 2.into());
            mark.count(1).await;

            within(bus.dispatch(Shutdown, DispatchOptions::default()))
                .await
                .unwrap();
            assert_eq!(mark.living(), [0; 0]);
        },
    );
}

#[test]
fn a_bad_configuration_is_rejected_and_the_last_good_one_runs() {
    let mark = Mark::new();
    on_a_bus(
        "a_bad_configuration_is_rejected_and_the_last_good_one_runs",
        &web(&mark),
        async |bus| {
            within(bus.dispatch(Startup, DispatchOptions::default()))
                .await
                .unwrap();
            mark.count(1).await;
            let error = adjust(&bus, 3, Control::default()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::AdjustmentRejected);
            assert_eq!(error.reason.as_deref(), Some("start-failed"));
            assert!(error.message.contains("exit status 7"), "{error}");
            assert!(error.message.contains("three is too many"), "{error}");
            mark.count(1).await;
            assert_eq!(workers(&describe(&bus).await), 1.into());

            let error = adjust(&bus, 99, Control::default()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::AdjustmentRejected);
            assert!(
                error.message.contains("99 is outside of the range 1-8"),
                "{error}"
            );
        },
    );
}

#[test]
fn a_death_fails_the_measurement_and_the_next_one_works() {
    let mark = Mark::new();
    on_a_bus(
        "a_death_fails_the_measurement_and_the_next_one_works",
        &web(&mark),
        async |bus| {
            within(bus.dispatch(Startup, DispatchOptions::default()))
                .await
                .unwrap();
            mark.count(1).await;
            let killed = async {
                kill(mark.living()[0]);
            };
            let (outcome, ()) = tokio::join!(measure(&bus, DispatchOptions::default()), killed);
            let error = outcome.unwrap_err();
            assert_eq!(error.kind, ErrorKind::MeasurementFailed);
            assert!(
                error.message.contains("ended with killed by SIGKILL"),
                "{error}"
            );
            assert!(error.message.contains("up"), "{error}");
            measure(&bus, DispatchOptions::default()).await.unwrap();
        },
    );
}

#[test]
fn all_components_that_do_not_start_are_named() {
    on_a_bus(
        "all_components_that_do_not_start_are_named",
        "components: {one: {command: [no-such-one]}, two: {command: [no-such-two]}}",
        async |bus| {
            let failed = within(bus.dispatch(Startup, DispatchOptions::default())).await;
            let text = failed.map(|_| ()).unwrap_err().most_severe().to_string();
            assert!(
                text.contains("no-such-one") && text.contains("no-such-two"),
                "{text}"
            );
        },
    );
}

#[test]
fn a_death_while_settling_undoes_the_adjustment() {
    let mark = Mark::new();
    on_a_bus(
        "a_death_while_settling_undoes_the_adjustment",
        &web(&mark),
        async |bus| {
            within(bus.dispatch(Startup, DispatchOptions::default()))
                .await
                .unwrap();
            let first = mark.living()[0];
            let control = Control {
                settlement: Some(Duration::from_secs(60).into()),
                ..Control::default()
            };
            let killed = async {
                eventually("the new process", || {
                    mark.living().iter().any(|pid| *pid != first)
                })
                .await;
                // Ready, and so settling.
                let ready = async || workers(&describe(&bus).await) == 2.into();
                while !ready().await {
                    tokio::task::yield_now().await;
                }
                kill(mark.living()[0]);
            };
            let (outcome, ()) = tokio::join!(adjust(&bus, 2, control), killed);
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind, error.reason.as_deref()),
                (ErrorKind::AdjustmentRejected, Some("unstable"))
            );
            assert!(
                error.message.contains("the last good values are back"),
                "{error}"
            );
            assert_eq!(workers(&describe(&bus).await), 1.into());
            mark.count(1).await;
        },
    );
}

#[test]
fn a_cancelled_measurement_ends_at_once() {
    let mark = Mark::new();
    on_a_bus(
        "a_cancelled_measurement_ends_at_once",
        &web(&mark),
        async |bus| {
            let cancel = CancellationToken::new();
            let options = DispatchOptions {
                cancel: cancel.clone(),
                ..DispatchOptions::within(Duration::from_secs(60))
            };
            let control = Control::for_duration(Duration::from_secs(50).into());
            let measuring = bus.dispatch(
                Measure {
                    metrics: None,
                    control,
                },
                options,
            );
            let cancelled = async {
                mark.count(1).await;
                cancel.cancel();
            };
            let (outcome, ()) = within(async { tokio::join!(measuring, cancelled) }).await;
            assert!(outcome.is_err() || outcome.is_ok_and(|outcome| outcome.results.is_empty()));
        },
    );
}

#[test]
fn the_end_of_the_servo_is_the_end_of_its_processes() {
    let mark = Mark::new();
    on_a_bus(
        "the_end_of_the_servo_is_the_end_of_its_processes",
        &web(&mark),
        async |bus| {
            within(bus.dispatch(Startup, DispatchOptions::default()))
                .await
                .unwrap();
            mark.count(1).await;
        },
    );
    // No shutdown event came, only the end of the actor.
    actix::System::new().block_on(mark.count(0));
}

/// The connector's own warden is named by such a variable here.
#[test]
fn variables_of_servo_itself_do_not_reach_a_component() {
    on_a_bus(
        "variables_of_servo_itself_do_not_reach_a_component",
        r#"
components:
  web:
    command: [sh, -c, 'env | grep -E "^(OPSANI|SERVO|SERVOD)_" || echo none; exec sleep 1000']
    ready: {log: "/^none$/", timeout: 5s}
"#,
        async |bus| {
            assert!(std::env::var_os(PROGRAM_VARIABLE).is_some());
            within(bus.dispatch(Startup, DispatchOptions::default()))
                .await
                .unwrap();
        },
    );
}
