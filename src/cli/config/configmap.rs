//! A configuration as a ConfigMap for Kubernetes (`spec/config-and-cli.md` §7.5).

use serde::Serialize;
use serde_json::{Value, json};

use super::{super::Failure, yaml};
use crate::{
    config::{Effective, ServoConfig},
    connectors::SERVO,
};

const NAME: &str = "opsani-servo-config";

/// A ConfigMap for each servo; of several each is numbered by its document.
pub(super) fn of_servos(servos: &[ServoConfig], shown: &[Effective]) -> Result<String, Failure> {
    let several = servos.len() > 1;
    let now = jiff::Timestamp::now();
    let mut text = String::new();
    for (servo, shown) in servos.iter().zip(shown) {
        let name = if several {
            format!("{NAME}-{}", servo.document)
        } else {
            NAME.to_owned()
        };
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "labels": {
                    "app.kubernetes.io/name": "servo",
                    "app.kubernetes.io/version": SERVO.version,
                },
                "annotations": {
                    "servo.opsani.com/configured_at": now.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string(),
                    "servo.opsani.com/connectors": connectors(servo)?,
                },
            },
            "data": { "servo.yaml": yaml(&shown.document)? },
        });
        text.push_str("---\n");
        text.push_str(&yaml(&map)?);
    }
    Ok(text)
}

/// JSON, for programs that read annotations.
fn connectors(servo: &ServoConfig) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Connector<'a> {
        name: &'a str,
        #[serde(rename = "type")]
        kind: String,
        description: Option<&'static str>,
        version: &'static str,
        url: Option<&'static str>,
    }
    let connectors: Vec<Value> = servo
        .connectors
        .iter()
        .map(|(name, connector)| {
            let metadata = connector.metadata();
            json!(Connector {
                name,
                kind: format!("{} Connector", metadata.type_name),
                description: metadata.description,
                version: metadata.version,
                url: metadata.homepage,
            })
        })
        .collect();
    serde_json::to_string(&connectors)
        .map_err(|e| Failure::Failed(format!("the connectors cannot be written as JSON: {e}")))
}
