//! The servo's own check: whether it reaches its optimizer (`spec/events-and-checks.md` §6.10).

use std::{fmt, fs, path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    BoxError, Check, CheckEvent, CheckFailure, Checks, ConfiguredConnector, Connector,
    ConnectorContext, ConnectorType, HandlerContext, Metadata, On, Routes,
};
use servo_messages::EventError;
use servo_protocol::{OptimizerClient, OptimizerStatus, PostError, Request, Response, StatusReply};
use tokio_util::sync::CancellationToken;

use crate::connectors::SERVO;

/// What the servo itself verifies, as a connector that does nothing else. It stands beside the
/// others under the servo's name.
struct OwnCheck(Subject);

/// What is verified.
#[derive(Clone)]
pub(super) enum Subject {
    /// That the optimizer answers HELLO.
    Connection {
        client: Arc<dyn OptimizerClient>,
        hello: Request,
        /// How long the answer may take.
        patience: Duration,
        /// What to do when the answer is that another has taken this servo's place.
        replaced: Replaced,
    },
    /// That the file of the embedded optimizer's trials can be used.
    TrialFile(PathBuf),
}

/// What a servo does whose place another deployment has taken, before it fails.
#[derive(Clone, Debug)]
pub(super) enum Replaced {
    /// Waits to be removed.
    Wait,
    /// Fires this: no repetition will help.
    Tell(CancellationToken),
}

/// How long a servo that was replaced waits to be removed (`spec/events-and-checks.md` §6.10).
const DEPROVISIONING: Duration = Duration::from_secs(3600);

/// It comes from the program, and never from a file.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct OwnCheckConfig {
    #[serde(skip)]
    subject: Option<Subject>,
}

/// The connector that verifies `subject`.
pub(super) fn own_check(subject: Subject) -> Arc<dyn ConfiguredConnector> {
    ConnectorType::configured::<OwnCheck>(OwnCheckConfig {
        subject: Some(subject),
    })
}

impl Connector for OwnCheck {
    type Config = OwnCheckConfig;
    const METADATA: Metadata = SERVO;

    fn build(config: Arc<OwnCheckConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        let subject = config.subject.clone();
        subject
            .map(Self)
            .ok_or_else(|| "there is nothing to check".into())
    }

    fn routes(_: &OwnCheckConfig, routes: &mut Routes<Self>) {
        routes.on::<CheckEvent>();
    }
}

impl On<CheckEvent> for OwnCheck {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        let mut checks = Checks::new();
        match &self.0 {
            Subject::Connection {
                client,
                hello,
                patience,
                replaced,
            } => {
                let limit = *patience + replaced.wait() + Duration::from_secs(1);
                checks
                    .check("Opsani API connectivity", async || {
                        let answer = client.post(hello, *patience).await;
                        if matches!(answer, Err(PostError::ServoReplaced { .. })) {
                            outlive(hello, replaced).await;
                        }
                        judge(answer)
                    })
                    .within(limit)
                    .describe("The optimizer answers HELLO");
            }
            Subject::TrialFile(file) => {
                checks
                    .check("Trial file", async || usable(file.clone()).await)
                    .describe("The embedded optimizer can write its trials");
            }
        }
        checks.run(event, cx).await
    }
}

/// Whoever deployed the one that has taken this servo's place is about to remove it: starting it again
/// and again until then helps nobody. The run's token ends the wait.
async fn outlive(hello: &Request, replaced: &Replaced) {
    let uid = hello.servo_uid.as_deref().unwrap_or("none");
    match replaced {
        Replaced::Wait => {
            tracing::warn!(
                "servo UID {uid} is no longer valid. Waiting for deprovisioning (will sleep for 1 hour)"
            );
            tokio::time::sleep(DEPROVISIONING).await;
        }
        Replaced::Tell(token) => {
            tracing::warn!("servo UID {uid} is no longer valid.");
            token.cancel();
        }
    }
}

/// No GOODBYE follows: a live deployment of the same servo may be connected
/// (`spec/optimizer-protocol.md` §15).
fn judge(answer: Result<Response, PostError>) -> Result<String, CheckFailure> {
    let code = |status: u16| format!("Response status code: {status}");
    let failure = match answer {
        Ok(Response::Status(StatusReply {
            status: OptimizerStatus::Ok,
            ..
        })) => return Ok(code(200)),
        Ok(Response::Status(reply)) => {
            CheckFailure::new(format!("{}, but HELLO was answered {reply}", code(200)))
        }
        Ok(_) => CheckFailure::new(format!("{}, but HELLO was answered with a command", code(200)))
            .hint("is this URL an optimizer?"),
        Err(PostError::ServoReplaced { .. }) => CheckFailure::new(code(410))
            .hint("another deployment has taken the place of this servo_uid: stop this one, or give it another servo_uid"),
        Err(error @ PostError::Http { status, .. }) => {
            CheckFailure::new(code(status)).hint(error.to_string())
        }
        Err(PostError::Undecodable {
            status, problem, ..
        }) => CheckFailure::new(format!("{}, but the body is no answer of an optimizer: {problem}", code(status)))
            .hint("is this URL an optimizer?"),
        Err(error) => CheckFailure::new(error.to_string()),
    };
    Err(failure)
}

/// Whether trials can be written to `file`, which need not exist yet.
async fn usable(file: PathBuf) -> Result<String, CheckFailure> {
    let shown = file.display().to_string();
    let tried = tokio::task::spawn_blocking(move || match fs::metadata(&file) {
        Ok(_) => fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&file)
            .map(drop),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            fs::read_dir(folder.unwrap_or(std::path::Path::new("."))).map(drop)
        }
        Err(error) => Err(error),
    });
    match tried.await {
        Ok(Ok(())) => Ok(shown),
        Ok(Err(error)) => Err(CheckFailure::new(format!("{shown}: {error}"))
            .hint("set optimizer -> embedded -> database to a file that can be written")),
        Err(_) => Err(CheckFailure::new(format!(
            "{shown}: the attempt was given up"
        ))),
    }
}

impl Replaced {
    /// How long it waits.
    const fn wait(&self) -> Duration {
        match self {
            Self::Wait => DEPROVISIONING,
            Self::Tell(_) => Duration::ZERO,
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { client, .. } => f
                .debug_tuple("Connection")
                .field(&client.display_url())
                .finish(),
            Self::TrialFile(file) => f.debug_tuple("TrialFile").field(file).finish(),
        }
    }
}

impl fmt::Debug for OwnCheckConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject.fmt(f)
    }
}
