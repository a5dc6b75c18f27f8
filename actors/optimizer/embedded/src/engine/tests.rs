#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

//! The engine against a simulated servo: a pure function is the application.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::MeasurementReport;
use servo_protocol::{Explanation, Goodbye, Hello};

use super::*;
use crate::{
    notice::TrialEvent,
    store::{Purpose, TrialState},
};

/// A servo with its application, and the optimizer it speaks to.
struct Rig {
    _directory: tempfile::TempDir,
    path: PathBuf,
    store: Option<Store>,
    engine: Option<Engine>,
    config: Option<StudyConfig>,
    descriptor: Value,
    notices: Vec<Notice>,
    servo_uid: Option<String>,
    seconds: i64,
    /// What the application runs with.
    cpu: i64,
    gc: String,
    /// Counts measurements, and is measured itself.
    serial: i64,
}

const BASELINE: (i64, &str) = (8, "serial");

fn config(yaml: &str) -> StudyConfig {
    serde_yaml::from_str(yaml).unwrap()
}

fn usual() -> StudyConfig {
    config(
        "{objective: {minimize: 'settings.web.cpu + 0 * p99'}, constraints: ['p99 <= 1.5 * baseline'], \
         trials: 14, seed: 3, duration: 5s, settlement: 2s}",
    )
}

fn descriptor(cpu: i64, gc: &str) -> Value {
    json!({
        "application": {"components": {"web": {"settings": {
            "cpu": {"type": "range", "min": 1, "max": 16, "step": 1, "value": cpu, "unit": "cores"},
            "gc": {"type": "enum", "values": ["serial", "parallel"], "value": gc},
            "port": {"type": "range", "min": 1, "max": 9, "step": 1, "value": 5, "pinned": true},
        }}}},
        "measurement": {"metrics": {"p99": {"unit": "ms"}, "serial": {"unit": ""}, "cpu_seen": {"unit": ""}}},
    })
}

impl Rig {
    fn new(config: Option<StudyConfig>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trials.db");
        Self {
            _directory: directory,
            path,
            store: None,
            engine: None,
            config,
            descriptor: descriptor(BASELINE.0, BASELINE.1),
            notices: Vec::new(),
            servo_uid: None,
            seconds: 1_700_000_000,
            cpu: BASELINE.0,
            gc: BASELINE.1.to_owned(),
            serial: 0,
        }
    }

    /// Asks the optimizer, which is started from its file if it is not running.
    fn ask(&mut self, event: Event) -> Answer {
        let store = self
            .store
            .get_or_insert_with(|| Store::open(&self.path).unwrap());
        let engine = self
            .engine
            .get_or_insert_with(|| Engine::load("local/app", self.config.clone(), store).unwrap());
        self.seconds += 1;
        let now = Timestamp::from_second(self.seconds).unwrap();
        // Over the wire form, so that the test speaks as a servo does.
        let wire = serde_json::to_value(Request {
            event,
            servo_uid: self.servo_uid.clone(),
        })
        .unwrap();
        let request: Request = serde_json::from_value(wire).unwrap();
        let mut at = Surroundings {
            store,
            notices: &mut self.notices,
            now,
        };
        engine.handle(&request, &mut at).unwrap()
    }

    fn respond(&mut self, event: Event) -> Response {
        match self.ask(event) {
            Answer::Respond(response) => *response,
            Answer::Replaced => panic!("the servo was replaced"),
        }
    }

    fn status(&mut self, event: Event) -> StatusReply {
        match self.respond(event) {
            Response::Status(status) => status,
            other => panic!("a status was expected, not {other:?}"),
        }
    }

    fn hello(&mut self) {
        let status = self.status(Event::Hello(Hello {
            agent: "test v1.0.0".into(),
            ..Hello::default()
        }));
        assert_eq!(status, StatusReply::ok());
    }

    fn next(&mut self) -> Command {
        // What a servo makes of the wire form.
        let wire = serde_json::to_vec(&self.respond(Event::WhatsNext)).unwrap();
        match Response::from_body(&wire).unwrap() {
            Response::Command(command) => command,
            other => panic!("a usable command was expected, not {other:?}"),
        }
    }

    fn report(&mut self, command: &Command, outcome: Outcome) -> StatusReply {
        let completion = Completion {
            cmd_uid: command.uid.clone(),
            outcome,
        };
        self.status(Event::Report(
            command.operation().unwrap(),
            Report::Completion(completion),
        ))
    }

    /// The p99 of the application: too few cores make it slow, and the parallel collector needs fewer.
    fn p99(&self) -> f64 {
        let power = self.cpu as f64 * if self.gc == "parallel" { 2.0 } else { 1.0 };
        100.0 + 400.0 / power
    }

    fn measure(&mut self) -> Outcome {
        self.serial += 1;
        self.measured(json!({
            "p99": {"unit": "ms", "values": [
                {"id": "a", "data": [[1, self.p99() - 1.0], [2, self.p99() + 1.0]]},
            ]},
            "serial": {"unit": "", "value": self.serial},
            "cpu_seen": {"unit": "", "value": self.cpu},
        }))
    }

