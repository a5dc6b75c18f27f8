//! The wire in both directions, against the examples and rules of `spec/optimizer-protocol.md` §4-§9.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{
    Adjustment, Control, Description, Duration as Length, EventError, Measurement, Metric, Reading,
    TimeSeries, Unit,
};
use servo_protocol::{
    Command, CommandError, CommandKind, CommandUid, Completion, Event, EventName, Explanation,
    Goodbye, Hello, InvalidCommand, Operation, OptimizerStatus, Outcome, Payload, Progress, Report,
    Request, Response, Sleep, StatusReply, UnreadableResponse,
};

fn read(answer: Value) -> Result<Response, UnreadableResponse> {
    Response::from_body(answer.to_string().as_bytes())
}

fn command(answer: Value) -> Command {
    match read(answer) {
        Ok(Response::Command(command)) => command,
        other => panic!("no command: {other:?}"),
    }
}

fn invalid(answer: Value) -> InvalidCommand {
    match read(answer) {
        Ok(Response::Unusable(CommandError::Invalid(invalid))) => invalid,
        other => panic!("not invalid: {other:?}"),
    }
}

fn sleep(param: Value) -> Sleep {
    match command(json!({"cmd": "SLEEP", "param": param})).kind {
        CommandKind::Sleep(sleep) => sleep,
        other => panic!("no SLEEP: {other:?}"),
    }
}

/// What is written is the golden text, and reading that gives the request back.
fn assert_request(request: &Request, golden: Value) {
    assert_eq!(serde_json::to_value(request).unwrap(), golden);
    assert_eq!(&serde_json::from_value::<Request>(golden).unwrap(), request);
}

fn report(operation: Operation, report: Report) -> Request {
    Request {
        event: Event::Report(operation, report),
        servo_uid: None,
    }
}

fn completed(operation: Operation, outcome: Outcome, uid: &str) -> Request {
    report(
        operation,
        Report::Completion(Completion {
            cmd_uid: Some(CommandUid::new(uid)),
            outcome,
        }),
    )
}

// === requests ===

#[test]
fn hello() {
    let hello = Hello {
        agent: "github.com/opsani/servox v25.3.0".into(),
        telemetry: [("servox.version".to_owned(), "25.3.0".to_owned())].into(),
    };
    assert_request(
        &Request {
            event: Event::Hello(hello),
            servo_uid: Some("uidA".into()),
        },
        json!({"event": "HELLO",
               "param": {"agent": "github.com/opsani/servox v25.3.0",
                         "telemetry": {"servox.version": "25.3.0"}},
               "servo_uid": "uidA"}),
    );
}

#[test]
fn whats_next_has_all_three_keys() {
    let request = Request {
        event: Event::WhatsNext,
        servo_uid: None,
    };
    assert_eq!(
        serde_json::to_string(&request).unwrap(),
        r#"{"event":"WHATS_NEXT","param":null,"servo_uid":null}"#
    );
    assert_request(
        &request,
        json!({"event": "WHATS_NEXT", "param": null, "servo_uid": null}),
    );
}

#[test]
fn goodbye() {
    assert_request(
        &Request {
            event: Event::Goodbye(Goodbye {
                reason: "SIGTERM".into(),
            }),
            servo_uid: None,
        },
        json!({"event": "GOODBYE", "param": {"reason": "SIGTERM"}, "servo_uid": null}),
    );
}

#[test]
fn progress_is_sent_even_when_it_is_zero() {
    let progress = |message: Option<&str>| {
        let progress = Progress {
            progress: 0.0,
            runtime: 1.5,
            cmd_uid: Some(CommandUid::new("u2")),
            message: message.map(str::to_owned),
        };
        report(Operation::Measure, Report::Progress(progress))
    };
    assert_request(
        &progress(None),
        json!({"event": "MEASUREMENT", "servo_uid": null,
               "param": {"progress": 0.0, "runtime": 1.5, "cmd_uid": "u2"}}),
    );
    assert_request(
        &progress(Some("measuring")),
        json!({"event": "MEASUREMENT", "servo_uid": null,
               "param": {"progress": 0.0, "runtime": 1.5, "cmd_uid": "u2", "message": "measuring"}}),
    );
}

