//! A Prometheus that answers `query`, `query_range` and `targets` from a script.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    record::{Record, TimedOut},
    server::{Handler, HttpAnswer, HttpRequest, Reply, Server},
};

/// Most points in one series, as in Prometheus itself.
const MAX_POINTS: f64 = 11_000.0;
/// Asked without a query.
const TARGETS: &str = "/api/v1/targets";

/// What a query meets.
#[derive(Debug, Clone)]
pub enum PrometheusAnswer {
    /// One series without labels that has this value at every step; NaN and infinities are allowed.
    Constant(f64),
    /// Series, each with its labels and its value at every step.
    Series(Vec<(BTreeMap<String, String>, f64)>),
    /// One series without labels that has these values at the first steps and then ends.
    Values(Vec<f64>),
    /// The `data` object as it stands.
    Data(Value),
    /// Nothing found.
    Empty,
    /// An error in Prometheus' form: HTTP status, `errorType`, `error`.
    Error(u16, String, String),
    /// HTTP status and body as they stand.
    Http(u16, String),
    /// The answer after this time.
    Late(Duration, Box<PrometheusAnswer>),
    /// No answer for ever.
    Stall,
    /// The connection is reset.
    Reset,
}

/// A query as it came in.
#[derive(Debug, Clone)]
pub struct PrometheusQuery {
    /// `/api/v1/query_range`, `/api/v1/query`, `/api/v1/targets`, or whatever was asked.
    pub path: String,
    /// `query`, `start`, `end`, `step`, `time`, ... decoded, from the query string or a form body.
    pub parameters: BTreeMap<String, String>,
    /// As it came in.
    pub http: HttpRequest,
}

impl PrometheusQuery {
    /// The PromQL text.
    pub fn query(&self) -> &str {
        self.parameters.get("query").map_or("", String::as_str)
    }
}

/// A Prometheus on 127.0.0.1. Queries that nothing is said about find nothing. Stops when dropped.
#[derive(Debug)]
pub struct PrometheusDouble {
    server: Server,
    record: Arc<Record<State>>,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<String, VecDeque<PrometheusAnswer>>,
    for_all: Option<PrometheusAnswer>,
    targets: Option<PrometheusAnswer>,
    received: Vec<PrometheusQuery>,
}

impl Handler for Record<State> {
    fn handle(&self, request: HttpRequest) -> (Duration, Reply) {
        let query = PrometheusQuery {
            path: request.path().to_owned(),
            parameters: request.parameters().into_iter().collect(),
            http: request,
        };
        let answer = self.change(|state| {
            state.received.push(query.clone());
            state.answer_to(&query)
        });
        reply(&query, answer)
    }
}

impl State {
    /// The next answer to `query`; the last one stays.
    fn answer_to(&mut self, query: &PrometheusQuery) -> PrometheusAnswer {
        if let Some(answer) = &self.for_all {
            return answer.clone();
        }
        if query.path == TARGETS {
            return self.targets.clone().unwrap_or(PrometheusAnswer::Empty);
        }
        match self.answers.get_mut(query.query()) {
            Some(answers) if answers.len() > 1 => answers.pop_front(),
            Some(answers) => answers.front().cloned(),
            None => None,
        }
        .unwrap_or(PrometheusAnswer::Empty)
    }
}

fn reply(query: &PrometheusQuery, answer: PrometheusAnswer) -> (Duration, Reply) {
    let reply = match answer {
        PrometheusAnswer::Late(delay, answer) => {
            let (further, reply) = reply(query, *answer);
            return (delay + further, reply);
        }
        PrometheusAnswer::Stall => Reply::Stall,
        PrometheusAnswer::Reset => Reply::Reset,
        PrometheusAnswer::Http(status, body) => Reply::Answer(HttpAnswer {
            status,
            headers: Vec::new(),
            body: body.into_bytes(),
        }),
        PrometheusAnswer::Error(status, kind, text) => Reply::Answer(error(status, &kind, &text)),
        other => Reply::Answer(match data(query, other) {
            Ok(data) => HttpAnswer::json(200, &json!({"status": "success", "data": data})),
            Err(text) if query.path.starts_with("/api/v1/query") => error(400, "bad_data", &text),
            Err(text) => error(404, "not_found", &text),
        }),
    };
    (Duration::ZERO, reply)
}

