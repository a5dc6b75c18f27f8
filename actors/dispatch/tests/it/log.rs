//! Every log line of a handler says where it comes from.

use std::{cell::RefCell, io, sync::Once};

use futures_util::FutureExt;
use serde_json::Value;
use servo_dispatch::DispatchOptions;

use crate::troupe::{Play, Troupe};

thread_local! {
    /// What this thread, and with it one test, has logged.
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.with_borrow_mut(|written| written.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One subscriber for all tests: which spans are of interest is known to the process, not to the thread.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .json()
            .with_writer(|| ThisThread)
            .init();
    });
}

/// What this test has logged so far, line by line.
pub(crate) fn written() -> Vec<Value> {
    let text = WRITTEN.with_borrow(|written| String::from_utf8(written.clone()).unwrap());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[actix_rt::test]
async fn a_handlers_line_names_servo_connector_event_stage_and_command() {
    let troupe = Troupe::of(&["a"]).await;
    let play = Play::new().on("a", |_| {
        async {
            tracing::info!("before the wait");
            tokio::task::yield_now().await;
            tracing::info!("after the wait");
            Ok(None)
        }
        .boxed_local()
    });
    let options = DispatchOptions {
        command_uid: Some("c-77".into()),
        ..DispatchOptions::default()
    };
    troupe.dispatcher.dispatch(play, options).await.unwrap();
    let lines = written();
    for text in ["before the wait", "after the wait"] {
        let says = |line: &&Value| line["fields"]["message"] == text;
        let line = lines.iter().find(says).unwrap();
        let span = &line["span"];
        let fields = ["servo", "connector", "event", "stage", "command_uid"];
        let told = fields.map(|field| span[field].as_str().unwrap());
        assert_eq!(told, ["theatre", "a", "play", "on", "c-77"]);
    }
}
