//! The optimizer's side of the protocol, without the network.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Write as _,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    ReceivedEvent,
    script::{Fault, On, ReportKind, Script},
};
use crate::server::{HttpAnswer, HttpRequest, Reply};

/// A fault that waits for its requests.
#[derive(Debug)]
struct Armed {
    on: On,
    fault: Fault,
}

/// A command that has been handed out and not been completed.
#[derive(Debug)]
struct Pending {
    command: Value,
    cmd_uid: Value,
    event: &'static str,
    progress: f64,
}

#[derive(Debug)]
pub(super) struct State {
    answers: VecDeque<Value>,
    idle: Value,
    servo_uid: Option<String>,
    accepted: Option<(String, String)>,
    pending: Option<Pending>,
    last_answer: Value,
    completed: HashSet<String>,
    armed: Vec<Armed>,
    pub(super) connected: bool,
    pub(super) received: Vec<ReceivedEvent>,
    pub(super) violations: Vec<String>,
}

impl State {
    pub(super) fn new(script: Script) -> Self {
        Self {
            answers: script.answers.into(),
            last_answer: script.idle.clone(),
            idle: script.idle,
            servo_uid: script.servo_uid,
            accepted: None,
            pending: None,
            completed: HashSet::new(),
            armed: Vec::new(),
            connected: false,
            received: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn arm(&mut self, on: On, fault: Fault) {
        self.armed.push(Armed { on, fault });
    }

    pub(super) fn heal(&mut self) {
        self.armed.clear();
    }

    pub(super) fn push(&mut self, answer: Value) {
        self.answers.push_back(answer);
    }

    pub(super) fn accept_only(&mut self, name: String, value: String) {
        self.accepted = Some((name, value));
    }

    pub(super) fn exhausted(&self) -> bool {
        self.answers.is_empty() && self.pending.is_none()
    }

    /// One line for each request, for the message of a test that failed.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for request in &self.received {
            let _ = writeln!(
                text,
                "  {:>8.3}s {} {} {}",
                request.at.as_secs_f64(),
                request.http.target,
                request.event,
                request.param
            );
        }
        for violation in &self.violations {
            let _ = writeln!(text, "  violation: {violation}");
        }
        text
    }

    pub(super) fn handle(&mut self, at: Duration, http: HttpRequest) -> (Duration, Reply) {
        let json: Value = serde_json::from_slice(&http.body).unwrap_or_default();
        let text = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
        let request = ReceivedEvent {
            at,
            event: text("event").unwrap_or_default(),
            param: json.get("param").cloned().unwrap_or_default(),
            json,
            http,
        };
        self.received.push(request.clone());
        self.check_envelope(&request);
        let Some((fault, on)) = self.fault_for(&request) else {
            return (Duration::ZERO, Reply::Answer(self.answer(&request)));
        };
        let proper =
            (on.applied || matches!(fault, Fault::Delay(_))).then(|| self.answer(&request));
        if on.drops_command {
            self.pending = None;
        }
        self.misbehave(fault, proper)
    }

    fn misbehave(&self, fault: Fault, proper: Option<HttpAnswer>) -> (Duration, Reply) {
        let ok = |headers, body| {
            Reply::Answer(HttpAnswer {
                status: 200,
                headers,
                body,
            })
        };
        let reply = match fault {
            Fault::Status {
                status,
                headers,
                body,
            } => Reply::Answer(HttpAnswer {
                status,
                headers,
                body: body.into_bytes(),
            }),
            Fault::Answer(json) => Reply::Answer(HttpAnswer::json(200, &json)),
            Fault::Body { headers, body } => ok(headers, body),
            Fault::Huge(bytes) => {
                let mut body = vec![b'x'; bytes.max(2)];
                body[0] = b'"';
                if let Some(last) = body.last_mut() {
                    *last = b'"';
                }
                ok(Vec::new(), body)
            }
            Fault::Delay(delay) => {
                let proper =
                    proper.unwrap_or_else(|| HttpAnswer::json(200, &json!({"status": "ok"})));
                return (delay, Reply::Answer(proper));
            }
            Fault::Stall => Reply::Stall,
            Fault::Reset => Reply::Reset,
            Fault::NotHttp(bytes) => Reply::Raw(bytes),
            Fault::RepeatCommand => Reply::Answer(HttpAnswer::json(200, &self.last_answer)),
        };
        (Duration::ZERO, reply)
    }

    /// The first fault that waits for this request, with one of its turns used up.
    fn fault_for(&mut self, request: &ReceivedEvent) -> Option<(Fault, On)> {
        for (i, armed) in self.armed.iter_mut().enumerate() {
            let on = &mut armed.on;
            let meant = on
                .event
                .as_ref()
                .is_none_or(|event| *event == request.event)
                && on.kind.is_none_or(|kind| request.report() == Some(kind));
            if !meant {
                continue;
            }
            if on.skip > 0 {
                on.skip -= 1;
                continue;
            }
            let found = (armed.fault.clone(), on.clone());
            on.times = on.times.saturating_sub(1);
            if on.times == 0 {
                self.armed.remove(i);
            }
            return Some(found);
        }
        None
    }