    fn measured(&self, metrics: Value) -> Outcome {
        let report = MeasurementReport::from_wire(&json!({ "metrics": metrics })).unwrap();
        Outcome::Ok(Payload::Measurement(report))
    }

    fn adjust(&mut self, command: &Command) -> Outcome {
        let CommandKind::Adjust {
            adjustments,
            control,
        } = &command.kind
        else {
            panic!("{command:?}")
        };
        assert_eq!(control.settlement.map(|s| s.as_secs_f64()), Some(2.0));
        for adjustment in adjustments {
            assert_eq!(adjustment.component, "web");
            match adjustment.setting.as_str() {
                "cpu" => {
                    let number = adjustment.value.as_number().unwrap();
                    assert!(number.is_int(), "integers stay integers");
                    self.cpu = number.as_i64().unwrap();
                }
                "gc" => self.gc = adjustment.value.as_str().unwrap().to_owned(),
                other => panic!("{other} was adjusted"),
            }
        }
        Outcome::Ok(Payload::State(Description::default()))
    }

    /// What a healthy servo makes of a command.
    fn carry_out(&mut self, command: &Command) -> Option<Outcome> {
        match &command.kind {
            CommandKind::Describe { .. } => Some(self.describe()),
            CommandKind::Measure { .. } => Some(self.measure()),
            CommandKind::Adjust { .. } => Some(self.adjust(command)),
            CommandKind::Sleep(_) => None,
        }
    }

    /// Tells of the values it is configured with, whatever it runs with: not to be believed too much.
    fn describe(&self) -> Outcome {
        let description = Description::from_wire(&self.descriptor).unwrap();
        Outcome::Ok(Payload::Descriptor(description))
    }

    /// Serves commands until the optimizer has nothing more to do; `meddle` may answer in the servo's
    /// place. Returns the reason to sleep.
    fn run(&mut self, mut meddle: impl FnMut(&mut Self, &Command) -> Option<Outcome>) -> String {
        for _ in 0..500 {
            let command = self.next();
            if let CommandKind::Sleep(sleep) = &command.kind {
                if self.result().is_some() {
                    return sleep.reason.clone();
                }
                continue;
            }
            let outcome = match meddle(self, &command) {
                Some(outcome) => outcome,
                None => self.carry_out(&command).unwrap(),
            };
            assert_eq!(self.report(&command, outcome), StatusReply::ok());
        }
        panic!("the study does not end");
    }

    fn result(&self) -> Option<&StudyResult> {
        self.notices.iter().rev().find_map(|notice| match notice {
            Notice::Finished(result) => Some(&**result),
            Notice::Trial(_) | Notice::Begun { .. } => None,
        })
    }

    fn events(&self) -> Vec<&TrialEvent> {
        let trials = self.notices.iter().filter_map(|notice| match notice {
            Notice::Trial(event) => Some(&**event),
            Notice::Finished(_) | Notice::Begun { .. } => None,
        });
        trials.collect()
    }

    fn trials(&self) -> Vec<crate::store::TrialRecord> {
        let store = Store::open(&self.path).unwrap();
        let study = store.latest_study("local/app").unwrap().unwrap();
        store.trials(study.id).unwrap()
    }

    fn study(&self) -> i64 {
        Store::open(&self.path)
            .unwrap()
            .latest_study("local/app")
            .unwrap()
            .unwrap()
            .id
    }

    /// The optimizer's process is killed.
    fn kill(&mut self) {
        self.store = None;
        self.engine = None;
    }

    /// The servo's process is killed too, and with it the application, which starts with its own values.
    fn kill_all(&mut self) {
        self.kill();
        (self.cpu, self.gc) = (BASELINE.0, BASELINE.1.to_owned());
        self.notices
            .retain(|notice| matches!(notice, Notice::Trial(_)));
        self.hello();
    }
}

fn why(message: &str, reason: Option<&str>) -> Explanation {
    Explanation {
        message: message.to_owned(),
        reason: reason.map(str::to_owned),
        other_messages: Vec::new(),
    }
}

