//! Asks Prometheus over HTTP (`spec/metrics-and-load.md` §1.2).

use std::{path::Path, time::Duration};

use reqwest::{
    Certificate, Client, ClientBuilder, Identity, Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect,
};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    access::Access,
    base_url::BaseUrl,
    config::{PrometheusConfig, TlsConfig},
    failure::QueryError,
    query::Query,
    response::{Answer, NoAnswer},
    retry::{RetryPolicy, whole_milliseconds},
    scraped::{ActiveTarget, TargetsData},
};

/// Without a connection by then, nobody is there; an answer may take longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body that is read.
const LONGEST_BODY: usize = 64 * 1024 * 1024;
/// Longer parameters go into a body, as servers and proxies limit the length of a URL.
const LONGEST_QUERY_STRING: usize = 4 * 1024;
/// How much of an unexpected body is shown, in characters.
const EXCERPT: usize = 200;
/// How much of Prometheus' own words is shown, in characters.
const LONGEST_REFUSAL: usize = 2_000;

/// Asks one Prometheus server; keeps its connections for the next question.
#[derive(Debug)]
pub struct PrometheusClient {
    base_url: BaseUrl,
    access: Access,
    headers: HeaderMap,
    tls: TlsConfig,
    timeout: Duration,
    query_timeout: Option<servo_messages::Duration>,
    retry: RetryPolicy,
    longest_body: usize,
    /// Made at the first question: that reads certificates from files.
    http: OnceCell<Client>,
}

impl PrometheusClient {
    /// The client of a configuration. Reads no file and opens no connection yet.
    ///
    /// # Errors
    /// What `Connector::validate` reports of headers and authentication.
    pub fn new(config: &PrometheusConfig) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &config.headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| format!("headers.{name}: not a name of an HTTP header"))?;
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| format!("headers.{name}: not a value of an HTTP header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            base_url: config.base_url.clone(),
            access: Access::of(config).map_err(|problem| problem.to_string())?,
            headers,
            tls: config.tls.clone(),
            timeout: config.timeout.as_std(),
            query_timeout: config.query_timeout,
            retry: RetryPolicy::default(),
            longest_body: LONGEST_BODY,
            http: OnceCell::new(),
        })
    }

    /// The same client with another way to try again.
    #[must_use]
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// The same client with another limit on the length of an answer, in bytes. Default 64 MiB.
    #[must_use]
    pub fn with_longest_body(self, longest_body: usize) -> Self {
        Self {
            longest_body,
            ..self
        }
    }

    /// Where it asks, for people: without password.
    pub fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    /// Longest time for one request.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks, again and again where that may help. Dropping the future aborts the request.
    ///
    /// # Errors
    /// [`QueryError`]; a failure that may pass by itself only once the time to try again is over.
    pub async fn ask(&self, query: &Query<'_>) -> Result<Answer, QueryError> {
        self.ask_for(&Question::of(query, self.query_timeout), &self.retry)
            .await
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`QueryError`]
    pub(crate) async fn ask_once(&self, query: &Query<'_>) -> Result<Answer, QueryError> {
        self.ask_for(&Question::of(query, self.query_timeout), &self.once())
            .await
    }

    /// What Prometheus scrapes at present. Asks once: whoever wants to know is waiting.
    ///
    /// # Errors
    /// [`QueryError`]
    pub async fn targets(&self) -> Result<Vec<ActiveTarget>, QueryError> {
        let answer: Answer<TargetsData> = self.ask_for(&Question::targets(), &self.once()).await?;
        Ok(answer.data.active())
    }

    fn once(&self) -> RetryPolicy {
        RetryPolicy {
            budget: Duration::ZERO,
            ..self.retry.clone()
        }
    }

    async fn ask_for<D: DeserializeOwned>(
        &self,
        question: &Question,
        retry: &RetryPolicy,
    ) -> Result<Answer<D>, QueryError> {
        let http = self
            .http
            .get_or_try_init(|| connect(self.tls.clone(), self.base_url.is_https()))
            .await?;
        let url = self.base_url.endpoint(question.endpoint);
        retry
            .run(self.timeout, |limit| {
                self.attempt(http, &url, &question.parameters, limit)
            })
            .await
    }

    async fn attempt<D: DeserializeOwned>(
        &self,
        http: &Client,
        url: &Url,
        parameters: &str,
        limit: Duration,
    ) -> Result<Answer<D>, QueryError> {
        match tokio::time::timeout(limit, self.exchange(http, url, parameters)).await {
            Ok(answer) => answer,
            Err(_) => Err(QueryError::TimedOut {
                url: url.to_string(),
                after: whole_milliseconds(limit),
            }),
        }
    }

    async fn exchange<D: DeserializeOwned>(
        &self,
        http: &Client,
        url: &Url,
        parameters: &str,
    ) -> Result<Answer<D>, QueryError> {
        let method = if parameters.len() > LONGEST_QUERY_STRING {
            Method::POST
        } else {
            Method::GET
        };
        let mut response = self.send(http, url, parameters, &method).await?;
        if method == Method::POST && response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response = self.send(http, url, parameters, &Method::GET).await?;
        }
        self.read(url, response).await
    }

    async fn send(
        &self,
        http: &Client,
        url: &Url,
        parameters: &str,
        method: &Method,
    ) -> Result<Response, QueryError> {
        let request = if *method == Method::POST {
            http.post(url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(parameters.to_owned())
        } else {
            let mut with_query = url.clone();
            with_query.set_query((!parameters.is_empty()).then_some(parameters));
            http.get(with_query)
        };
        let request = self
            .access
            .apply(request.headers(self.headers.clone()))
            .await?;
        request
            .send()
            .await
            .map_err(|error| unreachable(url, error))
    }

    async fn read<D: DeserializeOwned>(
        &self,
        url: &Url,
        mut response: Response,
    ) -> Result<Answer<D>, QueryError> {
        let status = response.status();
        if status.is_redirection() {
            return Err(QueryError::Redirected {
                url: url.to_string(),
                status: status.as_u16(),
                location: location(url, response.headers()),
            });
        }
        let mut body: Vec<u8> = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unreachable(url, error))?
        {
            if body.len() + chunk.len() > self.longest_body {
                return Err(QueryError::TooLong {
                    url: url.to_string(),
                    limit: self.longest_body,
                });
            }
            body.extend_from_slice(&chunk);
        }
        let status_code = status.as_u16();
        let excerpt = || match excerpt(&body, EXCERPT) {
            text if text.is_empty() => text,
            text => format!(": {text}"),
        };
        let error = match Answer::parse(&body) {
            Ok(answer) if status.is_success() => return Ok(answer),
            Ok(_) => QueryError::Malformed {
                url: url.to_string(),
                status: status_code,
                problem: "it claims success".into(),
                excerpt: excerpt(),
            },
            Err(NoAnswer::Refused { kind, text }) => QueryError::Refused {
                status: status_code,
                kind,
                text: shortened(&text, LONGEST_REFUSAL),
            },
            Err(NoAnswer::Malformed(problem)) => QueryError::Malformed {
                url: url.to_string(),
                status: status_code,
                problem,
                excerpt: excerpt(),
            },
            Err(NoAnswer::NotJson) => QueryError::NotJson {
                url: url.to_string(),
                status: status_code,
                content_type: content_type(response.headers()),
                excerpt: excerpt(),
            },
        };
        Err(error)
    }
}

