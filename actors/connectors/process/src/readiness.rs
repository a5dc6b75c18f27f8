//! Waits until a process is ready, and makes sure beforehand that the answer will be its own.

use std::time::Duration;

use reqwest::header::{CONNECTION, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::child::{Child, Exit};
use crate::component::{Probe, Ready};
use crate::config::HttpReady;

/// The longest single try.
const TRY_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection to an address may take before it counts as free.
const ADDRESS_LIMIT: Duration = Duration::from_secs(1);
/// How often an occupied address is looked at again.
const ADDRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Why a process is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// It has ended.
    Died(Exit),
    /// It lives, but the deadline has passed.
    TimedOut {
        after: Duration,
        /// What the last try saw.
        last: String,
    },
    /// The token fired.
    Cancelled,
}

/// An address that somebody else answers on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} is already answered by a process that Servo did not start: stop it, or give component \
     `{component}` another port, else the wrong process would be tuned"
)]
pub struct AddressTaken {
    /// The component that needs the address.
    pub component: String,
    /// `host:port`.
    pub address: String,
}

/// The client for HTTP probes: direct (the process is local), following no redirect to somebody else.
///
/// No connection outlives its probe: kept alive, it would occupy a worker of a server that has one for
/// each connection, all through the measurement.
///
/// # Errors
/// When the system's certificates cannot be loaded.
pub fn client() -> Result<Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race to another caller is fine: then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .default_headers(
            [(CONNECTION, HeaderValue::from_static("close"))]
                .into_iter()
                .collect(),
        )
        .timeout(TRY_LIMIT)
        .build()
}

/// The address that is asked, `host:port`; none where readiness is seen in the output.
pub(crate) fn address(ready: &Ready) -> Option<String> {
    match &ready.probe {
        Probe::Http(http) => {
            let host = http.url.host_str().unwrap_or_default();
            let port = http.url.port_or_known_default().unwrap_or(80);
            Some(format!("{host}:{port}"))
        }
        Probe::Tcp(address) => Some(address.clone()),
        Probe::Log(_) => None,
    }
}

/// Whether somebody accepts connections there.
pub(crate) async fn is_answered(address: &str) -> bool {
    let answered = timeout(ADDRESS_LIMIT, TcpStream::connect(address)).await;
    matches!(answered, Ok(Ok(_)))
}

/// Waits until nobody answers on the address of `ready`, at most for `patience`: the previous process
/// may still be on its way out after a restart of Servo.
///
/// # Errors
/// Somebody still answers.
pub(crate) async fn address_is_free(
    component: &str,
    ready: &Ready,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<(), AddressTaken> {
    let Some(address) = address(ready) else {
        return Ok(());
    };
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        if !is_answered(&address).await {
            return Ok(());
        }
        if cancel.is_cancelled() {
            // The caller looks at the token next; a cancelled wait has found nothing out.
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(AddressTaken {
                component: component.to_owned(),
                address,
            });
        }
        if !told {
            told = true;
            tracing::warn!(component, %address, "already answered by another process: waiting up to {patience:?} for it to end");
        }
        tokio::select! {
            () = tokio::time::sleep(ADDRESS_INTERVAL) => {}
            () = cancel.cancelled() => {}
        }
    }
}

/// Waits until `child` is ready, or has ended, or the time is up.
pub(crate) async fn wait(
    child: &Child,
    ready: &Ready,
    client: &Client,
    cancel: &CancellationToken,
) -> Result<(), NotReady> {
    let deadline = Instant::now() + ready.timeout;
    let mut last = String::new();
    let pulse = child.pulse();
    tokio::select! {
        // A dead child's port may be answered by somebody else: its death counts first.
        biased;
        exit = pulse.ended() => Err(NotReady::Died(exit)),
        () = cancel.cancelled() => Err(NotReady::Cancelled),
        () = tokio::time::sleep_until(deadline) => Err(NotReady::TimedOut { after: ready.timeout, last: String::new() }),
        () = poll(child, ready, client, deadline, &mut last) => Ok(()),
    }
    .map_err(|error| match error {
        NotReady::TimedOut { after, .. } => NotReady::TimedOut { after, last },
        other => other,
    })
}

/// Returns when the probe has succeeded.
async fn poll(child: &Child, ready: &Ready, client: &Client, deadline: Instant, last: &mut String) {
    loop {
        let tried = match &ready.probe {
            Probe::Http(http) => {
                let outcome = timeout_at(deadline, ask(client, http)).await;
                outcome.unwrap_or_else(|_| Err(format!("no answer from {}", http.url)))
            }
            Probe::Tcp(address) => {
                match timeout_at(deadline, timeout(TRY_LIMIT, TcpStream::connect(address))).await {
                    Ok(Ok(Ok(_))) => Ok(()),
                    Ok(Ok(Err(error))) => Err(format!("{address}: {error}")),
                    _ => Err(format!("{address}: no answer")),
                }
            }
            Probe::Log(matcher) => {
                *last = format!("no line of output holds `{matcher}`");
                child.awaited_line().await;
                Ok(())
            }
        };
        match tried {
            Ok(()) => return,
            Err(why) => *last = why,
        }
        tokio::time::sleep(ready.interval).await;
    }
}

async fn ask(client: &Client, http: &HttpReady) -> Result<(), String> {
    let answer = client.get(http.url.clone()).send().await;
    let status = answer.map_err(|error| with_causes(&error))?.status();
    let right = match http.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success(),
    };
    if right {
        return Ok(());
    }
    let wanted = http
        .status
        .map_or("2xx".to_owned(), |wanted| wanted.to_string());
    Err(format!(
        "{} answered {}, not {wanted}",
        http.url,
        describe(status)
    ))
}

fn describe(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
