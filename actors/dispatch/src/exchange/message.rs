//! What travels over channels (`spec/events-and-checks.md` §4.1).

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::name::ChannelName;

/// Something that is told to whoever is interested: bytes of a known type, or a value of the
/// process that becomes JSON when somebody looks at its bytes.
///
/// Cloning does not copy the content.
///
/// ```
/// use servo_dispatch::Message;
///
/// let message = Message::json(&[1, 2]).unwrap().with_metadata("unit", "rps");
/// assert_eq!(message.content_type(), "application/json");
/// assert_eq!(message.text().unwrap(), "[1,2]");
/// assert_eq!(message.metadata("unit"), Some("rps"));
/// ```
#[derive(Clone)]
pub struct Message {
    content: Content,
    content_type: Cow<'static, str>,
    created_at: Timestamp,
    metadata: Vec<(Cow<'static, str>, Arc<str>)>,
    /// How many transformers it has come through by way of further channels.
    hops: u8,
}

#[derive(Clone)]
enum Content {
    Bytes(Arc<[u8]>),
    Value(Arc<Value>),
}

struct Value {
    value: Arc<dyn Any + Send + Sync>,
    encode: fn(&(dyn Any + Send + Sync)) -> Result<Vec<u8>, serde_json::Error>,
    encoded: OnceLock<Result<Vec<u8>, MessageError>>,
}

/// A message cannot be made, or is not what it is read as.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {attempt} a message as {form}: {reason}")]
pub struct MessageError {
    /// `read` or `write`.
    pub attempt: &'static str,
    /// `text`, `JSON` or `YAML`.
    pub form: &'static str,
    /// Why not.
    pub reason: String,
}

/// A message, and the channel that it came by. It reads as the message itself.
#[derive(Clone, Debug)]
pub struct Delivery(Arc<Delivered>);

#[derive(Debug)]
struct Delivered {
    channel: ChannelName,
    message: Message,
}

// === impl Message ===

impl Message {
    /// Metadata key of the servo that a message comes from.
    pub const SERVO: &'static str = "servo";
    /// Metadata key of the connector that a message comes from.
    pub const CONNECTOR: &'static str = "connector";
    /// Metadata key that counts by how many transformers a message was derived.
    pub const HOPS: &'static str = "hops";

    fn new(content: Content, content_type: Cow<'static, str>) -> Self {
        Self {
            content,
            content_type,
            created_at: Timestamp::now(),
            metadata: Vec::new(),
            hops: 0,
        }
    }

    /// Bytes of the given media type.
    pub fn bytes(
        content: impl Into<Arc<[u8]>>,
        content_type: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(Content::Bytes(content.into()), content_type.into())
    }

    /// Text, as `text/plain`.
    pub fn text_of(text: impl AsRef<str>) -> Self {
        Self::bytes(text.as_ref().as_bytes(), "text/plain")
    }

    /// JSON, as `application/json`.
    ///
    /// # Errors
    /// When `value` has no JSON form: a map with keys that are no texts, say.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, MessageError> {
        let content = serde_json::to_vec(value)
            .map_err(|error| MessageError::new("write", "JSON", &error))?;
        Ok(Self::bytes(content, "application/json"))
    }

    /// YAML, as `application/x-yaml`.
    ///
    /// # Errors
    /// When `value` has no YAML form.
    pub fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<Self, MessageError> {
        let content = serde_yaml::to_string(value)
            .map_err(|error| MessageError::new("write", "YAML", &error))?;
        Ok(Self::bytes(content.into_bytes(), "application/x-yaml"))
    }

