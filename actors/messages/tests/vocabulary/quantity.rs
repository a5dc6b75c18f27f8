use proptest::prelude::*;
use serde_json::json;
use servo_messages::{Cores, Memory, SettingValue};

use crate::strategies::near_text;

#[test]
fn cores_from_text() {
    for (text, printed) in [
        ("100m", "100m"),
        ("1.0", "1"),
        ("0.1", "100m"),
        ("2500m", "2.5"),
        ("0.0001", "100u"),
        ("0.0000001", "100n"),
        ("0", "0"),
        ("2.50", "2.5"),
        ("0.0015", "1500u"),
        ("1e3", "1000"),
        (".5", "500m"),
        (" 1.5 ", "1.5"),
        ("1500u", "1500u"),
        ("7n", "7n"),
        ("250m", "250m"),
        ("0.0000000001", "1n"),
    ] {
        assert_eq!(
            text.parse::<Cores>().unwrap().to_string(),
            printed,
            "{text}"
        );
    }
    assert_eq!("125m".parse::<Cores>().unwrap().as_cores(), 0.125);
    assert_eq!(Cores::from_millis(125).to_string(), "125m");
    assert_eq!(
        serde_json::from_value::<Cores>(json!(0.1)).unwrap().nanos(),
        100_000_000
    );
    assert_eq!(
        serde_json::from_value::<Cores>(json!(2))
            .unwrap()
            .to_string(),
        "2"
    );
}

#[test]
fn cores_refused() {
    for (text, error) in [
        (
            "",
            "invalid CPU quantity '': expected cores such as '250m', '1.5' or '2'",
        ),
        (
            "abc",
            "invalid CPU quantity 'abc': expected cores such as '250m', '1.5' or '2'",
        ),
        (
            "1.2.3",
            "invalid CPU quantity '1.2.3': expected cores such as '250m', '1.5' or '2'",
        ),
        (
            "1k",
            "invalid CPU quantity '1k': expected cores such as '250m', '1.5' or '2'",
        ),
        (
            "Infinity",
            "invalid CPU quantity 'Infinity': expected cores such as '250m', '1.5' or '2'",
        ),
        ("-1", "invalid CPU quantity '-1': it cannot be negative"),
        ("1e12", "invalid CPU quantity '1e12': too large"),
    ] {
        assert_eq!(text.parse::<Cores>().unwrap_err().to_string(), error);
    }
    assert!(serde_yaml::from_str::<Cores>(".inf").is_err());
    assert!(serde_yaml::from_str::<Cores>("true").is_err());
}

#[test]
fn memory_from_text() {
    const MI: u64 = 1 << 20;
    const GI: u64 = 1 << 30;
    for (text, bytes) in [
        ("128Mi", 128 * MI),
        ("128MiB", 128 * MI),
        ("128 MiB", 128 * MI),
        ("256MiB", 256 * MI),
        ("512mi", 512 * MI),
        ("4.0 GiB", 4 * GI),
        ("1GiB", GI),
        ("2G", 2_000_000_000),
        ("1GB", 1_000_000_000),
        ("1k", 1_000),
        ("1024Ki", MI),
        ("100B", 100),
        ("0.5", GI / 2),
        (".5", GI / 2),
        ("1.0", GI),
        ("5.", 5 * GI),
        ("512", 512),
        ("128m", 128_000_000),
        ("1.5Gi ", 3 * GI / 2),
    ] {
        assert_eq!(text.parse::<Memory>().unwrap().bytes(), bytes, "{text}");
    }
    for text in [
        "", "Mi", "1.5.2Gi", "1Zi", "128Mix", "-1Mi", "-1", "99Ei", "1 2Mi",
    ] {
        assert!(text.parse::<Memory>().is_err(), "{text}");
    }
}

#[test]
fn memory_from_numbers() {
    // In configuration an integer is bytes and a float GiB; in an adjustment every number is GiB.
    assert_eq!(
        serde_json::from_value::<Memory>(json!(268_435_456))
            .unwrap()
            .to_string(),
        "256Mi"
    );
    assert_eq!(
        serde_json::from_value::<Memory>(json!(4.0))
            .unwrap()
            .to_string(),
        "4Gi"
    );
    assert_eq!(
        Memory::from_setting_value(&SettingValue::from(4))
            .unwrap()
            .to_string(),
        "4Gi"
    );
    assert_eq!(
        Memory::from_setting_value(&SettingValue::from("512Mi"))
            .unwrap()
            .as_gib(),
        0.5
    );
    assert_eq!(Memory::from_bytes(134_217_728).as_gib(), 0.125);
    assert!(serde_json::from_value::<Memory>(json!(-1)).is_err());
    assert!(Memory::from_gib(f64::NAN).is_err());
}

#[test]
fn memory_printed() {
    for (bytes, printed, human) in [
        (0, "0", "0.0B"),
        (512, "512", "512.0B"),
        (256 << 20, "256Mi", "256.0Mi"),
        (768 << 20, "768Mi", "768.0Mi"),
        (1 << 30, "1Gi", "1.0Gi"),
        (3 << 29, "1.5Gi", "1.5Gi"),
        (4_429_185_024, "4.125Gi", "4.1Gi"),
        (1025 << 20, "1025Mi", "1.0Gi"),
        ((1 << 30) + 1, "1073741825", "1.0Gi"),
    ] {
        assert_eq!(Memory::from_bytes(bytes).to_string(), printed);
        assert_eq!(Memory::from_bytes(bytes).human(), human);
    }
}

#[test]
fn kubernetes_grammar() {
    assert_eq!(Memory::parse_kubernetes("128m").unwrap().bytes(), 1);
    assert_eq!(
        Memory::parse_kubernetes("129e6").unwrap().bytes(),
        129_000_000
    );
    assert_eq!(
        Memory::parse_kubernetes("1E").unwrap().bytes(),
        1_000_000_000_000_000_000
    );
    assert_eq!(
        Memory::parse_kubernetes("123Mi").unwrap().bytes(),
        123 << 20
    );
    assert_eq!(Cores::parse_kubernetes("1k").unwrap().to_string(), "1000");
    assert_eq!(
        Cores::parse_kubernetes("15123n").unwrap().to_string(),
        "15123n"
    );
    for text in ["", "1MiB", "1 Mi", "-1", "1e", "Gi", "1mi"] {
        assert!(Memory::parse_kubernetes(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(amount in prop_oneof![any::<u64>(), (0_u64..1 << 14).prop_map(|gib| gib << 22)]) {
        let (cores, memory) = (Cores::from_nanos(amount), Memory::from_bytes(amount));
        prop_assert_eq!(cores.to_string().parse::<Cores>(), Ok(cores));
        prop_assert_eq!(Cores::parse_kubernetes(&cores.to_string()), Ok(cores));
        prop_assert_eq!(memory.to_string().parse::<Memory>(), Ok(memory));
        prop_assert_eq!(Memory::parse_kubernetes(&memory.to_string()), Ok(memory));
    }

    #[test]
    fn any_text_is_read_or_refused(text in near_text()) {
        let _ = text.parse::<Cores>();
        let _ = text.parse::<Memory>();
        let _ = Cores::parse_kubernetes(&text);
        let _ = Memory::parse_kubernetes(&text);
    }

    #[test]
    fn any_number_is_read_or_refused(number in any::<f64>()) {
        let _ = Cores::from_cores(number);
        let _ = Memory::from_gib(number);
    }
}
