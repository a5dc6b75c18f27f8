//! HTTP/1 responses as they arrive: a push decoder that counts bodies and never stores them.
//!
//! The decoder is fed whatever a read returned, so a connection needs no buffer of its own: only a head that is split across
//! reads is kept until it is complete. Follows RFC 9112 §6 for the length of a body.

use crate::{
    chunked::{Chunk, Malformed},
    head::{DecodeError, Head, ParsedHead, parse_head},
};

/// The longest head, chunk-size line or trailer section that is accepted, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

impl From<Malformed> for DecodeError {
    fn from(_: Malformed) -> Self {
        Self::Chunk
    }
}

/// What the request says about the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// As the response's own fields say.
    Declared,
    /// There is none, whatever the fields say (HEAD).
    Absent,
    /// A success turns the connection into a tunnel, so there is none either (CONNECT).
    AbsentOnSuccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length { left: u64 },
    Chunked(Chunk),
    UntilClose,
    Complete,
}

/// One response in the making.
#[derive(Debug)]
pub(crate) struct Decoder {
    rule: BodyRule,
    state: State,
    /// The beginning of a head that is not complete yet.
    partial: Vec<u8>,
    head: Head,
    body_bytes: u64,
    started: bool,
}

impl Decoder {
    pub(crate) fn new(rule: BodyRule) -> Self {
        Self {
            rule,
            state: State::Head,
            partial: Vec::new(),
            head: Head::default(),
            body_bytes: 0,
            started: false,
        }
    }

    /// Whether any byte of a response has come.
    pub(crate) fn started(&self) -> bool {
        self.started
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The head and the number of body bytes; meaningful once complete.
    pub(crate) fn into_parts(self) -> (Head, u64) {
        (self.head, self.body_bytes)
    }

    /// Takes in `bytes`. Bytes after the end of the response make the connection unfit for another request.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        self.started |= !bytes.is_empty();
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.feed_head(bytes)?,
                State::Length { left } => {
                    let (taken, rest) = split_at_most(bytes, left);
                    self.body_bytes += taken;
                    self.state = if taken == left {
                        State::Complete
                    } else {
                        State::Length { left: left - taken }
                    };
                    rest
                }
                State::Chunked(chunk) => self.feed_chunk(chunk, bytes)?,
                State::UntilClose => {
                    self.body_bytes += bytes.len() as u64;
                    &[]
                }
                State::Complete => {
                    self.head.keep_alive = false;
                    &[]
                }
            };
        }
        Ok(())
    }

    /// The connection has ended. True when that completes the response.
    pub(crate) fn end(&mut self) -> bool {
        self.head.keep_alive = false;
        if self.state == State::UntilClose {
            self.state = State::Complete;
        }
        self.is_complete()
    }

    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        if self.partial.is_empty() {
            return match parse_head(bytes)? {
                Some((head, length)) => {
                    self.accept(head)?;
                    Ok(bytes.get(length..).unwrap_or_default())
                }
                None => {
                    self.partial.extend_from_slice(bytes);
                    Ok(&[])
                }
            };
        }
        let before = self.partial.len();
        self.partial.extend_from_slice(bytes);
        match parse_head(&self.partial)? {
            Some((head, length)) => {
                self.accept(head)?;
                self.partial = Vec::new();
                Ok(bytes
                    .get(length.saturating_sub(before)..)
                    .unwrap_or_default())
            }
            None if self.partial.len() > LONGEST_HEAD => Err(DecodeError::HeadTooLong),
            None => Ok(&[]),
        }
    }

    /// Decides from a head what follows it.
    fn accept(&mut self, parsed: ParsedHead) -> Result<(), DecodeError> {
        let ParsedHead {
            head,
            length,
            chunked,
        } = parsed;
        // Interim responses (100 Continue, 103 Early Hints) precede the real one.
        if (100..200).contains(&head.status) && head.status != 101 {
            return Ok(());
        }
        let success = (200..300).contains(&head.status);
        let absent = match self.rule {
            BodyRule::Absent => true,
            BodyRule::AbsentOnSuccess => success,
            BodyRule::Declared => matches!(head.status, 101 | 204 | 304),
        };
        let tunnel = head.status == 101 || (self.rule == BodyRule::AbsentOnSuccess && success);
        self.head = head;
        self.head.keep_alive &= !tunnel;
        self.state = if absent {
            State::Complete
        } else if chunked {
            State::Chunked(Chunk::START)
        } else {
            match length? {
                Some(0) => State::Complete,
                Some(left) => State::Length { left },
                None => State::UntilClose,
            }
        };
        Ok(())
    }

    fn feed_chunk<'a>(&mut self, chunk: Chunk, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        if let Chunk::Data { left } = chunk {
            let (taken, rest) = split_at_most(bytes, left);
            self.body_bytes += taken;
            self.state = State::Chunked(if taken == left {
                Chunk::DataEnd { seen_return: false }
            } else {
                Chunk::Data { left: left - taken }
            });
            return Ok(rest);
        }
        let Some((&byte, rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        self.state = chunk.step(byte)?.map_or(State::Complete, State::Chunked);
        Ok(rest)
    }
}

