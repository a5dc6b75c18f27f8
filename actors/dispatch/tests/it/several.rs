//! Several handlers of one connector: in one stage, and in all stages of a dispatch that nobody else takes part in.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    BoxError, Bus, Category, Connector, ConnectorContext, ConnectorPolicy, ConnectorType,
    DispatchError, DispatchOptions, DispatchOutcome, Dispatcher, DispatcherRef, ErrorPolicy, Event,
    HandlerContext, Metadata, Mount, Routes, Scope, Stages,
};
use servo_messages::EventError;
use servo_supervision::{Backoff, Intensity, Root, install_panic_hook};
use tokio_util::sync::CancellationToken;

use crate::troupe::SECOND;

/// What one handler is to do.
#[derive(Clone, Debug)]
enum Part {
    Answer(u64),
    Silence,
    Fail,
    Panic,
    /// Answers, once it was told to stop.
    Wait,
    /// Fires the caller's token, and answers.
    CallOff(CancellationToken),
}

use Part::{Answer, CallOff, Fail, Panic, Silence, Wait};

type Seen = Arc<Mutex<Vec<String>>>;

/// What the handlers of each stage do. Those without a part are silent.
#[derive(Clone, Debug, Default)]
struct Piece {
    before: Vec<Part>,
    on: Vec<Part>,
    seen: Seen,
}

#[derive(Clone, Debug)]
struct Line {
    number: u64,
    seen: Seen,
}

impl Event for Piece {
    type Output = Line;
    const NAME: &'static str = "piece";
    const CATEGORY: Category = Category::Custom;
}

/// Three handlers for each stage, the last stage first.
struct Soloist;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct SoloistConfig {}

impl Connector for Soloist {
    type Config = SoloistConfig;
    const METADATA: Metadata = Metadata::new("soloist", "Soloist", "0.0.0");

    fn build(_: Arc<SoloistConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &SoloistConfig, routes: &mut Routes<Self>) {
        for i in 0..3 {
            routes
                .after_with::<Piece, _, _>(move |_, results, cx| async move {
                    let told: Vec<String> = results
                        .iter()
                        .map(|r| match &r.value {
                            Ok(line) => line.number.to_string(),
                            Err(error) => error.to_string(),
                        })
                        .collect();
                    let line = results.iter().find_map(|r| r.value.as_ref().ok());
                    if let Some(Line { seen, .. }) = line {
                        let told = format!("{} after {i}: {}", cx.connector(), told.join(" "));
                        seen.lock().unwrap().push(told);
                    }
                    Ok(())
                })
                .on_with::<Piece, _, _>(move |_, piece, cx| async move {
                    perform(&piece, piece.on.get(i), &format!("on {i}"), &cx).await
                })
                .before_with::<Piece, _, _>(move |_, piece, cx| async move {
                    let part = piece.before.get(i);
                    perform(&piece, part, &format!("before {i}"), &cx).await?;
                    Ok(())
                });
        }
    }
}

async fn perform(
    piece: &Piece,
    part: Option<&Part>,
    what: &str,
    cx: &HandlerContext,
) -> Result<Option<Line>, EventError> {
    if part.is_some() {
        let what = format!("{} {what}", cx.connector());
        piece.seen.lock().unwrap().push(what);
    }
    let line = |number| {
        Ok(Some(Line {
            number,
            seen: piece.seen.clone(),
        }))
    };
    match part {
        None | Some(Silence) => Ok(None),
        Some(Answer(number)) => line(*number),
        Some(Fail) => Err(EventError::failed("no")),
        Some(Panic) => panic!("lost the tune"),
        Some(Wait) => {
            cx.cancellation().cancelled().await;
            line(100)
        }
        Some(CallOff(token)) => {
            token.cancel();
            line(200)
        }
    }
}

fn orchestra(names: &'static [&'static str]) -> (Root, DispatcherRef) {
    install_panic_hook();
    let (spec, dispatcher) = Dispatcher::spec("theatre".into(), Bus::default());
    let reference = dispatcher.clone();
    let quickly = Duration::from_millis(1);
    let policy = ConnectorPolicy {
        backoff: Backoff::try_new(quickly, quickly, SECOND * 60).unwrap(),
        intensity: Intensity::try_new(10, SECOND * 60).unwrap(),
        ..ConnectorPolicy::default()
    };
    let root = Root::start("root", move |children| {
        children.start(spec.clone());
        for name in names {
            ConnectorType::configured::<Soloist>(SoloistConfig {}).mount(Mount {
                servo: "theatre".into(),
                name: (*name).into(),
                settings: Arc::default(),
                dispatcher: reference.clone(),
                policy: policy.clone(),
                children,
            })?;
        }
        Ok(())
    });
    (root, dispatcher)
}

