//! Publishes present values at an interval (`spec/metrics-and-load.md` §1.9).

use futures_util::stream::{self, StreamExt as _};
use servo_dispatch::{Every, HandlerContext, METRICS_PROMETHEUS, MetricSample, Routes};
use servo_messages::{Duration, EventError};

use crate::{
    absent,
    config::MetricConfig,
    connector::Prometheus,
    measuring::Measuring,
    query::Query,
    response::{QueryData, Sample},
};

/// The task.
const STREAMING: &str = "streaming";

/// From startup to shutdown, publishes every `interval`. What comes due while Prometheus is still being asked is
/// skipped.
pub(crate) fn stream(routes: &mut Routes<Prometheus>, interval: Duration) {
    let every = Every::new(interval.as_std()).fixed_rate();
    routes.every(STREAMING, every, |connector, cx| async move {
        publish(connector.measuring(), &cx).await
    });
}

async fn publish(measuring: &Measuring, cx: &HandlerContext) -> Result<(), EventError> {
    let told = |error: &dyn std::fmt::Display| EventError::failed(error.to_string());
    let channel = cx
        .exchange()
        .topic(METRICS_PROMETHEUS)
        .map_err(|error| told(&error))?;
    let samples: Vec<Option<MetricSample>> = stream::iter(measuring.configured())
        .map(|metric| present(measuring, metric))
        .buffered(measuring.max_concurrency())
        .collect()
        .await;
    let samples: Vec<MetricSample> = samples.into_iter().flatten().collect();
    channel.publish(samples).await.map_err(|error| told(&error))
}

/// The value of the first series at present, if there is one that is a number.
async fn present(measuring: &Measuring, metric: &MetricConfig) -> Option<MetricSample> {
    let query = absent::effective_query(metric);
    let question = Query::Instant {
        query: &query,
        time: None,
    };
    let name = &metric.name;
    let answer = match measuring.client().ask_once(&question).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(metric = %name, "failed querying Prometheus for metrics: {name}: {error}");
            return None;
        }
    };
    let Sample { time, value } = match answer.data {
        QueryData::Vector(elements) | QueryData::Matrix(elements) => {
            let first = elements.into_iter().next()?;
            first.samples.into_iter().next_back()?
        }
        QueryData::Scalar(sample) => sample,
        QueryData::String(_) => {
            tracing::warn!(
                metric = %name,
                "failed querying Prometheus for metrics: {name}: the query returned a string, expected numbers"
            );
            return None;
        }
    };
    // JSON has no NaN and no infinities.
    value.is_finite().then(|| MetricSample {
        metric: name.clone(),
        time,
        value,
    })
}