#[test]
fn a_study_goes_from_the_baseline_to_the_chosen_configuration() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();

    let describe = rig.next();
    assert!(matches!(describe.kind, CommandKind::Describe { .. }));
    assert_eq!(rig.next(), describe, "asking again gives the same command");
    let outcome = rig.describe();
    rig.report(&describe, outcome);

    let measure = rig.next();
    let CommandKind::Measure { metrics, control } = &measure.kind else {
        panic!("{measure:?}")
    };
    assert_eq!(metrics, &["p99", "serial", "cpu_seen"]);
    assert_eq!(control.duration.as_secs_f64(), 5.0);
    assert_eq!(rig.next(), measure);

    let reason = rig.run(|_, _| None);
    assert!(reason.starts_with("study finished: improved"), "{reason}");
    let result = rig.result().unwrap().clone();
    assert_eq!(result.verdict, Verdict::Improved);
    assert_eq!(result.applied, Applied::Chosen);
    let chosen = result.chosen.unwrap();
    assert_eq!(
        (rig.cpu, rig.gc.as_str()),
        (2, "parallel"),
        "the least that keeps p99 <= 1.5 * baseline"
    );
    assert_eq!(chosen.settings.to_string(), "web.cpu=2 web.gc=parallel");
    assert_eq!(chosen.metrics["p99"].unit, "ms");
    let gain = result.gain.unwrap();
    assert!((gain.absolute.mean - 6.0).abs() < 1e-6, "{gain:?}");
    assert_eq!(result.baseline.unwrap().objective.unwrap().mean, 8.0);

    let trials = rig.trials();
    assert_eq!(trials.len(), 14);
    assert_eq!(
        (trials[0].purpose, trials[1].purpose),
        (Purpose::Baseline, Purpose::Repeat)
    );
    assert_eq!(trials[0].metrics["p99"], 150.0, "a series is its mean");
    assert!(
        trials
            .iter()
            .any(|trial| trial.state == TrialState::Infeasible && !trial.violated.is_empty())
    );
    assert_eq!(rig.events().len(), 14);
    assert_eq!((rig.events()[0].finished, rig.events()[0].budget), (1, 14));
    assert_eq!(rig.events()[0].units["p99"], "ms");
}

#[test]
fn the_baseline_is_restored_when_asked_for_or_when_nothing_is_better() {
    let mut rig = Rig::new(Some(StudyConfig {
        apply: crate::study::Apply::Baseline,
        ..usual()
    }));
    rig.hello();
    rig.run(|_, _| None);
    assert_eq!((rig.cpu, rig.gc.as_str()), BASELINE);
    let result = rig.result().unwrap();
    assert_eq!(
        (&result.applied, &result.verdict),
        (&Applied::Baseline, &Verdict::Improved)
    );

    let best = config(
        "{objective: {minimize: abs(settings.web.cpu - 8) + 0 * p99}, trials: 8, settlement: 2s}",
    );
    let mut rig = Rig::new(Some(best));
    rig.hello();
    rig.run(|_, _| None);
    assert_eq!(rig.cpu, BASELINE.0);
    assert_eq!(rig.result().unwrap().applied, Applied::Baseline);
    assert!(!matches!(
        rig.result().unwrap().verdict,
        Verdict::Improved | Verdict::Stopped { .. }
    ));
}

#[test]
fn an_objective_can_be_maximised() {
    let config = config(
        "{objective: {maximize: '1000 / p99 - settings.web.cpu'}, trials: 16, settlement: 2s}",
    );
    let mut rig = Rig::new(Some(config));
    rig.hello();
    rig.run(|_, _| None);
    let result = rig.result().unwrap();
    assert_eq!(result.verdict, Verdict::Improved);
    let (baseline, chosen) = (
        result.baseline.clone().unwrap(),
        result.chosen.clone().unwrap(),
    );
    assert!(chosen.objective.unwrap().mean > baseline.objective.unwrap().mean);
    assert!(chosen.believed.unwrap().mean > baseline.believed.unwrap().mean);
    assert!(result.gain.unwrap().absolute.mean > 0.0);
    assert_eq!(
        result.objective.as_deref(),
        Some("maximize 1000 / p99 - settings.web.cpu")
    );
}

#[test]
fn an_objective_of_settings_alone_is_known_and_not_learned() {
    let known = "{objective: {minimize: 'abs(settings.web.cpu - 5)'}, trials: 10, settlement: 2s}";
    let mut rig = Rig::new(Some(config(known)));
    rig.hello();
    rig.run(|_, _| None);
    assert_eq!(rig.result().unwrap().verdict, Verdict::Improved);
    assert_eq!(rig.cpu, 5);
}

/// Noise that is larger than any difference: the baseline stays.
#[test]
fn a_gain_within_the_noise_is_none() {
    let noisy = "{objective: {minimize: p99 - 50 / settings.web.cpu}, trials: 14, settlement: 2s}";
    let mut rig = Rig::new(Some(config(noisy)));
    rig.hello();
    rig.run(|rig, command| {
        matches!(command.kind, CommandKind::Measure { .. }).then(|| {
            rig.serial += 1;
            let noise = (rig.serial * 7919 % 101) as f64 - 50.0;
            rig.measured(json!({"p99": {"unit": "ms", "value": 300.0 + 3.0 * noise}}))
        })
    });
    let result = rig.result().unwrap();
    assert!(
        matches!(&result.verdict, Verdict::NoImprovement { .. }),
        "{}",
        result.verdict
    );
    assert_eq!((rig.cpu, rig.gc.as_str()), BASELINE);
}

