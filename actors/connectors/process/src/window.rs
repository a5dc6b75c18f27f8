//! Records what a process uses over a window of time.

use std::time::Duration;

use jiff::Timestamp;
use servo_messages::{Metric, Reading, TimeSeries, Unit};
use tokio::time::Instant;

use crate::child::{Exit, Pulse};

/// Names of the metrics of one component.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// CPU seconds over the window.
    pub(crate) cpu_seconds: Metric,
    /// CPU cores in use.
    pub(crate) cpu_cores: Metric,
    /// Resident memory.
    pub(crate) rss: Metric,
}

impl Names {
    /// `cpu_cores` where the component is alone, else `<component>_cpu_cores`, so that the names also work
    /// in an optimizer's expressions.
    pub(crate) fn new(component: &str, alone: bool) -> Self {
        let prefix: String = if alone {
            String::new()
        } else {
            let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            component.chars().map(word).chain(['_']).collect()
        };
        let metric = |name: &str, unit| Metric::new(format!("{prefix}{name}"), unit);
        Self {
            cpu_seconds: metric("cpu_seconds", Unit::Float),
            cpu_cores: metric("cpu_cores", Unit::Cores),
            rss: metric("rss", Unit::Bytes),
        }
    }

    pub(crate) fn all(&self) -> [&Metric; 3] {
        [&self.cpu_seconds, &self.cpu_cores, &self.rss]
    }
}

/// The process ended inside of the window.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) exit: Exit,
    pub(crate) last_lines: Vec<String>,
}

/// How often a window is sampled: the system counts CPU time in hundredths of a second, so shorter
/// samples would be coarse.
fn interval(duration: Duration) -> Duration {
    (duration / 10).clamp(Duration::from_millis(250), Duration::from_secs(5))
}

/// Waits for `warmup`, then records for `duration`. Without `/proc` there is nothing to record.
///
/// # Errors
/// The process ended meanwhile.
pub(crate) async fn record(
    pulse: &Pulse,
    names: &Names,
    warmup: Duration,
    duration: Duration,
) -> Result<Vec<Reading>, Ended> {
    tokio::select! {
        biased;
        exit = pulse.ended() => Err(Ended { pid: pulse.pid, exit, last_lines: pulse.last_lines() }),
        readings = sample(pulse, names, warmup, duration) => Ok(readings),
    }
}

async fn sample(
    pulse: &Pulse,
    names: &Names,
    warmup: Duration,
    duration: Duration,
) -> Vec<Reading> {
    tokio::time::sleep(warmup).await;
    let began = Instant::now();
    let mut cores = Vec::new();
    let mut memory = Vec::new();
    let mut total = 0.0;
    let mut before = pulse.usage().await.map(|usage| (began, usage));
    loop {
        let left = duration.saturating_sub(began.elapsed());
        if left.is_zero() {
            break;
        }
        let wait = interval(duration);
        // The last sample takes a short rest with it.
        tokio::time::sleep(if left < wait + wait / 2 { left } else { wait }).await;
        let (now, time) = (Instant::now(), Timestamp::now());
        let usage = pulse.usage().await;
        if let (Some((since, earlier)), Some(usage)) = (before, usage) {
            // A process that its parent never collects takes its counters with it.
            let used = (usage.cpu_seconds - earlier.cpu_seconds).max(0.0);
            let wall = now.duration_since(since).as_secs_f64();
            if wall > 0.0 {
                cores.push((time, used / wall));
            }
            memory.push((time, usage.rss_bytes as f64));
            total += used;
        }
        before = usage.map(|usage| (now, usage));
    }
    let seconds = if cores.is_empty() {
        Vec::new()
    } else {
        vec![(Timestamp::now(), total)]
    };
    [
        (&names.cpu_seconds, seconds),
        (&names.cpu_cores, cores),
        (&names.rss, memory),
    ]
    .into_iter()
    .filter(|(_, points)| !points.is_empty())
    .map(|(metric, points)| Reading::from(TimeSeries::new(metric.clone(), points)))
    .collect()
}
