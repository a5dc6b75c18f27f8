//! What the optimizer of a fleet knows of its servos.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Reply, wire};

/// What servos are told that ask what is next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Orders {
    /// To sleep.
    Sleep(Duration),
    /// To measure for so long, one command after the other.
    Measure(Duration),
    /// To describe, one command after the other.
    Describe,
    /// To do what they have not done yet, and then to sleep for a moment at a time.
    Finish,
}

/// How requests are treated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Temper {
    /// As the protocol says.
    Sound,
    /// As the protocol says, and answered so much later: without that, no two requests are ever in flight at a time.
    Slow(Duration),
    /// Taken, and never answered.
    Stalling,
    /// The connection is closed.
    Closing,
    /// This status, and nothing is done.
    Refusing(u16),
    /// 200, with a body that is no answer.
    Babbling,
    /// Of a thousand requests so many meet one of the above, now before and now after the request has taken effect.
    Moody {
        /// So many.
        per_mille: u16,
    },
}

/// Counts and times of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetFigures {
    /// Servos that said HELLO, and no GOODBYE since.
    pub connected: usize,
    /// Servos ever heard of.
    pub known: usize,
    /// Of these, how many since the last reset.
    pub heard: usize,
    /// Requests.
    pub requests: u64,
    /// HELLOs.
    pub hellos: u64,
    /// GOODBYEs.
    pub goodbyes: u64,
    /// Commands handed out for the first time, SLEEP left out.
    pub commands: u64,
    /// Commands handed out again, as the servo asked while one was open.
    pub asked_again: u64,
    /// Commands completed.
    pub completed: u64,
    /// Of these, otherwise than ok.
    pub not_ok: u64,
    /// Completions of commands that were not open; after a mishap the servo cannot know better.
    pub unexpected: u64,
    /// Servos that completed a command since the last reset, and that with ok.
    pub fulfilled: usize,
    /// Commands that are open.
    pub open: usize,
    /// Requests that met a mishap.
    pub mishaps: u64,
    /// Until the last servo's first HELLO.
    pub last_hello: Duration,
    /// Half of the commands were completed so soon after they were handed out.
    pub p50: Duration,
    /// 99 of 100 were.
    pub p99: Duration,
    /// All were.
    pub slowest: Duration,
    /// Most requests that were worked on at one time.
    pub most_in_flight: usize,
    /// Most connections at one time.
    pub most_connections: usize,
    /// Connections now.
    pub connections: usize,
    /// The longest time that a connected servo said nothing, the one until now included.
    pub longest_silence: Duration,
    /// Of the last GOODBYE.
    pub reason: String,
}

#[derive(Debug)]
struct Servo {
    connected: bool,
    /// A command that waits for its completion.
    open: Option<(u64, Instant)>,
    heard: Instant,
    fulfilled: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) orders: Orders,
    pub(super) temper: Temper,
    pub(super) in_flight: usize,
    pub(super) most_in_flight: usize,
    began: Instant,
    servos: HashMap<String, Servo>,
    next: u64,
    times: Times,
    /// In the path of those whose commands are timed.
    pub(super) timed: String,
    figures: FleetFigures,
    dice: u64,
}

