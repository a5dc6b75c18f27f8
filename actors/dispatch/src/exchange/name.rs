//! Names of channels (`spec/events-and-checks.md` §4.2).

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The name of a channel: 1 to 253 of letters, digits, `.`, `-` and `_`, beginning and ending with
/// a letter or a digit. Case counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(Arc<str>);

/// A text is no name of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid channel name {0:?}: expected 1 to 253 of a-z, A-Z, 0-9, '.', '-' and '_', with a letter or digit at both ends"
)]
pub struct ChannelNameError(pub String);

// === impl ChannelName ===

impl ChannelName {
    /// Validates `name`; blanks around it do not count.
    ///
    /// # Errors
    /// When it has other characters than allowed, or too many or too few.
    pub fn try_new(name: &str) -> Result<Self, ChannelNameError> {
        let name = name.trim();
        if is_valid(name.as_bytes()) {
            Ok(Self(name.into()))
        } else {
            Err(ChannelNameError(name.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One that no other channel bears: a ULID, so that names sort by the time they were made.
    pub(crate) fn unique() -> Self {
        const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let millis = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        let noise = u128::from(random()) << 64 | u128::from(random());
        let id = u128::from(millis) << 80 | noise >> 48;
        let digits = (0..26).rev().map(|i| {
            let digit = (id >> (5 * i)) & 31;
            CROCKFORD
                .get(usize::try_from(digit).unwrap_or_default())
                .map_or('0', |c| char::from(*c))
        });
        Self(digits.collect::<String>().into())
    }
}

/// From the seed that the standard library takes from the operating system.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Whether that is a name, without blanks around it.
pub(crate) const fn is_valid(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 253 {
        return false;
    }
    let mut i = 0;
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        let inside = i > 0 && !tail.is_empty();
        let fits = byte.is_ascii_alphanumeric() || (inside && matches!(*byte, b'.' | b'-' | b'_'));
        if !fits {
            return false;
        }
        i += 1;
        rest = tail;
    }
    true
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl PartialEq<str> for ChannelName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for ChannelName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl AsRef<str> for ChannelName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::try_new(name)
    }
}

impl TryFrom<&str> for ChannelName {
    type Error = ChannelNameError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::try_new(name)
    }
}

impl TryFrom<String> for ChannelName {
    type Error = ChannelNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::try_new(&name)
    }
}

impl From<&ChannelName> for ChannelName {
    fn from(name: &ChannelName) -> Self {
        name.clone()
    }
}

impl From<Infallible> for ChannelNameError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unique_names_are_ulids() {
        let (a, b) = (ChannelName::unique(), ChannelName::unique());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 26);
        assert!(a.as_str().starts_with("01"), "{a}");
        ChannelName::try_new(a.as_str()).unwrap();
    }
}
