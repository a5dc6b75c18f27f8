//! What servos cost at rest: time to start them, and memory for each servo and each connector.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use servo_assembly::{Assembly, Phase, ServoHandle, ServoPolicy, ServoSpec};
use servo_connector_wait::Wait;
use servo_dispatch::{ConfiguredConnector, ConnectorType};
use servo_protocol::{
    BoxFuture, Command, CommandKind, Event, OptimizerClient, OptimizerStatus, PostError, Request,
    Response, Sleep, StatusReply,
};
use servo_supervision::{Root, Snapshot, State};

const SERVOS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// An optimizer in the same process that has nothing to do.
struct Idle;

impl OptimizerClient for Idle {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        _: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        Box::pin(async move {
            Ok(match request.event {
                Event::WhatsNext => Response::Command(Command {
                    uid: None,
                    kind: CommandKind::Sleep(Sleep {
                        duration: Duration::from_secs(3600),
                        reason: "nothing to do".to_owned(),
                    }),
                }),
                _ => Response::Status(StatusReply {
                    status: OptimizerStatus::Ok,
                    reason: None,
                    message: None,
                }),
            })
        })
    }

    fn display_url(&self) -> String {
        "in this process".to_owned()
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn all_run(snapshot: &Snapshot) -> bool {
    snapshot.state == State::Running && snapshot.children.iter().all(all_run)
}

/// Waits until the tree has so many leaves and branches, and all of them run.
async fn until_up(root: &Root, servos: usize, children: usize) {
    let began = Instant::now();
    loop {
        let snapshot = root.snapshot();
        let assembly = &snapshot.children[0];
        if assembly.children.len() == servos
            && assembly
                .children
                .iter()
                .all(|s| s.children.len() == children)
            && all_run(&snapshot)
        {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{servos} servos are not up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn spec(
    name: Arc<str>,
    wait: &Arc<dyn ConfiguredConnector>,
    connectors: usize,
    optimizer: Option<Arc<dyn OptimizerClient>>,
) -> ServoSpec {
    ServoSpec {
        name,
        servo_uid: None,
        optimizer,
        connectors: (0..connectors)
            .map(|i| (Arc::from(format!("wait{i}")), wait.clone()))
            .collect(),
        settings: std::sync::Arc::default(),
        policy: ServoPolicy::default(),
        agent: "bench v0.0.0".to_owned(),
        telemetry: BTreeMap::new(),
    }
}

/// Bytes for each of so many servos with so many connectors.
async fn measure(connectors: usize, optimizer: Option<Arc<dyn OptimizerClient>>) -> usize {
    let wait = ConnectorType::of::<Wait>()
        .parse(serde_yaml::from_str("measure_enabled: true").unwrap())
        .unwrap();
    let (assembly_spec, assembly) = Assembly::spec(None);
    let root = Root::start("bench", move |children| {
        children.start(assembly_spec.clone());
        Ok(())
    });
    root.reference().wait_until_up(PATIENCE).await.unwrap();
    let children = 1 + connectors + usize::from(optimizer.is_some());
    // The first one pays for what all share.
    let first = spec("first".into(), &wait, connectors, optimizer.clone());
    assembly.add(first).await.unwrap();
    until_up(&root, 1, children).await;
    let (before, began) = (resident(), Instant::now());
    let mut handles: Vec<ServoHandle> = Vec::with_capacity(SERVOS);
    for i in 0..SERVOS {
        let name: Arc<str> = format!("dev.example.com/app{i}").into();
        let spec = spec(name, &wait, connectors, optimizer.clone());
        handles.push(assembly.add(spec).await.unwrap());
    }
    until_up(&root, SERVOS + 1, children).await;
    if optimizer.is_some() {
        for handle in &handles {
            let mut status = handle.status();
            let sleeping = status.wait_for(|s| matches!(s.phase, Phase::Sleeping { .. }));
            tokio::time::timeout(PATIENCE, sleeping)
                .await
                .unwrap()
                .unwrap();
        }
    }
    let took = began.elapsed();
    let each = resident().saturating_sub(before) / SERVOS;
    let what = match &optimizer {
        None => "no optimizer",
        Some(_) => "optimizer loop asleep",
    };
    println!(
        "{SERVOS} servos x {connectors} connectors, {what:<22} {took:>8.2?} {:>8.1} µs each {each:>8} bytes each",
        took.as_secs_f64() * 1e6 / SERVOS as f64
    );
    root.shutdown(PATIENCE).await.unwrap();
    each
}

fn main() {
    // Each in a process of its own: memory that is given back stays with the process.
    let kind = std::env::args().nth(1).unwrap_or_default();
    let run = |connectors, optimizer: Option<Arc<dyn OptimizerClient>>| {
        actix_rt::System::new().block_on(measure(connectors, optimizer));
    };
    match kind.as_str() {
        "none" => run(0, None),
        "three" => run(3, None),
        "loop" => run(1, Some(Arc::new(Idle))),
        _ => {
            let mut bytes = Vec::new();
            for kind in ["none", "three", "loop"] {
                let output = std::process::Command::new(std::env::current_exe().unwrap())
                    .arg(kind)
                    .output()
                    .unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                print!("{text}");
                let words: Vec<&str> = text.split_whitespace().collect();
                bytes.push(words[words.len() - 3].parse::<usize>().unwrap());
            }
            println!(
                "a servo (supervisor and dispatcher): {} bytes; a connector: {} bytes; \
                 a servo with optimizer loop and wait: {} bytes",
                bytes[0],
                bytes[1].saturating_sub(bytes[0]) / 3,
                bytes[2]
            );
        }
    }
}
