//! Where an optimizer is and with which credential it is asked, at the time of each request
//! (`spec/optimizer-protocol.md` §2).

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;
use url::Url;

use crate::{
    AppdynamicsAccess, AppdynamicsError, AppdynamicsSource, ConnectionFiles, Credential,
    OpsaniEndpoint, PostError, TokenSource,
    channel::Channel,
    connection::{ConnectionFile, Content},
    endpoint::below,
    limits::Host,
    oauth::OauthClient,
};

/// How one servo gets to its optimizer.
#[derive(Debug)]
pub(crate) enum Access {
    /// With one credential.
    Fixed(Authorized),
    /// With the token in a file, read again when the optimizer refuses the old one.
    TokenFile {
        path: PathBuf,
        current: Mutex<Authorized>,
    },
    /// With tokens that an OAuth client gets.
    Client {
        target: Arc<Target>,
        client: Arc<OauthClient>,
    },
    /// As a connection file says at the time.
    ConnectionFile {
        source: Box<AppdynamicsSource>,
        file: Arc<ConnectionFile>,
        current: Mutex<Option<Authorized>>,
    },
}

/// Where an optimizer is.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where events go: the optimizer's URL and `servo`.
    pub(crate) events: Url,
    pub(crate) host: Arc<Host>,
}

/// Where to, and with which credential.
#[derive(Debug, Clone)]
pub(crate) struct Authorized {
    pub(crate) target: Arc<Target>,
    pub(crate) credential: Credential,
    /// Which of the tokens, or contents of a file, the credential is from.
    generation: u64,
}

// === impl Target ===

impl Target {
    fn new(channel: &Channel, optimizer: &Url) -> Arc<Self> {
        let events = below(optimizer, "servo");
        Arc::new(Self {
            host: channel.host(&events),
            // Unlike the one that was put together, a copy has no room to grow.
            events: events.clone(),
        })
    }

    /// The address of `path` below the optimizer's URL.
    pub(crate) fn beside_events(&self, path: &str) -> Url {
        let mut url = self.events.clone();
        let base = url.path().trim_end_matches("servo").to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }
}

// === impl Access ===

impl Access {
    pub(crate) fn opsani(channel: &Channel, endpoint: &OpsaniEndpoint) -> Self {
        let current = Authorized {
            target: Target::new(channel, endpoint.url()),
            credential: endpoint.credential().clone(),
            generation: 0,
        };
        match endpoint.token() {
            TokenSource::Inline(_) => Self::Fixed(current),
            TokenSource::File(path) => Self::TokenFile {
                path: path.clone(),
                current: Mutex::new(current),
            },
        }
    }

    pub(crate) fn appdynamics(
        channel: &Channel,
        source: AppdynamicsSource,
        files: &ConnectionFiles,
    ) -> Result<Self, AppdynamicsError> {
        let endpoint = source.clone().endpoint()?;
        Ok(match endpoint.access() {
            AppdynamicsAccess::Token { credential, url } => Self::Fixed(Authorized {
                target: Target::new(channel, url),
                credential: credential.clone(),
                generation: 0,
            }),
            AppdynamicsAccess::Client {
                id,
                secret,
                token_url,
                url,
            } => Self::Client {
                target: Target::new(channel, url),
                client: channel.clients().client(channel, token_url, id, secret),
            },
            AppdynamicsAccess::ConnectionFile(path) => Self::ConnectionFile {
                file: files
                    .open(path)
                    .map_err(|error| AppdynamicsError::Follow(path.clone(), error))?,
                source: Box::new(source),
                current: Mutex::default(),
            },
        })
    }

    /// Where to send the next request, and with which credential. Waits for what is not there yet: an OAuth token,
    /// or a connection file when the process starts.
    pub(crate) async fn authorize(
        &self,
        channel: &Channel,
        deadline: Instant,
    ) -> Result<Authorized, PostError> {
        match self {
            Self::Fixed(current) => Ok(current.clone()),
            Self::TokenFile { current, .. } => Ok(locked(current).clone()),
            Self::Client { target, client } => {
                let issued = client.token(deadline).await?;
                Ok(Authorized {
                    target: target.clone(),
                    credential: issued.credential,
                    generation: issued.generation,
                })
            }
            Self::ConnectionFile {
                source,
                file,
                current,
            } => {
                let generation = file.generation();
                if let Some(current) = &*locked(current)
                    && current.generation == generation
                {
                    return Ok(current.clone());
                }
                // Rarely needed, and larger than the rest.
                let awaited = Box::pin(tokio::time::timeout_at(deadline, file.awaited())).await;
                let content = awaited.map_err(|_| still_awaited(file))?;
                connect(channel, source, file, &content, current)
            }
        }
    }