/// An endpoint of the API and the parameters for it, encoded.
struct Question {
    endpoint: &'static str,
    parameters: String,
}

impl Question {
    fn of(query: &Query<'_>, timeout: Option<servo_messages::Duration>) -> Self {
        Self {
            endpoint: query.endpoint(),
            parameters: query.encode(timeout),
        }
    }

    fn targets() -> Self {
        Self {
            endpoint: "targets",
            parameters: String::new(),
        }
    }
}

/// Makes the HTTP client.
async fn connect(tls: TlsConfig, https: bool) -> Result<Client, QueryError> {
    // Reads certificates, the machine's among them.
    tokio::task::spawn_blocking(move || build(&tls, https))
        .await
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(|cause| QueryError::Client { cause })
}

fn build(tls: &TlsConfig, https: bool) -> Result<Client, String> {
    // reqwest brings no cryptography of its own here and panics without a default. Somebody else may
    // have installed one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if tls.insecure && https {
        tracing::warn!(
            "TLS certificates of Prometheus are not verified (tls.insecure); anybody in between can read \
             and change everything"
        );
    }
    match builder(tls)?.build() {
        // A machine without any CA certificate must not fail where none is needed.
        Err(_) if !https => builder(tls)?.tls_certs_only([]).build(),
        built => built,
    }
    .map_err(|error| causes(&error))
}

fn builder(tls: &TlsConfig) -> Result<ClientBuilder, String> {
    let mut builder = Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .gzip(true)
        .deflate(true)
        .user_agent(concat!("servo-prometheus/", env!("CARGO_PKG_VERSION")));
    if let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) {
        let mut pem = read_file("tls.cert_file", certificate)?;
        pem.push(b'\n');
        pem.extend(read_file("tls.key_file", key)?);
        let identity = Identity::from_pem(&pem)
            .map_err(|error| format!("tls.cert_file and tls.key_file: {}", causes(&error)))?;
        builder = builder.identity(identity);
    }
    if tls.insecure {
        return Ok(builder.tls_danger_accept_invalid_certs(true));
    }
    let Some(path) = &tls.ca_file else {
        return Ok(builder);
    };
    let pem = read_file("tls.ca_file", path)?;
    let shown = path.display();
    let authorities = Certificate::from_pem_bundle(&pem)
        .map_err(|error| format!("tls.ca_file {shown}: {}", causes(&error)))?;
    if authorities.is_empty() {
        return Err(format!("tls.ca_file {shown}: no certificate in it"));
    }
    Ok(builder.tls_certs_only(authorities))
}

fn read_file(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{key}: cannot read {}: {error}", path.display()))
}

fn unreachable(url: &Url, error: reqwest::Error) -> QueryError {
    QueryError::Unreachable {
        url: url.to_string(),
        // The URL in it would be the one with the whole query.
        cause: causes(&error.without_url()),
    }
}

/// Where a redirect leads, without user info.
fn location(url: &Url, headers: &HeaderMap) -> String {
    let Some(text) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return "an unknown place".into();
    };
    match url.join(text) {
        Ok(mut target) => {
            let _ = target.set_username("");
            let _ = target.set_password(None);
            shortened(target.as_str(), EXCERPT)
        }
        Err(_) => "an invalid URL".into(),
    }
}

/// The content type without its parameters.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    match value
        .and_then(|value| value.split(';').next())
        .map(str::trim)
    {
        None | Some("") => "a body without content type".into(),
        Some(essence) => shortened(essence, EXCERPT),
    }
}

/// The beginning of a body on one line.
fn excerpt(body: &[u8], characters: usize) -> String {
    // A character has at most four bytes.
    let beginning = body.get(..characters * 4).unwrap_or(body);
    let text = String::from_utf8_lossy(beginning);
    shortened(text.trim(), characters)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

pub(crate) fn shortened(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// An error and its causes in one line, outermost first.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
