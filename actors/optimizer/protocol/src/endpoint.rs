//! Which optimizer, where, and with which token (`spec/optimizer-protocol.md` §2.1).

use std::{fmt, fs, io, path::PathBuf, str::FromStr};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{Credential, CredentialError};

/// The public optimizer's address; used if no other is configured.
const DEFAULT_BASE_URL: &str = "https://api.opsani.com";

/// A token file holds one line; more than this is some other file.
const MAX_TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// `<organization>/<name>`: whose optimizer, and which of theirs.
///
/// The organization is 5 to 50 of `A-Z a-z 0-9 - .`, not beginning with a dash; the name 1 to 64 of
/// `A-Z a-z 0-9 _ - .`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OptimizerId {
    organization: String,
    name: String,
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// Given in the configuration or the environment.
    Inline(SecretString),
    /// A file whose trimmed content is the token; read again when the optimizer refuses the old one, so
    /// that a rotated secret works without a restart.
    File(PathBuf),
}

/// One optimizer of the Opsani kind: its id, its URL, its credential. All parts are valid.
#[derive(Debug, Clone)]
pub struct OpsaniEndpoint {
    id: OptimizerId,
    url: Url,
    events_url: Url,
    token: TokenSource,
    credential: Credential,
}

/// What is wrong with an optimizer's configuration. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The id does not have the form of one.
    #[error(
        "optimizer id {id:?}: {problem}; expected <organization>/<name>, such as dev.opsani.com/app1"
    )]
    Id {
        /// The text given.
        id: String,
        /// Which rule it breaks.
        problem: String,
    },
    /// `base_url` or `url` cannot be used.
    #[error("optimizer {key} {url:?}: {problem}; expected an http:// or https:// URL")]
    Url {
        /// The key: `base_url` or `url`.
        key: &'static str,
        /// The text given, without user information.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The token file cannot be read.
    #[error("cannot read the optimizer's token file {path}: {error}; mount it, or give the token itself", path = path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// The token file is empty, which means that there is no token.
    #[error(
        "the optimizer's token file {path} is empty; write the token into it, or give the token itself", path = path.display()
    )]
    EmptyTokenFile {
        /// The file.
        path: PathBuf,
    },
    /// The token cannot be sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

// === impl OptimizerId ===

impl OptimizerId {
    /// Whose optimizer.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// Which of theirs.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for OptimizerId {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |problem: &str| EndpointError::Id {
            id: text.to_owned(),
            problem: problem.to_owned(),
        };
        let Some((organization, name)) = text.split_once('/') else {
            return Err(error("there is no slash in it"));
        };
        if name.contains('/') {
            return Err(error("there is more than one slash in it"));
        }
        if organization.starts_with('-') {
            return Err(error("the organization begins with a dash"));
        }
        if !organization
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        {
            return Err(error(
                "the organization may hold only letters, digits, `-` and `.`",
            ));
        }
        if !(5..=50).contains(&organization.len()) {
            return Err(error("the organization must be 5 to 50 characters long"));
        }
        if !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        {
            return Err(error(
                "the name may hold only letters, digits, `_`, `-` and `.`",
            ));
        }
        if !(1..=64).contains(&name.len()) {
            return Err(error("the name must be 1 to 64 characters long"));
        }
        // In a URL these two mean another directory.
        if matches!(name, "." | "..") {
            return Err(error("the name must not be `.` or `..`"));
        }
        Ok(Self {
            organization: organization.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for OptimizerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.organization, self.name)
    }
}

// === impl TokenSource ===

impl TokenSource {
    /// Reads the credential. Blocks on the file system for [`TokenSource::File`]: call it where blocking
    /// is allowed.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is empty, or the token cannot be sent.
    pub fn read(&self) -> Result<Credential, EndpointError> {
        match self {
            Self::Inline(token) => Ok(Credential::from_token(token)?),
            Self::File(path) => match read_token_file(path)? {
                Some(token) => Ok(Credential::from_token(&token)?),
                None => Err(EndpointError::EmptyTokenFile { path: path.clone() }),
            },
        }
    }

    /// Whether there is a token at all: an empty file, such as `/dev/null` in place of one, says that there is none
    /// here. Blocks as [`TokenSource::read`] does.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn is_present(&self) -> Result<bool, EndpointError> {
        match self {
            Self::Inline(_) => Ok(true),
            Self::File(path) => Ok(read_token_file(path)?.is_some()),
        }
    }
}