    /// The credential to try after `refused`, if there is another: one that another request has found meanwhile, or
    /// what a token file, a connection file or an OAuth endpoint have to say now.
    pub(crate) async fn renew(
        &self,
        channel: &Channel,
        refused: &Authorized,
        deadline: Instant,
    ) -> Result<Option<Authorized>, PostError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::TokenFile { path, current } => {
                let known = locked(current).clone();
                if !known.credential.same_as(&refused.credential) {
                    return Ok(Some(known));
                }
                let reading = read_token(path.clone(), &refused.credential);
                let read = tokio::time::timeout_at(deadline, reading).await;
                Ok(read.ok().flatten().map(|credential| {
                    let mut current = locked(current);
                    current.credential = credential;
                    current.clone()
                }))
            }
            Self::Client { target, client } => {
                let issued = client.other_than(refused.generation, deadline).await?;
                Ok(issued.map(|issued| Authorized {
                    target: target.clone(),
                    credential: issued.credential,
                    generation: issued.generation,
                }))
            }
            Self::ConnectionFile {
                source,
                file,
                current,
            } => {
                if file.generation() == refused.generation {
                    let reading = file.clone();
                    let reading = tokio::task::spawn_blocking(move || reading.read_now());
                    let read = tokio::time::timeout_at(deadline, reading).await;
                    if !matches!(read, Ok(Ok(()))) || file.generation() == refused.generation {
                        return Ok(None);
                    }
                }
                connect(channel, source, file, &file.content(), current).map(Some)
            }
        }
    }

    /// Where events go, as far as it is known.
    pub(crate) fn display_url(&self) -> String {
        match self {
            Self::Fixed(current) => current.target.events.to_string(),
            Self::TokenFile { current, .. } => locked(current).target.events.to_string(),
            Self::Client { target, .. } => target.events.to_string(),
            Self::ConnectionFile { file, current, .. } => match &*locked(current) {
                Some(current) => current.target.events.to_string(),
                None => format!("connection file {}", file.path().display()),
            },
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the file says by now, or why the servo cannot do without.
fn connect(
    channel: &Channel,
    source: &AppdynamicsSource,
    file: &ConnectionFile,
    content: &Content,
    current: &Mutex<Option<Authorized>>,
) -> Result<Authorized, PostError> {
    let unconfigured = |problem: &str| {
        PostError::Unconfigured(format!(
            "optimizer -> connection_file {}: {problem}",
            file.path().display()
        ))
    };
    let Some(connection) = &content.connection else {
        let problem = content.problem.as_deref().unwrap_or("not read yet");
        return Err(unconfigured(&format!(
            "{problem}, {}s after the start; start the agent that writes it, or correct the path",
            ConnectionFile::PATIENCE.as_secs()
        )));
    };
    let endpoint = source
        .clone()
        .connected((**connection).clone())
        .endpoint()
        .map_err(|error| unconfigured(&error.to_string()))?;
    let (AppdynamicsAccess::Token { credential, url }, generation) =
        (endpoint.access(), content.generation)
    else {
        return Err(unconfigured("it holds no credential"));
    };
    let authorized = Authorized {
        target: Target::new(channel, url),
        credential: credential.clone(),
        generation,
    };
    *locked(current) = Some(authorized.clone());
    Ok(authorized)
}

/// The attempt is over before there is a file; another may wait on.
fn still_awaited(file: &ConnectionFile) -> PostError {
    let content = file.content();
    PostError::Auxiliary {
        request: format!("connection file {}", file.path().display()),
        status: None,
        problem: match content.problem {
            Some(problem) => format!("still awaited: {problem}"),
            None => "still awaited".to_owned(),
        },
        retry_after: None,
    }
}

/// The token in the file, if it is another than the one refused.
async fn read_token(path: PathBuf, refused: &Credential) -> Option<Credential> {
    let source = TokenSource::File(path.clone());
    match tokio::task::spawn_blocking(move || source.read()).await {
        Ok(Ok(renewed)) if renewed.same_as(refused) => None,
        Ok(Ok(renewed)) => {
            tracing::info!(path = %path.display(), "the optimizer's token has changed; using the new one");
            Some(renewed)
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the optimizer refused the token, and there is no new one; keeping the old one");
            None
        }
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "reading the optimizer's token file was interrupted");
            None
        }
    }
}