fn error(status: u16, kind: &str, text: &str) -> HttpAnswer {
    HttpAnswer::json(
        status,
        &json!({"status": "error", "errorType": kind, "error": text}),
    )
}

/// The `data` of a successful answer, or what is wrong with the question.
fn data(query: &PrometheusQuery, answer: PrometheusAnswer) -> Result<Value, String> {
    let parameter = |key: &str| {
        let text = query.parameters.get(key);
        text.ok_or_else(|| format!("invalid parameter {key:?}: missing"))
    };
    let bad = |key: &str, text: &str| format!("invalid parameter {key:?}: cannot parse {text:?}");
    let time = |key: &str| {
        let text = parameter(key)?;
        parse_time(text).ok_or_else(|| bad(key, text))
    };
    let (range, times) = match query.path.as_str() {
        "/api/v1/query_range" => {
            parameter("query")?;
            let (start, end) = (time("start")?, time("end")?);
            let text = parameter("step")?;
            let step = parse_step(text).ok_or_else(|| bad("step", text))?;
            if end < start {
                return Err(
                    "invalid parameter \"end\": end timestamp must not be before start time".into(),
                );
            }
            let points = ((end - start) / step).floor() + 1.0;
            if points > MAX_POINTS {
                return Err("exceeded maximum resolution of 11,000 points per timeseries".into());
            }
            let times: Vec<f64> = (0..points as u32)
                .map(|i| start + f64::from(i) * step)
                .collect();
            (true, times)
        }
        "/api/v1/query" => {
            parameter("query")?;
            let now = || jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
            let at = time("time").unwrap_or_else(|_| now());
            (false, vec![at])
        }
        TARGETS => {
            return Ok(match answer {
                PrometheusAnswer::Data(data) => data,
                _ => json!({"activeTargets": [], "droppedTargets": []}),
            });
        }
        other => return Err(format!("no such endpoint: {other}")),
    };
    let no_labels = BTreeMap::new;
    let series = match answer {
        PrometheusAnswer::Data(data) => return Ok(data),
        PrometheusAnswer::Constant(value) => vec![(no_labels(), vec![value; times.len()])],
        PrometheusAnswer::Values(values) => vec![(no_labels(), values)],
        PrometheusAnswer::Series(series) => series
            .into_iter()
            .map(|(labels, value)| (labels, vec![value; times.len()]))
            .collect(),
        _ => Vec::new(),
    };
    let result: Vec<Value> = series
        .into_iter()
        .map(|(labels, values)| {
            let mut points = times
                .iter()
                .zip(values)
                .map(|(time, value)| json!([time, sample(value)]));
            if range {
                json!({"metric": labels, "values": points.collect::<Vec<_>>()})
            } else {
                json!({"metric": labels, "value": points.next()})
            }
        })
        .collect();
    let kind = if range { "matrix" } else { "vector" };
    Ok(json!({"resultType": kind, "result": result}))
}

/// A value as Prometheus writes it.
fn sample(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// Unix seconds or RFC 3339.
fn parse_time(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite())
        .or_else(|| {
            let time: jiff::Timestamp = text.parse().ok()?;
            Some(time.as_millisecond() as f64 / 1000.0)
        })
}

/// Seconds, or a number with a unit.
fn parse_step(text: &str) -> Option<f64> {
    let units = [
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
    ];
    let number = |text: &str| text.parse().ok().filter(|step: &f64| *step > 0.0);
    number(text).or_else(|| {
        units
            .iter()
            .find_map(|(unit, seconds)| Some(number(text.strip_suffix(unit)?)? * seconds))
    })
}

