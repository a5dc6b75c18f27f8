//! What is told of a command in progress, and what the answers to it lead to: items 23 to 26, 38, 39.

use servo_doubles::{Fault, On, PrometheusAnswer, PrometheusDouble};

use super::*;

const EACH_SECOND: &str = "settings: {progress_interval: 1s}\n";
/// So that answers to progress come soon.
const OFTEN: &str = "settings: {progress_interval: 200ms}\nwait: {measure_enabled: true}\n";

fn long() -> Script {
    Script::new().measure("u1", &["throughput"], json!({"duration": "10m"}))
}

fn progress(received: &[ReceivedEvent]) -> Vec<&ReceivedEvent> {
    let all = received.iter();
    all.filter(|r| r.progresses("MEASUREMENT")).collect()
}

/// §23 item 23
#[test]
fn item_23_reports_of_progress() {
    let script = Script::new().measure("u1", &["throughput"], json!({"duration": "3s"}));
    let session = Session::start(script, &format!("{EACH_SECOND}{WAIT}"));
    assert_eq!(session.completion("u1")["status"], "ok");
    until(&session.optimizer, "WHATS_NEXT", 2);
    // The double takes reports of 100, those that go back and those after the completion amiss.
    let (received, _) = session.end();
    let told = progress(&received);
    assert!(told.len() >= 2, "{}", told.len());
    let percents: Vec<f64> = told
        .iter()
        .map(|r| r.param["progress"].as_f64().unwrap())
        .collect();
    assert!(percents.is_sorted_by(|a, b| a < b), "{percents:?}");
    assert!(percents.iter().all(|percent| *percent < 100.0));
    for report in &told {
        assert!(report.param["runtime"].is_number(), "{}", report.param);
        assert_eq!(report.param["cmd_uid"], "u1");
        let message = report.param["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && !message.contains('\n'),
            "{message:?}"
        );
        for part in ["| INFO", "20"] {
            assert!(!message.starts_with(part), "{message:?}");
        }
    }
}

/// §23 item 24
#[test]
fn item_24_heartbeats_of_a_silent_connector() {
    side_by_side("item_24", heartbeats_of_a_silent_connector);
}

pub(super) fn heartbeats_of_a_silent_connector() {
    let prometheus = PrometheusDouble::start();
    let answer = Box::new(PrometheusAnswer::Constant(1.0));
    prometheus.answer("q", PrometheusAnswer::Late(seconds(5.0), answer));
    let stanzas = format!(
        "{EACH_SECOND}prometheus:\n  base_url: \"{}\"\n  metrics: [{{name: m, query: q, unit: rpm}}]\n",
        prometheus.base_url()
    );
    let script = Script::new().measure("u1", &["m"], json!({"duration": 0}));
    let session = Session::start(script, &stanzas);
    assert_eq!(session.completion("u1")["status"], "ok");
    let (received, _) = session.end();
    let told = progress(&received);
    assert!(told.len() >= 3, "{}", told.len());
    assert!(told.iter().all(|report| report.param["cmd_uid"] == "u1"));
}

/// §23 item 25
#[test]
fn item_25_a_cancelled_command() {
    let cancelled = ScriptedOptimizer::start(long());
    cancelled.inject(On::progress("MEASUREMENT"), Fault::cancel("user asked"));
    let other = ScriptedOptimizer::start(Script::new().measure(
        "u2",
        &["throughput"],
        json!({"duration": "3s"}),
    ));
    let several = Several::start([&cancelled, &other], OFTEN);
    let told = completion(&cancelled, "u1");
    assert_eq!(
        (&told["status"], &told["message"]),
        (&json!("cancelled"), &json!("user asked")),
        "{told}"
    );
    until(&cancelled, "WHATS_NEXT", 2);
    assert_eq!(completion(&other, "u2")["status"], "ok");
    several.end();
    for optimizer in [&cancelled, &other] {
        assert_eq!(optimizer.violations(), Vec::<String>::new());
        let events = optimizer.events();
        let count = |event: &str| events.iter().filter(|e| *e == event).count();
        assert_eq!((count("HELLO"), count("GOODBYE")), (1, 1), "{events:?}");
        let received = optimizer.received();
        let completions = received.iter().filter(|r| r.completes("MEASUREMENT"));
        assert_eq!(completions.count(), 1);
    }
}

/// §23 item 26
#[test]
fn item_26_answers_that_drop_a_command_and_one_that_does_not() {
    for answer in [Fault::unexpected_event(), Fault::unexpected_cmd_uid()] {
        let optimizer = ScriptedOptimizer::start(long());
        let dropping = On::progress("MEASUREMENT").and_drop_command();
        optimizer.inject(dropping, answer);
        let session = Session::with(optimizer, OFTEN);
        until(&session.optimizer, "WHATS_NEXT", 2);
        let (received, _) = session.end();
        assert!(!received.iter().any(|r| r.completes("MEASUREMENT")));
        assert_eq!(received.iter().filter(|r| r.event == "HELLO").count(), 1);
    }
    let script = Script::new().measure("u1", &["throughput"], json!({"duration": "1s"}));
    let optimizer = ScriptedOptimizer::start(script);
    let answer = json!({"status": "invalid", "reason": "too much"});
    optimizer.inject(On::progress("MEASUREMENT").always(), Fault::Answer(answer));
    let session = Session::with(optimizer, OFTEN);
    assert_eq!(session.completion("u1")["status"], "ok");
    let (received, ended) = session.end();
    assert!(progress(&received).len() > 1);
    assert!(warnings(&ended.stderr, "too much").count() > 0, "{ended}");
}

