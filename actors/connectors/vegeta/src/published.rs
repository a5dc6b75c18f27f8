//! The reports of a running load, as subscribers of the channel `loadgen.vegeta` read them (spec/metrics-and-load.md §3.6).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use servo_dispatch::{Channel, HandlerContext, LOADGEN_VEGETA, Message, PublishError};

use crate::{
    metric::LoadMetric,
    report::{Latencies, Report},
};

/// Tells subscribers of the reports of one load. Never waits for them: what one cannot take is dropped.
pub(crate) struct Reports(Option<Channel>);

impl Reports {
    /// Those of the load that `cx` is about.
    pub(crate) fn of(cx: &HandlerContext) -> Self {
        let channel = cx.exchange().channel(LOADGEN_VEGETA);
        Self(
            channel
                .inspect_err(|error| tracing::warn!("reports are not published: {error}"))
                .ok(),
        )
    }

    /// Publishes one.
    pub(crate) fn publish(&self, report: &Report) {
        let Some(channel) = &self.0 else {
            return;
        };
        match Message::json(&Published::from(report)) {
            Ok(message) => match channel.try_publish(message) {
                Ok(()) => {}
                // Each subscriber chose what to miss; the servo may be on its way out.
                Err(error @ (PublishError::Busy(_) | PublishError::Ended)) => {
                    tracing::debug!("a report was not published: {error}");
                }
                Err(error) => tracing::warn!("a report was not published: {error}"),
            },
            Err(error) => tracing::warn!("a report was not published: {error}"),
        }
    }
}

/// A report in the units of subscribers: latencies in milliseconds, other times in seconds, `rate` per second,
/// `throughput` per minute.
#[derive(Debug, Serialize)]
struct Published<'a> {
    latencies: Milliseconds,
    bytes_in: Bytes,
    bytes_out: Bytes,
    earliest: String,
    latest: String,
    end: String,
    duration: f64,
    wait: f64,
    requests: u64,
    rate: f64,
    throughput: f64,
    success: f64,
    error_rate: f64,
    status_codes: &'a BTreeMap<u16, u64>,
    errors: &'a [String],
    missed: u64,
    service: Milliseconds,
    lag: Lag,
}

#[derive(Debug, Serialize)]
struct Milliseconds {
    total: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    max: f64,
    min: f64,
}

#[derive(Debug, Serialize)]
struct Bytes {
    total: u64,
    mean: f64,
}

#[derive(Debug, Serialize)]
struct Lag {
    p99: f64,
    max: f64,
}

impl<'a> From<&'a Report> for Published<'a> {
    fn from(report: &'a Report) -> Self {
        let bytes = |bytes: crate::report::Bytes| Bytes {
            total: bytes.total,
            mean: bytes.mean,
        };
        Self {
            latencies: report.latencies.into(),
            bytes_in: bytes(report.bytes_in),
            bytes_out: bytes(report.bytes_out),
            earliest: iso(report.earliest),
            latest: iso(report.latest),
            end: iso(report.end),
            duration: report.duration.as_secs_f64(),
            wait: report.wait.as_secs_f64(),
            requests: report.requests,
            rate: report.rate,
            throughput: LoadMetric::Throughput.value(report),
            success: report.success,
            error_rate: LoadMetric::ErrorRate.value(report),
            status_codes: &report.status_codes,
            errors: &report.errors,
            missed: report.missed,
            service: report.service.into(),
            lag: Lag {
                p99: milliseconds(report.lag.p99),
                max: milliseconds(report.lag.max),
            },
        }
    }
}

impl From<Latencies> for Milliseconds {
    fn from(latencies: Latencies) -> Self {
        Self {
            total: milliseconds(latencies.total),
            mean: milliseconds(latencies.mean),
            p50: milliseconds(latencies.p50),
            p90: milliseconds(latencies.p90),
            p95: milliseconds(latencies.p95),
            p99: milliseconds(latencies.p99),
            max: milliseconds(latencies.max),
            min: milliseconds(latencies.min),
        }
    }
}

/// By one division, which rounds only once.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// `2026-01-05T10:00:00.645818+00:00`
fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}
