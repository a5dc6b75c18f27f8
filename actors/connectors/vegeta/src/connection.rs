//! One HTTP/1.1 connection: writes a prepared request, reads its response.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    decoder::{BodyRule, Decoder},
    failure::Failure,
    head::Head,
    stream::Stream,
};

/// How much one read takes at most.
const READ_SIZE: usize = 64 * 1024;

/// The buffer that every connection of a run reads into. Decoding happens within the same poll, so one is enough and memory
/// does not grow with the number of connections.
pub(crate) struct ReadBuffer(RefCell<Box<[u8]>>);

impl Default for ReadBuffer {
    fn default() -> Self {
        Self(RefCell::new(vec![0; READ_SIZE].into_boxed_slice()))
    }
}

/// A connection between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body_bytes: u64,
}

/// A request that failed on this connection.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) failure: Failure,
    /// Not one byte of a response had come, as when the server had closed an idle connection.
    pub(crate) unanswered: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Whether an idle connection has been closed, or has received something that nobody asked for. Looks at what the reactor
    /// already knows; costs no system call on a quiet connection.
    pub(crate) fn is_stale(&mut self, buffer: &ReadBuffer) -> bool {
        let mut storage = buffer.0.borrow_mut();
        let mut read = ReadBuf::new(&mut storage);
        Pin::new(&mut self.stream)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut read)
            .is_ready()
    }

    /// Sends `head` and `body` and reads the response. After an error, and after a response whose head says so, the connection
    /// must not be used again.
    pub(crate) async fn exchange(
        &mut self,
        head: &[u8],
        body: &Bytes,
        rule: BodyRule,
        buffer: &ReadBuffer,
    ) -> Result<Response, Interrupted> {
        let mut exchange = Exchange {
            stream: &mut self.stream,
            decoder: Decoder::new(rule),
            sending: Sending::Head(0),
        };
        let outcome = poll_fn(|cx| exchange.poll(cx, head, body, buffer)).await;
        let Exchange {
            decoder, sending, ..
        } = exchange;
        match outcome {
            Ok(()) => {
                let (mut head, body_bytes) = decoder.into_parts();
                // A response that came before the whole request was sent leaves the rest of it in the way.
                head.keep_alive &= matches!(sending, Sending::Done);
                Ok(Response { head, body_bytes })
            }
            Err(failure) => Err(Interrupted {
                failure,
                unanswered: !decoder.started(),
            }),
        }
    }
}

enum Sending {
    Head(usize),
    Body(usize),
    Flush,
    Done,
    /// The server stopped listening; it may still have answered.
    Failed(Failure),
}

struct Exchange<'a> {
    stream: &'a mut Stream,
    decoder: Decoder,
    sending: Sending,
}

impl Exchange<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        body: &Bytes,
        buffer: &ReadBuffer,
    ) -> Poll<Result<(), Failure>> {
        self.poll_send(cx, head, body);
        let mut storage = buffer.0.borrow_mut();
        loop {
            let mut read = ReadBuf::new(&mut storage);
            match Pin::new(&mut *self.stream).poll_read(cx, &mut read) {
                Poll::Pending => {
                    return match &self.sending {
                        Sending::Failed(failure) => Poll::Ready(Err(failure.clone())),
                        _ => Poll::Pending,
                    };
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Poll::Ready(if self.decoder.end() {
                        Ok(())
                    } else {
                        Err(Failure::Closed)
                    });
                }
                Poll::Ready(Ok(())) => match self.decoder.feed(read.filled()) {
                    Ok(()) if self.decoder.is_complete() => return Poll::Ready(Ok(())),
                    Ok(()) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, head: &[u8], body: &Bytes) {
        loop {
            let (rest, sent) = match self.sending {
                Sending::Head(sent) => (head.get(sent..).unwrap_or_default(), sent),
                Sending::Body(sent) => (body.get(sent..).unwrap_or_default(), sent),
                Sending::Flush => {
                    self.sending = match Pin::new(&mut *self.stream).poll_flush(cx) {
                        Poll::Ready(Ok(())) => Sending::Done,
                        Poll::Ready(Err(error)) => Sending::Failed(error.into()),
                        Poll::Pending => Sending::Flush,
                    };
                    return;
                }
                Sending::Done | Sending::Failed(_) => return,
            };
            let in_head = matches!(self.sending, Sending::Head(_));
            if rest.is_empty() {
                self.sending = if in_head {
                    Sending::Body(0)
                } else {
                    Sending::Flush
                };
                continue;
            }
            match Pin::new(&mut *self.stream).poll_write(cx, rest) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => self.sending = Sending::Failed(Failure::Closed),
                Poll::Ready(Ok(count)) => {
                    self.sending = if in_head {
                        Sending::Head(sent + count)
                    } else {
                        Sending::Body(sent + count)
                    };
                }
                Poll::Ready(Err(error)) => self.sending = Sending::Failed(error.into()),
            }
        }
    }
}