/// How many of `bytes` belong to the next `left`, and the others.
fn split_at_most(bytes: &[u8], left: u64) -> (u64, &[u8]) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (taken as u64, bytes.get(taken..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn decode(rule: BodyRule, bytes: &[u8]) -> Decoder {
        let mut decoder = Decoder::new(rule);
        decoder.feed(bytes).unwrap();
        decoder
    }

    #[test]
    fn bodies_by_length_by_chunks_until_close_and_absent() {
        for (rule, text, complete, body, keep_alive) in [
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                true,
                5,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
                true,
                5,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
                false,
                4,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                true,
                0,
                false,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
                true,
                0,
                false,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n",
                true,
                0,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 204 No Content\r\n\r\n",
                true,
                0,
                true,
            ),
            (
                BodyRule::Absent,
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                true,
                0,
                true,
            ),
            (
                BodyRule::AbsentOnSuccess,
                "HTTP/1.1 200 Connected\r\n\r\n",
                true,
                0,
                false,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
                true,
                1,
                false,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\n\r\nabc",
                false,
                3,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
                true,
                2,
                true,
            ),
            (
                BodyRule::Declared,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
                true,
                15,
                true,
            ),
        ] {
            let decoder = decode(rule, text.as_bytes());
            assert_eq!(decoder.is_complete(), complete, "{text}");
            let (head, bytes) = decoder.into_parts();
            assert_eq!((bytes, head.keep_alive), (body, keep_alive), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_connection_completes_only_a_body_without_length() {
        assert!(decode(BodyRule::Declared, b"HTTP/1.1 200 OK\r\n\r\nabc").end());
        assert!(
            !decode(
                BodyRule::Declared,
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"
            )
            .end()
        );
        assert!(!decode(BodyRule::Declared, b"HTTP/1.1 200").end());
    }

    #[test]
    fn reason_and_location_are_kept_where_they_are_needed() {
        let (head, _) = decode(
            BodyRule::Declared,
            b"HTTP/1.1 503 Out of Coffee\r\nContent-Length: 0\r\n\r\n",
        )
        .into_parts();
        assert_eq!((head.status, head.reason.as_str()), (503, "Out of Coffee"));
        let (head, _) = decode(
            BodyRule::Declared,
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        )
        .into_parts();
        assert_eq!(head.location.as_deref(), Some("/x"));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for (text, error) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", DecodeError::NotHttp),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                DecodeError::ContentLength,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                DecodeError::ContentLength,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                DecodeError::Chunk,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                DecodeError::Chunk,
            ),
        ] {
            assert_eq!(
                Decoder::new(BodyRule::Declared).feed(text.as_bytes()),
                Err(error),
                "{text}"
            );
        }
        let mut endless = Decoder::new(BodyRule::Declared);
        endless.feed(b"HTTP/1.1 200 OK\r\nX: ").unwrap();
        let outcome = (0..100).try_for_each(|_| endless.feed(&[b'a'; 1024]));
        assert_eq!(outcome, Err(DecodeError::HeadTooLong));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}Content-Length: 1\r\n\r\na",
            "A: b\r\n".repeat(200)
        );
        assert!(decode(BodyRule::Declared, many.as_bytes()).is_complete());
        let too_many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(300));
        assert_eq!(
            Decoder::new(BodyRule::Declared).feed(too_many.as_bytes()),
            Err(DecodeError::TooManyHeaders)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_way_of_cutting_a_response_gives_the_same_result(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5),
            cuts in proptest::collection::vec(1_usize..20, 1..40),
        ) {
            let mut wire = b"HTTP/1.1 404 Nope\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let mut decoder = Decoder::new(BodyRule::Declared);
            let (mut rest, mut cuts) = (wire.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                prop_assert!(!decoder.is_complete());
                let (piece, others) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                decoder.feed(piece).unwrap();
                rest = others;
            }
            prop_assert!(decoder.is_complete());
            let (head, bytes) = decoder.into_parts();
            prop_assert_eq!(bytes, chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
            prop_assert_eq!((head.status, head.reason.as_str(), head.keep_alive), (404, "Nope", true));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_without_a_panic(
            head in "(HTTP/1\\.[01] [0-9]{1,4} \\PC{0,5}\r\n(Content-Length: [0-9]{0,25}\r\n|Transfer-Encoding: chunked\r\n){0,3}\r\n)?",
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut decoder = Decoder::new(BodyRule::Declared);
            let _ = decoder.feed(head.as_bytes()).and_then(|()| decoder.feed(&body));
            decoder.end();
        }
    }
}