#[test]
fn a_description_is_completed_with_its_descriptor() {
    let descriptor = json!({
        "application": {"components": {"main": {"settings": {
            "cpu": {"type": "range", "unit": "cores", "min": 0.25, "max": 4.0, "step": 0.125,
                    "pinned": false, "value": 1.5},
            "replicas": {"type": "range", "min": 1, "max": 10, "step": 1, "pinned": false, "value": 3},
            "gc": {"type": "enum", "unit": "x", "values": ["a", "b"], "pinned": false, "value": "a"}}}}},
        "measurement": {"metrics": {"throughput": {"unit": "rpm"}, "ratio": {"unit": ""}}}});
    let description = Description::from_wire(&descriptor).unwrap();
    assert_request(
        &completed(
            Operation::Describe,
            Outcome::Ok(Payload::Descriptor(description.clone())),
            "u1",
        ),
        json!({"event": "DESCRIPTION", "servo_uid": null,
               "param": {"status": "ok", "message": null, "reason": "success", "cmd_uid": "u1",
                         "descriptor": descriptor}}),
    );
    assert_request(
        &completed(
            Operation::Adjust,
            Outcome::Ok(Payload::State(description)),
            "u1",
        ),
        json!({"event": "ADJUSTMENT", "servo_uid": null,
               "param": {"status": "ok", "message": null, "reason": "success", "cmd_uid": "u1",
                         "state": descriptor}}),
    );
}

#[test]
fn a_measurement_is_completed_with_its_metrics() {
    let time = |second| jiff::Timestamp::from_second(second).unwrap();
    let errors = Metric::new("error_rate", Unit::Percentage);
    let throughput = Metric::new("throughput", Unit::RequestsPerMinute);
    let point = servo_messages::DataPoint::new(errors, time(1), 0.4).unwrap();
    let series = TimeSeries::new(
        throughput,
        [(time(1704067200), 1.5), (time(1704067260), 2.0)],
    );
    let mut measurement = Measurement::new([Reading::from(point), Reading::from(series)]);
    measurement
        .annotations
        .insert("load_profile".into(), "synthetic".into());
    let (payload, warnings) = Payload::measured(&measurement, time(1704067260)).unwrap();
    assert_eq!(warnings, []);
    assert_request(
        &completed(Operation::Measure, Outcome::Ok(payload), "u2"),
        json!({"event": "MEASUREMENT", "servo_uid": null, "param": {
            "status": "ok", "message": null, "reason": "success", "cmd_uid": "u2",
            "metrics": {"error_rate": {"unit": "%", "value": 0.4},
                        "throughput": {"unit": "rpm", "values": [
                            {"id": "1704067260", "data": [[1704067200, 1.5], [1704067260, 2.0]]}]}},
            "annotations": {"load_profile": "synthetic"}}}),
    );
}

#[test]
fn nothing_measured_is_ok_and_empty() {
    let (payload, _) =
        Payload::measured(&Measurement::default(), jiff::Timestamp::UNIX_EPOCH).unwrap();
    let request = report(
        Operation::Measure,
        Report::Completion(Completion {
            cmd_uid: None,
            outcome: Outcome::Ok(payload),
        }),
    );
    assert_request(
        &request,
        json!({"event": "MEASUREMENT", "servo_uid": null, "param": {
            "status": "ok", "message": null, "reason": "success", "cmd_uid": null,
            "metrics": {}, "annotations": {}}}),
    );
}