impl Ledger {
    pub(super) fn new(orders: Orders) -> Self {
        Self {
            orders,
            temper: Temper::Sound,
            in_flight: 0,
            most_in_flight: 0,
            began: Instant::now(),
            servos: HashMap::new(),
            next: 0,
            times: Times::default(),
            timed: String::new(),
            figures: FleetFigures::default(),
            dice: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub(super) fn reset(&mut self) {
        self.began = Instant::now();
        self.times = Times::default();
        self.most_in_flight = self.in_flight;
        self.figures = FleetFigures {
            connections: self.figures.connections,
            most_connections: self.figures.connections,
            ..FleetFigures::default()
        };
        for servo in self.servos.values_mut() {
            servo.heard = self.began;
        }
    }

    pub(super) fn figures(&self) -> FleetFigures {
        let silent = self.servos.values().filter(|servo| servo.connected);
        let silent = silent.map(|servo| servo.heard.elapsed()).max();
        FleetFigures {
            connected: self.servos.values().filter(|it| it.connected).count(),
            known: self.servos.len(),
            heard: self
                .servos
                .values()
                .filter(|it| it.heard > self.began)
                .count(),
            fulfilled: self
                .servos
                .values()
                .filter(|it| it.fulfilled.is_some_and(|at| at > self.began))
                .count(),
            open: self.servos.values().filter(|it| it.open.is_some()).count(),
            p50: self.times.quantile(0.5),
            p99: self.times.quantile(0.99),
            slowest: self.times.quantile(1.0),
            most_in_flight: self.most_in_flight,
            longest_silence: self.figures.longest_silence.max(silent.unwrap_or_default()),
            ..self.figures.clone()
        }
    }

    pub(super) fn connected(&mut self) {
        self.figures.connections += 1;
        self.figures.most_connections = self.figures.most_connections.max(self.figures.connections);
    }

    pub(super) fn disconnected(&mut self) {
        self.figures.connections -= 1;
    }

    pub(super) fn handle(&mut self, path: &str, body: &[u8]) -> Reply {
        self.figures.requests += 1;
        let mut temper = self.temper;
        let mut takes_effect = false;
        if let Temper::Moody { per_mille } = temper {
            temper = Temper::Sound;
            if self.roll() % 1000 < u64::from(per_mille) {
                takes_effect = self.roll().is_multiple_of(2);
                temper = match self.roll() % 4 {
                    0 => Temper::Stalling,
                    1 => Temper::Closing,
                    2 => Temper::Refusing(503),
                    _ => Temper::Babbling,
                };
            }
        }
        match temper {
            Temper::Sound => return Reply::Answer(self.answer(path, body)),
            Temper::Slow(time) => return Reply::Later(time, self.answer(path, body)),
            _ => {}
        }
        self.figures.mishaps += 1;
        if takes_effect {
            self.answer(path, body);
        }
        match temper {
            Temper::Stalling => Reply::Silence,
            Temper::Refusing(status) => Reply::Answer(wire::answer(status, "{}")),
            Temper::Babbling => Reply::Answer(wire::answer(200, "<html>hello</html>")),
            Temper::Closing | Temper::Sound | Temper::Slow(_) | Temper::Moody { .. } => {
                Reply::Close
            }
        }
    }

    fn answer(&mut self, path: &str, body: &[u8]) -> Vec<u8> {
        const OK: &str = r#"{"status":"ok"}"#;
        let now = Instant::now();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let event = json.get("event").and_then(Value::as_str);
        let param = json.get("param");
        if !self.servos.contains_key(path) {
            let servo = Servo {
                connected: false,
                open: None,
                heard: now,
                fulfilled: None,
            };
            self.servos.insert(path.to_owned(), servo);
        }
        let figures = &mut self.figures;
        let Some(servo) = self.servos.get_mut(path) else {
            return wire::answer(500, "{}");
        };
        if servo.connected {
            let silence = now.duration_since(servo.heard);
            figures.longest_silence = figures.longest_silence.max(silence);
        }
        servo.heard = now;
        match event {
            Some("HELLO") => {
                figures.hellos += 1;
                if !std::mem::replace(&mut servo.connected, true) {
                    figures.last_hello = now.duration_since(self.began);
                }
                wire::answer(200, OK)
            }
            Some("GOODBYE") => {
                figures.goodbyes += 1;
                servo.connected = false;
                servo.open = None;
                let reason = param.and_then(|param| param.get("reason")?.as_str());
                if let Some(reason) = reason
                    && figures.reason != reason
                {
                    reason.clone_into(&mut figures.reason);
                }
                wire::answer(200, OK)
            }
            Some("WHATS_NEXT") => {
                if let Orders::Sleep(time) = self.orders {
                    // Whoever holds a command still is let off.
                    servo.open = None;
                    let time = time.as_secs_f64();
                    return wire::answer(
                        200,
                        &format!(
                            r#"{{"cmd":"SLEEP","param":{{"duration":{time},"data":{{"reason":"idle"}}}}}}"#
                        ),
                    );
                }
                if self.orders == Orders::Finish && servo.open.is_none() {
                    return wire::answer(200, r#"{"cmd":"SLEEP","param":{"duration":1}}"#);
                }
                let uid = match servo.open {
                    Some((uid, _)) => {
                        figures.asked_again += 1;
                        uid
                    }
                    None => {
                        figures.commands += 1;
                        self.next += 1;
                        self.next
                    }
                };
                servo.open = Some((uid, now));
                let command = match self.orders {
                    Orders::Measure(time) => format!(
                        r#"{{"cmd":"MEASURE","cmd_uid":"{uid}","param":{{"metrics":[],"control":{{"duration":{}}}}}}}"#,
                        time.as_secs_f64()
                    ),
                    Orders::Finish => format!(
                        r#"{{"cmd":"MEASURE","cmd_uid":"{uid}","param":{{"metrics":[],"control":{{"duration":0}}}}}}"#
                    ),
                    Orders::Describe | Orders::Sleep(_) => {
                        format!(r#"{{"cmd":"DESCRIBE","cmd_uid":"{uid}","param":{{}}}}"#)
                    }
                };
                wire::answer(200, &command)
            }
            Some(_) => {
                let status = param.and_then(|param| param.get("status")?.as_str());
                let Some(status) = status else {
                    // Progress.
                    return wire::answer(200, OK);
                };
                let of = json.pointer("/param/cmd_uid").and_then(Value::as_str);
                match servo.open {
                    Some((uid, since)) if of == Some(uid.to_string().as_str()) => {
                        servo.open = None;
                        if status == "ok" {
                            servo.fulfilled = Some(now);
                        }
                        figures.completed += 1;
                        figures.not_ok += u64::from(status != "ok");
                        if path.contains(&self.timed) {
                            self.times.count(now.duration_since(since));
                        }
                    }
                    _ => figures.unexpected += 1,
                }
                wire::answer(200, OK)
            }
            None => wire::answer(400, "{}"),
        }
    }

    /// xorshift64: the same in every run.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 11
    }
}

/// Counts of times, in buckets that are 1 % wide.
#[derive(Debug, Default)]
struct Times(HashMap<i32, u64>);

/// The ratio between a bucket and the next.
const RATIO: f64 = 1.01;

impl Times {
    fn count(&mut self, time: Duration) {
        let bucket = time.as_secs_f64().max(1e-9).ln() / RATIO.ln();
        *self.0.entry(bucket.ceil() as i32).or_default() += 1;
    }

    fn quantile(&self, share: f64) -> Duration {
        let mut buckets: Vec<_> = self.0.iter().collect();
        buckets.sort_unstable();
        let all: u64 = self.0.values().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        for (bucket, count) in buckets {
            left = left.saturating_sub(*count);
            if left == 0 {
                return Duration::from_secs_f64(RATIO.powi(*bucket));
            }
        }
        Duration::ZERO
    }
}
