//! `servo run` itself, with an admin server that can be asked.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use servo_doubles::{Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON, free_port, wait};

/// A daemon with a servo for each of its optimizers.
pub(crate) struct Daemon {
    pub(crate) bench: Bench,
    pub(crate) running: Running,
    pub(crate) port: u16,
    optimizers: Vec<(String, ScriptedOptimizer)>,
}

impl Daemon {
    /// One whose servos have these names; `admin` are more keys of its stanza.
    pub(crate) fn start(names: &[&str], admin: &str) -> Self {
        let optimizers: Vec<_> = names
            .iter()
            .map(|name| {
                let optimizer = ScriptedOptimizer::start(Script::new());
                ((*name).to_owned(), optimizer)
            })
            .collect();
        Self::of(Bench::new(), optimizers, admin)
    }

    /// One in a directory where its files are, but for those that say where it listens.
    pub(crate) fn of(
        bench: Bench,
        optimizers: Vec<(String, ScriptedOptimizer)>,
        admin: &str,
    ) -> Self {
        let port = free_port();
        bench.write(
            "servo.toml",
            &format!("[admin]\nlisten = \"127.0.0.1:{port}\"\n{admin}\n"),
        );
        let documents: Vec<_> = optimizers
            .iter()
            .map(|(name, o)| document(name, o))
            .collect();
        bench.write("servo.yaml", &documents.join("---\n"));
        let mut command = bench.servo(&["run"]);
        command.env_remove("SERVOD_ADMIN__LISTEN");
        let mut daemon = Self {
            running: Running::start(command),
            bench,
            port,
            optimizers,
        };
        daemon.running.until("the admin server", SOON, |_, err| {
            err.contains("the admin server listens").then_some(())
        });
        for (_, optimizer) in &daemon.optimizers {
            optimizer
                .wait_for(SOON, |received| {
                    received.iter().any(|r| r.event == "WHATS_NEXT")
                })
                .unwrap();
        }
        daemon
    }

    /// A command in its directory, so that it finds the daemon by `servo.toml`.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Ended {
        let mut command = self.bench.servo(arguments);
        command.env_remove("SERVOD_ADMIN__LISTEN");
        Running::start(command).ended(SOON)
    }

    /// Adds a servo to its file.
    pub(crate) fn write_another(&mut self, name: &str) {
        let optimizer = ScriptedOptimizer::start(Script::new());
        self.optimizers.push((name.to_owned(), optimizer));
        let documents: Vec<_> = self
            .optimizers
            .iter()
            .map(|(name, o)| document(name, o))
            .collect();
        self.bench.write("servo.yaml", &documents.join("---\n"));
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> String {
        wait("the metrics", SOON, || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            write!(
                stream,
                "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
            )
            .ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            let line = answer
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")))?;
            Some(line.rsplit(' ').next()?.to_owned())
        })
    }
}

fn document(name: &str, optimizer: &ScriptedOptimizer) -> String {
    let id = name.replace('/', "-");
    format!(
        "name: {name}\noptimizer: {{id: example.com/{id}, token: t, base_url: \"{}\"}}\nwait: {{measure_enabled: true}}\n",
        optimizer.base_url()
    )
}