/// §9: progress that is stuck on its way holds nothing up, and does not come after the completion.
#[test]
fn progress_that_is_stuck_is_given_up_for_the_completion() {
    let faults = [Fault::Stall, Fault::status(503), Fault::Reset];
    let optimizers = faults.map(|fault| {
        let script = Script::new().measure("u1", &["m"], json!({"duration": "1500ms"}));
        let optimizer = ScriptedOptimizer::start(script);
        optimizer.inject(On::progress("MEASUREMENT").always(), fault);
        optimizer
    });
    let several = Several::start(&optimizers, OFTEN);
    for optimizer in &optimizers {
        assert_eq!(completion(optimizer, "u1")["status"], "ok");
    }
    // What was waited for before another attempt is over by now.
    thread::sleep(seconds(2.0));
    several.end();
    for (optimizer, one_at_a_time) in optimizers.iter().zip([true, false, false]) {
        let received = optimizer.received();
        let asked = received.iter().find(|r| r.event == "WHATS_NEXT").unwrap();
        let told = received.iter().position(|r| r.completes("MEASUREMENT"));
        let told = told.unwrap();
        let took = received[told].at - asked.at;
        assert!(took < seconds(4.0), "{took:?}");
        let sent = progress(&received[..told]).len();
        assert!(sent > 0);
        assert!(!one_at_a_time || sent == 1, "{sent} on their way at once");
        assert_eq!(progress(&received[told..]).len(), 0);
    }
}

/// A command in answer to progress is not carried out, and one that comes again after its completion is.
#[test]
fn one_command_at_a_time() {
    let control = json!({"duration": "1s"});
    let script = Script::new()
        .measure("u1", &["m"], control.clone())
        .measure("u1", &["m"], control);
    let optimizer = ScriptedOptimizer::start(script);
    let intruder = json!({"cmd": "DESCRIBE", "cmd_uid": "intruder", "param": {}});
    let first = On::progress("MEASUREMENT").times(2);
    optimizer.inject(first, Fault::Answer(intruder));
    let session = Session::with(optimizer, OFTEN);
    until(&session.optimizer, "WHATS_NEXT", 3);
    session.servo.signal(Signal::TERM);
    let ended = session.servo.ended(SOON);
    ended.assert_code(0);
    let received = session.optimizer.received();
    assert!(!received.iter().any(|r| r.param["cmd_uid"] == "intruder"));
    let told = received.iter().filter(|r| r.completes("MEASUREMENT"));
    let told: Vec<_> = told.map(|r| &r.param["status"]).collect();
    assert_eq!(told, ["ok", "ok"]);
    let warned = warnings(&ended.stderr, "answered with a command");
    assert!(warned.count() > 0, "{ended}");
}

/// §23 item 38
#[test]
fn item_38_each_optimizer_hears_of_its_own_servo_only() {
    let optimizers = [0, 1].map(|i| {
        let control = json!({"duration": "2s"});
        ScriptedOptimizer::start(Script::new().measure(&format!("of-{i}"), &["m"], control))
    });
    let documents: Vec<String> = optimizers
        .iter()
        .zip(0..)
        .map(|(optimizer, i)| {
            let more = format!("{OFTEN}servo_uid: uid-{i}\n");
            document(&format!("servo-{i}"), optimizer, &more)
        })
        .collect();
    let bench = Bench::new();
    bench.write("servo.yaml", &documents.join("---\n"));
    let servo = bench.start(&["run", "--no-banner"]);
    for (optimizer, i) in optimizers.iter().zip(0..) {
        assert_eq!(completion(optimizer, &format!("of-{i}"))["status"], "ok");
    }
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
    for (optimizer, i) in optimizers.iter().zip(0..) {
        let received = optimizer.received();
        assert!(progress(&received).len() > 2);
        for request in &received {
            assert_eq!(request.json["servo_uid"], format!("uid-{i}"));
            let token = format!("Bearer token-of-servo-{i}");
            assert_eq!(request.header("authorization"), Some(&*token));
            if request.report().is_some() {
                assert_eq!(request.param["cmd_uid"], format!("of-{i}"));
            }
        }
        assert_eq!(optimizer.violations(), Vec::<String>::new());
    }
}

/// §23 item 39
#[test]
fn item_39_garbage_of_one_optimizer_is_nothing_to_the_other_servo() {
    let garbage = ScriptedOptimizer::start(Script::new());
    garbage.inject(
        On::event("WHATS_NEXT").always(),
        Fault::NotHttp(b"\x00\xff garbage \r\n\r\n".to_vec()),
    );
    let script = (0..20).fold(Script::new(), |script, i| {
        script.measure(&format!("u{i}"), &["m"], json!({"duration": "100ms"}))
    });
    let fine = ScriptedOptimizer::start(script);
    let several = Several::start([&garbage, &fine], WAIT);
    assert_eq!(completion(&fine, "u19")["status"], "ok");
    until(&garbage, "WHATS_NEXT", 2);
    several.end();
    let events = fine.events();
    assert_eq!(events.iter().filter(|e| *e == "HELLO").count(), 1);
}
