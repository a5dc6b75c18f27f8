//! Many servos in this process, and their optimizer behind real sockets.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use servo_assembly::{Assembly, ServoPolicy, ServoSpec};
use servo_dispatch::ConnectorPolicy;
use servo_doubles::{FleetFigures, FleetOptimizer, Orders};
use servo_protocol::{
    Budget, HostLimits, HttpOptimizer, OpsaniEndpoint, ProxyChoice, TokenSource, Transport, Trust,
};
use servo_supervision::{Arbiters, Backoff, Intensity, Root, install_panic_hook};

use crate::trouble::Trouble;

const LONG: Duration = Duration::from_secs(20);
const AGENT: &str = "github.com/example/servo v0.1.0";
/// In the names of servos whose connectors have no trouble.
pub(crate) const PEACEFUL: &str = "peaceful";

pub(crate) struct Fleet {
    pub(crate) optimizer: FleetOptimizer,
    pub(crate) servos: usize,
    pub(crate) most_requests: usize,
    root: Root,
    _assembly: Assembly,
}

impl Fleet {
    /// Every second one can be in trouble.
    pub(crate) async fn start(servos: usize, trouble: &Trouble) -> Self {
        install_panic_hook();
        let optimizer = FleetOptimizer::start(Orders::Measure(Duration::ZERO)).unwrap();
        optimizer.time_only(PEACEFUL);
        let (spec, assembly) = Assembly::spec(Some(Arbiters::new(2).unwrap()));
        let root = Root::start("root", move |children| {
            children.start(spec.clone());
            Ok(())
        });
        let transport = Transport {
            proxy: ProxyChoice::Direct,
            trust: Trust::Anything,
            ..Transport::default()
        };
        let limits = HostLimits::new(NonZeroUsize::new(50).unwrap());
        let most_requests = limits.most().get();
        let channel = transport.channel(AGENT, limits).unwrap();
        for n in 0..servos {
            let peaceful = n % 2 == 0;
            let kind = if peaceful { PEACEFUL } else { "troubled" };
            let endpoint = OpsaniEndpoint::new(
                format!("dev.opsani.com/{kind}-{n}").parse().unwrap(),
                TokenSource::Inline("hush-hush".into()),
                Some(&optimizer.base_url()),
                None,
            );
            let spec = ServoSpec {
                name: format!("{kind}-{n}").into(),
                servo_uid: None,
                optimizer: Some(Arc::new(HttpOptimizer::opsani(
                    channel.clone(),
                    &endpoint.unwrap(),
                ))),
                connectors: vec![("work".into(), trouble.connector(peaceful))],
                settings: Arc::default(),
                policy: policy(),
                agent: AGENT.into(),
                telemetry: BTreeMap::new(),
            };
            assembly.add(spec).await.unwrap();
        }
        Self {
            optimizer,
            servos,
            most_requests,
            root,
            _assembly: assembly,
        }
    }

    /// The figures once they are as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&FleetFigures) -> bool,
    ) -> FleetFigures {
        let began = Instant::now();
        loop {
            let figures = self.optimizer.figures();
            if wanted(&figures) {
                return figures;
            }
            assert!(
                began.elapsed() < within,
                "{what}: not in time, but {figures:?}\n{}",
                self.root.snapshot()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn end(self) {
        self.root.shutdown(LONG).await.unwrap();
        assert_eq!(self.optimizer.figures().connected, 0);
    }
}

/// The usual rules with short times.
fn policy() -> ServoPolicy {
    let millis = Duration::from_millis;
    let backoff = Backoff::try_new(millis(10), millis(200), LONG).unwrap();
    let patient = Budget {
        max_time: None,
        max_tries: None,
        attempt: millis(1500),
    };
    ServoPolicy {
        connect: patient.clone(),
        requests: patient,
        cancel_grace: millis(200),
        progress_interval: LONG,
        measure_slack: Duration::from_secs(3),
        stop_command: Duration::from_secs(2),
        restart: backoff,
        connectors: ConnectorPolicy {
            backoff,
            intensity: Intensity::try_new(1_000, millis(100)).unwrap(),
            ..ConnectorPolicy::default()
        },
        ..ServoPolicy::default()
    }
}

/// Bytes in memory.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