impl PrometheusDouble {
    /// Starts on a free port.
    ///
    /// # Panics
    ///
    /// If 127.0.0.1 cannot be listened on.
    pub fn start() -> Self {
        let record = Arc::new(Record::new(State::default()));
        let server = Server::start(record.clone())
            .unwrap_or_else(|error| panic!("cannot listen on 127.0.0.1: {error}"));
        Self { server, record }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:<port>`, for `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Adds an answer to `query`. Several are given one after the other; the last stays.
    pub fn answer(&self, query: &str, answer: PrometheusAnswer) {
        self.record.change(|state| {
            let answers = state.answers.entry(query.to_owned()).or_default();
            answers.push_back(answer);
        });
    }

    /// From now on this about the targets that it scrapes; [`PrometheusAnswer::Data`] holds the lists
    /// `activeTargets` and `droppedTargets`. Without it there are none.
    pub fn answer_targets(&self, answer: PrometheusAnswer) {
        self.record.change(|state| state.targets = Some(answer));
    }

    /// From now on this to every query; none takes it back.
    pub fn answer_all(&self, answer: Option<PrometheusAnswer>) {
        self.record.change(|state| state.for_all = answer);
    }

    /// Everything asked so far, in order.
    pub fn received(&self) -> Vec<PrometheusQuery> {
        self.record.lock().received.clone()
    }

    /// Waits until `condition` holds of what was asked. Blocks the thread.
    ///
    /// # Errors
    ///
    /// It did not hold within `deadline`; the error lists what was asked.
    pub fn wait_for(
        &self,
        deadline: Duration,
        condition: impl Fn(&[PrometheusQuery]) -> bool,
    ) -> Result<(), TimedOut> {
        self.record.wait(
            deadline,
            |state| condition(&state.received).then_some(()),
            |state| {
                let lines = state.received.iter();
                lines
                    .map(|query| format!("  {} {:?}\n", query.path, query.parameters))
                    .collect()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::{Read as _, Write as _};

    use super::*;

    fn get(double: &PrometheusDouble, target: &str) -> (u16, Value) {
        let mut stream = std::net::TcpStream::connect(double.address()).expect("connect");
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let status = answer
            .get(9..12)
            .and_then(|s| s.parse().ok())
            .expect("status");
        let body = answer.split_once("\r\n\r\n").expect("body").1;
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    #[test]
    fn a_range_query_gets_a_point_for_each_step() {
        let double = PrometheusDouble::start();
        double.answer("rate(a[1m])", PrometheusAnswer::Constant(1.5));
        double.answer("rate(a[1m])", PrometheusAnswer::Constant(f64::NAN));
        let target = "/api/v1/query_range?query=rate(a%5B1m%5D)&start=100&end=120&step=10s";
        let (status, body) = get(&double, target);
        assert_eq!(status, 200);
        assert_eq!(
            body,
            json!({"status": "success", "data": {"resultType": "matrix", "result": [
                {"metric": {}, "values": [[100.0, "1.5"], [110.0, "1.5"], [120.0, "1.5"]]}
            ]}})
        );
        let (_, body) = get(&double, target);
        assert_eq!(body["data"]["result"][0]["values"][0][1], "NaN");
        let (_, body) = get(&double, "/api/v1/query?query=rate(a%5B1m%5D)&time=5");
        assert_eq!(body["data"]["resultType"], "vector");
        assert!(
            double
                .wait_for(Duration::ZERO, |asked| asked.len() == 3
                    && asked[0].query() == "rate(a[1m])")
                .is_ok()
        );
    }

    #[test]
    fn targets_are_none_until_said_otherwise() {
        let double = PrometheusDouble::start();
        let (status, body) = get(&double, "/api/v1/targets");
        assert_eq!((status, &body["data"]["activeTargets"]), (200, &json!([])));
        let data = json!({"activeTargets": [{"scrapeUrl": "http://a/"}]});
        double.answer_targets(PrometheusAnswer::Data(data.clone()));
        assert_eq!(get(&double, "/api/v1/targets?state=active").1["data"], data);
        double.answer_targets(PrometheusAnswer::Error(
            503,
            "timeout".into(),
            "busy".into(),
        ));
        assert_eq!(get(&double, "/api/v1/targets").0, 503);
    }

    #[test]
    fn faults_and_bad_questions_get_errors() {
        let double = PrometheusDouble::start();
        double.answer(
            "x",
            PrometheusAnswer::Error(422, "execution".into(), "too many".into()),
        );
        let (status, body) = get(&double, "/api/v1/query?query=x&time=1");
        assert_eq!((status, &body["error"]), (422, &json!("too many")));
        let (status, body) = get(&double, "/api/v1/query_range?query=y&start=1&end=2");
        assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")));
        let (status, body) = get(&double, "/api/v1/query_range?query=y&start=1&end=2&step=1");
        assert_eq!((status, &body["data"]["result"]), (200, &json!([])));
        assert_eq!(get(&double, "/nowhere").0, 404);
    }
}
