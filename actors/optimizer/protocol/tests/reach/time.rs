//! Time that moves only when a test says so, also while a server is waited for.

use std::{sync::mpsc, thread, time::Duration};

/// Stands for as long as it lives.
pub(crate) struct StandingTime(
    #[expect(dead_code, reason = "its end ends the wait")] mpsc::Sender<()>,
);

impl StandingTime {
    pub(crate) fn begin() -> Self {
        tokio::time::pause();
        // Time would jump ahead whenever a server is waited for, but for work on another thread.
        let (sender, receiver) = mpsc::channel();
        tokio::task::spawn_blocking(move || receiver.recv());
        Self(sender)
    }

    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }

    /// Lets time pass until `is` so, at a pace at which servers answer before a client has had enough of them.
    pub(crate) async fn pass_until(&self, is: impl Fn() -> bool) {
        for _ in 0..2000 {
            if is() {
                return;
            }
            self.pass(Duration::from_millis(50)).await;
            let moment = || thread::sleep(Duration::from_millis(2));
            tokio::task::spawn_blocking(moment).await.unwrap();
        }
        panic!("it never was");
    }
}
