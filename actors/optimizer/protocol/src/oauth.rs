//! Tokens that an OAuth client gets for its client credentials (`spec/optimizer-protocol.md` §2.4).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::{Url, form_urlencoded};

use crate::{
    Credential, PostError, TransportKind,
    channel::{Answer, Body, Call, Channel, Received},
    gate::Lane,
    limits::Host,
};

/// The OAuth clients in use, so that all servos with the same one share its tokens.
#[derive(Clone, Default)]
pub(crate) struct OauthClients {
    known: Arc<Mutex<HashMap<ClientKey, Vec<Weak<OauthClient>>>>>,
}

/// Where, and as whom.
type ClientKey = (Url, Box<str>);

/// One OAuth client and the token it has.
pub(crate) struct OauthClient {
    channel: Channel,
    token_url: Url,
    host: Arc<Host>,
    id: Box<str>,
    secret: SecretString,
    state: Mutex<State>,
    /// Held by whoever is getting a token; the others wait for what comes of it.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    refresh: Option<SecretString>,
    /// Counts tokens: to a request that was refused it tells whether there is another by now.
    generation: u64,
    /// Counts attempts that failed, with the error of the last.
    failures: (u64, Option<PostError>),
    /// When a token was last thrown away because the optimizer refused it.
    thrown_away: Option<Instant>,
}

struct Token {
    credential: Credential,
    /// From when on it is to be renewed; never if its life has no known end.
    stale: Option<Instant>,
}

/// A token and which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) credential: Credential,
    pub(crate) generation: u64,
}

/// What a token endpoint answers.
struct Grant {
    credential: Credential,
    life: Option<Duration>,
    refresh: Option<SecretString>,
}

// === impl OauthClients ===

impl OauthClients {
    /// The client `id` at `token_url`, shared with whoever has the same over the same channel.
    pub(crate) fn client(
        &self,
        channel: &Channel,
        token_url: &Url,
        id: &str,
        secret: &SecretString,
    ) -> Arc<OauthClient> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Now and then, so that many clients cost little and those that come and go leave nothing behind.
        if known.len().is_power_of_two() {
            known.retain(|_, clients| clients.iter().any(|client| client.strong_count() > 0));
        }
        let same = known
            .entry((token_url.clone(), id.into()))
            .or_insert_with(|| Vec::with_capacity(1));
        same.retain(|client| client.strong_count() > 0);
        let is_same =
            |client: &Arc<OauthClient>| client.secret.expose_secret() == secret.expose_secret();
        if let Some(client) = same.iter().filter_map(Weak::upgrade).find(is_same) {
            return client;
        }
        let client = Arc::new(OauthClient {
            channel: channel.clone(),
            host: channel.host(token_url),
            token_url: token_url.clone(),
            id: id.into(),
            secret: secret.clone(),
            state: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
        });
        same.push(Arc::downgrade(&client));
        client
    }
}

// === impl OauthClient ===

impl OauthClient {
    /// A token is renewed so long before its end.
    const LEEWAY: Duration = Duration::from_secs(60);
    /// However short a token's life, it is not renewed more often than this.
    const SHORTEST_LIFE: Duration = Duration::from_secs(1);
    /// Tokens that an optimizer refuses are not thrown away more often than this, whoever finds out.
    const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

    /// A token that is good for some time yet.
    pub(crate) async fn token(&self, deadline: Instant) -> Result<Issued, PostError> {
        let (fresh, failures) = {
            let state = self.state();
            (state.fresh(), state.failures.0)
        };
        match fresh {
            Some(issued) => Ok(issued),
            // Rarely needed, and larger than the rest.
            None => Box::pin(self.renew(failures, deadline)).await,
        }
    }

