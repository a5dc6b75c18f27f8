//! The token that requests must bring, and the certificate of this server. Both are read again while
//! the program runs, as those who rotate them expect.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::config::{AdminConfig, AdminTls, whole_file};

/// Bytes of a token, a chain or a key.
const LONGEST: u64 = 256 * 1024;

/// A token of fewer characters is guessed, not known.
const SHORT: usize = 16;

/// Why credentials cannot be used.
#[derive(Clone, Debug, Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("{key}: cannot read {}: {cause}", file.display())]
    Read {
        /// The key that names the file.
        key: &'static str,
        /// Which.
        file: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// There is no token in it.
    #[error("admin.token_file: {} holds no token: expected one line of visible characters", file.display())]
    Token {
        /// The file.
        file: PathBuf,
    },
    /// There is no certificate in it.
    #[error("admin.tls_certificate: {} holds no certificate in PEM form", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
    },
    /// There is no private key in it.
    #[error("admin.tls_key: {} holds no private key in PEM form", file.display())]
    Key {
        /// The file.
        file: PathBuf,
    },
    /// They do not belong together, or are of a kind that cannot be used.
    #[error("admin.tls_certificate and admin.tls_key cannot be used: {0}")]
    Pair(String),
}

/// What is needed to be let in, and what shows who this is.
pub(super) struct Credentials {
    token: Option<Kept<SecretString>>,
    tls: Option<Kept<Arc<ServerConfig>>>,
}

/// What comes of files, by their names and contents.
type Make<T> = fn(&[(PathBuf, Vec<u8>)]) -> Result<T, CredentialsError>;

/// Something that was read from files, and is read again.
struct Kept<T> {
    files: Vec<(&'static str, PathBuf)>,
    make: Make<T>,
    held: RwLock<Held<T>>,
}

struct Held<T> {
    value: T,
    /// Of the contents of the files as they were tried last.
    digest: u64,
}

// === impl Credentials ===

impl Credentials {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub(super) fn read(config: &AdminConfig) -> Result<Self, CredentialsError> {
        let token = config.token_file.as_ref().map(|file| {
            let files = vec![("admin.token_file", file.clone())];
            Kept::read(files, token_of)
        });
        let tls = config.tls.as_ref().map(|AdminTls { certificate, key }| {
            let files = vec![
                ("admin.tls_certificate", certificate.clone()),
                ("admin.tls_key", key.clone()),
            ];
            Kept::read(files, tls_of)
        });
        let this = Self {
            token: token.transpose()?,
            tls: tls.transpose()?,
        };
        if let Some(token) = &this.token
            && token.with(|token| token.expose_secret().len()) < SHORT
        {
            tracing::warn!(
                "the token of admin.token_file is shorter than {SHORT} characters: it can be guessed"
            );
        }
        Ok(this)
    }

    #[cfg(test)]
    pub(super) fn fixed(token: Option<&str>) -> Self {
        Self {
            token: token.map(|token| Kept {
                files: Vec::new(),
                make: token_of,
                held: RwLock::new(Held {
                    value: token.into(),
                    digest: digest(&[]),
                }),
            }),
            tls: None,
        }
    }

    pub(super) fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether `given` is the token. Takes the same time for every wrong one of its length.
    pub(super) fn is_token(&self, given: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|kept| {
            kept.with(|token| token.expose_secret().as_bytes().ct_eq(given).into())
        })
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// How connections begin, where they are encrypted.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|kept| kept.with(Arc::clone))
    }