#[test]
fn a_metric_that_is_not_finite_leaves_valid_json() {
    let nan = TimeSeries::new(
        Metric::new("latency", Unit::Milliseconds),
        [(jiff::Timestamp::UNIX_EPOCH, f64::NAN)],
    );
    let (payload, warnings) = Payload::measured(
        &Measurement::new([Reading::from(nan)]),
        jiff::Timestamp::UNIX_EPOCH,
    )
    .unwrap();
    assert_eq!(warnings.len(), 1);
    let request = completed(Operation::Measure, Outcome::Ok(payload), "u");
    let text = serde_json::to_string(&request).unwrap();
    assert!(text.contains(r#""metrics":{}"#), "{text}");
}

#[test]
fn a_failure_carries_status_message_reason_and_uid_and_nothing_else() {
    let explanation = |others: &[&str]| Explanation {
        message: "no".into(),
        reason: Some("start-failed".into()),
        other_messages: others.iter().map(|text| (*text).to_owned()).collect(),
    };
    for (outcome, status) in [
        (Outcome::Failed(explanation(&[])), "failed"),
        (Outcome::Rejected(explanation(&[])), "rejected"),
        (Outcome::Aborted(explanation(&[])), "aborted"),
        (Outcome::Cancelled(explanation(&[])), "cancelled"),
    ] {
        assert_request(
            &completed(Operation::Adjust, outcome, "u"),
            json!({"event": "ADJUSTMENT", "servo_uid": null, "param": {
                "status": status, "message": "no", "reason": "start-failed", "cmd_uid": "u"}}),
        );
    }
    assert_request(
        &completed(
            Operation::Adjust,
            Outcome::Failed(explanation(&["nor this"])),
            "u",
        ),
        json!({"event": "ADJUSTMENT", "servo_uid": null, "param": {
            "status": "failed", "message": "no", "other_messages": ["nor this"],
            "reason": "start-failed", "cmd_uid": "u"}}),
    );
}

#[test]
fn of_several_errors_the_most_severe_is_reported_and_the_others_told() {
    let rejected = EventError::adjustment_rejected("start-failed", "b cannot start");
    let aborted = EventError::aborted("slo-violation", "too slow");
    let outcome = Outcome::from_errors(&[EventError::failed("a"), rejected, aborted]);
    let Outcome::Aborted(explanation) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(explanation.message, "too slow");
    assert_eq!(explanation.reason.as_deref(), Some("slo-violation"));
    assert_eq!(explanation.other_messages, ["a", "b cannot start"]);
}

#[test]
fn a_server_reads_what_older_servos_say() {
    let read = |request: Value| serde_json::from_value::<Request>(request).unwrap();
    // The peer's connectivity check.
    let hello = read(json!({"event": "HELLO", "param": null, "servo_uid": null}));
    assert_eq!(hello.event, Event::Hello(Hello::default()));
    // No uid at all, and a parameter of another dialect.
    let hello = read(json!({"event": "HELLO", "param": {"account": "a", "reason": "start"}}));
    assert_eq!(hello.event.name(), EventName::Hello);
    let next = read(json!({"event": "WHATS_NEXT"}));
    assert_eq!(next.event, Event::WhatsNext);
    // Integer progress, a number as uid, no runtime.
    let progress = read(json!({"event": "ADJUSTMENT", "param": {"progress": 45, "cmd_uid": 7}}));
    let Event::Report(Operation::Adjust, Report::Progress(progress)) = progress.event else {
        panic!("no progress");
    };
    assert_eq!(progress.progress, 45.0);
    assert_eq!(progress.cmd_uid, Some(CommandUid::new("7")));
    // An adjustment without a state.
    let done = read(json!({"event": "ADJUSTMENT", "param": {"status": "ok"}}));
    assert_eq!(
        done.event,
        Event::Report(
            Operation::Adjust,
            Report::Completion(Completion {
                cmd_uid: None,
                outcome: Outcome::Ok(Payload::State(Description::default()))
            })
        )
    );
}

#[test]
fn a_server_names_the_path_of_what_it_cannot_read() {
    for (request, path) in [
        (json!({"event": "NOPE", "param": null}), "NOPE"),
        (json!({"event": "MEASUREMENT", "param": null}), "`param`"),
        (
            json!({"event": "MEASUREMENT", "param": {}}),
            "`progress` or `status`",
        ),
        (
            json!({"event": "MEASUREMENT", "param": {"progress": "x"}}),
            "`param.progress`",
        ),
        (
            json!({"event": "MEASUREMENT", "param": {"status": "done"}}),
            "`param.status`",
        ),
        (
            json!({"event": "DESCRIPTION", "param": {"status": "ok"}}),
            "`param.descriptor`",
        ),
        (
            json!({"event": "DESCRIPTION", "param": {"status": "ok", "descriptor": []}}),
            "`param.descriptor`: must be an object",
        ),
        (
            json!({"event": "MEASUREMENT", "param": {"status": "ok", "metrics": {"a": {"value": "x"}}}}),
            "`param.metrics.a",
        ),
        (
            json!({"event": "HELLO", "param": {"telemetry": {"a": 1}}}),
            "`param.telemetry.a`",
        ),
    ] {
        let error = serde_json::from_value::<Request>(request.clone()).unwrap_err();
        assert!(error.to_string().contains(path), "{request}: {error}");
    }
}

// === commands ===

#[test]
fn measure() {
    let command = command(json!({"cmd": "MEASURE", "cmd_uid": "c-17",
        "param": {"metrics": {"throughput": {"unit": "rpm"}, "error_rate": {"unit": "%"}},
                  "control": {"duration": 180, "warmup": 30, "past": 10, "unknown": 1,
                              "userdata": {"slo": {"conditions": []}}}}}));
    assert_eq!(command.uid, Some(CommandUid::new("c-17")));
    assert_eq!(command.operation(), Some(Operation::Measure));
    let CommandKind::Measure { metrics, control } = command.kind else {
        panic!("no MEASURE");
    };
    assert_eq!(metrics, ["throughput", "error_rate"]);
    assert_eq!(control.duration, Length::from_secs(180));
    assert_eq!(control.warmup, Length::from_secs(30));
    assert_eq!(control.delay, Length::from_secs(10));
    assert!(control.slo().is_some());
}

#[test]
fn metrics_are_names_in_order_whether_list_or_object() {
    for metrics in [json!(["z", "a", "m"]), json!({"z": 1, "a": null, "m": {}})] {
        let command = command(json!({"cmd": "MEASURE", "param": {"metrics": metrics}}));
        let CommandKind::Measure { metrics, control } = command.kind else {
            panic!("no MEASURE");
        };
        assert_eq!(metrics, ["z", "a", "m"]);
        assert_eq!(control, Control::default());
    }
}

#[test]
fn adjust_keeps_the_type_of_values_and_the_order_of_the_document() {
    let command = command(json!({"cmd": "ADJUST", "cmd_uid": "c-18", "param": {
        "state": {"application": {"components": {
            "main": {"settings": {"cpu": {"value": 1.5, "unit": "cores"}, "replicas": {"value": 2}}},
            "b": {"settings": {"port": {"value": "8080"}}}}}},
        "control": {"settlement": 60}}}));
    let CommandKind::Adjust {
        adjustments,
        control,
    } = command.kind
    else {
        panic!("no ADJUST");
    };
    assert_eq!(
        adjustments,
        [
            Adjustment::new("main", "cpu", 1.5),
            Adjustment::new("main", "replicas", 2),
            Adjustment::new("b", "port", "8080"),
        ]
    );
    let values: Vec<_> = adjustments.iter().map(|a| json!(a.value)).collect();
    assert_eq!(values, [json!(1.5), json!(2), json!("8080")]);
    assert_eq!(control.settlement, Some(Length::from_secs(60)));
}

#[test]
fn param_is_read_by_command_and_null_is_empty() {
    for answer in [
        json!({"cmd": "DESCRIBE"}),
        json!({"cmd": "DESCRIBE", "param": null}),
        json!({"cmd": "DESCRIBE", "param": {}}),
        json!({"cmd": "DESCRIBE", "param": {"control": null}}),
        json!({"cmd": "DESCRIBE", "param": {"metrics": 3, "control": {}}}),
        json!({"cmd": "DESCRIBE", "cmd_uid": null, "status": "ok"}),
    ] {
        let expected = Command::new(CommandKind::Describe {
            control: Control::default(),
        });
        assert_eq!(command(answer), expected);
    }
    let state = json!({"application": {"components": {}}});
    for control in [json!(null), json!({})] {
        let answer = json!({"cmd": "ADJUST",
            "param": {"state": state, "metrics": [], "control": control}});
        let expected = Command::new(CommandKind::Adjust {
            adjustments: vec![],
            control: Control::default(),
        });
        assert_eq!(command(answer), expected);
    }
}

#[test]
fn a_command_uid_that_is_a_number_is_echoed_as_text() {
    for (uid, text) in [(json!(17), "17"), (json!("x"), "x"), (json!(1.5), "1.5")] {
        let command = command(json!({"cmd": "DESCRIBE", "cmd_uid": uid}));
        assert_eq!(command.uid, Some(CommandUid::new(text)));
        assert_eq!(json!(command.uid), json!(text));
    }
}

#[test]
fn unusable_parameters_keep_the_uid_and_name_the_path() {
    let measure = |param: Value| json!({"cmd": "MEASURE", "cmd_uid": 5, "param": param});
    let adjust = |param: Value| json!({"cmd": "ADJUST", "cmd_uid": 5, "param": param});
    let setting = |setting: Value| {
        adjust(
            json!({"state": {"application": {"components": {"c": {"settings": {"s": setting}}}}}}),
        )
    };
    for (answer, operation, text) in [
        (
            measure(json!(null)),
            Operation::Measure,
            "`param.metrics`: missing",
        ),
        (
            measure(json!({"metrics": null})),
            Operation::Measure,
            "`param.metrics`: ",
        ),
        (
            measure(json!({"metrics": "a"})),
            Operation::Measure,
            "`param.metrics`: ",
        ),
        (
            measure(json!({"metrics": ["a", 1]})),
            Operation::Measure,
            "`param.metrics[1]`: ",
        ),
        (
            measure(json!([])),
            Operation::Measure,
            "`param`: must be an object",
        ),
        (
            measure(json!({"metrics": [], "control": {"past": 1, "delay": 2}})),
            Operation::Measure,
            "`param.control`: past and delay attributes must be equal",
        ),
        (
            measure(json!({"metrics": [], "control": {"duration": "abc5s"}})),
            Operation::Measure,
            "`param.control|duration",
        ),
        (
            measure(json!({"metrics": [], "control": {"duration": -1}})),
            Operation::Measure,
            "`param.control|duration",
        ),
        (
            measure(json!({"metrics": [], "control": {"warmup": true}})),
            Operation::Measure,
            "`param.control|warmup",
        ),
        (
            measure(json!({"metrics": [], "control": 3})),
            Operation::Measure,
            "`param.control`: ",
        ),
        (
            adjust(json!(null)),
            Operation::Adjust,
            "`param.state`: missing",
        ),
        (
            adjust(json!({"state": {}})),
            Operation::Adjust,
            "`param.state.application`: missing",
        ),
        (
            adjust(json!({"state": {"application": {"components": {"c": {}}}}})),
            Operation::Adjust,
            "`param.state.application.components.c.settings`: missing",
        ),
        (
            setting(json!({})),
            Operation::Adjust,
            "`param.state.application.components.c.settings.s.value`: missing",
        ),
        (
            setting(json!({"value": null})),
            Operation::Adjust,
            "settings.s.value`: ",
        ),
        (
            setting(json!({"value": true})),
            Operation::Adjust,
            "settings.s.value`: ",
        ),
        (
            json!({"cmd": "DESCRIBE", "cmd_uid": 5, "param": 1}),
            Operation::Describe,
            "`param`: must be an object",
        ),
    ] {
        let invalid = invalid(answer.clone());
        assert_eq!(invalid.operation, operation, "{answer}");
        assert_eq!(invalid.uid, Some(CommandUid::new("5")), "{answer}");
        for text in text.split('|') {
            assert!(
                invalid.message.contains(text),
                "{answer}: {}",
                invalid.message
            );
        }
        let completion = Completion::of_invalid(&invalid);
        let sent = serde_json::to_value(report(operation, Report::Completion(completion))).unwrap();
        assert_eq!(sent["event"], operation.event().as_str());
        assert_eq!(
            sent["param"],
            json!({"status": "failed", "message": invalid.message,
                   "reason": "invalid-command", "cmd_uid": "5"})
        );
    }
    let odd_uid = invalid(json!({"cmd": "DESCRIBE", "cmd_uid": [1]}));
    assert_eq!(odd_uid.uid, None);
    assert!(odd_uid.message.contains("`cmd_uid`"), "{odd_uid}");
}

#[test]
fn past_and_delay_are_compared_as_durations() {
    let command = command(json!({"cmd": "MEASURE",
        "param": {"metrics": [], "control": {"past": 10, "delay": "10s"}}}));
    let CommandKind::Measure { control, .. } = command.kind else {
        panic!("no MEASURE");
    };
    assert_eq!(control.delay, Length::from_secs(10));
}

#[test]
fn an_unknown_command_is_no_invalid_one() {
    for cmd in ["REBOOT", "measure", ""] {
        let answer = read(json!({"cmd": cmd, "cmd_uid": "u", "param": {}})).unwrap();
        let Response::Unusable(CommandError::Unknown { cmd: found, uid }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!((found.as_str(), uid), (cmd, Some(CommandUid::new("u"))));
    }
}

#[test]
fn sleep_has_a_default_for_everything() {
    let seconds = |s| Duration::from_secs(s);
    for (param, duration) in [
        (json!(null), seconds(120)),
        (json!({}), seconds(120)),
        (json!([]), seconds(120)),
        (json!({"duration": null}), seconds(120)),
        (json!({"duration": "soon"}), seconds(120)),
        (json!({"duration": true}), seconds(120)),
        (json!({"duration": -5}), Duration::ZERO),
        (json!({"duration": "-5s"}), Duration::ZERO),
        (json!({"duration": "2s"}), seconds(2)),
        (json!({"duration": 0.25}), Duration::from_millis(250)),
        (json!({"duration": 31536000}), seconds(31_536_000)),
    ] {
        assert_eq!(sleep(param.clone()).duration, duration, "{param}");
    }
    for (data, reason) in [
        (json!(null), "unknown reason"),
        (json!({}), "unknown reason"),
        (json!("text"), "unknown reason"),
        (json!({"reason": "idle"}), "idle"),
        (json!({"status": "done", "reason": "idle"}), "done: idle"),
        (json!({"status": "done"}), "done"),
        (json!({"reason": 5}), "5"),
    ] {
        assert_eq!(sleep(json!({"data": data})).reason, reason);
    }
    assert_eq!(
        command(json!({"cmd": "SLEEP"})).kind,
        CommandKind::Sleep(sleep(json!({})))
    );
}

#[test]
fn commands_are_written_so_that_the_peer_reads_them() {
    let uid = Some(CommandUid::new("u"));
    let control = Control::for_duration(Length::from_secs(90));
    let written = |kind| {
        let uid = uid.clone();
        serde_json::to_value(Response::Command(Command { uid, kind })).unwrap()
    };
    assert_eq!(
        written(CommandKind::Describe {
            control: Control::default()
        }),
        json!({"cmd": "DESCRIBE", "cmd_uid": "u", "param": {}})
    );
    let measure = written(CommandKind::Measure {
        metrics: vec!["a".into()],
        control: control.clone(),
    });
    assert_eq!(measure["param"]["metrics"], json!(["a"]));
    assert_eq!(measure["param"]["control"]["duration"], "1m30s");
    let adjust = written(CommandKind::Adjust {
        adjustments: vec![Adjustment::new("main", "cpu", 1.5)],
        control,
    });
    assert_eq!(
        adjust["param"]["state"],
        json!({"application": {"components": {"main": {"settings": {"cpu": {"value": 1.5}}}}}})
    );
    assert!(adjust["param"]["control"].is_object());
    let sleep = Sleep {
        duration: Duration::from_secs(60),
        reason: "no active optimization pipeline".into(),
    };
    assert_eq!(
        serde_json::to_value(Command::new(CommandKind::Sleep(sleep))).unwrap(),
        json!({"cmd": "SLEEP",
               "param": {"duration": 60, "data": {"reason": "no active optimization pipeline"}}})
    );
}

// === statuses ===

#[test]
fn statuses_from_the_optimizer() {
    let status = |answer| match read(answer) {
        Ok(Response::Status(status)) => status,
        other => panic!("no status: {other:?}"),
    };
    assert_eq!(
        status(json!({"status": "ok", "command": "SLEEP"})),
        StatusReply::ok()
    );
    for (word, expected) in [
        ("invalid", OptimizerStatus::Invalid),
        ("unexpected-event", OptimizerStatus::UnexpectedEvent),
        ("cancel", OptimizerStatus::Cancel),
        ("cancelled", OptimizerStatus::Other("cancelled".into())),
        ("OK", OptimizerStatus::Other("OK".into())),
    ] {
        let reply = status(json!({"status": word, "reason": "why", "message": null}));
        assert_eq!(reply, StatusReply::because(expected, "why"));
        assert_eq!(reply.to_string(), format!("{word}: why"));
        let written = serde_json::to_value(Response::Status(reply)).unwrap();
        assert_eq!(written, json!({"status": word, "reason": "why"}));
    }
    let stale = status(json!({"status": "invalid", "reason": "unexpected cmd_uid"}));
    assert!(stale.is_unexpected_cmd_uid());
    assert!(!status(json!({"status": "invalid", "reason": "x"})).is_unexpected_cmd_uid());
    assert_eq!(
        status(json!({"cmd": null, "status": "ok"})),
        StatusReply::ok()
    );
}

#[test]
fn bodies_that_are_no_answer_say_what_they_are() {
    for (body, text) in [
        ("", "empty"),
        (" \n", "empty"),
        ("<html></html>", "not JSON"),
        ("{\"cmd\": \"DESC", "not JSON"),
        ("[]", "a list"),
        ("null", "null"),
        ("{}", "both keys are missing"),
        ("{\"cmd\": 5}", "`cmd` is a number"),
        ("{\"status\": {}}", "`status` is an object"),
    ] {
        let error = Response::from_body(body.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(text), "{body}: {error}");
    }
}

// === properties ===

fn json_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("value".to_owned()),
        Just("control".to_owned()),
        Just("duration".to_owned()),
        Just("metrics".to_owned()),
        Just("state".to_owned()),
        Just("application".to_owned()),
        Just("components".to_owned()),
        Just("settings".to_owned()),
        Just("progress".to_owned()),
        Just("status".to_owned()),
        Just("cmd_uid".to_owned()),
        "[a-z]{1,3}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.-]{0,6}".prop_map(Value::from),
        Just(json!("ok")),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn uid() -> impl Strategy<Value = Option<CommandUid>> {
    prop::option::of(".{0,8}".prop_map(CommandUid::new))
}

fn control() -> impl Strategy<Value = Control> {
    (0_u64..100_000, 0_u64..1000, prop::option::of(0_u64..1000)).prop_map(
        |(duration, warmup, settlement)| Control {
            duration: Length::from_millis(duration),
            warmup: Length::from_secs(warmup),
            settlement: settlement.map(Length::from_secs),
            ..Control::default()
        },
    )
}

fn any_command() -> impl Strategy<Value = Command> {
    let adjustment = ("[a-c]", "[x-z]", -1000_i64..1000);
    let adjustments = prop::collection::btree_map((adjustment.0, adjustment.1), adjustment.2, 0..5)
        .prop_map(|map| {
            map.into_iter()
                .map(|((component, setting), value)| Adjustment::new(component, setting, value))
                .collect::<Vec<_>>()
        });
    let kind = prop_oneof![
        control().prop_map(|control| CommandKind::Describe { control }),
        (prop::collection::vec(".{0,5}", 0..4), control())
            .prop_map(|(metrics, control)| CommandKind::Measure { metrics, control }),
        (adjustments, control()).prop_map(|(adjustments, control)| CommandKind::Adjust {
            adjustments,
            control
        }),
        (0_u32..10_000_000, ".{1,9}").prop_map(|(ms, reason)| CommandKind::Sleep(Sleep {
            duration: Duration::from_millis(u64::from(ms)),
            reason
        })),
    ];
    (uid(), kind).prop_map(|(uid, kind)| Command { uid, kind })
}

fn any_report() -> impl Strategy<Value = (Operation, Report)> {
    let operation = prop_oneof![
        Just(Operation::Describe),
        Just(Operation::Measure),
        Just(Operation::Adjust)
    ];
    let progress = (0.0..100.0, 0.0..1e6, uid(), prop::option::of(".{0,9}")).prop_map(
        |(progress, runtime, cmd_uid, message)| {
            Report::Progress(Progress {
                progress,
                runtime,
                cmd_uid,
                message,
            })
        },
    );
    let explanation = (
        ".{0,9}",
        prop::option::of(".{0,9}"),
        prop::collection::vec(".{0,9}", 0..3),
    )
        .prop_map(|(message, reason, other_messages)| Explanation {
            message,
            reason,
            other_messages,
        });
    let outcome = prop_oneof![
        explanation.clone().prop_map(Outcome::Failed),
        explanation.clone().prop_map(Outcome::Rejected),
        explanation.clone().prop_map(Outcome::Aborted),
        explanation.prop_map(Outcome::Cancelled),
    ];
    let completion = (uid(), outcome)
        .prop_map(|(cmd_uid, outcome)| Report::Completion(Completion { cmd_uid, outcome }));
    (operation, prop_oneof![progress, completion])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Response::from_body(&bytes);
        let _ = serde_json::from_slice::<Request>(&bytes);
    }

    #[test]
    fn any_json_is_read_without_panic(
        word in prop_oneof![Just("DESCRIBE"), Just("MEASURE"), Just("ADJUST"), Just("SLEEP"), Just("X")],
        event in prop_oneof![Just("HELLO"), Just("DESCRIPTION"), Just("MEASUREMENT"), Just("ADJUSTMENT"), Just("GOODBYE")],
        uid in json_value(),
        param in json_value(),
    ) {
        let _ = Response::from_value(&param);
        let _ = read(json!({"cmd": word, "cmd_uid": uid, "param": param}));
        let _ = serde_json::from_value::<Request>(json!({"event": event, "param": param, "servo_uid": null}));
    }

    #[test]
    fn a_command_that_is_written_is_read_back(command in any_command()) {
        let text = serde_json::to_string(&command).unwrap();
        prop_assert_eq!(Response::from_body(text.as_bytes()).unwrap(), Response::Command(command));
    }

    #[test]
    fn a_report_that_is_written_is_read_back((operation, report) in any_report(), servo_uid in prop::option::of(".{0,9}")) {
        let request = Request { event: Event::Report(operation, report), servo_uid };
        let text = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
    }
}