    /// Another token than the one of `refused`; none if a new one was got only just now, so that the optimizer's
    /// refusal must have another reason.
    pub(crate) async fn other_than(
        &self,
        refused: u64,
        deadline: Instant,
    ) -> Result<Option<Issued>, PostError> {
        let failures = {
            let mut state = self.state();
            if state.generation == refused && state.token.is_some() {
                let now = Instant::now();
                let too_soon = state
                    .thrown_away
                    .is_some_and(|last| now.duration_since(last) < Self::BETWEEN_REFUSALS);
                if too_soon {
                    return Ok(None);
                }
                tracing::info!(token_url = %self.token_url, "the optimizer refused the OAuth token; getting another");
                state.thrown_away = Some(now);
                state.token = None;
            } else if let Some(issued) = state.fresh() {
                return Ok(Some(issued));
            }
            state.failures.0
        };
        self.renew(failures, deadline).await.map(Some)
    }

    /// Gets a token, or what somebody else gets meanwhile: `failures` had happened when it was found that there is
    /// no token.
    async fn renew(&self, failures: u64, deadline: Instant) -> Result<Issued, PostError> {
        let Ok(_renewal) = tokio::time::timeout_at(deadline, self.renewal.lock()).await else {
            return Err(PostError::Transport {
                url: self.token_url.to_string(),
                kind: TransportKind::Timeout,
                detail: "another request for the same token has not finished".to_owned(),
            });
        };
        let refresh = {
            let state = self.state();
            if let Some(issued) = state.fresh() {
                return Ok(issued);
            }
            if let (happened, Some(error)) = &state.failures
                && *happened > failures
            {
                return Err(error.clone());
            }
            state.refresh.clone()
        };
        let granted = match &refresh {
            None => self.grant(None, deadline).await,
            Some(refresh) => match self.grant(Some(refresh), deadline).await {
                // It has its own end; the client's credentials are still good.
                Err(error) if !error.retryable() => {
                    self.state().refresh = None;
                    self.grant(None, deadline).await
                }
                granted => granted,
            },
        };
        let mut state = self.state();
        match granted {
            Ok(grant) => {
                let stale = grant
                    .life
                    .and_then(|life| Instant::now().checked_add(Self::use_of(life)));
                state.generation += 1;
                state.refresh = grant
                    .refresh
                    .or(refresh.filter(|_| state.refresh.is_some()));
                state.token = Some(Token {
                    credential: grant.credential.clone(),
                    stale,
                });
                state.failures.1 = None;
                tracing::debug!(token_url = %self.token_url, life = ?grant.life, "got an OAuth token");
                Ok(Issued {
                    credential: grant.credential,
                    generation: state.generation,
                })
            }
            // One that had less time than others says nothing about what these may wait for.
            Err(error) if Instant::now() >= deadline => Err(error),
            Err(error) => {
                state.failures = (state.failures.0 + 1, Some(error.clone()));
                Err(error)
            }
        }
    }

    /// How long a token with a life of `life` is used. One that lives no longer than the leeway would be renewed for
    /// every request otherwise.
    fn use_of(life: Duration) -> Duration {
        let used = match life.checked_sub(Self::LEEWAY) {
            Some(rest) if !rest.is_zero() => rest,
            _ => life / 2,
        };
        used.max(Self::SHORTEST_LIFE)
    }

    /// One request to the token endpoint.
    async fn grant(
        &self,
        refresh: Option<&SecretString>,
        deadline: Instant,
    ) -> Result<Grant, PostError> {
        let basic = Credential::basic(&self.id, &self.secret);
        let call = Call {
            method: Method::POST,
            url: self.token_url.clone(),
            host: &self.host,
            credential: &basic,
            body: Some(Body::SecretForm(form(refresh).into_bytes().into())),
            event: None,
            lane: Lane::GoesOn,
            place: None,
        };
        let (answer, _) = self
            .channel
            .exchange(call, deadline)
            .await
            .map_err(|error| error.of_post(self.token_url.to_string()))?;
        let problem = match Self::read(&answer) {
            Ok(grant) => return Ok(grant),
            Err(problem) => problem,
        };
        let status = answer.status.as_u16();
        let hide = |text: &str| {
            let text = basic
                .redact(text)
                .replace(self.secret.expose_secret(), "[REDACTED]");
            match refresh {
                Some(refresh) => text.replace(refresh.expose_secret(), "[REDACTED]"),
                None => text,
            }
        };
        Err(PostError::Auxiliary {
            request: format!("POST {}", self.token_url),
            status: Some(status),
            problem: hide(&problem),
            retry_after: answer.retry_after,
        })
    }