#[test]
fn what_cannot_be_tuned_is_measured_once() {
    let mut fixed = Rig::new(Some(usual()));
    fixed.descriptor = json!({
        "application": {"components": {"web": {"settings": {
            "port": {"type": "range", "min": 1, "max": 9, "step": 1, "value": 5, "pinned": true},
        }}}},
        "measurement": {"metrics": {"p99": {"unit": "ms"}}},
    });
    let without_study = Rig::new(None);
    for (mut rig, words) in [
        (fixed, "all of its settings are pinned"),
        (without_study, "no study is configured"),
    ] {
        rig.hello();
        let reason = rig.run(|_, command| {
            assert!(
                !matches!(command.kind, CommandKind::Adjust { .. }),
                "nothing is adjusted"
            );
            None
        });
        assert!(reason.contains(words), "{reason}");
        assert_eq!(rig.trials().len(), 1);
        assert!(matches!(
            &rig.result().unwrap().verdict,
            Verdict::Observed { .. }
        ));
        assert_eq!(
            rig.result().unwrap().baseline.as_ref().unwrap().metrics["p99"]
                .spread
                .mean,
            150.0
        );

        rig.kill_all();
        rig.descriptor["application"]["components"]["web"]["settings"]["port"]["value"] = json!(6);
        let reason = rig.run(|_, command| {
            assert!(
                matches!(command.kind, CommandKind::Describe { .. }),
                "once is enough"
            );
            None
        });
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn a_study_that_does_not_fit_the_application_is_named() {
    let mut rig = Rig::new(Some(config("objective: {minimize: p95}")));
    rig.hello();
    let reason = rig.run(|_, _| None);
    assert!(reason.contains("did you mean `p99`?"), "{reason}");
    assert!(matches!(
        &rig.result().unwrap().verdict,
        Verdict::Stopped { .. }
    ));

    let mut rig = Rig::new(Some(usual()));
    rig.descriptor["application"]["components"]["web"]["settings"]["cpu"]
        .as_object_mut()
        .unwrap()
        .remove("value");
    rig.hello();
    let reason = rig.run(|_, _| None);
    assert!(
        reason.contains("web.cpu is described without a value"),
        "{reason}"
    );
}

#[test]
fn reports_that_do_not_fit_are_refused() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let describe = rig.next();
    let measured = rig.measure();
    let early = Completion {
        cmd_uid: None,
        outcome: measured,
    };
    let status = rig.status(Event::Report(Operation::Measure, Report::Completion(early)));
    assert_eq!(status.status, OptimizerStatus::UnexpectedEvent);
    assert_eq!(
        status.reason.as_deref(),
        Some("Out of order event \"MEASUREMENT\", expected \"DESCRIPTION\"; ignoring")
    );
    let outcome = rig.describe();
    rig.report(&describe, outcome.clone());
    let again = rig.report(&describe, outcome);
    assert_eq!(
        again.status,
        OptimizerStatus::UnexpectedEvent,
        "the second of two deliveries"
    );

    let measure = rig.next();
    let progress = |percent: f64, uid: &str| {
        Event::Report(
            Operation::Measure,
            Report::Progress(Progress {
                progress: percent,
                runtime: 1.0,
                cmd_uid: Some(CommandUid::new(uid)),
                message: None,
            }),
        )
    };
    let uid = measure.uid.clone().unwrap();
    assert_eq!(rig.status(progress(45.0, uid.as_str())), StatusReply::ok());
    assert!(rig.status(progress(46.0, "stale")).is_unexpected_cmd_uid());
    let backward = rig.status(progress(22.0, uid.as_str()));
    assert_eq!(
        backward.reason.as_deref(),
        Some(
            "progress cannot go backward: new progress value of 22 is less than existing progress value of 45"
        )
    );
    assert_eq!(rig.next(), measure);
}

#[test]
fn a_second_deployment_takes_over() {
    let mut rig = Rig::new(Some(usual()));
    rig.servo_uid = Some("old".into());
    rig.hello();
    rig.next();
    rig.servo_uid = Some("new".into());
    rig.hello();
    rig.next();
    rig.servo_uid = Some("old".into());
    assert_eq!(rig.ask(Event::WhatsNext), Answer::Replaced);
    rig.servo_uid = Some("new".into());
    assert!(matches!(rig.ask(Event::WhatsNext), Answer::Respond(_)));
}

#[test]
fn a_rejected_configuration_teaches_and_a_broken_slo_is_infeasible() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|rig, command| match &command.kind {
        CommandKind::Adjust { .. } => {
            let outcome = rig.adjust(command);
            (rig.cpu < 5)
                .then(|| Outcome::Rejected(why("out of memory", Some("start-failed"))))
                .or(Some(outcome))
        }
        CommandKind::Measure { .. } if rig.p99() > 160.0 => Some(Outcome::Aborted(why(
            "SLO violation(s) observed",
            Some("slo-violation"),
        ))),
        _ => None,
    });
    assert!(rig.cpu >= 5, "what was rejected is not chosen");
    let trials = rig.trials();
    assert!(trials.iter().any(|trial| trial.state == TrialState::Failed));
    let failed = trials
        .iter()
        .find(|trial| trial.state == TrialState::Failed)
        .unwrap();
    assert_eq!(
        failed.message.as_deref(),
        Some("out of memory (start-failed)")
    );
    assert_eq!(trials.len(), 14);
}

