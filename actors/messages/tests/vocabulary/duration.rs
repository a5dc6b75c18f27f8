use proptest::prelude::*;
use schemars::{JsonSchema, SchemaGenerator};
use servo_messages::{Duration, DurationError, SignedDuration};

use crate::strategies::near_text;

fn parse(text: &str) -> Duration {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn units() {
    for (text, nanos) in [
        ("1ns", 1),
        ("1us", 1_000),
        ("1\u{b5}s", 1_000),
        ("1\u{3bc}s", 1_000),
        ("1ms", 1_000_000),
        ("1s", 1_000_000_000),
        ("1m", 60_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1d", 86_400_000_000_000),
        ("1w", 7 * 86_400_000_000_000),
        ("1mm", 30 * 86_400_000_000_000),
        ("1y", 365 * 86_400_000_000_000),
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("5.s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("5s 10m", 605_000_000_000),
        ("1s1s", 2_000_000_000),
        ("0.1ns", 0),
        ("0.5ns", 1),
    ] {
        assert_eq!(parse(text).as_std().as_nanos(), nanos, "{text}");
    }
}

#[test]
fn printed_forms() {
    for (text, printed) in [
        ("60s", "1m"),
        ("10w", "2mm10d"),
        ("3h30m", "3h30m"),
        ("1y4w1h", "1y28d1h"),
        ("10.5s4m", "4m10.5s"),
        ("2y4mm3d8h24m", "2y4mm3d8h24m"),
        ("73729440s", "2y4mm3d8h24m"),
        ("100.00100s", "1m40.001s"),
        ("52763797000ms", "1y8mm5d16h36m37s"),
        (".5s", "500ms"),
        ("1500us", "1ms500us"),
        ("365d", "1y"),
        ("45m", "45m"),
        ("90s", "1m30s"),
        ("36h", "1d12h"),
        ("2h5s", "2h5s"),
        ("1.5s", "1.5s"),
        ("250ms", "250ms"),
        ("500us", "500us"),
        ("0s", "0"),
        ("30d", "1mm"),
        ("400d", "1y1mm5d"),
        ("500ns", "500ns"),
        ("59.1234567s", "59.1234567s"),
        ("1h0.000001s", "1h0.000001s"),
    ] {
        assert_eq!(parse(text).to_string(), printed, "{text}");
        assert!(parse(text) == printed);
    }
}

#[test]
fn refused_texts() {
    for (text, error) in [
        ("", "Invalid duration ''"),
        ("3", "Invalid duration '3'"),
        ("-", "Invalid duration '-'"),
        ("s", "Invalid duration 's'"),
        (".", "Invalid duration '.'"),
        ("5 s", "Invalid duration '5 s'"),
        ("5S", "Invalid duration '5S'"),
        ("invalid", "Invalid duration 'invalid'"),
        ("abc", "Invalid duration 'abc'"),
        ("5sx", "Unknown unit 'sx' in duration '5sx'"),
        ("1x", "Unknown unit 'x' in duration '1x'"),
        ("1.2.3s", "Invalid value '1.2.3' in duration '1.2.3s'"),
        ("hello5s", "Invalid duration 'hello5s'"),
        ("1h30", "Invalid duration '1h30'"),
        ("5m-3s", "Invalid duration '5m-3s'"),
        ("1s garbage", "Invalid duration '1s garbage'"),
        ("- 5s", "Invalid duration '- 5s'"),
        (
            "-5s",
            "Invalid duration '-5s': a length of time cannot be negative",
        ),
        (
            "999999999999y",
            "Invalid duration '999999999999y': too long",
        ),
    ] {
        assert_eq!(
            text.parse::<Duration>().unwrap_err().to_string(),
            error,
            "{text}"
        );
    }
    let endless = format!("{}s", "9".repeat(400));
    assert!(matches!(
        endless.parse::<Duration>(),
        Err(DurationError::TooLong { .. })
    ));
}

#[test]
fn signs() {
    for (text, printed) in [
        ("-5s", "-5s"),
        ("-2m3.4s", "-2m3.4s"),
        ("-123.4s", "-2m3.4s"),
        ("-0s", "0"),
        ("+1m", "1m"),
    ] {
        let signed: SignedDuration = text.parse().unwrap();
        assert_eq!(signed.to_string(), printed);
    }
    assert_eq!(
        "-5s".parse::<SignedDuration>().unwrap().clamp_to_zero(),
        Duration::ZERO
    );
    assert_eq!("-5s".parse::<SignedDuration>().unwrap().as_secs_f64(), -5.0);
}

#[test]
fn json_and_yaml() {
    for (json, printed) in [
        ("5.5", "5.5s"),
        ("180", "3m"),
        ("\"300ms\"", "300ms"),
        ("0", "0"),
        ("0.1", "100ms"),
    ] {
        let duration: Duration = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_value(duration).unwrap(), printed, "{json}");
    }
    for (yaml, problem) in [
        (
            "true",
            "invalid type: boolean `true`, expected a duration such as '1m30s' or a number of seconds",
        ),
        ("-1", "a length of time cannot be negative"),
        ("-0.5", "a length of time cannot be negative"),
        (".nan", "a number of seconds must be finite"),
        (".inf", "a number of seconds must be finite"),
        ("1e300", "too long"),
        ("5s!", "Invalid duration '5s!'"),
        ("[1]", "invalid type: sequence"),
    ] {
        let error = serde_yaml::from_str::<Duration>(yaml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{yaml}: {error}");
    }
    assert_eq!(
        serde_json::from_str::<SignedDuration>("-1.5")
            .unwrap()
            .to_string(),
        "-1.5s"
    );
}

#[test]
fn comparisons() {
    assert!(parse("90s") == "1m30s");
    assert!(parse("90s") != "90s");
    assert!(parse("1.5s") == 1.5);
}

#[test]
fn schema() {
    let schema = Duration::json_schema(&mut SchemaGenerator::default()).to_value();
    assert_eq!(schema["type"], serde_json::json!(["string", "number"]));
    assert_eq!(schema["format"], "duration");
    assert_eq!(
        schema["examples"],
        serde_json::json!(["300ms", "5m", "2h45m", "72h3m0.5s"])
    );
    // That it refuses what the type refuses is told where all schemas are compared with their types.
    assert!(schema["pattern"].is_string());
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(seconds in prop_oneof![0_u64..4, any::<u64>()], nanos in 0_u32..1_000_000_000) {
        let duration = Duration::from(std::time::Duration::new(seconds, nanos));
        prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        let signed = SignedDuration::new(true, duration);
        prop_assert_eq!(signed.to_string().parse::<SignedDuration>(), Ok(signed));
        let json = serde_json::to_string(&duration).unwrap();
        prop_assert_eq!(serde_json::from_str::<Duration>(&json).unwrap(), duration);
    }

    #[test]
    fn any_text_is_read_or_refused(text in near_text()) {
        if let Ok(duration) = text.parse::<SignedDuration>() {
            prop_assert_eq!(duration.to_string().parse::<SignedDuration>(), Ok(duration));
        }
    }

    #[test]
    fn any_number_is_read_or_refused(seconds in any::<f64>()) {
        let read = Duration::try_from_secs_f64(seconds);
        prop_assert_eq!(read.is_ok(), seconds.is_finite() && (0.0..1.8446744073709552e19).contains(&seconds));
    }
}
