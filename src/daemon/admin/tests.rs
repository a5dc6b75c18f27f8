//! The server among servos, in one process: what needs connectors of a kind that the program has not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use servo_assembly::Polling;
use servo_dispatch::{
    BoxError, Connector, ConnectorContext, Describe, HandlerContext, Metadata, On, Routes,
};
use servo_doubles::{Script, ScriptedOptimizer};
use servo_messages::{Description, EventError};

use super::{Admin, Bound, Metrics, Parts, Room};
use crate::{
    config::{AdminConfig, Listen, sample},
    daemon::{
        Fleet, Optimizers, Tree, block_on,
        fleet::{Outfit, Setup},
        logging::Recent,
    },
};

const SOON: Duration = Duration::from_secs(30);

/// A connector that panics at each DESCRIBE.
struct Fragile;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct FragileConfig {}

impl Connector for Fragile {
    type Config = FragileConfig;
    const METADATA: Metadata = Metadata::new("fragile", "Fragile", "0.0.1");

    fn sample() -> &'static str {
        "{}\n"
    }

    fn build(_: Arc<FragileConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &FragileConfig, routes: &mut Routes<Self>) {
        routes.on::<Describe>();
    }
}

impl On<Describe> for Fragile {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        panic!("fragile");
    }
}

/// Makes the server panic.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Panic;

impl actix::Handler<Panic> for Admin {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("as was asked for");
    }
}

struct World {
    fleet: Fleet,
    room: Room,
    address: SocketAddr,
}

impl World {
    async fn start(yaml: &str, polling: Polling) -> Self {
        let registry = crate::connectors::bundled().with::<Fragile>();
        let servos = sample::servos(yaml, &[], &registry);
        let metrics = Arc::new(Metrics::default());
        let setup = Setup {
            daemon: Default::default(),
            source: None,
            unfit: Default::default(),
            optimizers: Optimizers::default().observed(metrics.clone()),
            outfit: Outfit {
                polling,
                observer: Some(metrics.clone()),
                ..Outfit::default()
            },
        };
        let room = Room::new();
        let tree = Tree::start_after(Some(room.spec()), 2).await.unwrap();
        let arbiters = (tree.arbiters().clone(), 2);
        let fleet = Fleet::new(tree, setup);
        let config = AdminConfig {
            listen: Listen::At {
                address: SocketAddr::from(([127, 0, 0, 1], 0)),
                explicit: true,
            },
            ..AdminConfig::default()
        };
        let bound = Bound::of(&config).unwrap().unwrap();
        let address = bound.address();
        let parts = Parts {
            fleet: fleet.clone(),
            arbiters,
            metrics,
            log: Recent::default(),
            registry,
        };
        room.open(bound, parts).await.unwrap();
        fleet.take_up(servos).await.unwrap();
        Self {
            fleet,
            room,
            address,
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (address, path) = (self.address, path.to_owned());
        tokio::task::spawn_blocking(move || get(address, &path))
            .await
            .unwrap()
            .expect("an answer")
    }

    async fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn until(&self, path: &str, found: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + SOON;
        loop {
            let answer = self.json(path).await;
            if found(&answer) {
                return answer;
            }
            assert!(Instant::now() < until, "{path}: {answer:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) {
        self.fleet.supervision().shutdown().await;
    }
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[test]
fn a_connector_that_panics_fails_nothing_but_itself() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    let yaml = format!(
        "name: s\noptimizer: {{id: example.com/s, token: t, base_url: \"{}\"}}\nfragile: {{}}\n",
        optimizer.base_url()
    );
    block_on(async {
        let world = World::start(&yaml, Polling::Always).await;
        let servo = world
            .until("/api/v1/servos/s", |s| {
                s["connectors"][0]["restarts"] == 1 && s["connectors"][0]["state"] == "running"
            })
            .await;
        let connector = &servo["connectors"][0];
        assert_eq!(connector["type"], "fragile");
        let last_exit = connector["last_exit"].as_str().unwrap();
        assert!(
            last_exit.contains("panicked") && last_exit.contains("fragile"),
            "{servo}"
        );
        assert_eq!(world.get("/livez").await.0, 200);
        assert_eq!(world.get("/readyz").await.0, 200);
        let (_, metrics) = world.get("/metrics").await;
        assert!(
            metrics.contains("servo_connector_restarts_total 1\n"),
            "{metrics}"
        );
        assert!(!metrics.contains("servo_restarts_total{cause=\"panicked\"} 0\n"));
        world.end().await;
    })
    .unwrap();
}

#[test]
fn a_server_that_fails_starts_anew_at_the_same_address() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let yaml = format!(
        "name: s\noptimizer: {{id: example.com/s, token: t, base_url: \"{}\"}}\nwait: {{measure_enabled: true}}\n",
        optimizer.base_url()
    );
    block_on(async {
        let world = World::start(&yaml, Polling::Always).await;
        world
            .until("/api/v1/servos/s", |s| s["state"] == "sleeping")
            .await;
        let http = world.room.furniture.get().unwrap().http.reference();
        assert!(http.ask(Panic, SOON).await.is_err());
        let tree = world
            .until("/api/v1/tree?path=servo/admin/http", |node| {
                node["restarts"] == 1
            })
            .await;
        assert!(
            tree["last_exit"]
                .as_str()
                .unwrap()
                .contains("as was asked for")
        );
        let servo = world.json("/api/v1/servos/s").await;
        assert_eq!(
            (&servo["restarts"], &servo["state"]),
            (&0.into(), &"sleeping".into())
        );
        world.end().await;
    })
    .unwrap();
}

/// The pulses of threads for servos live one on each, and count as no servo.
#[test]
fn each_thread_has_a_pulse() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let yaml = (0..6)
        .map(|n| {
            format!(
                "name: s{n}\noptimizer: {{id: example.com/s{n}, token: t, base_url: \"{}\"}}\nwait: {{measure_enabled: true}}\n",
                optimizer.base_url()
            )
        })
        .collect::<Vec<_>>()
        .join("---\n");
    block_on(async {
        let world = World::start(&yaml, Polling::Never).await;
        let status = world
            .until("/api/v1/status", |s| s["servos"]["states"]["idle"] == 6)
            .await;
        let three = serde_json::json!({"servos": 3});
        assert_eq!(status["arbiters"], serde_json::json!([three, three]));
        let (_, verbose) = world.get("/livez?verbose").await;
        assert_eq!(
            verbose,
            "[+]supervision ok\n[+]arbiter-0 ok\n[+]arbiter-1 ok\nlivez check passed\n"
        );
        world.end().await;
    })
    .unwrap();
}
