//! The admin server of `servo run`, as operators, kubelets, Prometheus and attackers ask it.

mod changing;
mod client;
mod crowded;
mod documented;
mod health;
mod observing;
mod refusing;
mod secured;

use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;
use servo_doubles::ScriptedOptimizer;

use self::client::{Answer, ask, get};
use crate::bench::{Bench, Running, SOON, wait};

pub(crate) const TOKEN: &str = "s3cr3t-0ptimizer-t0ken";

pub(crate) fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{}, token: {TOKEN}, base_url: \"{}\"}}\nwait: {{measure_enabled: true}}\n{more}",
        name.replace('/', "-"),
        optimizer.base_url()
    )
}

/// A daemon with its admin server on a port that the system chose.
pub(crate) struct Daemon {
    pub(crate) bench: Bench,
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(bench: Bench) -> Self {
        Self::start_on(bench, "127.0.0.1:0")
    }

    pub(crate) fn start_on(bench: Bench, listen: &str) -> Self {
        let mut command = bench.servo(&["run", "--no-banner"]);
        command.env("SERVOD_ADMIN__LISTEN", listen);
        let mut running = Running::start(command);
        let address = running.until("the admin server listens", SOON, |_, log| {
            let (_, rest) = log.split_once("the admin server listens on ")?;
            let (url, _) = rest.split_once('\n')?;
            Some(url.trim().rsplit_once('/')?.1.to_owned())
        });
        let mut address: SocketAddr = address.parse().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        Self {
            bench,
            running,
            address,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        ask(self.address, method, path)
    }

    /// Waits until the answer to a GET of `path` has what `look` looks for.
    pub(crate) fn until<R>(&self, path: &str, look: impl Fn(&Value) -> Option<R>) -> R {
        wait(path, SOON, || {
            let answer = self.get(path);
            (answer.status == 200).then(|| look(&answer.json()))?
        })
    }

    fn until_ready(&self) {
        wait("ready", SOON, || {
            (self.get("/readyz").status == 200).then_some(())
        });
    }

    fn metrics(&self) -> String {
        self.get("/metrics").text()
    }

    /// The value of a line of the metrics.
    fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|l| l.strip_prefix(series))?;
        line.trim().parse().ok()
    }

    pub(crate) fn end(self) -> String {
        self.running.signal(Signal::TERM);
        let ended = self.running.ended(SOON);
        ended.assert_code(0);
        ended.stderr.clone()
    }
}

pub(crate) fn one(optimizer: &ScriptedOptimizer) -> Daemon {
    let bench = Bench::new();
    bench.write("servo.yaml", &document("solo", optimizer, ""));
    Daemon::start(bench)
}
