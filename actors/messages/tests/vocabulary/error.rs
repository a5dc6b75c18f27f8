use servo_messages::{ErrorKind, EventError, Status, most_severe};

#[test]
fn kinds_statuses_and_priorities() {
    for (kind, status, priority) in [
        (ErrorKind::OptimizerCancelled, "cancelled", 5),
        (ErrorKind::Aborted, "aborted", 4),
        (ErrorKind::AdjustmentRejected, "rejected", 3),
        (ErrorKind::AdjustmentFailed, "failed", 2),
        (ErrorKind::MeasurementFailed, "failed", 1),
        (ErrorKind::Cancelled, "cancelled", 0),
        (ErrorKind::TimedOut, "failed", 0),
        (ErrorKind::Failed, "failed", 0),
        (ErrorKind::Unclassified, "failed", 0),
    ] {
        assert_eq!(
            (kind.status().as_str(), kind.priority()),
            (status, priority),
            "{kind:?}"
        );
    }
}

#[test]
fn the_most_severe_error_is_reported_and_ties_keep_the_earliest() {
    let measurement = EventError::measurement_failed("no data");
    let rejected = EventError::adjustment_rejected("start-failed", "the container exited");
    let later = EventError::adjustment_rejected("unstable", "restarted");
    assert_eq!(
        most_severe([&measurement, &rejected, &later]),
        Some(&rejected)
    );
    assert_eq!(rejected.reason.as_deref(), Some("start-failed"));
    let other = EventError::failed("one");
    assert_eq!(
        most_severe([&other, &EventError::timed_out("two")]),
        Some(&other)
    );
    assert_eq!(most_severe([]), None);
}

#[test]
fn texts_and_reasons() {
    let error = EventError::unclassified("vegeta", "index out of bounds");
    assert_eq!(error.to_string(), "vegeta: index out of bounds");
    assert_eq!(
        (error.reason.as_deref(), error.status()),
        (Some("unknown"), Status::Failed)
    );
    assert_eq!(EventError::failed("x").reason, None);
    assert_eq!(
        EventError::aborted("slo-violation", "p99").status(),
        Status::Aborted
    );
    assert_eq!(
        EventError::adjustment_failed("x")
            .with_reason("unstable")
            .reason
            .as_deref(),
        Some("unstable")
    );
}

#[test]
fn statuses_on_the_wire() {
    for word in ["ok", "failed", "rejected", "aborted", "cancelled"] {
        let status: Status = serde_json::from_value(word.into()).unwrap();
        assert_eq!(status.to_string(), word);
        assert_eq!(word.parse::<Status>().unwrap(), status);
        assert_eq!(serde_json::to_value(status).unwrap(), word);
    }
    assert!("cancel".parse::<Status>().is_err());
}
