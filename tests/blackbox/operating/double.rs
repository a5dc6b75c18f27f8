//! A daemon's admin server that answers what a test has set, in the shapes of its API.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

/// What the double answers.
pub(crate) struct World {
    pub(crate) servos: Vec<Value>,
    pub(crate) ready: bool,
    /// Only requests with it are answered.
    pub(crate) token: Option<String>,
    /// What a reload comes to.
    pub(crate) reload: (u16, Value),
    /// How the last reload went, as the status has it.
    pub(crate) last_reload: Value,
    /// Method and target of each request so far.
    pub(crate) requests: Vec<String>,
}

/// A server on a port of 127.0.0.1. It stops with the drop.
pub(crate) struct AdminDouble {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    stopped: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<thread::JoinHandle<()>>,
}

/// A servo that polls.
pub(crate) fn servo(name: &str) -> Value {
    json!({
        "name": name,
        "state": "polling",
        "detail": "polling",
        "since_seconds": 12.3,
        "command": null,
        "finished": 41,
        "not_ok": 0,
        "restarts": 0,
        "last": {
            "operation": "ADJUST", "status": "ok", "message": null,
            "took_seconds": 3.21, "ended_seconds_ago": 312.5,
        },
        "error": null,
    })
}

/// A servo at work.
pub(crate) fn measuring(name: &str, percent: f64) -> Value {
    let mut servo = servo(name);
    servo["state"] = "executing".into();
    servo["detail"] = "executing MEASURE".into();
    servo["command"] = json!({
        "operation": "MEASURE", "uid": "c-1", "percent": percent, "runtime_seconds": 12.9,
        "message": "warm-up",
    });
    servo
}

/// A servo that its supervisor has set aside.
pub(crate) fn parked(name: &str) -> Value {
    let mut servo = servo(name);
    servo["state"] = "parked".into();
    servo["detail"] = "parked (retry in 42s)".into();
    servo["restarts"] = 8.into();
    servo["error"] = "no space left on device".into();
    servo
}

impl AdminDouble {
    pub(crate) fn start(servos: Vec<Value>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), servos)
    }

    pub(crate) fn start_at(address: SocketAddr, mut servos: Vec<Value>) -> Self {
        servos.sort_by_key(|servo| servo["name"].as_str().unwrap().to_owned());
        let listener = TcpListener::bind(address).unwrap();
        let mut double = Self {
            address: listener.local_addr().unwrap(),
            world: Arc::new(Mutex::new(World {
                servos,
                ready: true,
                token: None,
                reload: (
                    200,
                    json!({"result": "reload finished: +0 ~0 -0 =0 in 1 ms"}),
                ),
                last_reload: Value::Null,
                requests: Vec::new(),
            })),
            stopped: Arc::default(),
            streams: Arc::default(),
            accepting: None,
        };
        let (world, stopped, streams) = (
            double.world.clone(),
            double.stopped.clone(),
            double.streams.clone(),
        );
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                streams.lock().unwrap().push(stream.try_clone().unwrap());
                let world = world.clone();
                thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    while answer_one(&mut stream, &world).is_some() {}
                });
            }
        });
        double.accepting = Some(accepting);
        double
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The servo of this name, to be changed.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut world = self.world();
        let servo = world.servos.iter_mut().find(|s| s["name"] == name);
        change(servo.unwrap());
    }
}

impl Drop for AdminDouble {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn answer_one(stream: &mut BufReader<TcpStream>, world: &Mutex<World>) -> Option<()> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())
            }
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    let (status, kind, body) = {
        let mut world = world.lock().unwrap();
        world.requests.push(format!("{method} {target}"));
        let bearer = headers.get("authorization").map(String::as_str);
        answer(&world, &method, &target, bearer)
    };
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'\r\n\r\n",
        body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

