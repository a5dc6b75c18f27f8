//! Servos and times in the words of tables.

use jiff::Timestamp;

use super::answers::{Daemon, Servo, ServoInFull};

/// A span of time in one unit or two: `840ms`, `4.2s`, `38s`, `3m12s`, `2h5m`, `3d4h`.
pub(in crate::cli) fn span(seconds: f64) -> String {
    let seconds = if seconds.is_finite() {
        seconds.max(0.0)
    } else {
        0.0
    };
    if seconds < 0.9995 {
        return format!("{:.0}ms", seconds * 1000.0);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    // Saturates far beyond any age.
    let whole = seconds.round() as u64;
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => pair(whole / 60, "m", whole % 60, "s"),
        3600..86400 => pair(whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => pair(whole / 86400, "d", whole % 86400 / 3600, "h"),
    }
}

/// As [`span`], in whole seconds: for times that pass while one looks at them.
pub(in crate::cli) fn age(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{:.0}s", seconds.max(0.0).floor())
    } else {
        span(seconds.floor())
    }
}

/// How long ago a time was that the daemon told.
pub(in crate::cli) fn ago(at: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(at) => {
            let passed = Timestamp::now().duration_since(at).as_secs_f64();
            format!("{} ago", age(passed))
        }
        Err(_) => at.to_owned(),
    }
}

/// `backing_off` as `backing off`.
pub(in crate::cli) fn state(word: &str) -> String {
    word.replace('_', " ")
}

/// A state and what more there is to say about it.
pub(in crate::cli) fn state_in_full(servo: &Servo) -> String {
    let state = state(&servo.state);
    match servo.detail.as_deref().map(str::trim) {
        None | Some("") => state,
        Some(detail) if detail.to_lowercase().starts_with(&state) => detail.to_owned(),
        Some(detail) => format!("{state}: {detail}"),
    }
}

