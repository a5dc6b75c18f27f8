//! Diagnostics for optimizers that ask for them: what a servo's configuration comes to, without
//! secrets, and what was logged last (`spec/optimizer-protocol.md` §18).
//!
//! Only servos with `no_diagnostics: false` do this. Each has a task of its own, which waits while its
//! servo is not connected and ends with it.

mod output;
mod secrets;

use std::{future::Future, sync::Arc, time::Duration};

use serde_json::Value;
use servo_assembly::{Phase, ServoHandle, ServoStatus};
use servo_protocol::{Diagnostics, OptimizerClient, PostError, Verdict};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::Instrument;

use super::logging::recent;
use crate::config::ServoConfig;

/// Between two polls, give or take a tenth: thousands of servos that started together must not ask
/// together for ever.
const INTERVAL: Duration = Duration::from_secs(60);

/// Between two polls while the optimizer gives no answer, at most.
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);

/// Servos that send at a time: each has a body of up to 1 MiB in memory, for as long as its optimizer takes.
const SENDING: usize = 32;

static SENDERS: Semaphore = Semaphore::const_new(SENDING);

/// Makes what is sent. Takes its time, and a thread where it may.
type Collect = Arc<dyn Fn() -> Value + Send + Sync>;

/// Answers the optimizer's wish for diagnostics of the servo of `handle` for as long as it runs, if its
/// configuration allows that and its optimizer is one that asks.
pub(super) fn watch(
    runtime: &Handle,
    config: &Arc<ServoConfig>,
    client: &Arc<dyn OptimizerClient>,
    handle: &ServoHandle,
) {
    if config.no_diagnostics || client.diagnostics().is_none() {
        return;
    }
    let (config, client, mut status) = (config.clone(), client.clone(), handle.status());
    let span = tracing::info_span!("diagnostics", servo = %config.name, logger = "diagnostics");
    let collect: Collect = Arc::new(move || {
        let records = recent();
        output::data(&config, &records.all(), &records.trouble())
    });
    let watching = async move {
        if let Some(diagnostics) = client.diagnostics() {
            while_connected(&mut status, || poll(diagnostics, &collect, interval)).await;
        }
    };
    runtime.spawn(watching.instrument(span));
}

/// Whether the optimizer knows the servo, and has not been told GOODBYE.
fn is_connected(status: &ServoStatus) -> bool {
    match status.phase {
        Phase::Idle
        | Phase::Polling
        | Phase::Executing(_)
        | Phase::Reporting(_)
        | Phase::Sleeping { .. }
        | Phase::Waiting { .. } => true,
        Phase::Starting
        | Phase::Attaching
        | Phase::Connecting
        | Phase::Deprovisioned
        | Phase::ShuttingDown
        | Phase::Ended => false,
    }
}

/// Runs `work` whenever the servo is connected, and drops it when it no longer is. Ends when `work` does,
/// or when the servo is gone.
async fn while_connected<F: Future<Output = ()>>(
    status: &mut watch::Receiver<ServoStatus>,
    work: impl Fn() -> F,
) {
    loop {
        if status.wait_for(is_connected).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            parted = status.wait_for(|status| !is_connected(status)) => if parted.is_err() {
                return;
            },
            () = work() => return,
        }
    }
}

/// Asks again and again, and sends what is wanted; ends when the optimizer wants nothing ever again. `pace`
/// says how long from one poll to the next, after so many failures.
async fn poll(diagnostics: &dyn Diagnostics, collect: &Collect, pace: impl Fn(u32) -> Duration) {
    let mut failures = 0_u32;
    loop {
        let asked = Instant::now();
        match round(diagnostics, collect).await {
            Ok(Verdict::Stop) => {
                tracing::info!(
                    "the optimizer wants no diagnostics any more: not asking again until a restart"
                );
                return;
            }
            Ok(verdict) => {
                if verdict == Verdict::Send {
                    tracing::info!("sent diagnostics, as the optimizer asked for them");
                }
                if failures > 0 {
                    tracing::info!(failures, "the optimizer answers about diagnostics again");
                }
                failures = 0;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                match failures {
                    1 => tracing::warn!("{error}; trying again"),
                    _ => tracing::debug!(failures, "{error}"),
                }
            }
        }
        sleep_until(asked + pace(failures)).await;
    }
}

/// Why a poll came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("cannot ask the optimizer whether it wants diagnostics: {0}")]
    Check(PostError),
    #[error("diagnostics are wanted of more than {SENDING} servos at once")]
    Busy,
    #[error("cannot collect diagnostics: {0}")]
    Collect(tokio::task::JoinError),
    #[error("cannot send diagnostics: {0}")]
    Upload(PostError),
    #[error("diagnostics were sent, but the optimizer does not take back that it wants them: {0}")]
    Withhold(PostError),
}

async fn round(diagnostics: &dyn Diagnostics, collect: &Collect) -> Result<Verdict, RoundError> {
    let verdict = diagnostics.check().await.map_err(RoundError::Check)?;
    if verdict == Verdict::Send {
        let turn = timeout(INTERVAL, SENDERS.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(RoundError::Busy);
        };
        let collect = collect.clone();
        let collected = tokio::task::spawn_blocking(move || collect());
        let data = collected.await.map_err(RoundError::Collect)?;
        diagnostics
            .upload(&data)
            .await
            .map_err(RoundError::Upload)?;
        diagnostics.withhold().await.map_err(RoundError::Withhold)?;
    }
    Ok(verdict)
}