fn collecting() -> DispatchOptions {
    DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..DispatchOptions::default()
    }
}

fn results(outcome: &DispatchOutcome<Line>) -> Vec<String> {
    let text = |value: &Result<Line, servo_dispatch::HandlerError>| match value {
        Ok(line) => line.number.to_string(),
        Err(error) => error.to_string(),
    };
    outcome.results.iter().map(|r| text(&r.value)).collect()
}

/// Dispatches `piece` alone and in company, where each stage is waited for: what happens is the same.
async fn both_ways(
    piece: &Piece,
    options: impl Fn() -> DispatchOptions,
    look: impl Fn(Result<DispatchOutcome<Line>, DispatchError>, Vec<String>),
) {
    for names in [&["a"] as &'static [&'static str], &["a", "b"]] {
        let (root, dispatcher) = orchestra(names);
        let piece = Piece {
            seen: Seen::default(),
            ..piece.clone()
        };
        let seen = piece.seen.clone();
        let options = DispatchOptions {
            scope: Scope::Only(vec!["a".into()]),
            ..options()
        };
        let dispatch = dispatcher.dispatch(piece, options);
        let outcome = tokio::time::timeout(SECOND * 5, dispatch).await.unwrap();
        let seen = seen.lock().unwrap().clone();
        look(outcome, seen);
        root.shutdown(SECOND).await.unwrap();
    }
}

#[actix_rt::test]
async fn handlers_run_in_order_stage_by_stage_and_after_sees_all_results() {
    let piece = Piece {
        before: vec![Silence, Silence],
        on: vec![Answer(1), Silence, Answer(3)],
        ..Piece::default()
    };
    let (_root, dispatcher) = orchestra(&["a"]);
    let outcome = dispatcher
        .dispatch(piece.clone(), DispatchOptions::default())
        .await;
    assert_eq!(results(&outcome.unwrap()), ["1", "3"]);
    let alone = [
        "a before 0",
        "a before 1",
        "a on 0",
        "a on 1",
        "a on 2",
        "a after 0: 1 3",
        "a after 1: 1 3",
        "a after 2: 1 3",
    ];
    assert_eq!(*piece.seen.lock().unwrap(), alone);

    let (_root, dispatcher) = orchestra(&["a", "b"]);
    let piece = Piece {
        seen: Seen::default(),
        ..piece
    };
    let outcome = dispatcher
        .dispatch(piece.clone(), DispatchOptions::default())
        .await;
    assert_eq!(results(&outcome.unwrap()), ["1", "3", "1", "3"]);
    let seen = piece.seen.lock().unwrap().clone();
    let at = |what: &str| seen.iter().position(|s| s.starts_with(what)).unwrap();
    assert!(at("b before 1") < at("a on 0") && at("a before 1") < at("b on 0"));
    assert!(seen.contains(&"b after 2: 1 3 1 3".to_owned()), "{seen:?}");
}

#[actix_rt::test]
async fn the_first_error_of_a_connector_is_its_end_when_failing_fast() {
    let piece = Piece {
        on: vec![Answer(1), Fail, Answer(3)],
        ..Piece::default()
    };
    both_ways(&piece, DispatchOptions::default, |outcome, seen| {
        assert_eq!(outcome.unwrap_err().to_string(), "a: no");
        assert_eq!(seen, ["a on 0", "a on 1"]);
    })
    .await;
}

#[actix_rt::test]
async fn when_collecting_a_panic_costs_one_result_and_the_next_handler_runs_on_the_new_connector() {
    let piece = Piece {
        before: vec![Silence],
        on: vec![Answer(1), Panic, Answer(3)],
        ..Piece::default()
    };
    both_ways(&piece, collecting, |outcome, seen| {
        let results = results(&outcome.unwrap());
        assert_eq!((&*results[0], &*results[2]), ("1", "3"));
        assert!(
            results[1].contains("while it handled on:piece"),
            "{results:?}"
        );
        assert!(results[1].contains("lost the tune"), "{results:?}");
        assert_eq!(seen[..4], ["a before 0", "a on 0", "a on 1", "a on 2"]);
        assert_eq!(seen.len(), 7, "{seen:?}");
        assert!(seen[6].starts_with("a after 2: 1 a: "), "{seen:?}");
    })
    .await;
}

