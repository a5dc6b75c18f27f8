use proptest::prelude::*;
use servo_messages::{Duration, DurationProgress, EventProgress, ProgressReport};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn progress_through_a_duration() {
    let mut progress = DurationProgress::new(s(10));
    assert_eq!(progress.percent(s(100)), 0.0, "not started");
    progress.start(s(100)).unwrap();
    for (now, percent) in [
        (100, 0.0),
        (103, 30.0),
        (110, 100.0),
        (500, 100.0),
        (50, 0.0),
    ] {
        assert_eq!(progress.percent(s(now)), percent, "at {now}");
    }
    assert!(!progress.is_finished(s(109)) && progress.is_finished(s(110)));
    assert_eq!(progress.remaining(s(103)), s(7));
    assert_eq!(
        progress.start(s(101)).unwrap_err().to_string(),
        "cannot start a progress object that has already been started"
    );
    assert_eq!(progress.watch_interval(), s(5));
}

#[test]
fn a_zero_duration_is_done_once_started() {
    let mut progress = DurationProgress::new(Duration::ZERO);
    assert!(!progress.is_finished(s(1)));
    progress.start(s(1)).unwrap();
    assert_eq!(progress.percent(s(1)), 100.0);
}

#[test]
fn texts() {
    let mut progress = DurationProgress::new(s(3));
    progress.start(Duration::ZERO).unwrap();
    let text = progress.text(std::time::Duration::from_secs(1));
    assert_eq!(
        text.before("measuring"),
        "33.33% complete, 1s elapsed - measuring"
    );
    assert_eq!(
        text.after("measuring"),
        "measuring (33.33% complete, 1s elapsed)"
    );
}

#[test]
fn an_event_without_settlement_is_complete_when_triggered() {
    let mut progress = EventProgress::new(Some(s(10)), None);
    assert_eq!(progress.percent(s(5)), 0.0, "not started");
    progress.start(s(0)).unwrap();
    assert_eq!(progress.percent(s(4)), 40.0);
    assert_eq!(progress.remaining(s(4)), Some(s(6)));
    progress.trigger(s(4));
    assert!(
        progress.is_complete(s(4)) && progress.is_finished(s(4)) && !progress.is_timed_out(s(99))
    );
    assert_eq!(progress.percent(s(4)), 100.0);
    assert!(progress.start(s(4)).is_err());
}

#[test]
fn settling_resetting_and_timing_out() {
    let mut progress = EventProgress::new(Some(s(100)), Some(s(20)));
    progress.start(s(0)).unwrap();
    progress.trigger(s(10));
    progress.trigger(s(15));
    assert!(progress.is_settling(s(15)));
    assert_eq!(
        progress.percent(s(15)),
        25.0,
        "a second trigger does not restart the settlement"
    );
    assert_eq!(progress.remaining(s(15)), Some(s(15)));
    progress.reset();
    assert!(!progress.is_settling(s(15)));
    assert_eq!(progress.percent(s(16)), 16.0, "the timeout ran on");
    progress.trigger(s(50));
    assert!(!progress.is_complete(s(69)) && progress.is_complete(s(70)));
    assert!(
        !progress.is_timed_out(s(1000)),
        "it completed in time, however late one asks"
    );
    progress.reset();
    assert!(progress.is_timed_out(s(100)) && !progress.is_complete(s(100)));
    progress.trigger(s(90));
    assert!(
        progress.is_timed_out(s(110)),
        "settling past the timeout does not count"
    );
    progress.complete();
    assert_eq!(progress.percent(s(90)), 100.0);
}

#[test]
fn no_timeout_and_a_zero_timeout() {
    let mut endless = EventProgress::new(None, Some(s(5)));
    endless.start(s(0)).unwrap();
    assert_eq!(
        (endless.percent(s(9999)), endless.remaining(s(9999))),
        (0.0, None)
    );
    assert!(!endless.is_finished(s(9999)));

    let mut none = EventProgress::new(Some(Duration::ZERO), None);
    assert!(!none.is_timed_out(s(3)));
    none.start(s(3)).unwrap();
    assert!(none.is_timed_out(s(3)) && none.is_finished(s(3)));
}

#[test]
fn watch_intervals() {
    assert_eq!(EventProgress::new(None, None).watch_interval(), s(60));
    assert_eq!(
        EventProgress::new(Some(s(300)), None).watch_interval(),
        s(60)
    );
    assert_eq!(
        EventProgress::new(Some(s(30)), None).watch_interval(),
        s(30)
    );
}

#[test]
fn reports_stay_between_0_and_100() {
    for (given, kept) in [(33.38, 33.38), (-1.0, 0.0), (250.0, 100.0), (f64::NAN, 0.0)] {
        assert_eq!(ProgressReport::new(given, None).percent, kept);
    }
}

proptest! {
    #[test]
    fn percent_is_always_a_percentage(
        timeout in proptest::option::of(any::<u64>()),
        settlement in proptest::option::of(any::<u64>()),
        start in any::<u64>(),
        trigger in any::<u64>(),
        now in any::<u64>(),
    ) {
        let at = Duration::from_nanos;
        let mut event = EventProgress::new(timeout.map(at), settlement.map(at));
        event.start(at(start)).unwrap();
        event.trigger(at(trigger));
        prop_assert!((0.0..=100.0).contains(&event.percent(at(now))));
        prop_assert_eq!(event.remaining(at(now)) == Some(Duration::ZERO), event.is_finished(at(now)));
        prop_assert!(!(event.is_complete(at(now)) && event.is_timed_out(at(now))));
    }
}
