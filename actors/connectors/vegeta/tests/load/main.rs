//! Load against real servers on the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod checking;
mod connecting;
mod exchange;
mod pacing;
mod publishing;
mod reporting;
mod secure;
mod server;

use std::time::Duration;

use servo_connector_vegeta::{
    Attack, AttackError, Plan, Report, Summary, Update,
    target::{self, TargetFormat},
};
use tokio_util::sync::CancellationToken;

/// No run of these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A run of these targets in the http format.
fn plan(targets: &str, rate: &str, millis: u64) -> Plan {
    let targets = target::parse(targets, TargetFormat::Http).unwrap();
    let mut plan = Plan::new(
        targets,
        rate.parse().unwrap(),
        Duration::from_millis(millis),
    );
    plan.reporting_interval = Duration::ZERO;
    plan
}

/// Runs to the end; the periodic reports and the summary.
async fn attack(plan: Plan) -> Result<(Vec<Report>, Summary), AttackError> {
    let mut attack = Attack::start(plan, &CancellationToken::new()).await?;
    let run = async {
        let mut reports = Vec::new();
        while let Some(update) = attack.update().await {
            if let Update::Report(report) = update {
                reports.push(*report);
            }
        }
        Ok((reports, attack.finish().await?))
    };
    tokio::time::timeout(DEADLINE, run)
        .await
        .expect("the run should have ended")
}

/// Runs to the end; the figures of the whole run.
fn run(plan: Plan) -> Report {
    block_on(async {
        attack(plan)
            .await
            .unwrap()
            .1
            .report
            .expect("there should be figures")
    })
}

fn block_on<T>(body: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(body)
}