/// What is carried out: `MEASURE 42% 12s warm-up`.
pub(in crate::cli) fn operation(servo: &Servo) -> String {
    let Some(command) = &servo.command else {
        return String::new();
    };
    let percent = command.percent.map(|percent| format!("{percent:.0}%"));
    let parts = [
        Some(command.operation.clone()),
        percent,
        Some(age(command.runtime_seconds)),
        command.message.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What came of the last command: `MEASURE ok 5m ago`.
pub(in crate::cli) fn last(servo: &Servo) -> String {
    servo.last.as_ref().map_or_else(String::new, |last| {
        let ago = age(last.ended_seconds_ago);
        format!("{} {} {ago} ago", last.operation, last.status)
    })
}

/// The daemon in a line: `servo 0.1.0 is ready, up 3d4h, 12 servos (10 polling, 2 parked)`.
pub(in crate::cli) fn daemon(daemon: &Daemon) -> String {
    let ready = if daemon.ready { "ready" } else { "not ready" };
    let mut states: Vec<_> = daemon
        .servos
        .states
        .iter()
        .filter(|(_, n)| **n > 0)
        .collect();
    states.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
    let states: Vec<_> = states
        .into_iter()
        .map(|(name, count)| format!("{count} {}", state(name)))
        .collect();
    let states = match states.join(", ") {
        none if none.is_empty() => none,
        states => format!(" ({states})"),
    };
    let total = daemon.servos.total;
    let outages = match daemon.servos.outages {
        0 => String::new(),
        1 => ", 1 without an answer from its optimizer".to_owned(),
        more => format!(", {more} without an answer from their optimizers"),
    };
    format!(
        "servo {} is {ready}, up {}, {total} {}{states}{outages}",
        daemon.version,
        age(daemon.uptime_seconds),
        if total == 1 { "servo" } else { "servos" },
    )
}

/// How the last reload went, in a line.
pub(in crate::cli) fn reload(daemon: &Daemon) -> Option<String> {
    let last = daemon.reloads.last.as_ref()?;
    Some(format!("{}: {}", ago(&last.at), last.text))
}

/// A text that neither breaks a line nor moves the cursor of a terminal.
pub(in crate::cli) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    lines
        .join(" ")
        .replace('\t', " ")
        .replace(char::is_control, "\u{fffd}")
}

/// What is wrong with a servo now, if anything is; what is over is no trouble.
pub(in crate::cli) fn trouble(full: &ServoInFull) -> Option<String> {
    let servo = &full.servo;
    let because = || match &servo.error {
        Some(error) => format!(": {error}"),
        None => String::new(),
    };
    match servo.state.as_str() {
        "parked" | "backing_off" | "deprovisioned" | "ended" => {
            return Some(format!("it is {}{}", state(&servo.state), because()));
        }
        _ => {}
    }
    if let Some(outage) = full.optimizer.outage_seconds {
        let outage = age(outage);
        return Some(format!(
            "its optimizer has given no usable answer for {outage}{}",
            because()
        ));
    }
    if servo.state == "waiting" {
        return Some(format!("its optimizer gives no usable answer{}", because()));
    }
    let broken = full.connectors.iter().find(|connector| {
        let state = connector.state.replace(' ', "_");
        state.starts_with("parked") || state.starts_with("backing_off")
    })?;
    let exit = match &broken.last_exit {
        Some(exit) => format!(" ({exit})"),
        None => String::new(),
    };
    Some(format!(
        "its connector {} is {}{exit}",
        broken.name,
        state(&broken.state)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in [
            (0.0, "0ms"),
            (0.84, "840ms"),
            (0.9999, "1.0s"),
            (9.94, "9.9s"),
            (9.96, "10s"),
            (59.4, "59s"),
            (59.6, "1m"),
            (192.0, "3m12s"),
            (7200.0, "2h"),
            (7500.0, "2h5m"),
            (273_600.0, "3d4h"),
            (-1.0, "0ms"),
            (f64::NAN, "0ms"),
        ] {
            assert_eq!(span(seconds), text, "{seconds}");
        }
        for (seconds, text) in [(0.9, "0s"), (9.99, "9s"), (75.9, "1m15s"), (-1.0, "0s")] {
            assert_eq!(age(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_servo() {
        for (servo, trouble_is) in [
            (json!({"state": "polling", "error": "long ago"}), None),
            (
                json!({"state": "parked", "error": "no disk"}),
                Some("it is parked: no disk"),
            ),
            (
                json!({"state": "connecting", "optimizer": {"url": "u", "outage_seconds": 75.2}}),
                Some("its optimizer has given no usable answer for 1m15s"),
            ),
            (
                json!({"state": "polling", "connectors": [
                    {"name": "a", "state": "running"},
                    {"name": "b", "state": "backing_off", "last_exit": "panicked"},
                ]}),
                Some("its connector b is backing off (panicked)"),
            ),
        ] {
            let mut whole = servo.clone();
            whole["name"] = "web".into();
            let full: ServoInFull = serde_json::from_value(whole).unwrap();
            assert_eq!(trouble(&full).as_deref(), trouble_is, "{servo}");
        }
    }

    #[test]
    fn the_daemon_in_a_line() {
        let line = |servos: serde_json::Value| {
            let told =
                json!({"version": "1", "ready": true, "uptime_seconds": 3.0, "servos": servos});
            daemon(&serde_json::from_value(told).unwrap())
        };
        assert_eq!(
            line(json!({"total": 1, "states": {"polling": 1}})),
            "servo 1 is ready, up 3s, 1 servo (1 polling)"
        );
        assert_eq!(
            line(json!({"total": 3, "states": {"polling": 3}, "outages": 2})),
            "servo 1 is ready, up 3s, 3 servos (3 polling), 2 without an answer from their optimizers"
        );
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(one_line("a\r\n  b\n\u{1b}[2Jc\td\n"), "a b \u{fffd}[2Jc d");
    }

    #[test]
    fn details_do_not_say_the_state_again() {
        let servo = |state: &str, detail: &str| Servo {
            state: state.to_owned(),
            detail: Some(detail.to_owned()),
            ..Servo::default()
        };
        let full = |state, detail| state_in_full(&servo(state, detail));
        assert_eq!(
            full("backing_off", "backing off (2s left)"),
            "backing off (2s left)"
        );
        assert_eq!(full("parked", "retry in 2s"), "parked: retry in 2s");
        assert_eq!(full("polling", ""), "polling");
    }
}
