//! What an operator wants to know before the first measurement (`spec/metrics-and-load.md` §1.10).

use std::{fmt, time::Duration};

use jiff::Timestamp;
use servo_dispatch::{CheckEvent, CheckFailure, Checks};
use tokio::sync::OnceCell;

use crate::{
    absent,
    client::{PrometheusClient, shortened},
    config::MetricConfig,
    failure::QueryError,
    query::Query,
    response::QueryData,
    scraped::ActiveTarget,
    targets::{TargetConfig, TargetHealth},
    window::Window,
};

/// How far back each query is tried.
const LOOK_BACK: Duration = Duration::from_secs(600);
/// The request has its own limit, which says more when it is reached than that of a check.
const MARGIN: Duration = Duration::from_secs(1);
/// Targets that a message names, and how many characters of what each says.
const MOST_NAMED: usize = 3;
const LONGEST_REMARK: usize = 200;

/// What is checked, and what one check leaves for the next.
pub(crate) struct Subject<'a> {
    pub(crate) client: &'a PrometheusClient,
    pub(crate) metrics: &'a [MetricConfig],
    pub(crate) expected: &'a [TargetConfig],
    /// What Prometheus scrapes: asked once in a run of checks.
    pub(crate) scraped: OnceCell<Vec<ActiveTarget>>,
}

impl Subject<'_> {
    /// The checks in their order.
    pub(crate) fn checks(&self, event: &CheckEvent) -> Checks<'_> {
        let limit = event
            .timeout
            .min(self.client.timeout().saturating_add(MARGIN));
        let mut checks = Checks::new();
        checks
            .require(
                format!("Connect to \"{}\"", self.client.base_url()),
                async || self.scraped().await.map(|_| ()),
            )
            .id("check_base_url")
            .describe("Prometheus tells what it scrapes")
            .within(limit);
        checks
            .check("Active targets", async || active(self.scraped().await?))
            .id("check_targets")
            .describe("Prometheus scrapes anything at all")
            .within(limit);
        checks
            .for_each(
                "Run queries",
                self.metrics,
                |metric| format!("Run query \"{}\"", metric.query),
                async |metric| self.tried(metric).await,
            )
            .id("check_queries")
            .describe("Prometheus can evaluate the query of each metric over the last 10 minutes")
            .within(limit);
        checks
            .for_each(
                "Expected targets",
                self.expected,
                |expected| format!("Target {expected} is scraped"),
                async |expected| found(expected, self.scraped().await?),
            )
            .id("check_expected_targets")
            .describe("Prometheus scrapes the targets that the configuration names")
            .within(limit);
        checks
    }

    async fn scraped(&self) -> Result<&[ActiveTarget], CheckFailure> {
        let scraped = self.scraped.get_or_try_init(|| self.client.targets());
        scraped.await.map(Vec::as_slice).map_err(|error| {
            let hint = connection_hint(&error);
            CheckFailure::from(error).hint(hint)
        })
    }

    /// Runs the query of `metric` as a measurement would.
    async fn tried(&self, metric: &MetricConfig) -> Result<String, CheckFailure> {
        let length = metric
            .step
            .as_std()
            .saturating_mul(Window::MOST_STEPS)
            .min(LOOK_BACK);
        let start = Timestamp::now().checked_sub(length)?;
        let query = absent::effective_query(metric);
        let answer = self
            .client
            .ask_once(&Query::Range {
                query: &query,
                window: Window::starting(start, length.into())?,
                step: metric.step,
            })
            .await
            .map_err(|error| {
                let hint = query_hint(metric, &error);
                CheckFailure::from(error).hint(hint)
            })?;
        let results = match answer.data {
            QueryData::Matrix(series) | QueryData::Vector(series) => series.len(),
            QueryData::Scalar(_) => 1,
            QueryData::String(_) => {
                return Err(CheckFailure::new("returned a text: expected numbers")
                    .hint(format!("correct the query of metric '{}'", metric.name)));
            }
        };
        Ok(format!("returned {results} results"))
    }
}

fn active(targets: &[ActiveTarget]) -> Result<String, CheckFailure> {
    if targets.is_empty() {
        return Err(
            CheckFailure::new("no targets are being scraped by Prometheus").hint(
                "look at scrape_configs of Prometheus and at its page /targets: without targets it has nothing to tell",
            ),
        );
    }
    let down = named(targets.iter().filter(|t| t.health == TargetHealth::Down));
    Ok(match down {
        None => format!("found {} targets", targets.len()),
        Some((count, down)) => format!("found {} targets ({count} down: {down})", targets.len()),
    })
}

