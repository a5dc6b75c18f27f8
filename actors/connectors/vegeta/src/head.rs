//! The head of an HTTP/1 response: the few fields of it that matter here.

/// The most header fields a response may have.
const MOST_HEADERS: usize = 256;
/// How many fields the first attempt at parsing provides for; nearly every response has fewer.
const USUAL_HEADERS: usize = 48;

/// What makes a response unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("not an HTTP/1 response")]
    NotHttp,
    #[error("response head over 64 KiB")]
    HeadTooLong,
    #[error("response with more than 256 header fields")]
    TooManyHeaders,
    #[error("contradictory Content-Length")]
    ContentLength,
    #[error("malformed chunked body")]
    Chunk,
}

/// The parts of a response head that the load engine uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The reason phrase; kept only when the status is not a success, for the error text.
    pub(crate) reason: String,
    /// Kept only for redirects.
    pub(crate) location: Option<String>,
    /// Whether the server lets the connection be used again.
    pub(crate) keep_alive: bool,
}

/// A head with what it says of the body that follows.
pub(crate) struct ParsedHead {
    pub(crate) head: Head,
    pub(crate) length: Result<Option<u64>, DecodeError>,
    pub(crate) chunked: bool,
}

/// The head at the start of `bytes` and its size; `None` when it is not complete.
pub(crate) fn parse_head(bytes: &[u8]) -> Result<Option<(ParsedHead, usize)>, DecodeError> {
    match parse_head_with::<USUAL_HEADERS>(bytes) {
        Err(DecodeError::TooManyHeaders) => parse_head_with::<MOST_HEADERS>(bytes),
        other => other,
    }
}

fn parse_head_with<const N: usize>(
    bytes: &[u8],
) -> Result<Option<(ParsedHead, usize)>, DecodeError> {
    let mut fields = [httparse::EMPTY_HEADER; N];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(DecodeError::TooManyHeaders),
        Err(_) => return Err(DecodeError::NotHttp),
    };
    let status = response.code.unwrap_or_default();
    let mut head = Head {
        status,
        keep_alive: response.version == Some(1),
        ..Head::default()
    };
    if !(200..400).contains(&status) {
        head.reason = response.reason.unwrap_or_default().to_owned();
    }
    let mut length: Result<Option<u64>, DecodeError> = Ok(None);
    let mut transfer_encoding = None;
    for field in &*response.headers {
        if field.name.eq_ignore_ascii_case("content-length") {
            for value in field.value.split(|byte| *byte == b',') {
                let value = parse_length(value);
                length = match (length, value) {
                    (Ok(None), Some(value)) => Ok(Some(value)),
                    (Ok(Some(known)), Some(value)) if known == value => Ok(Some(known)),
                    _ => Err(DecodeError::ContentLength),
                };
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            transfer_encoding = Some(last_token(field.value).eq_ignore_ascii_case(b"chunked"));
        } else if field.name.eq_ignore_ascii_case("connection") {
            for token in field
                .value
                .split(|byte| *byte == b',')
                .map(<[u8]>::trim_ascii)
            {
                if token.eq_ignore_ascii_case(b"close") {
                    head.keep_alive = false;
                } else if token.eq_ignore_ascii_case(b"keep-alive") && response.version == Some(0) {
                    head.keep_alive = true;
                }
            }
        } else if (300..400).contains(&status) && field.name.eq_ignore_ascii_case("location") {
            head.location = Some(String::from_utf8_lossy(field.value.trim_ascii()).into_owned());
        }
    }
    // With a Transfer-Encoding the Content-Length does not count; one that does not end in `chunked` lasts until the close.
    if transfer_encoding.is_some() {
        length = Ok(None);
    }
    Ok(Some((
        ParsedHead {
            head,
            length,
            chunked: transfer_encoding == Some(true),
        },
        size,
    )))
}

fn last_token(value: &[u8]) -> &[u8] {
    value
        .rsplit(|byte| *byte == b',')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

fn parse_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}
