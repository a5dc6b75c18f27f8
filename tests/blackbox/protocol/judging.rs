//! Connectors that say no: items 21 and 22, for what no bundled connector does.
//!
//! The bundled ones neither veto a measurement nor fail at the same moment as another. These do, in servos of this
//! process; their optimizer is behind a socket, as that of the program is.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_assembly::{Assembly, ServoPolicy, ServoSpec};
use servo_dispatch::{
    Before, BeforeError, BoxError, ConfiguredConnector, Connector, ConnectorContext, ConnectorType,
    HandlerContext, Measure, Metadata, On, Routes,
};
use servo_messages::{EventError, Measurement};
use servo_protocol::{
    HostLimits, HttpOptimizer, OpsaniEndpoint, ProxyChoice, TokenSource, Transport, Trust,
};
use servo_supervision::Root;

use super::*;

/// What a connector does with a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Measures nothing, in no time.
    Fine,
    /// Does not let it begin.
    Veto,
    /// Fails at once.
    Fail,
    /// Rejects it at once.
    Reject,
    /// Rejects it when another has failed.
    RejectLater,
    /// Aborts it when another has failed.
    AbortLater,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct JudgeConfig {
    verdict: Verdict,
    /// Where it notes what it was asked for.
    notes: PathBuf,
}

struct Judge {
    config: Arc<JudgeConfig>,
    name: String,
}

impl Judge {
    fn note(&self, what: &str) {
        use std::io::Write as _;
        let mut notes = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.config.notes)
            .unwrap();
        writeln!(notes, "{} {what}", self.name).unwrap();
    }
}

impl Connector for Judge {
    type Config = JudgeConfig;

    const METADATA: Metadata = Metadata::new("judge", "Judge", "0.1.0");

    fn build(config: Arc<JudgeConfig>, cx: ConnectorContext) -> Result<Self, BoxError> {
        let name = cx.name.to_string();
        Ok(Self { config, name })
    }

    fn routes(_: &JudgeConfig, routes: &mut Routes<Self>) {
        routes.before::<Measure>().on::<Measure>();
    }
}

impl Before<Measure> for Judge {
    async fn before(&self, _: &Measure, _: &HandlerContext) -> Result<(), BeforeError> {
        self.note("before");
        match self.config.verdict {
            Verdict::Veto => Err(BeforeError::veto("the market is closed")),
            _ => Ok(()),
        }
    }
}

impl On<Measure> for Judge {
    async fn on(&self, _: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        self.note("on");
        let others_failed = || cx.cancellation().cancelled();
        match self.config.verdict {
            Verdict::Fine | Verdict::Veto => Ok(Measurement::default()),
            Verdict::Fail => Err(EventError::measurement_failed("no numbers")),
            Verdict::Reject => Err(EventError::adjustment_rejected("start-failed", "never")),
            Verdict::RejectLater => {
                others_failed().await;
                Err(EventError::adjustment_rejected("start-failed", "never"))
            }
            Verdict::AbortLater => {
                others_failed().await;
                Err(EventError::aborted("slo-violation", "too slow"))
            }
        }
    }
}