    /// Reads the files again. What is wrong with them is logged once, and what was read before stays.
    /// Blocks on the file system.
    pub(super) fn refresh(&self) {
        if let Some(token) = &self.token {
            token.refresh("token");
        }
        if let Some(tls) = &self.tls {
            tls.refresh("certificate");
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.is_some())
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

// === impl Kept ===

impl<T> Kept<T> {
    fn read(files: Vec<(&'static str, PathBuf)>, make: Make<T>) -> Result<Self, CredentialsError> {
        let contents = contents(&files)?;
        let held = RwLock::new(Held {
            value: make(&contents)?,
            digest: digest(&contents),
        });
        Ok(Self { files, make, held })
    }

    fn with<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(
            &self
                .held
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .value,
        )
    }

    fn refresh(&self, what: &str) {
        let read = contents(&self.files);
        let digest = match &read {
            Ok(contents) => digest(contents),
            Err(error) => {
                let mut hasher = DefaultHasher::new();
                error.to_string().hash(&mut hasher);
                hasher.finish()
            }
        };
        let held = || self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held().digest == digest {
            return;
        }
        let made = read.and_then(|contents| (self.make)(&contents));
        let mut held = held();
        held.digest = digest;
        match made {
            Ok(value) => {
                held.value = value;
                tracing::info!("the {what} of the admin server was read anew");
            }
            Err(error) => tracing::warn!("the {what} of the admin server stays as it was: {error}"),
        }
    }
}

fn contents(
    files: &[(&'static str, PathBuf)],
) -> Result<Vec<(PathBuf, Vec<u8>)>, CredentialsError> {
    let read = |(key, file): &(&'static str, PathBuf)| match whole_file::read(file, LONGEST) {
        Ok(bytes) => Ok((file.clone(), bytes)),
        Err(cause) => Err(CredentialsError::Read {
            key,
            file: file.clone(),
            cause: Arc::new(cause),
        }),
    };
    files.iter().map(read).collect()
}

fn digest(contents: &[(PathBuf, Vec<u8>)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (_, bytes) in contents {
        bytes.hash(&mut hasher);
    }
    hasher.finish()
}

fn token_of(contents: &[(PathBuf, Vec<u8>)]) -> Result<SecretString, CredentialsError> {
    let file = || contents.first().map(|(f, _)| f.clone()).unwrap_or_default();
    let bytes = contents.first().map(|(_, bytes)| bytes.trim_ascii());
    bytes
        .filter(|token| !token.is_empty() && token.iter().all(u8::is_ascii_graphic))
        .and_then(|token| std::str::from_utf8(token).ok())
        .map(SecretString::from)
        .ok_or_else(|| CredentialsError::Token { file: file() })
}

fn tls_of(contents: &[(PathBuf, Vec<u8>)]) -> Result<Arc<ServerConfig>, CredentialsError> {
    let [(certificate, chain), (key_file, key)] = contents else {
        return Err(CredentialsError::Pair("one of them is missing".to_owned()));
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if chain.is_empty() {
        let file = certificate.clone();
        return Err(CredentialsError::Certificate { file });
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CredentialsError::Key {
        file: key_file.clone(),
    })?;
    let pair = |error: rustls::Error| CredentialsError::Pair(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    const CHAIN: &str = include_str!("../../../actors/optimizer/protocol/tests/tls/server.pem");
    const KEY: &str = include_str!("../../../actors/optimizer/protocol/tests/tls/server.key");

    #[test]
    fn a_token_is_rotated_and_a_broken_one_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let config = AdminConfig {
            token_file: Some(file.clone()),
            ..AdminConfig::default()
        };
        let error = Credentials::read(&config).unwrap_err().to_string();
        assert!(
            error.contains("admin.token_file") && error.contains("token"),
            "{error}"
        );
        fs::write(&file, " \n").unwrap();
        let error = Credentials::read(&config).unwrap_err().to_string();
        assert!(error.contains("holds no token"), "{error}");
        fs::write(&file, "first-token-of-all\n").unwrap();
        let credentials = Credentials::read(&config).unwrap();
        assert!(credentials.is_token(b"first-token-of-all"));
        assert!(!credentials.is_token(b"") && !credentials.is_token(b"first-token-of-al"));
        fs::write(&file, "second-token-of-all\n").unwrap();
        credentials.refresh();
        assert!(credentials.is_token(b"second-token-of-all"));
        assert!(!credentials.is_token(b"first-token-of-all"));
        fs::write(&file, "").unwrap();
        credentials.refresh();
        fs::remove_file(&file).unwrap();
        credentials.refresh();
        assert!(credentials.is_token(b"second-token-of-all"));
        assert!(!format!("{credentials:?}").contains("second"));
    }

    #[test]
    fn what_is_no_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c"), folder.path().join("k"));
        let config = AdminConfig {
            tls: Some(AdminTls {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            ..AdminConfig::default()
        };
        for (chain, pem, told) in [
            ("", KEY, "no certificate"),
            (CHAIN, "", "no private key"),
            (CHAIN, CHAIN, "no private key"),
            (KEY, KEY, "no certificate"),
        ] {
            fs::write(&certificate, chain).unwrap();
            fs::write(&key, pem).unwrap();
            let error = Credentials::read(&config).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        fs::write(&certificate, CHAIN).unwrap();
        fs::write(&key, KEY).unwrap();
        assert!(Credentials::read(&config).unwrap().tls().is_some());
    }
}
