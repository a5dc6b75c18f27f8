//! `servo vegeta attack`: load on demand (spec/metrics-and-load.md §3.8).

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use servo_dispatch::{CommandArgument, ConnectorCommand, EventName, HandlerContext};
use servo_messages::{Duration, EventError};

use crate::{
    config::VegetaConfig,
    load::{self, Load},
    written,
};

const NAME: &str = "attack";
/// Why a command was not even tried.
const INVALID_ARGUMENT: &str = "invalid-argument";
/// How long an attack lasts when neither the command nor the stanza says.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// The command. Its result is the report with the keys of vegeta's own JSON report, times in nanoseconds; `report` is the same as
/// text in vegeta's layout.
pub(crate) const ATTACK: ConnectorCommand = ConnectorCommand {
    name: NAME,
    about: "Generate the configured load now and report how it was answered",
    arguments: &[
        CommandArgument {
            name: "duration",
            value: "DURATION",
            about: "How long; default: `duration` of the stanza, else 10s",
            required: false,
        },
        CommandArgument {
            name: "rate",
            value: "RATE",
            about: "Requests in a time, such as 50/1s, instead of the configured rate",
            required: false,
        },
        CommandArgument {
            name: "target",
            value: "TARGET",
            about: "What to request, such as \"GET https://example.com/\", instead of the configured targets",
            required: false,
        },
        CommandArgument {
            name: "targets",
            value: "FILE",
            about: "A file with what to request, instead of the configured targets",
            required: false,
        },
    ],
    event: NAME,
    columns: &[("REPORT", "report")],
};

/// The event of the command.
pub(crate) fn event() -> EventName {
    #[expect(clippy::expect_used, reason = "a constant, seen by every test")]
    EventName::try_new(NAME).expect("a name of an event")
}

/// Generates load as the stanza and the arguments say.
///
/// # Errors
/// An argument is wrong, or the load could not be generated.
pub(crate) async fn attack(
    config: &VegetaConfig,
    args: &Value,
    cx: &HandlerContext,
) -> Result<Value, EventError> {
    let (config, duration) = configured(config, args)?;
    let load = Load::prepare(&Arc::new(config), Duration::ZERO, duration).await?;
    let outcome = load.run(cx).await?;
    let remarks = load::remarks(&outcome.summary);
    if outcome.summary.cancelled {
        // There is no result any more, but whoever still listens is told.
        if let Some(report) = &outcome.summary.report {
            let requests = report.requests;
            tracing::info!(
                "stopped after {requests} requests: {}",
                load::figures(report)
            );
            let report = written::text(report);
            cx.progress(100.0, Some(format!("stopped\n{report}")));
        }
        return Err(cx.cancelled());
    }
    let Some(report) = &outcome.summary.report else {
        return Err(EventError::failed("no request was sent"));
    };
    let mut result = written::json(report);
    result.insert("annotations".to_owned(), remarks.into_iter().collect());
    result.insert("report".to_owned(), written::text(report).into());
    Ok(Value::Object(result))
}

/// The stanza with the arguments in place of its own values, and how long to attack.
fn configured(config: &VegetaConfig, args: &Value) -> Result<(VegetaConfig, Duration), EventError> {
    let none = Map::new();
    let args = match args {
        Value::Null => &none,
        Value::Object(args) => args,
        _ => return Err(invalid("arguments", "expected an object")),
    };
    let known = |name: &str| ATTACK.arguments.iter().any(|known| known.name == name);
    if let Some(name) = args.keys().find(|name| !known(name)) {
        return Err(invalid(name, format!("{NAME} takes no such argument")));
    }
    let mut config = config.clone();
    if let Some(rate) = argument(args, "rate")? {
        config.rate = rate;
    }
    let (target, targets) = (argument(args, "target")?, argument(args, "targets")?);
    if target.is_some() || targets.is_some() {
        config.target = target;
        config.targets = targets;
    }
    let duration = argument(args, "duration")?
        .or(config.duration)
        .unwrap_or(DEFAULT_DURATION);
    if duration.is_zero() {
        return Err(invalid("duration", "expected more than 0"));
    }
    Ok((config, duration))
}

fn argument<T: DeserializeOwned>(
    args: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, EventError> {
    match args.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => T::deserialize(value)
            .map(Some)
            .map_err(|error| invalid(name, error)),
    }
}

fn invalid(name: &str, problem: impl std::fmt::Display) -> EventError {
    EventError::failed(format!("invalid {name} parameter: {problem}")).with_reason(INVALID_ARGUMENT)
}
