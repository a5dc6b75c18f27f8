//! Many children are cheap.

use std::time::Instant;

use actix::{Actor, Context};
use servo_supervision::{ChildSpec, Root, StopOrder, Supervised, Supervisor};

use crate::failing::{SECOND, eventually};

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Supervised for Idle {}

#[cfg(target_os = "linux")]
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// The tests of this program share one process, so this is a bound and no measurement.
#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn ten_thousand_children_are_light_and_stop_together() {
    const GROUPS: usize = 2_000;
    const EACH: usize = 5;
    let before = resident_bytes();
    let started = Instant::now();
    let root = Root::start("app", |children| {
        children.stop_order(StopOrder::Together);
        for group in 0..GROUPS {
            children.start(Supervisor::spec(group.to_string(), |children| {
                for name in ["a", "b", "c", "d", "e"] {
                    children.start(ChildSpec::new(name, |_| Ok(Idle)));
                }
                Ok(())
            }));
        }
        Ok(())
    });
    let last = format!("app/{}/e", GROUPS - 1);
    eventually("all up", || {
        root.snapshot()
            .find(&last)
            .is_some_and(|node| node.state == servo_supervision::State::Running)
    })
    .await;
    let children = GROUPS * (EACH + 1);
    let bytes = resident_bytes().saturating_sub(before) / children;
    println!(
        "{children} children up in {:?}, {bytes} bytes each",
        started.elapsed()
    );
    assert!(bytes < 6_000, "{bytes} bytes for each child");
    root.shutdown(SECOND * 30).await.unwrap();
}