    /// The token in an answer, or what is wrong with it. Of a 2xx answer nothing is quoted: it may hold a token.
    fn read(answer: &Answer) -> Result<Grant, String> {
        let status = answer.status.as_u16();
        if !answer.status.is_success() {
            let advice = match status {
                400 | 401 | 403 => " (check optimizer -> client_id and client_secret)",
                404 => " (check optimizer -> base_url, tenant_id or token_url)",
                300..=399 => " (redirects are not followed: give the final token_url)",
                _ => "",
            };
            let excerpt = answer.excerpt();
            let excerpt = if excerpt.is_empty() {
                excerpt
            } else {
                format!(": {excerpt:?}")
            };
            return Err(format!(
                "no OAuth token: HTTP status {status}{advice}{excerpt}"
            ));
        }
        let useless = |what: String| {
            format!(
                "no OAuth token: HTTP status {status}, but {what}; is this URL a token endpoint?"
            )
        };
        let body = match &answer.body {
            Received::Whole(body) => body,
            Received::TooLarge => return Err(useless("the answer is too large".into())),
            Received::Broken(how) => return Err(useless(format!("the answer broke off: {how}"))),
        };
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err(useless("the answer is no JSON object".into()));
        };
        let Some(Value::String(token)) = fields.get("access_token") else {
            return Err(useless("there is no access_token in the answer".into()));
        };
        if token.trim().is_empty() {
            return Err(useless("its access_token is blank".into()));
        }
        let credential = Credential::from_token(&format!("Bearer {}", token.trim()).into())
            .map_err(|_| useless("its access_token holds characters that no header may".into()))?;
        let refresh = match fields.get("refresh_token") {
            Some(Value::String(refresh)) if !refresh.is_empty() => {
                Some(SecretString::from(refresh.clone()))
            }
            _ => None,
        };
        let seconds = |key: &str| match fields.get(key)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let life = seconds("expires_in").or_else(|| {
            let now = Timestamp::now().as_millisecond();
            Some(seconds("expires_at")? - now as f64 / 1000.0)
        });
        Ok(Grant {
            credential,
            // A life longer than numbers can say has no end.
            life: life.and_then(|life| Duration::try_from_secs_f64(life.max(0.0)).ok()),
            refresh,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for.
fn form(refresh: Option<&SecretString>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match refresh {
        None => form.append_pair("grant_type", "client_credentials"),
        Some(refresh) => form
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", refresh.expose_secret()),
    };
    form.finish()
}

impl State {
    fn fresh(&self) -> Option<Issued> {
        let token = self.token.as_ref()?;
        let fresh = token.stale.is_none_or(|stale| Instant::now() < stale);
        fresh.then(|| Issued {
            credential: token.credential.clone(),
            generation: self.generation,
        })
    }
}

impl fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthClient")
            .field("token_url", &self.token_url.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_a_minute_before_its_end_and_for_a_second_at_least() {
        for (life, used) in [
            (3600.0, 3540.0),
            (63.0, 3.0),
            (61.0, 1.0),
            (60.0, 30.0),
            (10.0, 5.0),
            (1.0, 1.0),
            (0.0, 1.0),
        ] {
            let life = Duration::from_secs_f64(life);
            assert_eq!(
                OauthClient::use_of(life),
                Duration::from_secs_f64(used),
                "{life:?}"
            );
        }
    }
}
