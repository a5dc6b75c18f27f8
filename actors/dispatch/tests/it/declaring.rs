//! Events that are declared (`spec/events-and-checks.md` §7, item 11).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use servo_dispatch::{
    BeforeError, BoxError, Bus, Category, ConfiguredConnector, Connector, ConnectorContext,
    ConnectorType, DispatchOptions, Dispatcher, DispatcherRef, Event, EventDeclaration, EventName,
    HandlerContext, JsonEvent, Metadata, NewConnector, On, Routes, Stage, ValueKind,
};
use servo_messages::EventError;
use servo_supervision::Root;

use crate::troupe::{Double, Troupe};

/// Connectors that declare and handle what their configuration says, and count the calls.
struct Herald<const OTHER: bool>(Arc<AtomicUsize>);

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct HeraldConfig {
    declares: bool,
    handles: bool,
    prepares: bool,
    typed: bool,
    #[serde(skip)]
    answer: Option<Value>,
    #[serde(skip)]
    calls: Arc<AtomicUsize>,
}

/// Bears the name that heralds declare.
#[derive(Debug)]
struct Proclaim;

impl Event for Proclaim {
    type Output = ();
    const NAME: &'static str = "proclaim";
    const CATEGORY: Category = Category::Custom;
}

impl JsonEvent for Proclaim {
    fn arguments(&self) -> Value {
        json!({})
    }

    fn from_arguments(_: Value) -> Result<Self, String> {
        Ok(Self)
    }

    fn output_value((): &()) -> Value {
        Value::Null
    }
}

fn name(name: &str) -> EventName {
    EventName::try_new(name).unwrap()
}

fn proclaim() -> EventDeclaration {
    EventDeclaration::new(name("proclaim"))
        .required("text", ValueKind::Text)
        .optional("loud", ValueKind::Flag)
        .gives(ValueKind::Number)
}

impl<const OTHER: bool> Connector for Herald<OTHER> {
    type Config = HeraldConfig;
    const METADATA: Metadata = if OTHER {
        Metadata::new("usurper", "Usurper", "0.0.0")
    } else {
        Metadata::new("herald", "Herald", "0.0.0")
    };

    fn build(config: Arc<HeraldConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self(config.calls.clone()))
    }

    fn routes(config: &HeraldConfig, routes: &mut Routes<Self>) {
        if config.declares {
            routes.declare(proclaim());
        }
        if config.prepares {
            routes.dynamic(name("proclaim"), Stage::Before, |herald, _, _| async move {
                herald.0.fetch_add(100, Ordering::SeqCst);
                Ok::<_, BeforeError>(None)
            });
        }
        if config.handles {
            let answer = config.answer.clone();
            routes.dynamic(name("proclaim"), Stage::On, move |herald, _, _| {
                let answer = answer.clone();
                async move {
                    let calls = herald.0.fetch_add(1, Ordering::SeqCst) + 1;
                    Ok(Some(answer.unwrap_or(json!(calls))))
                }
            });
        }
        if config.typed {
            routes.on::<Proclaim>();
        }
    }
}

impl<const OTHER: bool> On<Proclaim> for Herald<OTHER> {
    async fn on(&self, _: &Proclaim, _: &HandlerContext) -> Result<(), EventError> {
        Ok(())
    }
}

fn herald(config: HeraldConfig) -> Arc<dyn ConfiguredConnector> {
    ConnectorType::configured::<Herald<false>>(config)
}

fn usurper(config: HeraldConfig) -> Arc<dyn ConfiguredConnector> {
    ConnectorType::configured::<Herald<true>>(config)
}

fn servo() -> DispatcherRef {
    let (spec, dispatcher) = Dispatcher::spec("servo".into(), Bus::with_standard_events());
    let root = Root::start("root", move |children| {
        children.start(spec.clone());
        Ok(())
    });
    dispatcher.room_for_more(root.reference());
    dispatcher
}

async fn add(
    servo: &DispatcherRef,
    name: &str,
    connector: Arc<dyn ConfiguredConnector>,
) -> Result<(), String> {
    let added = servo
        .add_connector(NewConnector::new(name, connector))
        .await;
    added.map(drop).map_err(|error| error.to_string())
}

async fn call(servo: &DispatcherRef, args: Value) -> Result<Vec<Value>, String> {
    let options = DispatchOptions::default();
    let outcome = servo.dispatch_named("proclaim", args, options).await;
    outcome
        .map(|o| o.values().collect())
        .map_err(|error| error.to_string())
}

fn declaring() -> HeraldConfig {
    HeraldConfig {
        declares: true,
        handles: true,
        ..HeraldConfig::default()
    }
}