#[test]
fn an_unreachable_target_is_no_bad_configuration() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut failures = 0;
    rig.run(|rig, command| {
        let third = rig.serial == 3 && matches!(command.kind, CommandKind::Measure { .. });
        (third && failures == 0).then(|| {
            failures += 1;
            Outcome::Failed(why("connection refused", None))
        })
    });
    let trials = rig.trials();
    assert_eq!(trials.len(), 14);
    assert!(
        trials.iter().all(|trial| trial.state != TrialState::Failed),
        "it worked the second time"
    );
    assert_eq!(trials[3].attempts, 1);
}

#[test]
fn a_configuration_is_blamed_once_the_baseline_is_seen_to_work() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|rig, command| {
        (rig.gc == "parallel" && matches!(command.kind, CommandKind::Measure { .. }))
            .then(|| Outcome::Failed(why("the child died", None)))
    });
    assert_eq!(rig.gc, "serial");
    let trials = rig.trials();
    let failed = trials
        .iter()
        .find(|trial| trial.state == TrialState::Failed)
        .unwrap();
    assert_eq!(failed.attempts, 2);
    let message = failed.message.as_deref().unwrap();
    assert!(
        message.contains("the child died (2 attempts, while the baseline works)"),
        "{message}"
    );
    assert!(
        trials
            .iter()
            .any(|trial| trial.purpose == Purpose::Probe && trial.state == TrialState::Completed)
    );
}

#[test]
fn a_baseline_that_can_no_longer_be_judged_stops_the_study_until_it_can() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut broken = false;
    let reason = rig.run(|rig, command| {
        let measuring = matches!(command.kind, CommandKind::Measure { .. });
        broken |= measuring && rig.gc == "parallel";
        match (broken && measuring, rig.gc.as_str()) {
            (true, "parallel") => Some(Outcome::Failed(why("the child died", None))),
            (true, _) => Some(rig.measured(json!({}))),
            _ => None,
        }
    });
    assert!(reason.contains("can no longer be judged"), "{reason}");
    assert!(reason.contains("no value for the metric `p99`"), "{reason}");

    rig.kill_all();
    rig.run(|_, _| None);
    assert!(rig.result().unwrap().verdict.is_answer());
    assert_eq!(rig.result().unwrap().trials.unfinished, 0);
}

#[test]
fn an_application_without_metrics_can_be_tuned_by_its_settings() {
    let known = "{objective: {minimize: 'abs(settings.web.cpu - 5)'}, trials: 8, settlement: 2s}";
    let mut rig = Rig::new(Some(config(known)));
    rig.descriptor["measurement"]["metrics"] = json!({});
    rig.hello();
    rig.run(|rig, command| {
        matches!(command.kind, CommandKind::Measure { .. }).then(|| {
            if rig.cpu == 1 {
                return Outcome::Aborted(why("SLO violation(s) observed", Some("slo-violation")));
            }
            rig.measured(json!({}))
        })
    });
    assert_eq!(rig.trials()[0].state, TrialState::Completed);
    assert!(
        rig.trials()
            .iter()
            .filter(|trial| trial.purpose == Purpose::Baseline)
            .count()
            == 1
    );
    assert!((rig.cpu - 5).abs() <= 1, "{}", rig.cpu);
}

#[test]
fn a_dead_target_stops_the_study_which_goes_on_when_it_is_back() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let reason = rig.run(|rig, command| {
        (rig.serial >= 5 && !matches!(command.kind, CommandKind::Describe { .. }))
            .then(|| Outcome::Failed(why("connection refused", None)))
    });
    assert!(
        reason.contains("failed 5 times in a row even with the configuration the study began from"),
        "{reason}"
    );
    assert!(reason.contains("connection refused"), "{reason}");
    assert!(
        rig.trials()
            .iter()
            .all(|trial| trial.state != TrialState::Failed),
        "nobody is blamed"
    );

    rig.kill_all();
    rig.run(|_, _| None);
    assert_eq!(rig.result().unwrap().verdict, Verdict::Improved);
    let trials = rig.trials();
    assert!(trials.iter().filter(|trial| trial.state.is_final()).count() >= 14);
    assert_eq!(rig.result().unwrap().trials.unfinished, 0);
}

