//! Events by name.

use serde_json::{Value, json};
use servo_dispatch::{DispatchError, DispatchOptions, Stage};

use crate::troupe::{Double, Troupe, only};

async fn named(
    troupe: &Troupe,
    name: &str,
    args: Value,
) -> Result<servo_dispatch::DispatchOutcome<Value>, DispatchError> {
    let options = DispatchOptions::default();
    troupe.dispatcher.dispatch_named(name, args, options).await
}

#[actix_rt::test]
async fn an_event_that_has_no_type_goes_through_its_stages() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let outcome = named(&troupe, "whisper", json!({"word": "rhubarb"}))
        .await
        .unwrap();
    let values: Vec<Value> = outcome.values().collect();
    assert_eq!(
        values,
        [
            json!({"heard": {"word": "rhubarb"}, "by": "a"}),
            json!({"heard": {"word": "rhubarb"}, "by": "b"})
        ]
    );
    let seen = troupe.world.happened().join("\n");
    assert!(seen.contains("a after: [{"), "{seen}");
    assert!(seen.contains(r#""connector":"b""#), "{seen}");
    let vetoed = named(&troupe, "whisper", json!({"secret": 1}))
        .await
        .unwrap();
    assert_eq!(vetoed.cancelled_by[0].reason, "walls have ears");
}

#[actix_rt::test]
async fn an_unknown_name_is_told_with_the_nearest_that_can_be_dispatched() {
    let troupe = Troupe::of(&["a"]).await;
    for (name, told) in [
        ("wisper", "Unknown event 'wisper': did you mean 'whisper'?"),
        ("dubble", "Unknown event 'dubble': did you mean 'double'?"),
        ("frobnicate", "Unknown event 'frobnicate'"),
        // Typed, handled, but without a JSON form: no help to offer it.
        ("encore", "Unknown event 'encore'"),
    ] {
        let error = named(&troupe, name, json!({})).await.unwrap_err();
        assert_eq!(error.to_string(), told);
    }
}

#[actix_rt::test]
async fn a_typed_event_by_its_name_with_dynamic_handlers_around_it() {
    let troupe = Troupe::of(&["a"]).await;
    let outcome = named(&troupe, "double", json!({"number": 21}))
        .await
        .unwrap();
    assert_eq!(
        outcome.values().collect::<Vec<_>>(),
        [json!({"doubled": 42})]
    );
    assert_eq!(
        troupe.world.happened(),
        [
            r#"a before: {"number":21}"#,
            r#"a after: [{"connector":"a","value":{"doubled":42}}]"#
        ]
    );
    // The same handlers stand around the typed dispatch.
    let typed = troupe
        .dispatcher
        .dispatch(Double(2), DispatchOptions::default())
        .await;
    assert_eq!(typed.unwrap().values().collect::<Vec<_>>(), [4]);
    assert_eq!(troupe.world.happened().len(), 4);
}

#[actix_rt::test]
async fn wrong_arguments_reach_nobody() {
    let troupe = Troupe::of(&["a"]).await;
    let error = named(&troupe, "double", json!({"number": "two"}))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"invalid arguments for event 'double': number: expected a natural number in {"number":"two"}"#
    );
    assert!(troupe.world.happened().is_empty());
}

#[actix_rt::test]
async fn what_nobody_handles_any_more_is_unknown() {
    let troupe = Troupe::of(&["a"]).await;
    named(&troupe, "whisper", json!({})).await.unwrap();
    assert!(troupe.dispatcher.bus().leave("a"));
    let error = named(&troupe, "whisper", json!({})).await.unwrap_err();
    assert!(
        matches!(error, DispatchError::UnknownEvent { nearest: None, .. }),
        "{error:?}"
    );
    // A declared event without handlers is still an event.
    assert!(
        named(&troupe, "double", json!({"number": 1}))
            .await
            .unwrap()
            .results
            .is_empty()
    );
}

#[actix_rt::test]
async fn handlers_are_listed_by_connector_event_and_stage() {
    let troupe = Troupe::of(&["a"]).await;
    troupe
        .dispatcher
        .dispatch(Double(1), only(&["a"]))
        .await
        .unwrap();
    let listed: Vec<String> = troupe
        .dispatcher
        .bus()
        .routes()
        .iter()
        .filter(|r| &*r.event == "double" || &*r.event == "play")
        .map(|r| format!("{} {}:{}", r.connector, r.stage, r.event))
        .collect();
    assert_eq!(
        listed,
        [
            "a before:double",
            "a on:double",
            "a after:double",
            "a before:play",
            "a on:play",
            "a after:play"
        ]
    );
    assert_eq!("before".parse::<Stage>().unwrap(), Stage::Before);
}
