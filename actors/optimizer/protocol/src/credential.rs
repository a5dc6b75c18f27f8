//! How the text of a credential becomes a request header (`spec/optimizer-protocol.md` §2.3).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};

const SF_TOKEN: &str = "X-SF-Token";

/// A credential ready to be sent: which header, and its secret value.
///
/// | text | header |
/// |---|---|
/// | `X-SF-Token abc`, `X-SF-Token: abc` | `X-SF-Token: abc`, and no `Authorization` |
/// | `Bearer abc` (any case) | `Authorization: Bearer abc`, as written |
/// | anything else | `Authorization: Bearer <text>` |
#[derive(Debug, Clone)]
pub struct Credential {
    header: HeaderName,
    /// Sensitive, so that no debug form shows it; shared by all requests.
    value: HeaderValue,
}

/// Why a text cannot be a credential. Holds nothing of the text but the place of the offence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nothing is left once blanks and the scheme are taken away.
    #[error("token cannot be blank; give the token that the optimizer issued")]
    Blank,
    /// A character that no HTTP header may carry.
    #[error(
        "the optimizer's token holds {what} as character {position}, which no HTTP header may carry; \
         remove line breaks and other control or non-ASCII characters"
    )]
    IllegalCharacter {
        /// Place in the trimmed text, counted from 1.
        position: usize,
        /// The kind of character: `a line break`, `a control character`, `a non-ASCII character`.
        what: &'static str,
    },
}

impl Credential {
    /// Reads a credential from its text; blanks and line breaks around it are ignored.
    ///
    /// # Errors
    ///
    /// A text without a token, or with characters that a header may not carry: an error of
    /// configuration, found before anything is sent.
    pub fn from_token(token: &SecretString) -> Result<Self, CredentialError> {
        let text = token.expose_secret().trim();
        if let Some((position, c)) = text.chars().enumerate().find(|(_, c)| !is_header_char(*c)) {
            return Err(CredentialError::IllegalCharacter {
                position: position + 1,
                what: describe(c),
            });
        }
        let (header, value) = if let Some(rest) = after_sf_token(text) {
            (HeaderName::from_static("x-sf-token"), rest.to_owned())
        } else if let Some(rest) = after_word(text, "Bearer") {
            let value = if rest.is_empty() { "" } else { text };
            (AUTHORIZATION, value.to_owned())
        } else if text.is_empty() {
            (AUTHORIZATION, String::new())
        } else {
            (AUTHORIZATION, format!("Bearer {text}"))
        };
        if value.is_empty() {
            return Err(CredentialError::Blank);
        }
        Ok(Self::sensitive(header, &value.into()))
    }

    /// HTTP Basic authentication, as OAuth clients prove who they are.
    pub(crate) fn basic(id: &str, secret: &SecretString) -> Self {
        let pair = SecretString::from(format!("{id}:{}", secret.expose_secret()));
        let value = format!("Basic {}", STANDARD.encode(pair.expose_secret()));
        Self::sensitive(AUTHORIZATION, &value.into())
    }

    fn sensitive(header: HeaderName, value: &SecretString) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "from_token admits only visible ASCII, blanks and tabs; base64 is less"
        )]
        let mut value = HeaderValue::from_str(value.expose_secret())
            .expect("a credential holds only header characters");
        value.set_sensitive(true);
        Self { header, value }
    }

    /// The header's name.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's value, marked sensitive so that it prints as `Sensitive`.
    pub fn value(&self) -> HeaderValue {
        self.value.clone()
    }

    /// The header's value with everything but its scheme blanked out.
    pub(crate) fn shown(&self) -> &'static str {
        if self.header != AUTHORIZATION {
            "[REDACTED]"
        } else if self.value.as_bytes().starts_with(b"Basic ") {
            "Basic [REDACTED]"
        } else {
            "Bearer [REDACTED]"
        }
    }

    /// `text` without the secret, should a server have echoed it.
    pub(crate) fn redact(&self, text: &str) -> String {
        let value = self.value.to_str().unwrap_or_default();
        let token = after_word(value, "Bearer")
            .or_else(|| after_word(value, "Basic"))
            .unwrap_or(value);
        text.replace(token, "[REDACTED]")
    }

    /// Whether both send the same header, so that a re-read secret brings nothing new.
    pub fn same_as(&self, other: &Self) -> bool {
        self.header == other.header && self.value == other.value
    }
}

fn is_header_char(c: char) -> bool {
    c.is_ascii_graphic() || c == ' ' || c == '\t'
}

fn describe(c: char) -> &'static str {
    match c {
        '\r' | '\n' => "a line break",
        c if c.is_ascii() => "a control character",
        _ => "a non-ASCII character",
    }
}

/// What follows `X-SF-Token` and its separator (`:` and/or blanks).
fn after_sf_token(text: &str) -> Option<&str> {
    let head = text.get(..SF_TOKEN.len())?;
    let rest = text.get(SF_TOKEN.len()..)?;
    let separated = rest.is_empty() || rest.starts_with([':', ' ', '\t']);
    (head.eq_ignore_ascii_case(SF_TOKEN) && separated).then(|| {
        let rest = rest.trim_start();
        rest.strip_prefix(':').unwrap_or(rest).trim_start()
    })
}

/// What follows the leading `word` and at least one blank; empty if there is nothing but the word.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    let rest = text.get(word.len()..)?;
    let separated = rest.is_empty() || rest.starts_with([' ', '\t']);
    (head.eq_ignore_ascii_case(word) && separated).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn header(token: &str) -> Result<(String, String), CredentialError> {
        Credential::from_token(&token.into()).map(|c| {
            (
                c.header().to_string(),
                c.value().to_str().unwrap().to_owned(),
            )
        })
    }

    #[test]
    fn each_form_of_credential_becomes_its_header() {
        for (token, name, value) in [
            ("abc", "authorization", "Bearer abc"),
            ("abc\n", "authorization", "Bearer abc"),
            ("Bearer zzz", "authorization", "Bearer zzz"),
            ("bearer zzz", "authorization", "bearer zzz"),
            ("xBearerx", "authorization", "Bearer xBearerx"),
            ("my Bearer", "authorization", "Bearer my Bearer"),
            ("Bearerabc", "authorization", "Bearer Bearerabc"),
            ("X-SF-Token abc", "x-sf-token", "abc"),
            ("X-SF-Token: abc", "x-sf-token", "abc"),
            ("X-SF-Token:abc ", "x-sf-token", "abc"),
            ("x-sf-token  :  abc", "x-sf-token", "abc"),
            ("X-SF-Tokenabc", "authorization", "Bearer X-SF-Tokenabc"),
        ] {
            assert_eq!(header(token), Ok((name.into(), value.into())), "{token:?}");
        }
    }

    #[test]
    fn a_text_without_a_token_is_refused() {
        for token in ["", "  ", "Bearer", "Bearer  ", "X-SF-Token", "X-SF-Token: "] {
            assert_eq!(header(token), Err(CredentialError::Blank), "{token:?}");
        }
    }

    #[test]
    fn characters_no_header_may_carry_are_named_without_the_token() {
        for (token, what) in [
            ("se\r\ncret", "line break"),
            ("se\0cret", "control character"),
            ("sécret", "non-ASCII"),
            ("X-SF-Token se\ncret", "line break"),
        ] {
            let error = header(token).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert!(!error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn neither_debug_form_shows_the_secret() {
        let credential = Credential::from_token(&"hush-hush".into()).unwrap();
        let shown = format!("{credential:?} {:?}", credential.value());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