#[test]
fn a_missing_metric_is_named_and_asked_for_twice() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut asked = 0;
    let reason = rig.run(|rig, command| {
        matches!(command.kind, CommandKind::Measure { .. }).then(|| {
            asked += 1;
            rig.measured(json!({"throughput": {"unit": "rps", "value": 3.0}}))
        })
    });
    assert_eq!(asked, 2);
    assert!(reason.contains("no value for the metric `p99`"), "{reason}");
    assert!(reason.contains("measured: throughput"), "{reason}");

    // At another configuration than the baseline it is that configuration's fault.
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|rig, command| {
        (rig.gc == "parallel" && matches!(command.kind, CommandKind::Measure { .. })).then(|| {
            rig.measured(json!({"p99": {"unit": "ms", "values": [{"id": "a", "data": []}]}}))
        })
    });
    assert!(
        rig.trials()
            .iter()
            .any(|trial| trial.state == TrialState::Invalid)
    );
    assert_eq!(rig.gc, "serial");
}

/// A measurement with errors, and with what the load generator says of itself.
fn under_load(rig: &mut Rig, errors: f64, health: Option<&str>) -> Outcome {
    let metrics = json!({
        "p99": {"unit": "ms", "value": if errors > 0.0 { 1.0 } else { rig.p99() }},
        "error_rate": {"unit": "%", "value": errors},
    });
    rig.serial += 1;
    let Outcome::Ok(Payload::Measurement(mut report)) = rig.measured(metrics) else {
        panic!("a measurement was made")
    };
    if let Some(health) = health {
        report
            .annotations
            .insert("load_health".to_owned(), health.to_owned());
    }
    Outcome::Ok(Payload::Measurement(report))
}

fn measuring(command: &Command) -> bool {
    matches!(command.kind, CommandKind::Measure { .. })
}

#[test]
fn a_measurement_that_the_load_generator_disowns_is_made_again() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut disowned = 0;
    rig.run(|rig, command| {
        measuring(command).then(|| {
            let now = rig.serial == 0 || rig.serial == 5;
            disowned += usize::from(now);
            let health = match (now, rig.serial) {
                (true, _) => Some("invalid: 40 of 100 requests were not sent"),
                (_, 7) => Some("degraded: the load generator itself was late by 8.0 ms (p99)"),
                _ => None,
            };
            under_load(rig, 0.0, health)
        })
    });
    assert_eq!(disowned, 2);
    let trials = rig.trials();
    assert_eq!(trials.len(), 14);
    assert_eq!(trials.iter().map(|trial| trial.attempts).sum::<u32>(), 2);
    assert!(trials.iter().all(|trial| trial.objective.is_some()));
    assert_eq!(rig.result().unwrap().verdict, Verdict::Improved);

    // A configuration that never lets the load through is no answer, and no reason to go on for ever.
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|rig, command| {
        measuring(command).then(|| {
            let collapsed = rig.gc == "parallel";
            under_load(
                rig,
                0.0,
                collapsed.then_some("invalid: 90 of 100 requests were not sent"),
            )
        })
    });
    assert_eq!(rig.gc, "serial");
    let failed = |trial: &&crate::store::TrialRecord| trial.state == TrialState::Failed;
    let trials = rig.trials();
    let message = trials.iter().find(failed).unwrap().message.as_deref();
    assert!(
        message.unwrap().contains("90 of 100 requests"),
        "{message:?}"
    );
}

#[test]
fn a_target_that_answers_nothing_but_errors_is_not_tuned() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut asked = 0;
    let reason = rig.run(|rig, command| {
        measuring(command).then(|| {
            asked += 1;
            under_load(rig, 100.0, None)
        })
    });
    assert_eq!(asked, 5);
    assert!(reason.contains("every request failed"), "{reason}");
    assert!(reason.contains("address of the target"), "{reason}");
    assert!(
        rig.trials()
            .iter()
            .all(|trial| trial.state == TrialState::Pending)
    );
}

#[test]
fn what_fails_fast_does_not_win_although_nobody_limited_errors() {
    let fast = "{objective: {minimize: p99}, trials: 12, seed: 1, settlement: 2s}";
    let shedding = |rig: &mut Rig, command: &Command| {
        measuring(command).then(|| {
            let errors = if rig.cpu < 8 { 30.0 } else { 0.0 };
            under_load(rig, errors, None)
        })
    };
    let mut rig = Rig::new(Some(config(fast)));
    rig.descriptor["measurement"]["metrics"]["error_rate"] = json!({"unit": "%"});
    rig.hello();
    rig.run(shedding);
    assert!(rig.cpu >= 8, "{}", rig.cpu);
    let result = rig.result().unwrap();
    assert_eq!(result.constraints, ["error_rate <= baseline + 1 (implied)"]);
    assert!(result.trials.infeasible > 0, "{:?}", result.trials);

    // Whoever speaks of errors is taken at their word.
    let careless = fast.replace("trials", "constraints: [error_rate <= 60], trials");
    let mut rig = Rig::new(Some(config(&careless)));
    rig.descriptor["measurement"]["metrics"]["error_rate"] = json!({"unit": "%"});
    rig.hello();
    rig.run(shedding);
    assert!(rig.cpu < 8, "{}", rig.cpu);
    assert_eq!(rig.result().unwrap().constraints, ["error_rate <= 60"]);
}