    fn check_envelope(&mut self, request: &ReceivedEvent) {
        for key in ["event", "param", "servo_uid"] {
            if request.json.get(key).is_none() {
                self.violate(format!("{:?} without the key {key:?}", request.event));
            }
        }
        if !self.connected && !matches!(request.event.as_str(), "HELLO" | "GOODBYE") {
            self.violate(format!("{:?} before HELLO", request.event));
        }
    }

    fn violate(&mut self, violation: String) {
        self.violations.push(violation);
    }

    /// What an optimizer answers that works.
    fn answer(&mut self, request: &ReceivedEvent) -> HttpAnswer {
        if let Some((name, value)) = &self.accepted
            && request.header(name) != Some(value)
        {
            return HttpAnswer::json(401, &json!({"detail": "unauthorized"}));
        }
        if let Some(expected) = &self.servo_uid
            && request.json.get("servo_uid").and_then(Value::as_str) != Some(expected)
        {
            return HttpAnswer::json(410, &json!({"detail": "unexpected servo_uid"}));
        }
        let answer = match request.event.as_str() {
            "HELLO" => {
                self.connected = true;
                json!({"status": "ok"})
            }
            "GOODBYE" => {
                self.connected = false;
                json!({"status": "ok"})
            }
            "WHATS_NEXT" => {
                self.last_answer = self.next();
                self.last_answer.clone()
            }
            "DESCRIPTION" | "MEASUREMENT" | "ADJUSTMENT" => self.take_report(request),
            other => {
                return HttpAnswer::json(
                    400,
                    &json!({"detail": format!("unknown event {other:?}")}),
                );
            }
        };
        HttpAnswer::json(200, &answer)
    }

    /// The pending command again, or the next answer of the script.
    fn next(&mut self) -> Value {
        if let Some(pending) = &self.pending {
            return pending.command.clone();
        }
        let Some(answer) = self.answers.pop_front() else {
            return self.idle.clone();
        };
        let event = match answer.get("cmd").and_then(Value::as_str) {
            Some("DESCRIBE") => "DESCRIPTION",
            Some("MEASURE") => "MEASUREMENT",
            Some("ADJUST") => "ADJUSTMENT",
            _ => return answer,
        };
        self.pending = Some(Pending {
            cmd_uid: echoed(answer.get("cmd_uid")),
            command: answer.clone(),
            event,
            progress: 0.0,
        });
        answer
    }

    fn take_report(&mut self, request: &ReceivedEvent) -> Value {
        let Some(kind) = request.report() else {
            self.violate(format!("{:?} without progress or status", request.event));
            return json!({"status": "invalid", "reason": "neither progress nor status"});
        };
        let uid = request.param.get("cmd_uid").cloned().unwrap_or_default();
        if kind == ReportKind::Progress && self.completed.contains(&uid.to_string()) {
            self.violate(format!("progress of {uid} after its completion"));
        }
        let Some(pending) = self
            .pending
            .as_mut()
            .filter(|pending| pending.event == request.event)
        else {
            let expected = self.pending.as_ref().map_or("WHATS_NEXT", |p| p.event);
            return json!({
                "status": "unexpected-event",
                "reason": format!(
                    "Out of order event \"{}\", expected \"{expected}\"; ignoring",
                    request.event
                )
            });
        };
        if pending.cmd_uid != uid {
            return json!({"status": "invalid", "reason": "unexpected cmd_uid"});
        }
        match kind {
            ReportKind::Completion => {
                self.pending = None;
                if !uid.is_null() {
                    self.completed.insert(uid.to_string());
                }
                json!({"status": "ok"})
            }
            ReportKind::Progress => {
                let Some(progress) = request.param.get("progress").and_then(Value::as_f64) else {
                    self.violate("progress that is no number".to_owned());
                    return json!({"status": "invalid", "reason": "progress must be a number"});
                };
                let known = pending.progress;
                pending.progress = known.max(progress);
                if !(0.0..100.0).contains(&progress) {
                    self.violate(format!("progress of {progress}"));
                }
                let message = request.param.get("message").and_then(Value::as_str);
                if message.is_some_and(|message| message.contains('\n')) {
                    self.violate("a progress message of several lines".to_owned());
                }
                if progress < known {
                    let reason = format!(
                        "progress cannot go backward: new progress value of {progress} is less than existing \
                         progress value of {known}"
                    );
                    self.violate(reason.clone());
                    return json!({"status": "invalid", "reason": reason});
                }
                json!({"status": "ok"})
            }
        }
    }
}

/// How a servo echoes a `cmd_uid`: numbers as text.
fn echoed(cmd_uid: Option<&Value>) -> Value {
    match cmd_uid {
        Some(Value::Number(number)) => Value::from(number.to_string()),
        Some(other) => other.clone(),
        None => Value::Null,
    }
}