fn found(expected: &TargetConfig, targets: &[ActiveTarget]) -> Result<String, CheckFailure> {
    let matching = || targets.iter().filter(|target| expected.matches(target));
    let wanted = expected.health.unwrap_or(TargetHealth::Up);
    let (all, as_wanted) = (
        matching().count(),
        matching().filter(|t| t.health == wanted).count(),
    );
    let others = named(matching().filter(|target| target.health != wanted));
    match (all, as_wanted, others) {
        (0, ..) => Err(CheckFailure::new(format!(
            "Prometheus scrapes {} targets, but none is {expected}",
            targets.len()
        ))
        .hint("compare `targets` with the page /targets of Prometheus; all values given for a target must be equal")),
        (_, 0, Some((_, others))) => Err(CheckFailure::new(format!(
            "found, but not {}: {others}",
            wanted.word()
        ))
        .hint("make sure that the target runs and that Prometheus can reach it")),
        (1, ..) => Ok(format!("it is {}", wanted.word())),
        (all, as_wanted, None) => Ok(format!("{as_wanted} of {all} are {}", wanted.word())),
        (all, as_wanted, Some((_, others))) => Ok(format!(
            "{as_wanted} of {all} are {} (but {others})",
            wanted.word()
        )),
    }
}

/// How many they are, and the first of them with what is wrong; none if there is none.
fn named<'t>(targets: impl Iterator<Item = &'t ActiveTarget>) -> Option<(usize, String)> {
    let mut texts = Vec::new();
    let mut count = 0;
    for target in targets {
        count += 1;
        if texts.len() < MOST_NAMED {
            let url = &target.scrape_url;
            let text = match (&target.last_error, target.health) {
                (Some(error), _) => format!("{url}: {error}"),
                (None, TargetHealth::Unknown) => format!("{url}: not scraped yet"),
                (None, TargetHealth::Up | TargetHealth::Down) => url.clone(),
            };
            texts.push(shortened(&text, LONGEST_REMARK));
        }
    }
    if count > texts.len() {
        texts.push(format!("{} more", count - texts.len()));
    }
    (count > 0).then(|| (count, texts.join("; ")))
}

// === hints ===

fn connection_hint(error: &QueryError) -> &'static str {
    match error {
        QueryError::Client { .. } => "correct the certificates under `tls`",
        QueryError::Access { .. } => {
            "make sure that the file with the token or password is there and can be read"
        }
        QueryError::NotJson {
            status: 401 | 403, ..
        }
        | QueryError::Refused {
            status: 401 | 403, ..
        } => {
            "give the credentials that Prometheus wants, as `bearer_token`, `basic_auth` or `headers`"
        }
        QueryError::Unreachable { .. } | QueryError::TimedOut { .. } => {
            "make sure that Prometheus runs and that `base_url` is its address as seen from here"
        }
        _ => "`base_url` must be the root of Prometheus itself, with its path prefix if it has one",
    }
}

fn query_hint(metric: &MetricConfig, error: &QueryError) -> String {
    let name = &metric.name;
    match error {
        QueryError::Refused { .. } => format!(
            "correct the query of metric '{name}'; Prometheus' own page /graph tells whether it works{}",
            absent::explanation(metric, error)
        ),
        QueryError::TimedOut { .. } => format!(
            "make the query of metric '{name}' cheaper or its step longer, or raise `timeout`"
        ),
        QueryError::TooLong { .. } => {
            format!("make the query of metric '{name}' return fewer series, or its step longer")
        }
        _ => connection_hint(error).to_owned(),
    }
}

// === impl TargetConfig ===

impl TargetConfig {
    /// Whether `target` has all the values given here, except its health.
    fn matches(&self, target: &ActiveTarget) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        same(self.scrape_url.as_ref(), Some(&target.scrape_url))
            && same(self.scrape_pool.as_ref(), target.scrape_pool.as_ref())
            && same(self.global_url.as_ref(), target.global_url.as_ref())
            && same(self.last_scrape.as_ref(), target.last_scrape.as_ref())
            && same(
                self.last_scrape_duration.as_ref(),
                target.last_scrape_duration.as_ref(),
            )
            && same(self.last_error.as_ref(), target.last_error.as_ref())
            && contains(self.labels.as_ref(), &target.labels)
            && contains(self.discovered_labels.as_ref(), &target.discovered_labels)
    }
}

type Labels = std::collections::BTreeMap<String, String>;

fn contains(wanted: Option<&Labels>, found: &Labels) -> bool {
    wanted
        .into_iter()
        .flatten()
        .all(|(name, value)| found.get(name) == Some(value))
}

/// By what it is recognised: `http://a/metrics of pool envoy with {job="a"}`.
impl fmt::Display for TargetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.scrape_url.clone());
        parts.extend(
            self.scrape_pool
                .as_ref()
                .map(|pool| format!("of pool {pool}")),
        );
        parts.extend(self.labels.as_ref().map(|labels| {
            let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
            format!("with {{{}}}", pairs.join(", "))
        }));
        f.write_str(&parts.join(" "))
    }
}

// === impl TargetHealth ===

impl TargetHealth {
    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}
