//! What the tests have in common.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::Router;
use servo_connector_prometheus::{
    Measuring, PrometheusClient, PrometheusConfig, RetryPolicy, Window,
};
use servo_messages::{Control, EventError, Measurement};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

/// No condition of these tests takes longer on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn config(yaml: &str) -> PrometheusConfig {
    serde_yaml::from_str(yaml).unwrap()
}

/// Gives up soon, so that a test of a lasting failure ends.
pub fn soon() -> RetryPolicy {
    RetryPolicy {
        base: Duration::from_millis(5),
        cap: Duration::from_millis(20),
        budget: Duration::from_millis(300),
    }
}

pub fn client(base_url: &str, yaml: &str) -> PrometheusClient {
    PrometheusClient::new(&with_base(base_url, yaml))
        .unwrap()
        .with_retry(soon())
}

pub fn measuring(base_url: &str, yaml: &str) -> Measuring {
    let config = with_base(base_url, yaml);
    let client = PrometheusClient::new(&config).unwrap().with_retry(soon());
    Measuring::new(&config, client)
}

fn with_base(base_url: &str, yaml: &str) -> PrometheusConfig {
    let mut config = config(yaml);
    config.base_url = base_url.parse().unwrap();
    config
}

pub fn control(json: &str) -> Control {
    serde_json::from_str(json).unwrap()
}

/// Measures all metrics over a window of ten seconds, without waiting for it to pass.
pub async fn measure(measuring: &Measuring) -> Result<Measurement, EventError> {
    let control = control(r#"{"duration": 10}"#);
    let cancel = CancellationToken::new();
    let measured = measuring.measure(None, &control, &cancel, async |_, _| Ok(()));
    tokio::time::timeout(PATIENCE, measured).await.unwrap()
}

/// Ten seconds at a time long past.
pub fn window() -> Window {
    Window::starting(
        "2020-01-01T00:00:00Z".parse().unwrap(),
        Duration::from_secs(10).into(),
    )
    .unwrap()
}

/// Serves `router` on loopback and says where.
pub async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// The log lines of this thread, from TRACE up, for as long as the guard lives.
pub fn logged() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines with this text.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.text()
            .lines()
            .filter(|line| line.contains(text))
            .map(ToOwned::to_owned)
            .collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