#[actix_rt::test]
async fn a_name_is_given_once() {
    const TAKEN: &str = "Event 'proclaim' has already been created";
    let bus = Bus::with_standard_events();
    bus.declare(proclaim()).unwrap();
    assert_eq!(bus.declare(proclaim()).unwrap_err().to_string(), TAKEN);
    assert_eq!(bus.bridge::<Proclaim>().unwrap_err().to_string(), TAKEN);
    let standard = EventDeclaration::new(name("measure"));
    assert_eq!(
        bus.declare(standard).unwrap_err().to_string(),
        "Event 'measure' has already been created"
    );

    let servo = servo();
    add(&servo, "first", herald(declaring())).await.unwrap();
    // Of the same type it is the same event.
    add(&servo, "second", herald(declaring())).await.unwrap();
    let typed = HeraldConfig {
        typed: true,
        ..HeraldConfig::default()
    };
    for other in [usurper(declaring()), usurper(typed)] {
        assert_eq!(
            add(&servo, "third", other).await,
            Err(format!("connector 'third' cannot be added: {TAKEN}"))
        );
    }
    // Nothing of them is left.
    assert_eq!(servo.bus().connectors(), ["first".into(), "second".into()]);
    assert_eq!(servo.bus().routes().len(), 2);
    assert_eq!(
        call(&servo, json!({"text": "hear"})).await.unwrap().len(),
        2
    );
    // The name is free when the last is gone that declared it.
    servo.remove_connector("first").await.unwrap();
    assert_eq!(
        call(&servo, json!({"text": "hear"})).await.unwrap().len(),
        1
    );
    servo.remove_connector("second").await.unwrap();
    assert_eq!(
        call(&servo, json!({})).await,
        Err("Unknown event 'proclaim'".to_owned())
    );
    add(&servo, "third", usurper(declaring())).await.unwrap();
}

#[actix_rt::test]
async fn a_call_that_does_not_fit_reaches_nobody() {
    let servo = servo();
    let calls = Arc::<AtomicUsize>::default();
    let config = HeraldConfig {
        prepares: true,
        calls: calls.clone(),
        ..declaring()
    };
    add(&servo, "herald", herald(config)).await.unwrap();
    for (args, told) in [
        (Value::Null, "missing argument 'text'"),
        (json!({}), "missing argument 'text'"),
        (
            json!({"text": null}),
            "argument 'text' must be a text, not null",
        ),
        (
            json!({"text": 3}),
            "argument 'text' must be a text, not a number",
        ),
        (
            json!({"text": "a", "loud": "yes"}),
            "argument 'loud' must be true or false, not a text",
        ),
        (
            json!({"text": "a", "lout": true}),
            "unexpected argument 'lout': it takes text, loud",
        ),
        (
            json!(["a"]),
            r#"expected an object of arguments, not ["a"]"#,
        ),
    ] {
        assert_eq!(
            call(&servo, args).await,
            Err(format!("invalid arguments for event 'proclaim': {told}"))
        );
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    for args in [
        json!({"text": "a"}),
        json!({"text": "a", "loud": null}),
        json!({"text": "a", "loud": false}),
    ] {
        assert_eq!(call(&servo, args).await.unwrap().len(), 1);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 303);
}

#[actix_rt::test]
async fn unknown_names_have_no_effect() {
    let troupe = Troupe::of(&["a"]).await;
    let unknown = troupe.dispatcher.dispatch_named(
        "frobnicate",
        json!({"number": 1}),
        DispatchOptions::default(),
    );
    assert_eq!(
        unknown.await.unwrap_err().to_string(),
        "Unknown event 'frobnicate'"
    );
    assert_eq!(troupe.world.happened(), Vec::<String>::new());
    // Nor has a handler ahead of something that does not exist.
    let servo = servo();
    let prepares = HeraldConfig {
        prepares: true,
        ..HeraldConfig::default()
    };
    assert_eq!(
        add(&servo, "herald", herald(prepares)).await,
        Err(
            "connector 'herald' cannot be added: Unknown event 'proclaim': declare it, or name \
             the connector that does so ahead of this one"
                .to_owned()
        )
    );
    assert!(servo.bus().connectors().is_empty());
}

#[actix_rt::test]
async fn arguments_of_standard_events_are_looked_at_first() {
    let servo = servo();
    for (event, args, told) in [
        ("adjust", json!({}), "missing argument 'adjustments'"),
        (
            "startup",
            json!({"now": 1}),
            "unexpected argument 'now': it takes none",
        ),
        (
            "measure",
            json!({"metric": ["a"]}),
            "unexpected argument 'metric': it takes metrics, control",
        ),
        (
            "measure",
            json!({"metrics": 3}),
            "metrics.: invalid type: integer `3`, expected a sequence",
        ),
    ] {
        let outcome = servo.dispatch_named(event, args, DispatchOptions::default());
        assert_eq!(
            outcome.await.unwrap_err().to_string(),
            format!("invalid arguments for event '{event}': {told}")
        );
    }
}

#[actix_rt::test]
async fn an_answer_of_another_kind_is_the_handlers_failure() {
    let servo = servo();
    let config = HeraldConfig {
        answer: Some(json!("loudly")),
        ..declaring()
    };
    add(&servo, "herald", herald(config)).await.unwrap();
    assert_eq!(
        call(&servo, json!({"text": "a"})).await,
        Err("herald: the handler of 'proclaim' answered a text, and not a number".to_owned())
    );
}

#[actix_rt::test]
async fn a_typed_event_may_be_made_addressable_more_than_once() {
    let bus = Bus::default();
    bus.bridge::<Double>().unwrap();
    bus.bridge::<Double>().unwrap();
}
