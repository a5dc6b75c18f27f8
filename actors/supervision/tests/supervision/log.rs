//! Each end of a child is reported once.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use servo_supervision::Restart;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::failing::{Do, SECOND, eventually, failing, fast, intensity, park, root_of};

/// Collects events as lines of `LEVEL field=value ...`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("servo_supervision")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn has(line: &str, parts: &[&str]) -> bool {
    parts.iter().all(|part| line.contains(part))
}

#[actix_rt::test]
async fn every_end_is_one_event_with_its_cause() {
    tokio::time::pause();
    let lines = Lines::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let spec = failing("child")
        .intensity(intensity(1))
        .exhausted(park())
        .backoff(fast())
        .restart(Restart::Transient);
    let (_root, child) = root_of(spec).await;
    assert_eq!(lines.take(), Vec::<String>::new());

    child.ask(Do::Panic, SECOND).await.unwrap_err();
    child.wait_until_up(SECOND).await.unwrap();
    let restart = lines.take();
    assert_eq!(restart.len(), 1, "{restart:?}");
    assert!(
        has(
            &restart[0],
            &[
                "WARN",
                "path=app/child",
                "lost in the handler",
                "restarts=0",
                "backoff="
            ]
        ),
        "{restart:?}"
    );

    child.ask(Do::Error, SECOND).await.unwrap_err();
    eventually("parked", || !child.is_up()).await;
    tokio::task::yield_now().await;
    let parked = lines.take();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert!(
        has(
            &parked[0],
            &["ERROR", "path=app/child", "out of paper", "restarts=1"]
        ),
        "{parked:?}"
    );

    child.wait_until_up(SECOND * 900).await.unwrap();
    child.ask(Do::StopByItself, SECOND).await.unwrap_err();
    eventually("ended", || {
        child.status().state == servo_supervision::State::Ended
    })
    .await;
    let normal = lines.take();
    assert_eq!(normal.len(), 1, "{normal:?}");
    assert!(
        has(&normal[0], &["DEBUG", "path=app/child", "ended normally"]),
        "{normal:?}"
    );
}