/// How a measurement ends that these connectors take part in, and what they noted of it.
fn judged(verdicts: &[(&str, Verdict)]) -> (Value, Vec<String>) {
    let script = Script::new()
        .measure("u1", &[], json!({"duration": 0}))
        .sleep(json!(3600));
    let optimizer = ScriptedOptimizer::start(script);
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let connectors = verdicts.iter().map(|(name, verdict)| {
        let config = JudgeConfig {
            verdict: *verdict,
            notes: notes.clone(),
        };
        let judge: Arc<dyn ConfiguredConnector> = ConnectorType::configured::<Judge>(config);
        ((*name).into(), judge)
    });
    let transport = Transport {
        proxy: ProxyChoice::Direct,
        trust: Trust::Anything,
        ..Transport::default()
    };
    let channel = transport.channel("judges", HostLimits::default()).unwrap();
    let endpoint = OpsaniEndpoint::new(
        "example.com/solo".parse().unwrap(),
        TokenSource::Inline("t".into()),
        Some(&optimizer.base_url()),
        None,
    );
    let spec = ServoSpec {
        name: "solo".into(),
        servo_uid: None,
        optimizer: Some(Arc::new(HttpOptimizer::opsani(channel, &endpoint.unwrap()))),
        connectors: connectors.collect(),
        settings: Arc::default(),
        policy: ServoPolicy::default(),
        agent: "judges".into(),
        telemetry: BTreeMap::new(),
    };
    actix::System::new().block_on(async {
        let (assembly_spec, assembly) = Assembly::spec(None);
        let root = Root::start("root", move |children| {
            children.start(assembly_spec.clone());
            Ok(())
        });
        assembly.add(spec).await.unwrap();
        optimizer
            .until(SOON, |received| {
                let asked = received.iter().filter(|r| r.event == "WHATS_NEXT");
                asked.count() == 2
            })
            .await
            .unwrap();
        root.shutdown(SOON).await.unwrap();
    });
    assert_eq!(optimizer.violations(), Vec::<String>::new());
    let received = optimizer.received();
    let mut told = received.iter().filter(|r| r.completes("MEASUREMENT"));
    let completion = told.next().unwrap().param.clone();
    assert!(told.next().is_none(), "answered once");
    let noted = std::fs::read_to_string(&notes).unwrap();
    let mut noted: Vec<String> = noted.lines().map(str::to_owned).collect();
    noted.sort();
    (completion, noted)
}

/// §23 item 22: the optimizer must not take a measurement that was not made for an empty one.
#[test]
fn item_22_a_veto_before_anything_was_measured() {
    let (told, noted) = judged(&[("a", Verdict::Fine), ("b", Verdict::Veto)]);
    assert_eq!(told["status"], "cancelled", "{told}");
    assert_eq!(told["message"], "b: the market is closed");
    assert_eq!(told["cmd_uid"], "u1");
    assert_eq!(told.get("metrics"), None, "{told}");
    assert_eq!(noted, ["a before", "b before"], "nobody has measured");
    // Without the veto they do.
    let (told, noted) = judged(&[("a", Verdict::Fine), ("b", Verdict::Fine)]);
    assert_eq!(
        (&told["status"], &told["metrics"]),
        (&json!("ok"), &json!({}))
    );
    assert_eq!(noted, ["a before", "a on", "b before", "b on"]);
}

/// §23 item 21: whoever failed first, the most severe error is told and the other beside it.
#[test]
fn item_21_two_kinds_of_errors_at_once() {
    use Verdict::{AbortLater, Fail, Reject, RejectLater};
    let cases = [
        (
            Reject,
            AbortLater,
            "aborted",
            "slo-violation",
            "too slow",
            "a: never",
        ),
        (
            Fail,
            AbortLater,
            "aborted",
            "slo-violation",
            "too slow",
            "a: no numbers",
        ),
        (
            Fail,
            RejectLater,
            "rejected",
            "start-failed",
            "b: never",
            "a: no numbers",
        ),
    ];
    for (first, second, status, reason, message, other) in cases {
        // In both orders on the bus.
        for names in [["a", "b"], ["b", "a"]] {
            let connectors = names.map(|name| match name {
                "a" => (name, first),
                _ => (name, second),
            });
            let (told, _) = judged(&connectors);
            assert_eq!(told["status"], status, "{connectors:?}: {told}");
            assert_eq!(told["reason"], reason, "{connectors:?}: {told}");
            assert_eq!(told["message"], message, "{connectors:?}: {told}");
            assert_eq!(
                told["other_messages"],
                json!([other]),
                "{connectors:?}: {told}"
            );
        }
    }
    // One error has no others beside it.
    let (told, _) = judged(&[("a", Fail), ("b", Verdict::Fine)]);
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(told.get("other_messages"), None, "{told}");
}