/// From one poll to the next after so many that failed one after the other.
fn interval(failures: u32) -> Duration {
    let base = INTERVAL
        .saturating_mul(1 << failures.min(8))
        .min(LONGEST_INTERVAL);
    base.mul_f64(rand::random_range(0.9..=1.1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::{
        collections::VecDeque,
        sync::{Mutex, PoisonError},
    };

    use futures_util::{FutureExt, future::BoxFuture};
    use serde_json::json;

    use super::*;

    /// No condition of these tests takes longer on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// An optimizer that answers as told, and then stops it.
    struct Scripted {
        verdicts: Mutex<VecDeque<Result<Verdict, ()>>>,
        refuses_upload: bool,
        asked: Mutex<Vec<String>>,
    }

    impl Scripted {
        fn new(verdicts: impl IntoIterator<Item = Result<Verdict, ()>>) -> Self {
            Self {
                verdicts: Mutex::new(verdicts.into_iter().collect()),
                refuses_upload: false,
                asked: Mutex::default(),
            }
        }

        fn note(&self, what: impl Into<String>) {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push(what.into());
        }

        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    fn refused() -> PostError {
        PostError::Unconfigured("no".to_owned())
    }

    impl Diagnostics for Scripted {
        fn check(&self) -> BoxFuture<'_, Result<Verdict, PostError>> {
            self.note("check");
            let next = self.verdicts.lock().unwrap().pop_front();
            async move { next.unwrap_or(Ok(Verdict::Stop)).map_err(|()| refused()) }.boxed()
        }

        fn upload<'a>(&'a self, data: &'a Value) -> BoxFuture<'a, Result<(), PostError>> {
            self.note(format!("upload {data}"));
            let refuses = self.refuses_upload;
            async move { if refuses { Err(refused()) } else { Ok(()) } }.boxed()
        }

        fn withhold(&self) -> BoxFuture<'_, Result<(), PostError>> {
            self.note("withhold");
            async { Ok(()) }.boxed()
        }
    }

    /// Polls until STOP, quickly; after how many failures each pause was.
    async fn paused(optimizer: &Scripted) -> Vec<u32> {
        let pauses = Mutex::new(Vec::new());
        let collect: Collect = Arc::new(|| json!(7));
        let pace = |failures| {
            pauses.lock().unwrap().push(failures);
            Duration::from_millis(1)
        };
        let polling = poll(optimizer, &collect, pace);
        tokio::time::timeout(PATIENCE, polling)
            .await
            .expect("it goes on after STOP");
        pauses.into_inner().unwrap()
    }

    #[tokio::test]
    async fn what_is_wanted_is_sent_once_and_stop_is_for_good() {
        let optimizer = Scripted::new([
            Ok(Verdict::Withhold),
            Ok(Verdict::Send),
            Ok(Verdict::Withhold),
        ]);
        assert_eq!(paused(&optimizer).await, [0, 0, 0]);
        let expected = ["check", "check", "upload 7", "withhold", "check", "check"];
        assert_eq!(optimizer.asked(), expected);
    }

    #[tokio::test]
    async fn errors_slow_it_down_and_never_end_it() {
        let failures = std::iter::repeat_n(Err(()), 4);
        let answers = failures.chain([Ok(Verdict::Send), Err(())]);
        let optimizer = Scripted::new(answers);
        assert_eq!(paused(&optimizer).await, [1, 2, 3, 4, 0, 1]);
        assert_eq!(optimizer.asked()[4..7], ["check", "upload 7", "withhold"]);
    }

    #[tokio::test]
    async fn what_could_not_be_sent_is_not_taken_back() {
        let mut optimizer = Scripted::new([Ok(Verdict::Send)]);
        optimizer.refuses_upload = true;
        assert_eq!(paused(&optimizer).await, [1]);
        assert_eq!(optimizer.asked(), ["check", "upload 7", "check"]);
    }

    #[test]
    fn polls_are_spread_around_a_minute_and_ten_at_most() {
        let mut intervals: Vec<Duration> = (0..1_000).map(|_| interval(0)).collect();
        intervals.sort();
        assert!(intervals[0] >= Duration::from_secs(54));
        assert!(intervals[999] <= Duration::from_secs(66));
        assert!(intervals[999] - intervals[0] > Duration::from_secs(9));
        for (failures, seconds) in [(1, 120), (2, 240), (3, 480), (4, 600), (u32::MAX, 600)] {
            let gap = interval(failures).as_secs_f64();
            assert!(
                (gap / f64::from(seconds) - 1.0).abs() <= 0.101,
                "{failures}: {gap}"
            );
        }
    }

    fn in_phase(phase: Phase) -> ServoStatus {
        ServoStatus {
            phase,
            ..ServoStatus::default()
        }
    }

    #[tokio::test]
    async fn it_works_while_the_servo_is_connected_and_ends_with_it() {
        let (servo, mut status) = watch::channel(in_phase(Phase::Connecting));
        let (begins, mut begun) = watch::channel(0);
        let running = Arc::new(());
        let held = running.clone();
        let task = tokio::spawn(async move {
            let work = || {
                let held = held.clone();
                begins.send_modify(|count| *count += 1);
                async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                }
            };
            while_connected(&mut status, work).await;
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*begun.borrow(), 0, "before HELLO");
        servo.send_replace(in_phase(Phase::Polling));
        begun.wait_for(|count| *count == 1).await.unwrap();
        for phase in [Phase::Idle, Phase::Polling] {
            servo.send_replace(in_phase(phase));
            tokio::task::yield_now().await;
        }
        // A connector failed and the servo starts anew.
        servo.send_replace(in_phase(Phase::Starting));
        let until = Instant::now() + PATIENCE;
        while Arc::strong_count(&running) > 2 {
            assert!(Instant::now() < until, "it goes on without the servo");
            tokio::task::yield_now().await;
        }
        servo.send_replace(in_phase(Phase::Polling));
        begun.wait_for(|count| *count == 2).await.unwrap();
        drop(servo);
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }
}
