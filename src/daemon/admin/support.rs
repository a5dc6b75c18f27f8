//! `/-/support`: an archive for those who are asked for help, with everything that they ask for first,
//! and nothing secret.

use std::io;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use servo_dispatch::Registry;

use super::{
    App, api, metrics::Format, overview::Overview, problem::Problem, scrape, turn, view::ServoView,
};
use crate::config::{ServoConfig, Shapes, Show, effective};

/// Bytes of one file in the archive; what is longer ends there, and says so.
const LONGEST: usize = 16 * 1024 * 1024;

/// Servos whose configurations are in it, of as many as there are.
const CONFIGURATIONS: usize = 1000;

const README: &str = "\
What this is: the state of a running servo, for those who are asked for help.
Secrets are left out: tokens, passwords and keys are masked where they would stand.
Names of servos, hosts and files are not: look through it before you give it away.

version.json   what runs, since when
status.json    servos by state, reloads, threads, memory
servos.json    every servo
tree.txt       the supervision tree
log.txt        the last records of the log, at the level that is configured
trouble.txt    the last warnings and errors
metrics.txt    as /metrics
config.yaml    the configuration of the servos as it counts
";

pub(super) async fn support(State(app): State<App>) -> Result<Response, Problem> {
    let metrics = scrape::text(&app, Format::Plain).await?;
    let overview = app.overviews.get().await;
    let _one_of_few = turn(&app.turns.trees, "the support archive").await?;
    let now = Timestamp::now();
    let this = app.clone();
    let made = move || archive(&this, &overview, &metrics, now);
    let bytes = app
        .blocking(made)
        .await?
        .map_err(|error| Problem::internal(format!("the archive could not be made: {error}")))?;
    let name = format!("attachment; filename=\"{}.tar.gz\"", folder(now));
    let name = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/gzip");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, bytes).into_response())
}

fn folder(now: Timestamp) -> String {
    format!("servo-support-{}", now.strftime("%Y%m%dT%H%M%SZ"))
}

fn archive(app: &App, overview: &Overview, metrics: &str, now: Timestamp) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    let folder = folder(now);
    let mut add = |name: &str, text: String| -> io::Result<()> {
        let text = bounded(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now.as_second()).unwrap_or(0));
        tar.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())
    };
    let lines = |records: Vec<std::sync::Arc<crate::daemon::logging::RecentRecord>>| {
        records
            .iter()
            .map(|record| format!("{record}\n"))
            .collect::<String>()
    };
    add("README.txt", README.to_owned())?;
    add("version.json", pretty(&version(app))?)?;
    add("status.json", pretty(&api::status_of(app, overview))?)?;
    let servos = app.fleet.assembly().servos();
    let servos: Vec<_> = servos.iter().map(|s| ServoView::of(s, overview)).collect();
    add("servos.json", pretty(&servos)?)?;
    drop(servos);
    add("tree.txt", format!("{}\n", app.fleet.tree()))?;
    add("log.txt", lines(app.log.all()))?;
    add("trouble.txt", lines(app.log.trouble()))?;
    add("metrics.txt", metrics.to_owned())?;
    let configurations = app.fleet.configurations();
    let configurations = configurations.iter().map(|config| &**config);
    add("config.yaml", documents(configurations, &app.registry)?)?;
    tar.into_inner()?.finish()
}

fn version(app: &App) -> serde_json::Value {
    serde_json::json!({
        "version": super::VERSION,
        "revision": super::REVISION,
        "built": option_env!("SERVO_BUILT"),
        "target": option_env!("SERVO_TARGET"),
        "started_at": app.started_at,
        "uptime_seconds": app.started.elapsed().as_secs_f64(),
        "connectors": app.registry.types().iter().map(|kind| {
            let metadata = kind.metadata();
            serde_json::json!({"name": metadata.default_name, "version": metadata.version})
        }).collect::<Vec<_>>(),
    })
}

fn pretty(value: &impl serde::Serialize) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// The configurations as they count, without secrets.
fn documents<'a>(
    configurations: impl ExactSizeIterator<Item = &'a ServoConfig>,
    registry: &Registry,
) -> io::Result<String> {
    let shapes = Shapes::default();
    let all = configurations.len();
    let mut text = String::new();
    for config in configurations.take(CONFIGURATIONS) {
        let show = Show {
            defaults: true,
            secrets: false,
        };
        let document = effective(config, registry, &shapes, show).document;
        text.push_str(&format!(
            "--- # {}\n",
            crate::daemon::logging::one_line(&config.name)
        ));
        text.push_str(&serde_yaml::to_string(&document).map_err(io::Error::other)?);
        if text.len() > LONGEST {
            break;
        }
    }
    if all > CONFIGURATIONS {
        text.push_str(&format!("--- # and {} servos more\n", all - CONFIGURATIONS));
    }
    Ok(text)
}

fn bounded(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str("\n... and more that is left out\n");
    }
    text
}
