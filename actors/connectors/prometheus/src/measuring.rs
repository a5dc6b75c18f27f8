//! A whole measurement (`spec/metrics-and-load.md` §1.7).

use std::{
    collections::BTreeSet,
    future::Future,
    num::NonZeroUsize,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use servo_messages::{
    Control, DataPoint, Duration, EventError, FastFailConfig, Measurement, Metric, Reading,
    english_series,
};
use tokio_util::sync::CancellationToken;

use crate::{
    absent,
    client::{PrometheusClient, shortened},
    config::{AbsentPolicy, MetricConfig, PrometheusConfig},
    failure::QueryError,
    query::Query,
    response::{Answer, Element, QueryData},
    watch::Watch,
    window::Window,
};

/// Remarks of the server about one metric that are logged, and how many characters of each.
const MOST_REMARKS: usize = 20;
const LONGEST_REMARK: usize = 500;

/// What is measured, and with which client.
#[derive(Debug)]
pub struct Measuring {
    metrics: Vec<MetricConfig>,
    client: PrometheusClient,
    max_concurrency: NonZeroUsize,
    fast_fail: FastFailConfig,
}

/// Why one metric could not be measured.
#[derive(Debug, thiserror::Error)]
enum MetricError {
    #[error("{error} (metric '{}', query `{query}`){}", metric.name, absent::explanation(metric, error))]
    Query {
        error: QueryError,
        metric: MetricConfig,
        query: String,
    },
    #[error("query for metric '{metric}' returned a string: expected numbers")]
    Text { metric: String },
    #[error("cannot tell whether metric '{metric}' is absent: {problem} (query `{query}`)")]
    Probe {
        metric: String,
        problem: String,
        query: String,
    },
    #[error("Required metric '{metric}' is absent from Prometheus (query `{query}`)")]
    Absent { metric: String, query: String },
}

impl Measuring {
    /// What each metric is measured by.
    pub(crate) fn configured(&self) -> &[MetricConfig] {
        &self.metrics
    }

    /// Whom it asks.
    pub(crate) fn client(&self) -> &PrometheusClient {
        &self.client
    }

    /// Measures the metrics of a configuration by `client`.
    pub fn new(config: &PrometheusConfig, client: PrometheusClient) -> Self {
        Self {
            metrics: config.metrics.clone(),
            client,
            max_concurrency: config.max_concurrency,
            fast_fail: config.fast_fail.clone(),
        }
    }

    /// Most queries that are under way at once.
    pub(crate) fn max_concurrency(&self) -> usize {
        self.max_concurrency.get()
    }

    /// What can be measured.
    pub fn metrics(&self) -> Vec<Metric> {
        self.metrics.iter().map(MetricConfig::metric).collect()
    }

    /// The configured metrics that are wanted, in configured order; all if none is named. Other
    /// connectors' metrics among the names are not ours to judge.
    fn select(&self, wanted: Option<&[String]>) -> Vec<&MetricConfig> {
        let wanted = wanted.filter(|names| !names.is_empty());
        self.metrics
            .iter()
            .filter(|metric| wanted.is_none_or(|names| names.contains(&metric.name)))
            .collect()
    }

    /// Measures the `wanted` metrics, all if none is named. `wait` lets the given time pass and reports
    /// progress with the given text; its error ends the measurement. `cancel` ends the wait for answers
    /// and aborts the requests. Meanwhile the service levels of `control` are watched.
    ///
    /// # Errors
    /// Measurement failed, with every metric that failed and why; cancelled; aborted with the reason `slo-violation`.
    pub async fn measure<W, F>(
        &self,
        wanted: Option<&[String]>,
        control: &Control,
        cancel: &CancellationToken,
        wait: W,
    ) -> Result<Measurement, EventError>
    where
        W: FnOnce(Duration, String) -> F,
        F: Future<Output = Result<(), EventError>>,
    {
        let selected = self.select(wanted);
        if selected.is_empty() {
            return Ok(Measurement::default());
        }
        let window = Window::of(Timestamp::now(), control)
            .map_err(|error| EventError::measurement_failed(error.to_string()))?;
        let refused: Vec<String> = selected
            .iter()
            .filter_map(|metric| window.admits(metric).err())
            .map(|error| error.to_string())
            .collect();
        if !refused.is_empty() {
            return Err(EventError::measurement_failed(refused.join("; ")));
        }
        for metric in &selected {
            if !window.length().is_zero() && window.length() < metric.step {
                tracing::warn!(
                    metric = %metric.name,
                    "the step {} is longer than the window {}: only its first moment is measured",
                    metric.step, window.length()
                );
            }
        }
        tracing::info!(
            "Measuring {} metrics for {}: {}",
            selected.len(),
            control.warmup.saturating_add(control.duration),
            english_series(selected.iter().map(|metric| &metric.name))
        );
        let total = control.total();
        let watch = Watch::begin(self, &self.fast_fail, control)?;
        if !total.is_zero() {
            let wait = wait(total, format!("measuring Prometheus metrics for {total}"));
            match watch {
                None => wait.await?,
                Some(watch) => tokio::select! {
                    biased;
                    waited = wait => waited?,
                    violation = watch.violated() => return Err(violation),
                },
            }
        }
        tracing::info!("Querying Prometheus for {} metrics...", selected.len());
        let readings = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return Err(EventError::cancelled("the queries to Prometheus were cancelled"));
            }
            readings = self.query(&selected, window) => readings?,
        };
        Ok(Measurement::new(readings))
    }

    /// What is known of `metrics` over `window` at the first try. What fails is logged and left out.
    pub(crate) async fn read_once(
        &self,
        metrics: &[&MetricConfig],
        window: Window,
    ) -> Vec<Reading> {
        // Nobody tries again what is asked again a period later.
        let once = AtomicBool::new(true);
        let answers: Vec<Result<Vec<Reading>, String>> = stream::iter(metrics)
            .map(async |metric| {
                window.admits(metric).map_err(|error| error.to_string())?;
                let answer = self.query_metric(metric, window, &once).await;
                answer.map_err(|error| error.to_string())
            })
            .buffered(self.max_concurrency.get())
            .collect()
            .await;
        let mut readings = Vec::new();
        for answer in answers {
            match answer {
                Ok(found) => readings.extend(found),
                Err(error) => tracing::warn!("fast fail counts a metric as missing: {error}"),
            }
        }
        readings
    }

    async fn query(
        &self,
        selected: &[&MetricConfig],
        window: Window,
    ) -> Result<Vec<Reading>, EventError> {
        let out_of_reach = AtomicBool::new(false);
        let answers: Vec<Result<Vec<Reading>, MetricError>> = stream::iter(selected)
            .map(|metric| self.query_metric(metric, window, &out_of_reach))
            .buffered(self.max_concurrency.get())
            .collect()
            .await;
        let mut readings = Vec::new();
        let mut failures = Vec::new();
        for answer in answers {
            match answer {
                Ok(found) => readings.extend(found),
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty() {
            Ok(readings)
        } else {
            Err(EventError::measurement_failed(failures.join("; ")))
        }
    }

    async fn query_metric(
        &self,
        metric: &MetricConfig,
        window: Window,
        out_of_reach: &AtomicBool,
    ) -> Result<Vec<Reading>, MetricError> {
        let query = absent::effective_query(metric);
        let question = Query::Range {
            query: &query,
            window,
            step: metric.step,
        };
        let answer = self.ask(metric, &question, &query, out_of_reach).await?;
        match answer.data {
            QueryData::String(_) => Err(MetricError::Text {
                metric: metric.name.clone(),
            }),
            QueryData::Scalar(sample) => {
                let point = DataPoint::new(metric.metric(), sample.time, sample.value);
                Ok(point
                    .inspect_err(|error| tracing::warn!(metric = %metric.name, "{error}; left out"))
                    .map(Reading::Point)
                    .into_iter()
                    .collect())
            }
            QueryData::Vector(elements) | QueryData::Matrix(elements) if elements.is_empty() => {
                if absent::wants_probe(metric.absent) {
                    self.probe(metric, window, out_of_reach).await?;
                }
                Ok(Vec::new())
            }
            QueryData::Vector(elements) | QueryData::Matrix(elements) => {
                Ok(readings(metric, elements))
            }
        }
    }

    /// Nothing was found: is the metric unknown to Prometheus?
    async fn probe(
        &self,
        metric: &MetricConfig,
        window: Window,
        out_of_reach: &AtomicBool,
    ) -> Result<(), MetricError> {
        let query = absent::probe_query(metric);
        let question = Query::Instant {
            query: &query,
            time: Some(window.end()),
        };
        let answer = self.ask(metric, &question, &query, out_of_reach).await?;
        match absent::is_absent(&answer.data) {
            Err(problem) => Err(MetricError::Probe {
                metric: metric.name.clone(),
                problem,
                query,
            }),
            Ok(false) => {
                tracing::info!(
                    metric = %metric.name,
                    "the metric is present but its query returned an empty result set"
                );
                Ok(())
            }
            Ok(true) if metric.absent == AbsentPolicy::Fail => Err(MetricError::Absent {
                metric: metric.name.clone(),
                query: metric.query.clone(),
            }),
            Ok(true) => {
                tracing::warn!(
                    metric = %metric.name,
                    "Found absent metric for query (`{}`)", metric.query
                );
                Ok(())
            }
        }
    }

    /// Once one query has not reached Prometheus for as long as it was tried, the others of the measurement are tried only once:
    /// many metrics must not take many times as long to fail.
    async fn ask(
        &self,
        metric: &MetricConfig,
        question: &Query<'_>,
        query: &str,
        out_of_reach: &AtomicBool,
    ) -> Result<Answer, MetricError> {
        let answered = if out_of_reach.load(Ordering::Relaxed) {
            self.client.ask_once(question).await
        } else {
            self.client.ask(question).await
        };
        let mut answer = answered.map_err(|error| {
            if error.is_out_of_reach() {
                out_of_reach.store(true, Ordering::Relaxed);
            }
            MetricError::Query {
                error,
                metric: metric.clone(),
                query: query.to_owned(),
            }
        })?;
        for text in distinct(std::mem::take(&mut answer.warnings)) {
            tracing::warn!(metric = %metric.name, "Prometheus warns: {text}");
        }
        for text in distinct(std::mem::take(&mut answer.infos)) {
            tracing::info!(metric = %metric.name, "Prometheus remarks: {text}");
        }
        Ok(answer)
    }
}

/// One series for each element that has numbers. The zeros that fill the gaps of a labelled result come
/// last, so that they hide nothing.
fn readings(metric: &MetricConfig, mut elements: Vec<Element>) -> Vec<Reading> {
    if elements.iter().any(|element| element.has_histograms) {
        tracing::warn!(
            metric = %metric.name,
            "skipped the native histograms of the result: use histogram_quantile() to get numbers"
        );
    }
    if metric.absent == AbsentPolicy::Zero {
        elements.sort_by_key(|element| element.labels.is_empty());
    }
    elements
        .into_iter()
        .filter(|element| !element.samples.is_empty())
        .map(|element| element.into_series(metric.metric()).into())
        .collect()
}

fn distinct(texts: Vec<String>) -> impl Iterator<Item = String> {
    let mut seen = BTreeSet::new();
    texts
        .into_iter()
        .map(|text| shortened(&text, LONGEST_REMARK))
        .filter(move |text| seen.insert(text.clone()))
        .take(MOST_REMARKS)
}