#[test]
fn a_verdict_says_what_was_seen_and_what_to_do() {
    let short = "{objective: {minimize: p99}, trials: 3, seed: 2, settlement: 2s}";
    let mut rig = Rig::new(Some(config(short)));
    rig.hello();
    rig.run(|_, _| None);
    let result = rig.result().unwrap().clone();
    let verdict = result.verdict.to_string();
    assert!(
        verdict.contains("trial 3 looked better, but was measured only once"),
        "{verdict}"
    );
    assert_eq!(result.judged_by, ["p99"]);

    // Said again later, the study is as long as it was.
    rig.seconds += 3600;
    rig.kill_all();
    rig.run(|_, _| None);
    assert_eq!(rig.result().unwrap().ended_at, result.ended_at);

    for (limit, sentence) in [
        (140, "remedied: the baseline breaks a constraint"),
        (50, "and nothing tried keeps all of them"),
    ] {
        let yaml = format!(
            "{{objective: {{minimize: 'settings.web.cpu + 0 * p99'}}, constraints: ['p99 <= {limit}'], \
             trials: 14, settlement: 2s}}"
        );
        let mut rig = Rig::new(Some(config(&yaml)));
        rig.hello();
        rig.run(|_, _| None);
        let verdict = rig.result().unwrap().verdict.to_string();
        assert!(verdict.contains(sentence), "{verdict}");
    }
}

#[test]
fn an_application_that_cannot_be_described_is_given_up_in_the_end() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    let mut asked = 0;
    let reason = rig.run(|_, _| {
        asked += 1;
        Some(Outcome::Failed(why("no such pod", None)))
    });
    assert_eq!(asked, 5);
    assert!(reason.contains("no such pod (5 attempts)"), "{reason}");
}

#[test]
fn a_result_that_cannot_be_applied_ends_with_the_baseline() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|rig, command| {
        let last = command
            .uid
            .as_ref()
            .is_some_and(|uid| uid.as_str().contains("final"));
        if !last {
            return None;
        }
        let CommandKind::Adjust { adjustments, .. } = &command.kind else {
            panic!("{command:?}")
        };
        let baseline = adjustments
            .iter()
            .any(|a| a.setting == "cpu" && a.value.as_f64() == Some(8.0));
        let outcome = rig.adjust(command);
        if baseline {
            Some(outcome)
        } else {
            Some(Outcome::Failed(why("quota exceeded", None)))
        }
    });
    assert_eq!((rig.cpu, rig.gc.as_str()), BASELINE);
    assert_eq!(rig.result().unwrap().applied, Applied::Baseline);
}

#[test]
fn a_larger_budget_continues_and_another_objective_begins_anew() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|_, _| None);
    let (first, before) = (rig.study(), rig.trials());

    rig.config = Some(StudyConfig {
        trials: Some(17),
        ..usual()
    });
    rig.kill_all();
    rig.run(|_, _| None);
    assert_eq!(rig.study(), first);
    assert_eq!(rig.trials().len(), 17);
    assert_eq!(rig.trials()[..14], before[..]);

    let other = config("{objective: {maximize: '0 - p99'}, trials: 6, settlement: 2s}");
    rig.config = Some(other);
    rig.kill_all();
    rig.run(|_, _| None);
    assert_ne!(rig.study(), first);
    assert_eq!(rig.trials().len(), 6);
}

#[test]
fn a_finished_study_is_applied_again_to_a_restarted_application() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    rig.run(|_, _| None);
    let chosen = (rig.cpu, rig.gc.clone());
    rig.kill_all();
    assert_ne!((rig.cpu, rig.gc.clone()), chosen);
    rig.run(|_, command| {
        assert!(
            !matches!(command.kind, CommandKind::Measure { .. }),
            "the budget is spent"
        );
        None
    });
    assert_eq!((rig.cpu, rig.gc.clone()), chosen);
}

#[test]
fn goodbye_keeps_the_pending_trial() {
    let mut rig = Rig::new(Some(usual()));
    rig.hello();
    for _ in 0..6 {
        let command = rig.next();
        let outcome = rig.carry_out(&command).unwrap();
        rig.report(&command, outcome);
    }
    let pending = rig.next();
    assert_eq!(
        rig.status(Event::Goodbye(Goodbye {
            reason: "SIGTERM".into()
        })),
        StatusReply::ok()
    );
    rig.kill_all();
    let describe = rig.next();
    let outcome = rig.describe();
    rig.report(&describe, outcome);
    let again = rig.next();
    assert_eq!(
        again.operation(),
        Some(Operation::Adjust),
        "the application was restarted"
    );
    assert_ne!(again.uid, pending.uid);
    let trials = rig.trials();
    assert_eq!(
        trials
            .iter()
            .filter(|trial| trial.state == TrialState::Pending)
            .count(),
        1
    );
}

