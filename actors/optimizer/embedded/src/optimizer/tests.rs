#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use serde_json::json;
use servo_messages::{Description, MeasurementReport};
use servo_protocol::{
    Command, CommandKind, Completion, Event, Hello, OptimizerClient, Outcome, Payload, Report,
};

use super::*;
use crate::{client::EmbeddedClient, result::Verdict, study::EmbeddedConfig};

const DEADLINE: Duration = Duration::from_secs(20);

async fn start(directory: &tempfile::TempDir, trials: u32) -> EmbeddedClient {
    let config: EmbeddedConfig = serde_json::from_value(json!({
        "objective": {"minimize": "settings.web.workers * 10 + 0 * p99"},
        "constraints": ["p99 <= 210"],
        "trials": trials,
        "confirmations": 2,
    }))
    .unwrap();
    let id = config.optimizer_id("shop");
    let studies = Studies::new(vec![config.study(&id)]).unwrap();
    let optimizer = EmbeddedOptimizer::start(directory.path().join("t.db"), studies)
        .await
        .unwrap();
    EmbeddedClient::new(optimizer, id)
}

async fn post(client: &EmbeddedClient, event: Event) -> Response {
    client
        .post(
            &Request {
                event,
                servo_uid: None,
            },
            DEADLINE,
        )
        .await
        .unwrap()
}

fn carry_out(command: &Command, workers: &mut i64) -> Option<Outcome> {
    Some(Outcome::Ok(match &command.kind {
        CommandKind::Describe { .. } => Payload::Descriptor(
            Description::from_wire(&json!({
                "application": {"components": {"web": {"settings": {
                    "workers": {"type": "range", "min": 1, "max": 8, "step": 1, "value": *workers},
                }}}},
                "measurement": {"metrics": {"p99": {"unit": "ms"}}},
            }))
            .unwrap(),
        ),
        CommandKind::Adjust { adjustments, .. } => {
            *workers = adjustments[0].value.as_number().unwrap().as_i64().unwrap();
            Payload::State(Description::default())
        }
        CommandKind::Measure { .. } => Payload::Measurement(
            MeasurementReport::from_wire(&json!({
                "metrics": {"p99": {"unit": "ms", "value": 600.0 / *workers as f64}}
            }))
            .unwrap(),
        ),
        CommandKind::Sleep(_) => return None,
    }))
}

/// Serves commands until the optimizer says SLEEP, or so many were served.
async fn run(client: &EmbeddedClient, workers: &mut i64, most: usize) -> usize {
    for served in 0..most {
        let Response::Command(command) = post(client, Event::WhatsNext).await else {
            panic!("no command")
        };
        let Some(outcome) = carry_out(&command, workers) else {
            return served;
        };
        let completion = Completion {
            cmd_uid: command.uid.clone(),
            outcome,
        };
        let event = Event::Report(command.operation().unwrap(), Report::Completion(completion));
        assert_eq!(
            post(client, event).await,
            Response::Status(servo_protocol::StatusReply::ok())
        );
    }
    most
}

#[tokio::test]
async fn a_study_is_made_in_process_and_its_result_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let client = start(&directory, 10).await;
    let mut events = client.optimizer().trials();
    let waiting = tokio::spawn({
        let (optimizer, id) = (client.optimizer().clone(), client.id().to_owned());
        async move { optimizer.finished(&id).await }
    });
    let mut workers = 6;
    post(&client, Event::Hello(Hello::default())).await;
    run(&client, &mut workers, 500).await;

    let result = waiting.await.unwrap().unwrap();
    assert_eq!(result.verdict, Verdict::Improved);
    assert_eq!(workers, 3, "the least that keeps p99 <= 210");
    let json = serde_json::to_value(&*result).unwrap();
    assert_eq!(json["chosen"]["settings"]["web"]["workers"], 3);
    assert_eq!(json["chosen"]["metrics"]["p99"]["mean"], 200.0);
    assert_eq!(json["verdict"]["kind"], "improved");

    for number in 1..=10 {
        let event = events.recv().await.unwrap();
        assert_eq!(
            (event.trial.number, event.finished, event.budget),
            (number, number as usize, 10)
        );
    }
    let studies = client.optimizer().studies(DEADLINE).await.unwrap();
    assert_eq!(
        (studies[0].optimizer.as_str(), studies[0].finished),
        ("local/shop", 10)
    );
    assert!(
        studies[0]
            .verdict
            .as_deref()
            .unwrap()
            .starts_with("improved")
    );
    let (_, trials) = client
        .optimizer()
        .study(studies[0].id, DEADLINE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(trials.len(), 10);
}

#[tokio::test]
async fn a_study_goes_on_in_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut workers = 6;
    let client = start(&directory, 8).await;
    post(&client, Event::Hello(Hello::default())).await;
    run(&client, &mut workers, 5).await;
    let optimizer = client.optimizer().clone();
    drop(client);
    optimizer.closed().await;

    let client = start(&directory, 8).await;
    post(&client, Event::Hello(Hello::default())).await;
    let mut workers = 6;
    run(&client, &mut workers, 500).await;
    let result = client.optimizer().finished(client.id()).await.unwrap();
    assert_eq!(result.trials.completed + result.trials.infeasible, 8);
    assert_eq!(client.optimizer().studies(DEADLINE).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_has_a_deadline_and_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let client = start(&directory, 8).await;
    let other = rusqlite::Connection::open(directory.path().join("t.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hello = Request {
        event: Event::Hello(Hello::default()),
        servo_uid: None,
    };
    let error = client
        .post(&hello, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(error.retryable());
    assert!(error.to_string().contains("embedded:local/shop"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    client.post(&hello, DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let error = EmbeddedOptimizer::start(directory.path(), Studies::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[tokio::test]
async fn a_trial_file_serves_one_optimizer_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("t.db");
    let first = EmbeddedOptimizer::start(&file, Studies::default())
        .await
        .unwrap();
    let error = EmbeddedOptimizer::start(&file, Studies::default())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("in use by another servo"),
        "{error}"
    );
    first.closed().await;
    EmbeddedOptimizer::start(&file, Studies::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_trial_file_that_refuses_costs_nothing_but_time() {
    let directory = tempfile::tempdir().unwrap();
    let client = start(&directory, 8).await;
    let mut workers = 6;
    post(&client, Event::Hello(Hello::default())).await;
    run(&client, &mut workers, 1).await;

    // Another process holds the file for longer than a write waits; here: the table is out of reach.
    let vandal = rusqlite::Connection::open(directory.path().join("t.db")).unwrap();
    vandal
        .execute_batch("ALTER TABLE trials RENAME TO hidden")
        .unwrap();
    let request = Request {
        event: Event::WhatsNext,
        servo_uid: None,
    };
    let error = client.post(&request, DEADLINE).await.unwrap_err();
    assert!(error.retryable() && !error.delivered(), "{error}");
    assert!(error.to_string().contains("t.db"), "{error}");

    vandal
        .execute_batch("ALTER TABLE hidden RENAME TO trials")
        .unwrap();
    run(&client, &mut workers, 500).await;
    assert!(
        client
            .optimizer()
            .finished(client.id())
            .await
            .unwrap()
            .verdict
            .is_answer()
    );
}
