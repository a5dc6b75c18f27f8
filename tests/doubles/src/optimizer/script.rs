//! What a scripted optimizer hands out, and how it misbehaves.

use std::time::Duration;

use serde_json::{Value, json};

/// The commands that an optimizer hands out, in order.
///
/// DESCRIBE, MEASURE and ADJUST stay until they are completed; asking again returns the same command
/// (`spec/optimizer-protocol.md` §20). Everything else (SLEEP, unknown words, what is no command at all) is
/// handed out once. After the last one the optimizer answers SLEEP.
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) answers: Vec<Value>,
    pub(crate) idle: Value,
    pub(crate) servo_uid: Option<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// No commands: SLEEP for ever.
    pub fn new() -> Self {
        Self {
            answers: Vec::new(),
            idle: json!({
                "cmd": "SLEEP",
                "param": {"duration": 60, "data": {"reason": "no active optimization pipeline"}}
            }),
            servo_uid: None,
        }
    }

    /// Then this answer to WHATS_NEXT, as it stands.
    pub fn then(mut self, answer: Value) -> Self {
        self.answers.push(answer);
        self
    }

    /// Then DESCRIBE.
    pub fn describe(self, cmd_uid: &str) -> Self {
        self.then(json!({"cmd": "DESCRIBE", "cmd_uid": cmd_uid, "param": {}}))
    }

    /// Then MEASURE of `metrics` with `control`.
    pub fn measure(self, cmd_uid: &str, metrics: &[&str], control: Value) -> Self {
        self.then(json!({
            "cmd": "MEASURE", "cmd_uid": cmd_uid,
            "param": {"metrics": metrics, "control": control}
        }))
    }

    /// Then ADJUST of one setting.
    pub fn adjust(self, cmd_uid: &str, component: &str, setting: &str, value: Value) -> Self {
        self.then(json!({
            "cmd": "ADJUST", "cmd_uid": cmd_uid,
            "param": {
                "state": {"application": {"components": {
                    component: {"settings": {setting: {"value": value}}}
                }}},
                "control": {}
            }
        }))
    }

    /// Then SLEEP.
    pub fn sleep(self, duration: Value) -> Self {
        self.then(json!({
            "cmd": "SLEEP",
            "param": {"duration": duration, "data": {"reason": "scripted"}}
        }))
    }

    /// After the last command, this instead of SLEEP for 60 s.
    pub fn idle(mut self, answer: Value) -> Self {
        self.idle = answer;
        self
    }

    /// Answers 410 `unexpected servo_uid` to every other servo.
    pub fn expects_servo_uid(mut self, servo_uid: &str) -> Self {
        self.servo_uid = Some(servo_uid.to_owned());
        self
    }
}

/// Whether a report is progress or a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// It holds the key `progress`.
    Progress,
    /// It holds the key `status`.
    Completion,
}

/// Which requests a [`Fault`] meets: by default one, of any event.
#[derive(Debug, Clone)]
pub struct On {
    pub(crate) event: Option<String>,
    pub(crate) kind: Option<ReportKind>,
    pub(crate) skip: usize,
    pub(crate) times: usize,
    pub(crate) applied: bool,
    pub(crate) drops_command: bool,
}

impl On {
    /// Every event.
    pub fn any() -> Self {
        Self {
            event: None,
            kind: None,
            skip: 0,
            times: 1,
            applied: false,
            drops_command: false,
        }
    }

    /// `HELLO`, `WHATS_NEXT`, `DESCRIPTION`, `MEASUREMENT`, `ADJUSTMENT` or `GOODBYE`.
    pub fn event(event: &str) -> Self {
        Self {
            event: Some(event.to_owned()),
            ..Self::any()
        }
    }

    /// Progress on `event`.
    pub fn progress(event: &str) -> Self {
        Self {
            kind: Some(ReportKind::Progress),
            ..Self::event(event)
        }
    }

    /// The completion on `event`.
    pub fn completion(event: &str) -> Self {
        Self {
            kind: Some(ReportKind::Completion),
            ..Self::event(event)
        }
    }

    /// So many requests.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Every such request.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Only after so many such requests.
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// The request takes effect although its answer is spoilt, as when an answer is lost on the way.
    pub fn although_applied(mut self) -> Self {
        self.applied = true;
        self
    }

    /// The optimizer gives up the command in progress and goes on to the next.
    pub fn and_drop_command(mut self) -> Self {
        self.drops_command = true;
        self
    }
}

/// What a request meets instead of its proper answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This HTTP status with these headers and this body.
    Status {
        /// The status.
        status: u16,
        /// Further headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Status 200 with this JSON: a status, the command again, anything.
    Answer(Value),
    /// Status 200 with this body and these headers.
    Body {
        /// Further headers, such as `content-encoding`.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Status 200 with a JSON string of so many bytes.
    Huge(usize),
    /// The proper answer, but late. The request takes effect at once.
    Delay(Duration),
    /// No answer for ever, with the connection open.
    Stall,
    /// The connection is reset.
    Reset,
    /// These bytes instead of HTTP.
    NotHttp(Vec<u8>),
    /// The last command handed out, once more, whatever was asked.
    RepeatCommand,
}

impl Fault {
    /// An HTTP status with an empty JSON body.
    pub fn status(status: u16) -> Self {
        Self::Status {
            status,
            headers: Vec::new(),
            body: "{}".to_owned(),
        }
    }

    /// An HTTP status with a `Retry-After`.
    pub fn retry_after(status: u16, value: &str) -> Self {
        Self::Status {
            status,
            headers: vec![("retry-after".to_owned(), value.to_owned())],
            body: "{}".to_owned(),
        }
    }

    /// 302 to `location`.
    pub fn redirect(location: &str) -> Self {
        Self::Status {
            status: 302,
            headers: vec![("location".to_owned(), location.to_owned())],
            body: String::new(),
        }
    }

    /// 410 with a `detail`.
    pub fn gone(detail: &str) -> Self {
        Self::Status {
            status: 410,
            headers: Vec::new(),
            body: json!({ "detail": detail }).to_string(),
        }
    }

    /// Status 200 with an HTML page.
    pub fn html() -> Self {
        Self::Body {
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: b"<html><body>Sign in to the network</body></html>".to_vec(),
        }
    }

    /// Status 200 without a body.
    pub fn empty() -> Self {
        Self::Body {
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The status `cancel`.
    pub fn cancel(reason: &str) -> Self {
        Self::Answer(json!({"status": "cancel", "reason": reason}))
    }

    /// The status `unexpected-event`.
    pub fn unexpected_event() -> Self {
        Self::Answer(json!({
            "status": "unexpected-event",
            "reason": "Out of order event \"MEASUREMENT\", expected \"ADJUSTMENT\"; ignoring"
        }))
    }

    /// The status `invalid` with the reason `unexpected cmd_uid`.
    pub fn unexpected_cmd_uid() -> Self {
        Self::Answer(json!({"status": "invalid", "reason": "unexpected cmd_uid"}))
    }
}