type Answer = (u16, &'static str, Vec<u8>);

fn json_answer(status: u16, value: &Value) -> Answer {
    (status, "application/json", value.to_string().into_bytes())
}

fn answer(world: &World, method: &str, target: &str, bearer: Option<&str>) -> Answer {
    let url = url::Url::parse("http://double")
        .unwrap()
        .join(target)
        .unwrap();
    let parameters: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    let Some(path) = url.path().strip_prefix("/api/v1/") else {
        return file(url.path());
    };
    if let Some(token) = &world.token
        && bearer != Some(format!("Bearer {token}").as_str())
    {
        return json_answer(401, &json!({"error": "a bearer token is required"}));
    }
    match (method, path) {
        ("GET", "status") => json_answer(200, &status(world)),
        ("GET", "servos") => {
            let number = |name, default| parameter(name).map_or(default, |n| n.parse().unwrap());
            let (offset, limit): (usize, usize) = (number("offset", 0), number("limit", 100));
            let text = parameter("q").unwrap_or_default().to_lowercase();
            let matching: Vec<&Value> = world
                .servos
                .iter()
                .filter(|s| parameter("state").is_none_or(|state| s["state"] == state))
                .filter(|s| s["name"].as_str().unwrap().to_lowercase().contains(&text))
                .collect();
            let mut matching = matching;
            sort(&mut matching, parameter("sort").unwrap_or("name"));
            if parameter("reverse") == Some("true") {
                matching.reverse();
            }
            let page: Vec<_> = matching.iter().skip(offset).take(limit.min(1000)).collect();
            let answer = json!({
                "total": world.servos.len(), "matched": matching.len(),
                "offset": offset, "limit": limit, "states": states(world), "servos": page,
            });
            json_answer(200, &answer)
        }
        ("GET", "tree") => match parameter("path") {
            None => json_answer(200, &tree(world)),
            Some(path) => {
                let tree = tree(world);
                let name = path.strip_prefix("servo/assembly/").unwrap_or_default();
                let servos = tree["children"][0]["children"].as_array().unwrap();
                match servos.iter().find(|servo| servo["name"] == name) {
                    Some(servo) => json_answer(200, servo),
                    None => json_answer(404, &json!({"error": "no such actor"})),
                }
            }
        },
        ("POST", "reload") => json_answer(world.reload.0, &world.reload.1),
        ("GET", path) => {
            let name = path.strip_prefix("servos/").unwrap_or_default();
            let name = decoded(name);
            match world.servos.iter().find(|s| s["name"] == name.as_str()) {
                Some(servo) => json_answer(200, &in_full(servo)),
                None => json_answer(404, &json!({"error": format!("no servo named {name}")})),
            }
        }
        _ => json_answer(405, &json!({"error": "no"})),
    }
}

/// As far as tests need it.
fn sort(servos: &mut [&Value], by: &str) {
    let place = |servo: &Value| {
        let states = ["parked", "executing", "polling"];
        let state = states.iter().position(|state| servo["state"] == *state);
        match by {
            "state" => state.map_or(0, |place| place as i64),
            "restarts" => -servo["restarts"].as_i64().unwrap(),
            _ => 0,
        }
    };
    servos.sort_by_key(|servo| (place(servo), servo["name"].as_str().unwrap().to_owned()));
}

fn decoded(text: &str) -> String {
    // A name never holds what ends a pair of a query.
    let pair = format!("x={}", text.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().unwrap().1.into_owned()
}

fn states(world: &World) -> BTreeMap<&str, usize> {
    let mut states = BTreeMap::new();
    for servo in &world.servos {
        *states.entry(servo["state"].as_str().unwrap()).or_default() += 1;
    }
    states
}

fn status(world: &World) -> Value {
    json!({
        "version": "9.8.7", "revision": "abc", "started_at": "2026-01-21T12:00:00Z",
        "uptime_seconds": 273_600.5, "ready": world.ready,
        "servos": {"total": world.servos.len(), "states": states(world)},
        "reloads": {"succeeded": 12, "refused": 1, "last": world.last_reload, "needs_restart": []},
        "arbiters": [{"servos": world.servos.len()}],
        "memory_bytes": 172_000_000, "cpu_seconds": 734.2,
    })
}

/// Fields of a servo that only its details have may be set on it under `full`.
fn in_full(servo: &Value) -> Value {
    let mut full = servo.clone();
    let mut more = json!({
        "optimizer": {"url": "https://optimizer.example.com/servo", "outage_seconds": null},
        "connectors": [{
            "name": "load", "type": "vegeta", "state": "running", "doing": "measure",
            "restarts": 2, "last_exit": "panicked: out of ideas",
        }],
        "recent_errors": [
            {"at": "2026-01-21T12:00:01Z", "level": "ERROR", "text": "connector load failed"},
        ],
    });
    if let Some(Value::Object(set)) = full.as_object_mut().unwrap().remove("full") {
        for (key, value) in set {
            more[key] = value;
        }
    }
    for (key, value) in more.as_object().unwrap() {
        full[key] = value.clone();
    }
    full
}

fn tree(world: &World) -> Value {
    let node = |name: &str, doing: Value, children: Value| {
        json!({
            "name": name, "state": "running", "restarts": 0, "last_exit": null,
            "age_seconds": 7.5, "doing": doing, "children": children,
        })
    };
    let servos: Vec<_> = world
        .servos
        .iter()
        .map(|servo| {
            let mut load = node("load", Value::Null, json!([]));
            load["state"] = "backing_off".into();
            load["restarts"] = 3.into();
            load["last_exit"] = "panicked: out of ideas".into();
            let optimizer = node("optimizer", servo["state"].clone(), json!([]));
            node(
                servo["name"].as_str().unwrap(),
                Value::Null,
                json!([load, optimizer]),
            )
        })
        .collect();
    let children = json!([
        node("assembly", Value::Null, servos.into()),
        node("admin", "serving".into(), json!([])),
    ]);
    node("servo", Value::Null, children)
}

/// A file of the page, from where the program takes them.
fn file(path: &str) -> Answer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon/admin/page");
    let name = match path {
        "/" => "page.html",
        path => path.strip_prefix("/page/").unwrap_or(&path[1..]),
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        _ => return json_answer(404, &json!({"error": "nothing here"})),
    };
    match std::fs::read(folder.join(name)) {
        Ok(text) => (200, kind, text),
        Err(_) => json_answer(404, &json!({"error": "nothing here"})),
    }
}
