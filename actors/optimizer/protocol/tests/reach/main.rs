//! How optimizers are reached, against real servers that follow a script (`spec/optimizer-protocol.md` §2, §3, §11,
//! §18).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod appdynamics;
mod connection_file;
mod diagnostics;
mod in_flight;
mod limits;
mod malformed;
mod retrying;
mod secrets;
mod server;
mod time;

use std::time::Duration;

use servo_protocol::{
    AppdynamicsSource, Channel, ConnectionFiles, Event, Hello, HttpOptimizer, OpsaniEndpoint,
    ProxyChoice, Request, TokenSource, Transport, Trust,
};

const LONG: Duration = Duration::from_secs(20);
const AGENT: &str = "github.com/example/servo v0.1.0";

/// Without the machine's certificates, which take longer to read than the tests to run.
fn transport() -> Transport {
    Transport {
        proxy: ProxyChoice::Direct,
        trust: Trust::Anything,
        ..Transport::default()
    }
}

fn channel() -> Channel {
    Channel::new(transport().client().unwrap(), AGENT)
}

fn opsani_over(channel: Channel, base_url: &str, token: TokenSource) -> HttpOptimizer {
    let id = "dev.opsani.com/app1".parse().unwrap();
    let endpoint = OpsaniEndpoint::new(id, token, Some(base_url), None).unwrap();
    HttpOptimizer::opsani(channel, &endpoint)
}

fn opsani(base_url: &str) -> HttpOptimizer {
    opsani_over(channel(), base_url, TokenSource::Inline("hush-hush".into()))
}

/// With an OAuth client.
fn source(base_url: &str) -> AppdynamicsSource {
    AppdynamicsSource {
        optimizer_id: "opt-1".into(),
        tenant_id: Some("tenant-1".into()),
        base_url: Some(base_url.into()),
        client_id: Some("agent".into()),
        client_secret: Some("hush-client".into()),
        ..AppdynamicsSource::default()
    }
}

fn appdynamics(source: AppdynamicsSource) -> HttpOptimizer {
    HttpOptimizer::appdynamics(channel(), source, &ConnectionFiles::default()).unwrap()
}

fn whats_next() -> Request {
    Request {
        event: Event::WhatsNext,
        servo_uid: None,
    }
}

fn hello() -> Request {
    Request {
        event: Event::Hello(Hello {
            agent: AGENT.into(),
            ..Hello::default()
        }),
        servo_uid: None,
    }
}