    /// A value as it is, for subscribers in this process; JSON to those who ask for bytes.
    pub fn value_of<T: Serialize + Send + Sync + 'static>(value: Arc<T>) -> Self {
        let value = Value {
            value,
            encode: |value| match value.downcast_ref::<T>() {
                Some(value) => serde_json::to_vec(value),
                None => Ok(Vec::new()),
            },
            encoded: OnceLock::new(),
        };
        Self::new(
            Content::Value(Arc::new(value)),
            Cow::Borrowed("application/json"),
        )
    }

    /// With another media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// With an entry of metadata, in place of one of the same key. The keys [`Message::SERVO`],
    /// [`Message::CONNECTOR`] and [`Message::HOPS`] are the exchange's: it sets them itself.
    #[must_use]
    pub fn with_metadata(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Arc<str>>,
    ) -> Self {
        self.set(key.into(), value.into());
        self
    }

    /// With another time of making.
    #[must_use]
    pub fn with_created_at(mut self, created_at: Timestamp) -> Self {
        self.created_at = created_at;
        self
    }

    /// Media type of the content.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The entry of metadata called `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let entry = self.metadata.iter().find(|(k, _)| k == key);
        entry.map(|(_, value)| &**value)
    }

    /// All metadata.
    pub fn metadata_entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The content as bytes.
    ///
    /// # Errors
    /// When it is a value that has no JSON form.
    pub fn content(&self) -> Result<&[u8], MessageError> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes),
            Content::Value(value) => value.bytes(),
        }
    }

    /// The content as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, MessageError> {
        std::str::from_utf8(self.content()?)
            .map_err(|error| MessageError::new("read", "text", &error))
    }

    /// The content, read as JSON.
    ///
    /// # Errors
    /// When it is not, or not that of a `T`.
    pub fn parse_json<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        serde_json::from_slice(self.content()?)
            .map_err(|error| MessageError::new("read", "JSON", &error))
    }

    /// The content, read as YAML: plain data, no tags that make objects.
    ///
    /// # Errors
    /// When it is not, or not that of a `T`.
    pub fn parse_yaml<T: DeserializeOwned>(&self) -> Result<T, MessageError> {
        serde_yaml::from_slice(self.content()?)
            .map_err(|error| MessageError::new("read", "YAML", &error))
    }

    /// The value itself, when it was published as one of this type.
    pub fn value<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        match &self.content {
            Content::Value(value) => value.value.clone().downcast().ok(),
            Content::Bytes(_) => None,
        }
    }

    pub(crate) fn is_of(&self, id: std::any::TypeId) -> bool {
        match &self.content {
            Content::Value(value) => (*value.value).type_id() == id,
            Content::Bytes(_) => false,
        }
    }

    pub(crate) fn hops(&self) -> u8 {
        self.hops
    }

    pub(crate) fn with_hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// Says where it comes from, whatever it said itself.
    pub(crate) fn stamp(&mut self, servo: &Arc<str>, connector: Option<&Arc<str>>, hops: u8) {
        if self.metadata.is_empty() {
            self.metadata.reserve_exact(2);
        }
        self.set(Cow::Borrowed(Self::SERVO), servo.clone());
        match connector {
            Some(connector) => self.set(Cow::Borrowed(Self::CONNECTOR), connector.clone()),
            None => self.unset(Self::CONNECTOR),
        }
        self.hops = hops;
        match hops {
            0 => self.unset(Self::HOPS),
            hops => self.set(Cow::Borrowed(Self::HOPS), hops.to_string().into()),
        }
    }

    /// Where `self` comes from is where `other` came from.
    pub(crate) fn stamp_like(&mut self, other: &Self) {
        for key in [Self::SERVO, Self::CONNECTOR, Self::HOPS] {
            match other.metadata.iter().find(|(k, _)| k == key) {
                Some((_, value)) => self.set(Cow::Borrowed(key), value.clone()),
                None => self.unset(key),
            }
        }
        self.hops = other.hops;
    }

    pub(crate) fn connector(&self) -> Option<&Arc<str>> {
        let entry = self.metadata.iter().find(|(k, _)| k == Self::CONNECTOR);
        entry.map(|(_, value)| value)
    }

    fn set(&mut self, key: Cow<'static, str>, value: Arc<str>) {
        match self.metadata.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.metadata.push((key, value)),
        }
    }

    fn unset(&mut self, key: &str) {
        self.metadata.retain(|(k, _)| k != key);
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("content_type", &self.content_type)
            .field("created_at", &self.created_at)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

// === impl Value ===

impl Value {
    fn bytes(&self) -> Result<&[u8], MessageError> {
        let encoded = self.encoded.get_or_init(|| {
            (self.encode)(&*self.value).map_err(|error| MessageError::new("write", "JSON", &error))
        });
        match encoded {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(error.clone()),
        }
    }
}

// === impl MessageError ===

impl MessageError {
    fn new(attempt: &'static str, form: &'static str, reason: &dyn fmt::Display) -> Self {
        Self {
            attempt,
            form,
            reason: reason.to_string(),
        }
    }
}

// === impl Delivery ===

impl Delivery {
    pub(crate) fn new(channel: ChannelName, message: Message) -> Self {
        Self(Arc::new(Delivered { channel, message }))
    }

    /// The channel that it came by.
    pub fn channel(&self) -> &ChannelName {
        &self.0.channel
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.0.message
    }
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.0.message
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_message_is_read_as_what_it_is() {
        let map = BTreeMap::from([("key", "value")]);
        let json = Message::json(&map).unwrap();
        assert_eq!(json.text().unwrap(), r#"{"key":"value"}"#);
        let yaml = Message::yaml(&map).unwrap();
        assert_eq!(yaml.text().unwrap(), "key: value\n");
        assert_eq!(yaml.content_type(), "application/x-yaml");
        let read: BTreeMap<String, String> = yaml.parse_yaml().unwrap();
        assert_eq!(read["key"], "value");
        let text = Message::text_of("").with_content_type("text/html");
        assert_eq!(
            (text.text().unwrap(), text.content_type()),
            ("", "text/html")
        );
        let bytes = Message::bytes(vec![0xff], "application/octet-stream");
        let error = bytes.text().unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read a message as text"),
            "{error}"
        );
        assert!(bytes.parse_json::<u8>().is_err());
    }

    #[test]
    fn a_value_becomes_json_when_somebody_looks() {
        let message = Message::value_of(Arc::new(vec![1, 2]));
        assert_eq!(*message.value::<Vec<i32>>().unwrap(), [1, 2]);
        assert!(message.value::<String>().is_none());
        assert_eq!(message.clone().text().unwrap(), "[1,2]");
        let wrong = BTreeMap::from([((1, 2), 3)]);
        assert!(Message::value_of(Arc::new(wrong)).content().is_err());
    }
}