#[derive(Debug, Clone, Copy)]
enum Mishap {
    Nothing,
    /// The optimizer is killed before it is asked; the servo does not notice.
    KillBefore,
    /// The optimizer is killed between command and answer.
    KillDuring,
    /// Both processes are killed between command and answer.
    KillAllDuring,
    /// Both processes are killed after the answer.
    KillAllAfter,
    /// The answer is delivered twice.
    Twice,
    /// The command is asked for twice.
    AskTwice,
    Failed,
    Rejected,
    SloViolated,
    Unmeasured,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        6 => Just(Mishap::Nothing),
        1 => Just(Mishap::KillBefore),
        1 => Just(Mishap::KillDuring),
        1 => Just(Mishap::KillAllDuring),
        1 => Just(Mishap::KillAllAfter),
        1 => Just(Mishap::Twice),
        1 => Just(Mishap::AskTwice),
        1 => Just(Mishap::Failed),
        1 => Just(Mishap::Rejected),
        1 => Just(Mishap::SloViolated),
        1 => Just(Mishap::Unmeasured),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever goes wrong on the way: every accepted measurement is one trial, no trial is answered twice,
    /// each was measured with the settings it claims, and the study ends.
    #[test]
    fn no_trial_is_lost_or_counted_twice(mishaps in prop::collection::vec(mishap(), 0..40), noise in 0.0f64..5.0) {
        let study = config(
            "{objective: {minimize: 'settings.web.cpu + 0 * p99'}, constraints: ['p99 <= 200'], trials: 10, \
             settlement: 2s, max_failures: 50}",
        );
        let mut rig = Rig::new(Some(study));
        rig.hello();
        let mut accepted = Vec::new();
        let mut mishaps = mishaps.into_iter();
        let mut steps = 0;
        while !matches!(rig.result().map(|result| &result.verdict), Some(verdict) if verdict.is_answer()) {
            steps += 1;
            prop_assert!(steps < 400, "the study does not end");
            if let Some(Verdict::Stopped { .. }) = rig.result().map(|result| &result.verdict) {
                rig.kill_all();
            }
            let mishap = mishaps.next().unwrap_or(Mishap::Nothing);
            if let Mishap::KillBefore = mishap {
                rig.kill();
            }
            let command = rig.next();
            if let Mishap::AskTwice = mishap {
                let again = rig.next();
                if command.uid.is_some() {
                    prop_assert_eq!(&again, &command);
                } else {
                    continue;
                }
            }
            let Some(operation) = command.operation() else { continue };
            let measuring = operation == Operation::Measure;
            let outcome = match mishap {
                Mishap::Failed => Outcome::Failed(why("connection refused", None)),
                Mishap::Rejected if operation == Operation::Adjust => Outcome::Rejected(why("no", None)),
                Mishap::SloViolated if measuring => Outcome::Aborted(why("slow", Some("slo-violation"))),
                Mishap::Unmeasured if measuring => rig.measured(json!({})),
                _ => {
                    let mut outcome = rig.carry_out(&command).unwrap();
                    if let Outcome::Ok(Payload::Measurement(report)) = &mut outcome {
                        let p99 = report.metrics.get_mut("p99").unwrap();
                        p99.values[0].data[0].1 += noise * ((rig.serial * 7 % 11) as f64 - 5.0);
                    }
                    outcome
                }
            };
            match mishap {
                Mishap::KillDuring => rig.kill(),
                Mishap::KillAllDuring => {
                    rig.kill_all();
                    let late = rig.report(&command, outcome);
                    prop_assert_ne!(late.status, OptimizerStatus::Ok, "its servo is gone");
                    continue;
                }
                _ => {}
            }
            let measured = matches!(&outcome, Outcome::Ok(Payload::Measurement(report)) if !report.metrics.is_empty());
            let reply = rig.report(&command, outcome.clone());
            if measured && reply.status == OptimizerStatus::Ok {
                accepted.push(rig.serial);
            }
            if measured {
                prop_assert_eq!(reply.status, OptimizerStatus::Ok, "a measurement the servo stands by is taken");
            }
            match mishap {
                Mishap::Twice => {
                    let second = rig.report(&command, outcome);
                    prop_assert_ne!(second.status, OptimizerStatus::Ok);
                }
                Mishap::KillAllAfter => rig.kill_all(),
                _ => {}
            }
        }
        let trials = rig.trials();
        let mut serials: Vec<i64> =
            trials.iter().filter_map(|trial| trial.metrics.get("serial")).map(|serial| *serial as i64).collect();
        serials.sort_unstable();
        prop_assert_eq!(serials, accepted);
        for trial in &trials {
            prop_assert!(trial.state.is_final(), "{:?}", trial);
            if let Some(seen) = trial.metrics.get("cpu_seen") {
                let claimed = trial.settings.get("web", "cpu").unwrap().as_f64().unwrap();
                prop_assert_eq!(*seen, claimed);
            }
        }
        prop_assert!(trials.len() >= 10);
        let mut numbers: Vec<u32> = rig.events().iter().map(|event| event.trial.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        prop_assert_eq!(numbers.len(), rig.events().len(), "a verdict is told once");
    }
}