/// The trimmed content; none if there is nothing but blanks.
fn read_token_file(path: &PathBuf) -> Result<Option<SecretString>, EndpointError> {
    let token = read_bounded(path).map_err(|error| EndpointError::TokenFile {
        path: path.clone(),
        error,
    })?;
    Ok(Some(token).filter(|token| !token.expose_secret().is_empty()))
}

fn read_bounded(path: &PathBuf) -> io::Result<SecretString> {
    use io::Read as _;
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(MAX_TOKEN_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_TOKEN_FILE_BYTES {
        return Err(io::Error::other("too large for a token"));
    }
    let token = SecretString::from(text);
    Ok(SecretString::from(token.expose_secret().trim().to_owned()))
}

// === impl OpsaniEndpoint ===

impl OpsaniEndpoint {
    /// Puts an endpoint together. `url` replaces the one that is made from `base_url` and the id; without
    /// either, the public optimizer's is used.
    ///
    /// Reads the token file, if there is one, and so blocks: meant for the time when configuration is
    /// loaded, not for an arbiter.
    ///
    /// # Errors
    ///
    /// A URL that is none, holds credentials, or is neither http nor https; a token that cannot be read or
    /// sent.
    pub fn new(
        id: OptimizerId,
        token: TokenSource,
        base_url: Option<&str>,
        url: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let url = match url {
            Some(url) => parse_url("url", url)?,
            None => {
                let base = parse_url("base_url", base_url.unwrap_or(DEFAULT_BASE_URL))?;
                let OptimizerId { organization, name } = &id;
                below(
                    &base,
                    &format!("accounts/{organization}/applications/{name}/"),
                )
            }
        };
        let events_url = below(&url, "servo");
        let credential = token.read()?;
        Ok(Self {
            id,
            url,
            events_url,
            token,
            credential,
        })
    }

    /// Whose optimizer, and which of theirs.
    pub fn id(&self) -> &OptimizerId {
        &self.id
    }

    /// The optimizer's URL: as given, or made from `base_url` and the id, then with a trailing slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where events are posted.
    pub fn events_url(&self) -> &Url {
        &self.events_url
    }

    /// Where the token comes from.
    pub fn token(&self) -> &TokenSource {
        &self.token
    }

    /// The credential as read when the endpoint was made.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }
}

/// `base` without trailing slashes, then `/` and `path`.
pub(crate) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

pub(crate) fn parse_url(key: &'static str, text: &str) -> Result<Url, EndpointError> {
    let mut url = Url::parse(text).map_err(|error| EndpointError::Url {
        key,
        // Text that is no URL may still hold a password before an `@`.
        url: text.rsplit('@').next().unwrap_or_default().to_owned(),
        problem: error.to_string(),
    })?;
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    // Only URLs that cannot hold credentials refuse these.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    let problem = if has_credentials {
        "holds a user name or password (give the credential as `token`)"
    } else if !matches!(url.scheme(), "http" | "https") {
        "has another scheme"
    } else if url.query().is_some() || url.fragment().is_some() {
        "holds a query or a fragment"
    } else {
        return Ok(url);
    };
    Err(EndpointError::Url {
        key,
        url: url.to_string(),
        problem: problem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn events_url(base_url: Option<&str>, url: Option<&str>) -> Result<String, EndpointError> {
        let id = "dev.opsani.com/app1".parse()?;
        OpsaniEndpoint::new(id, TokenSource::Inline("t".into()), base_url, url)
            .map(|endpoint| endpoint.events_url().to_string())
    }

    #[test]
    fn the_events_url_comes_from_id_base_url_or_override() {
        let opsani = "https://api.opsani.com/accounts/dev.opsani.com/applications/app1/servo";
        assert_eq!(events_url(None, None).unwrap(), opsani);
        for (base, expected) in [
            (
                "http://h:1//",
                "http://h:1/accounts/dev.opsani.com/applications/app1/servo",
            ),
            (
                "http://h/pre/fix/",
                "http://h/pre/fix/accounts/dev.opsani.com/applications/app1/servo",
            ),
        ] {
            assert_eq!(events_url(Some(base), None).unwrap(), expected);
        }
        for url in ["http://h:1/over/ride", "http://h:1/over/ride/"] {
            assert_eq!(
                events_url(Some("http://other"), Some(url)).unwrap(),
                "http://h:1/over/ride/servo"
            );
        }
    }

    #[test]
    fn urls_that_cannot_be_posted_to_are_refused_by_key_and_without_password() {
        for url in [
            "nonsense",
            "ftp://h/",
            "http://user:hush@h/",
            "http://hush@h/",
            "//user:hush@h",
            "http://h/?x=hush",
        ] {
            let error = events_url(Some(url), None).unwrap_err().to_string();
            assert!(error.contains("base_url"), "{error}");
            assert!(!error.contains("hush@"), "{error}");
        }
    }

    #[test]
    fn the_application_url_is_the_given_one_or_ends_with_a_slash() {
        let url = |base_url, url| {
            let id = "dev.opsani.com/app1".parse().unwrap();
            OpsaniEndpoint::new(id, TokenSource::Inline("t".into()), base_url, url)
                .unwrap()
                .url()
                .to_string()
        };
        for (base, expected) in [
            (
                None,
                "https://api.opsani.com/accounts/dev.opsani.com/applications/app1/",
            ),
            (
                Some("https://foo.opsani.com/"),
                "https://foo.opsani.com/accounts/dev.opsani.com/applications/app1/",
            ),
            (
                Some("https://x//"),
                "https://x/accounts/dev.opsani.com/applications/app1/",
            ),
        ] {
            assert_eq!(url(base, None), expected);
        }
        assert_eq!(
            url(Some("https://x"), Some("http://h/over")),
            "http://h/over"
        );
    }

    /// The examples of `spec/config-and-cli.md` §2.3.
    #[test]
    fn ids_follow_the_rules() {
        let longest = format!("{}/{}", "a".repeat(50), "b".repeat(64));
        for id in [
            "dev.opsani.com/app",
            "dev.opsani.com/app1",
            "abcde/x",
            "abcde/1234",
            "abcde.com/this.that.the.other",
            "a-b.c/_X-1.y",
            "abcde/...",
            &longest,
        ] {
            assert_eq!(id.parse::<OptimizerId>().unwrap().to_string(), id);
        }
        let long = format!("{}/x", "a".repeat(51));
        let long_name = format!("abcde/{}", "a".repeat(65));
        for (id, rule) in [
            ("abc/x", "5 to 50 characters"),
            ("abcd/x", "5 to 50 characters"),
            (long.as_str(), "5 to 50 characters"),
            ("/", "5 to 50 characters"),
            ("-bcde/x", "begins with a dash"),
            ("-abcd.com/x", "begins with a dash"),
            ("abcde/x/y", "more than one slash"),
            ("a/b/c", "more than one slash"),
            ("abcde", "no slash"),
            ("", "no slash"),
            ("abcde/", "1 to 64 characters"),
            (long_name.as_str(), "1 to 64 characters"),
            ("abcde/x=", "the name may hold only"),
            ("abcde/a b", "the name may hold only"),
            ("under_score/x", "the organization may hold only"),
            ("äbcdef/x", "the organization may hold only"),
            ("abcde/..", "must not be `.` or `..`"),
            ("abcde/.", "must not be `.` or `..`"),
        ] {
            let error = id.parse::<OptimizerId>().unwrap_err().to_string();
            assert!(
                error.starts_with("optimizer id") && error.contains(rule),
                "{error}"
            );
        }
    }

    #[test]
    fn an_empty_token_file_says_that_there_is_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let source = TokenSource::File(path.clone());
        assert!(matches!(
            source.is_present(),
            Err(EndpointError::TokenFile { .. })
        ));
        for blank in ["", " \n"] {
            fs::write(&path, blank).unwrap();
            assert!(!source.is_present().unwrap());
            let error = source.read().unwrap_err().to_string();
            assert!(
                error.contains(&*path.to_string_lossy()) && error.contains("is empty"),
                "{error}"
            );
        }
        assert!(!TokenSource::File("/dev/null".into()).is_present().unwrap());
        fs::write(&path, "abc").unwrap();
        assert!(source.is_present().unwrap());
        let blank = TokenSource::Inline("  ".into()).read().unwrap_err();
        assert!(
            blank.to_string().starts_with("token cannot be blank"),
            "{blank}"
        );
    }

    #[test]
    fn a_token_file_is_trimmed_and_an_unreadable_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let source = TokenSource::File(path.clone());
        let error = source.read().unwrap_err().to_string();
        assert!(
            error.contains(&*path.to_string_lossy()) && error.contains("No such file"),
            "{error}"
        );
        fs::write(&path, "abc\n").unwrap();
        assert_eq!(source.read().unwrap().value(), "Bearer abc");
        fs::write(&path, vec![b'a'; 100_000]).unwrap();
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }
}
