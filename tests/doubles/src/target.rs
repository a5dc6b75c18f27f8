//! A tiny service to put under load.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::{
    record::{Record, TimedOut},
    server::{Handler, HttpAnswer, HttpRequest, Reply, Server},
};

/// How many of the last requests are kept whole.
const KEPT: usize = 1000;

/// What the service does with a request.
#[derive(Debug, Clone)]
pub enum TargetAnswer {
    /// Answers, after this much time.
    Http {
        /// The status.
        status: u16,
        /// Time from the end of the request to the beginning of the answer.
        latency: Duration,
        /// The body.
        body: Vec<u8>,
    },
    /// Never answers.
    Stall,
    /// Resets the connection.
    Reset,
}

impl TargetAnswer {
    /// `status` at once with a short body.
    pub fn status(status: u16) -> Self {
        Self::after(Duration::ZERO, status)
    }

    /// `status` after `latency` with a short body.
    pub fn after(latency: Duration, status: u16) -> Self {
        Self::Http {
            status,
            latency,
            body: b"hello\n".to_vec(),
        }
    }
}

/// A service on 127.0.0.1 that counts its requests. Stops when dropped.
#[derive(Debug)]
pub struct HttpTarget {
    server: Server,
    record: Arc<Record<State>>,
}

#[derive(Debug)]
struct State {
    always: TargetAnswer,
    paths: BTreeMap<String, TargetAnswer>,
    first: VecDeque<(u64, TargetAnswer)>,
    count: u64,
    last: VecDeque<HttpRequest>,
}

impl Handler for Record<State> {
    fn handle(&self, request: HttpRequest) -> (Duration, Reply) {
        match self.change(|state| state.take(request)) {
            TargetAnswer::Http {
                status,
                latency,
                body,
            } => {
                let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
                let answer = HttpAnswer {
                    status,
                    headers,
                    body,
                };
                (latency, Reply::Answer(answer))
            }
            TargetAnswer::Stall => (Duration::ZERO, Reply::Stall),
            TargetAnswer::Reset => (Duration::ZERO, Reply::Reset),
        }
    }
}

impl State {
    fn take(&mut self, request: HttpRequest) -> TargetAnswer {
        self.count += 1;
        let by_path = self.paths.get(request.path()).cloned();
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(request);
        if let Some(answer) = by_path {
            return answer;
        }
        let Some((left, answer)) = self.first.front_mut() else {
            return self.always.clone();
        };
        *left -= 1;
        let (spent, answer) = (*left == 0, answer.clone());
        if spent {
            self.first.pop_front();
        }
        answer
    }
}

impl HttpTarget {
    /// Starts on a free port and gives `answer` to every request.
    ///
    /// # Panics
    ///
    /// If 127.0.0.1 cannot be listened on.
    pub fn start(answer: TargetAnswer) -> Self {
        let record = Arc::new(Record::new(State {
            always: answer,
            paths: BTreeMap::new(),
            first: VecDeque::new(),
            count: 0,
            last: VecDeque::new(),
        }));
        let server = Server::start(record.clone())
            .unwrap_or_else(|error| panic!("cannot listen on 127.0.0.1: {error}"));
        Self { server, record }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    /// From now on, `answer` to every request that nothing else is said about.
    pub fn set(&self, answer: TargetAnswer) {
        self.record.change(|state| state.always = answer);
    }

    /// From now on, `answer` to requests of `path` (without query).
    pub fn set_path(&self, path: &str, answer: TargetAnswer) {
        self.record
            .change(|state| state.paths.insert(path.to_owned(), answer));
    }

    /// `answer` to the next `requests`, behind what was queued so before.
    pub fn next(&self, requests: u64, answer: TargetAnswer) {
        if requests > 0 {
            self.record
                .change(|state| state.first.push_back((requests, answer)));
        }
    }

    /// Requests so far.
    pub fn count(&self) -> u64 {
        self.record.lock().count
    }

    /// The last requests, at most 1000.
    pub fn last_requests(&self) -> Vec<HttpRequest> {
        self.record.lock().last.iter().cloned().collect()
    }

    /// Waits until there were `requests`. Blocks the thread.
    ///
    /// # Errors
    ///
    /// There were fewer within `deadline`.
    pub fn wait_for_count(&self, requests: u64, deadline: Duration) -> Result<(), TimedOut> {
        self.record.wait(
            deadline,
            |state| (state.count >= requests).then_some(()),
            |state| format!("  {} requests", state.count),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read as _, Write as _};

    use super::*;

    fn get(target: &HttpTarget, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(target.address()).expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("write");
        let mut answer = String::new();
        match stream.read_to_string(&mut answer) {
            Ok(_) => answer,
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn a_target_counts_and_answers_as_told() {
        let target = HttpTarget::start(TargetAnswer::status(200));
        target.set_path("/health", TargetAnswer::status(204));
        target.next(1, TargetAnswer::status(503));
        target.next(1, TargetAnswer::Reset);
        assert!(get(&target, "/health?x=1").starts_with("HTTP/1.1 204"));
        assert!(get(&target, "/").starts_with("HTTP/1.1 503"));
        assert_eq!(get(&target, "/"), "connection reset");
        let began = std::time::Instant::now();
        target.set(TargetAnswer::after(Duration::from_millis(50), 200));
        assert!(get(&target, "/").ends_with("\r\n\r\nhello\n"));
        assert!(began.elapsed() >= Duration::from_millis(50));
        assert_eq!(target.count(), 4);
        assert!(target.wait_for_count(4, Duration::ZERO).is_ok());
        let error = target.wait_for_count(5, Duration::from_millis(10));
        assert!(error.is_err_and(|error| error.to_string().contains("4 requests")));
    }

    #[test]
    fn a_dropped_target_listens_no_more() {
        let target = HttpTarget::start(TargetAnswer::status(200));
        let address = target.address();
        drop(target);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
