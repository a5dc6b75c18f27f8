//! An optimizer in the same process that says what it is told to, under a clock that may be paused.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use servo_protocol::{BoxFuture, OptimizerClient, PostError, Request, Response, TransportKind};
use tokio::{sync::Notify, time::Instant};

/// What it says to a request.
pub(crate) enum Answer {
    /// This body, with status 200.
    Body(Value),
    /// An HTTP status.
    Status(u16),
    /// No connection.
    Refuse,
    /// 410 `unexpected servo_uid`.
    Replaced,
    /// Nothing.
    Hang,
    /// It breaks the servo itself.
    Panic,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) event: String,
    pub(crate) param: Value,
    pub(crate) servo_uid: Value,
    pub(crate) at: Instant,
}

type Say = dyn Fn(&Heard, usize) -> Answer + Send + Sync;

/// The optimizer. Of each request it knows how many of its event came before.
pub(crate) struct Puppet {
    say: Box<Say>,
    heard: Mutex<Vec<Heard>>,
    news: Notify,
}

/// `{"status": "ok"}`
pub(crate) fn ok() -> Answer {
    Answer::Body(json!({"status": "ok"}))
}

/// SLEEP for an hour.
pub(crate) fn idle() -> Answer {
    Answer::Body(json!({"cmd": "SLEEP", "param": {"duration": 3600}}))
}

/// MEASURE for an hour.
pub(crate) fn measure(uid: &str) -> Answer {
    Answer::Body(json!({
        "cmd": "MEASURE", "cmd_uid": uid,
        "param": {"metrics": ["a_rate"], "control": {"duration": "1h"}}
    }))
}

impl Puppet {
    pub(crate) fn new(say: impl Fn(&Heard, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            say: Box::new(say),
            heard: Mutex::default(),
            news: Notify::new(),
        })
    }

    /// One that welcomes the servo, and answers WHATS_NEXT like this and all else `ok`.
    pub(crate) fn with_commands(
        next: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::new(move |heard, before| match &*heard.event {
            "WHATS_NEXT" => next(before),
            _ => ok(),
        })
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.heard().into_iter().map(|h| h.event).collect()
    }

    /// When each request of this event came.
    pub(crate) fn times(&self, event: &str) -> Vec<Instant> {
        let heard = self.heard();
        let of_event = heard.iter().filter(|h| h.event == event);
        of_event.map(|h| h.at).collect()
    }

    /// Waits until this is true of what was heard.
    pub(crate) async fn until(&self, what: &str, is_true: impl Fn(&[Heard]) -> bool) {
        let waiting = async {
            loop {
                let news = self.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if is_true(&self.heard()) {
                    return;
                }
                news.await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(86_400), waiting).await;
        assert!(found.is_ok(), "{what}: never in {:?}", self.heard());
    }

    /// Waits until so many requests of this event have come.
    pub(crate) async fn seen(&self, event: &str, count: usize) {
        self.until(event, |heard| {
            heard.iter().filter(|h| h.event == event).count() >= count
        })
        .await;
    }

    fn hear(&self, request: &Request) -> Answer {
        let wire = serde_json::to_value(request).unwrap();
        let heard = Heard {
            event: wire["event"].as_str().unwrap().to_owned(),
            param: wire["param"].clone(),
            servo_uid: wire["servo_uid"].clone(),
            at: Instant::now(),
        };
        let before = {
            let mut all = self.heard.lock().unwrap();
            let before = all.iter().filter(|h| h.event == heard.event).count();
            all.push(heard.clone());
            before
        };
        self.news.notify_waiters();
        (self.say)(&heard, before)
    }
}

impl Heard {
    pub(crate) fn is_completion(&self) -> bool {
        self.param.get("status").is_some()
    }

    pub(crate) fn is_progress(&self) -> bool {
        self.param.get("progress").is_some()
    }
}

impl OptimizerClient for Puppet {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        Box::pin(async move {
            let failed = |kind| PostError::Transport {
                url: self.display_url(),
                kind,
                detail: "as told".to_owned(),
            };
            match self.hear(request) {
                Answer::Body(body) => {
                    Response::from_value(&body).map_err(|error| PostError::Undecodable {
                        url: self.display_url(),
                        status: 200,
                        excerpt: body.to_string(),
                        problem: error.to_string(),
                    })
                }
                Answer::Status(status) => Err(PostError::Http {
                    url: self.display_url(),
                    status,
                    excerpt: String::new(),
                    retry_after: None,
                    detail: None,
                }),
                Answer::Replaced => Err(PostError::ServoReplaced {
                    url: self.display_url(),
                }),
                Answer::Refuse => Err(failed(TransportKind::Connect)),
                Answer::Hang => {
                    tokio::time::sleep(deadline).await;
                    Err(failed(TransportKind::Timeout))
                }
                Answer::Panic => panic!("the way to the optimizer is broken"),
            }
        })
    }

    fn display_url(&self) -> String {
        "puppet://".to_owned()
    }
}