#[actix_rt::test]
async fn when_the_last_one_panics_after_still_runs() {
    let piece = Piece {
        on: vec![Answer(1), Silence, Panic],
        ..Piece::default()
    };
    both_ways(&piece, collecting, |outcome, seen| {
        assert_eq!(outcome.unwrap().results.len(), 2);
        assert_eq!(seen.len(), 6, "{seen:?}");
    })
    .await;
}

#[actix_rt::test]
async fn a_panic_before_the_event_names_its_stage_and_keeps_it_from_happening() {
    let piece = Piece {
        before: vec![Silence, Panic, Silence],
        on: vec![Answer(1)],
        ..Piece::default()
    };
    both_ways(&piece, collecting, |outcome, seen| {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("while it handled before:piece"), "{error}");
        assert_eq!(seen, ["a before 0", "a before 1"]);
    })
    .await;
}

#[actix_rt::test]
async fn no_handler_begins_once_the_caller_has_called_it_off() {
    let token = || CallOff(CancellationToken::new());
    for stage in ["before", "on"] {
        let (_root, dispatcher) = orchestra(&["a"]);
        let options = DispatchOptions::default();
        let off = CallOff(options.cancel.clone());
        let piece = match stage {
            "before" => Piece {
                before: vec![off, token()],
                on: vec![Answer(1)],
                ..Piece::default()
            },
            _ => Piece {
                on: vec![off, token()],
                ..Piece::default()
            },
        };
        let outcome = dispatcher.dispatch(piece.clone(), options).await;
        assert!(
            matches!(outcome, Err(DispatchError::Cancelled { .. })),
            "{outcome:?}"
        );
        assert_eq!(*piece.seen.lock().unwrap(), [format!("a {stage} 0")]);
    }
}

#[actix_rt::test]
async fn past_its_deadline_no_further_handler_begins() {
    let piece = Piece {
        before: vec![Wait],
        on: vec![Answer(1)],
        ..Piece::default()
    };
    let soon = || DispatchOptions::within(Duration::from_millis(30));
    both_ways(&piece, soon, |outcome, seen| {
        let Err(DispatchError::Deadline { waiting_for, .. }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(waiting_for, ["a"]);
        assert_eq!(seen, ["a before 0"]);
    })
    .await;
}

#[actix_rt::test]
async fn stages_that_are_not_asked_for_do_not_run() {
    let piece = Piece {
        before: vec![Panic],
        on: vec![Answer(1)],
        ..Piece::default()
    };
    let on_alone = || DispatchOptions {
        stages: Stages {
            before: false,
            on: true,
            after: false,
        },
        ..DispatchOptions::default()
    };
    both_ways(&piece, on_alone, |outcome, seen| {
        assert_eq!(results(&outcome.unwrap()), ["1"]);
        assert_eq!(seen, ["a on 0"]);
    })
    .await;
}

#[actix_rt::test]
async fn of_the_first_connector_that_answers_the_first_result_counts() {
    for names in [&["a"] as &'static [&'static str], &["a", "b"]] {
        let (_root, dispatcher) = orchestra(names);
        let piece = Piece {
            on: vec![Silence, Answer(2), Answer(3)],
            ..Piece::default()
        };
        let seen = piece.seen.clone();
        let first = dispatcher
            .dispatch_first(piece, DispatchOptions::default())
            .await;
        assert_eq!(first.unwrap().unwrap().value.unwrap().number, 2);
        let seen = seen.lock().unwrap();
        assert!(seen.contains(&"a after 0: 2".to_owned()), "{seen:?}");
        assert!(!seen.contains(&"b on 0".to_owned()), "{seen:?}");
    }
}

#[actix_rt::test]
async fn handlers_are_told_to_stop_when_the_dispatcher_is_gone() {
    let (root, dispatcher) = orchestra(&["a"]);
    let piece = Piece {
        on: vec![Wait, Answer(2)],
        ..Piece::default()
    };
    let seen = piece.seen.clone();
    let dispatch = dispatcher.dispatch(piece, DispatchOptions::default());
    let ending = async {
        crate::troupe::eventually("a at work", || {
            let tree = root.snapshot();
            tree.find("root/a")
                .is_some_and(|a| !a.open_turns.is_empty())
        })
        .await;
        let ended = root.reference().restart_child("dispatcher", SECOND).await;
        ended.unwrap();
        crate::troupe::eventually("a at rest", || {
            let tree = root.snapshot();
            tree.find("root/a").is_some_and(|a| a.open_turns.is_empty())
        })
        .await;
    };
    let (outcome, ()) = futures_util::future::join(dispatch, ending).await;
    assert!(
        matches!(outcome, Err(DispatchError::Dispatcher(_))),
        "{outcome:?}"
    );
    assert_eq!(*seen.lock().unwrap(), ["a on 0"]);
}
