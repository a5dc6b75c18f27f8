//! `servo inject-sidecar` and `servo eject-sidecar` (`spec/config-and-cli.md` §7.4).

use super::{Context, Failure};

/// The kinds of objects that a sidecar can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Deployment,
    Rollout,
    Pod,
}

/// Inject an Envoy proxy sidecar into a deployment
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where to: deployment/NAME, rollout/NAME or pod/NAME
    target: String,
    /// The sidecar's container image
    #[arg(short, long, value_name = "IMAGE")]
    image: String,
    /// The namespace of the target
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The service whose traffic goes through the sidecar
    #[arg(short, long)]
    service: Option<String>,
    /// The port whose traffic goes through the sidecar
    #[arg(short, long)]
    port: Option<String>,
}

/// Eject the Envoy proxy sidecar of a deployment
#[derive(Debug, clap::Args)]
pub(super) struct EjectArguments {
    /// Where from: deployment/NAME or pod/NAME
    target: String,
    /// The namespace of the target
    #[arg(short, long, default_value = "default")]
    namespace: String,
}

pub(super) fn inject(_: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let (kind, name) = target(
        &arguments.target,
        &[Kind::Deployment, Kind::Rollout, Kind::Pod],
    )?;
    if arguments.service.is_none() && arguments.port.is_none() {
        return Err(usage("service or port must be given"));
    }
    match kind {
        Kind::Rollout => Err(usage("Rollout sidecar injection is not yet implemented")),
        Kind::Pod => Err(usage("Pod sidecar injection is not yet implemented")),
        Kind::Deployment => Err(no_client(&format!(
            "inject {} into Deployment {name} in {}",
            arguments.image, arguments.namespace
        ))),
    }
}

pub(super) fn eject(_: &Context, arguments: &EjectArguments) -> Result<(), Failure> {
    let (kind, name) = target(&arguments.target, &[Kind::Deployment, Kind::Pod])?;
    match kind {
        Kind::Pod => Err(usage("Pod sidecar ejection is not yet implemented")),
        Kind::Deployment | Kind::Rollout => Err(no_client(&format!(
            "eject the Envoy sidecar from Deployment {name} in {}",
            arguments.namespace
        ))),
    }
}

/// The kind and name of `text`, if it is of one of the kinds `allowed`.
fn target<'t>(text: &'t str, allowed: &[Kind]) -> Result<(Kind, &'t str), Failure> {
    let found = text.split_once('/').and_then(|(kind, name)| {
        let kind = match kind {
            "deploy" | "deployment" => Kind::Deployment,
            "rollout" => Kind::Rollout,
            "pod" => Kind::Pod,
            _ => return None,
        };
        (allowed.contains(&kind) && !name.is_empty() && !name.contains('/')).then_some((kind, name))
    });
    found.ok_or_else(|| {
        let kinds = if allowed.contains(&Kind::Rollout) {
            "\"deployment\", \"rollout\" or \"pod\""
        } else {
            "\"deployment\" or \"pod\""
        };
        usage(&format!(
            "target must prefixed with Kubernetes object kind of {kinds}"
        ))
    })
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

fn no_client(what: &str) -> Failure {
    Failure::Failed(format!(
        "cannot {what}: this build has no Kubernetes client yet; nothing was changed"
    ))
}
