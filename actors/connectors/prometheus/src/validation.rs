//! What the types of the configuration cannot say (`spec/metrics-and-load.md` §1.1).

use std::collections::BTreeSet;

use reqwest::header::{HeaderName, HeaderValue};
use servo_dispatch::ConfigProblem;
use servo_messages::Duration;

use crate::{access::Access, config::PrometheusConfig};

/// Everything that is wrong, with the key of each.
pub(crate) fn problems(config: &PrometheusConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    metrics(config, &mut problems);
    durations(config, &mut problems);
    headers(config, &mut problems);
    if let Err(problem) = Access::of(config) {
        problems.push(problem);
    }
    if config.tls.cert_file.is_some() != config.tls.key_file.is_some() {
        problems.push(ConfigProblem::error(
            "tls",
            "cert_file and key_file belong together: give both or none",
        ));
    }
    for (index, target) in config.targets.iter().flatten().enumerate() {
        if target.scrape_url.is_none() && target.scrape_pool.is_none() && target.labels.is_none() {
            problems.push(ConfigProblem::error(
                format!("targets[{index}]"),
                "at least one of scrapeUrl, scrapePool and labels is needed to recognise a target",
            ));
        }
    }
    files(config, &mut problems);
    problems
}

/// Files are read anew when they are needed, so that one which is missing now may be there by then.
fn files(config: &PrometheusConfig, problems: &mut Vec<ConfigProblem>) {
    let password_file = config.basic_auth.as_ref().map(|basic| &basic.password_file);
    let named = [
        ("bearer_token_file", config.bearer_token_file.as_ref()),
        (
            "basic_auth.password_file",
            password_file.and_then(Option::as_ref),
        ),
        ("tls.ca_file", config.tls.ca_file.as_ref()),
        ("tls.cert_file", config.tls.cert_file.as_ref()),
        ("tls.key_file", config.tls.key_file.as_ref()),
    ];
    for (key, path) in named {
        if let Some(path) = path
            && let Err(error) = std::fs::metadata(path)
        {
            problems.push(ConfigProblem::warning(
                key,
                format!("cannot read '{}' now: {error}", path.display()),
            ));
        }
    }
}

fn metrics(config: &PrometheusConfig, problems: &mut Vec<ConfigProblem>) {
    let mut names = BTreeSet::new();
    for (index, metric) in config.metrics.iter().enumerate() {
        let mut wrong = |key: &str, message: String| {
            problems.push(ConfigProblem::error(
                format!("metrics[{index}].{key}"),
                message,
            ));
        };
        if metric.name.trim().is_empty() {
            wrong("name", "a metric needs a name".into());
        } else if !names.insert(&metric.name) {
            wrong(
                "name",
                format!(
                    "there is another metric of the name '{}': names must be unique",
                    metric.name
                ),
            );
        }
        if metric.query.trim().is_empty() {
            wrong(
                "query",
                format!(
                    "the query of metric '{}' is blank: expected PromQL",
                    metric.name
                ),
            );
        }
        if metric.step.is_zero() {
            wrong(
                "step",
                format!("the step of metric '{}' is 0: expected more", metric.name),
            );
        }
        if metric.eager.is_some() {
            problems.push(ConfigProblem::warning(
                format!("metrics[{index}].eager"),
                "eager metrics are not supported: the measurement takes its full time",
            ));
        }
    }
}

fn durations(config: &PrometheusConfig, problems: &mut Vec<ConfigProblem>) {
    let given: [(&str, Option<Duration>); 3] = [
        ("streaming_interval", config.streaming_interval),
        ("timeout", Some(config.timeout)),
        ("query_timeout", config.query_timeout),
    ];
    for (key, duration) in given {
        if duration.is_some_and(Duration::is_zero) {
            problems.push(ConfigProblem::error(key, "expected more than 0"));
        }
    }
    for (key, message) in config.fast_fail.problems() {
        problems.push(ConfigProblem::error(format!("fast_fail.{key}"), message));
    }
}

fn headers(config: &PrometheusConfig, problems: &mut Vec<ConfigProblem>) {
    for (name, value) in &config.headers {
        let path = format!("headers.{name}");
        if name.parse::<HeaderName>().is_err() {
            problems.push(ConfigProblem::error(&path, "not a name of an HTTP header"));
        }
        if HeaderValue::from_str(value.expose()).is_err() {
            problems.push(ConfigProblem::error(
                &path,
                "the value has characters that an HTTP header cannot have",
            ));
        }
    }
}
