use schemars::schema_for;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use servo_messages::{
    BackoffLimits, CheckDelay, ChecksConfig, CommonConfig, Duration, FastFailConfig, HaltOn,
    Proxies, Severity, SslVerify, Timeouts,
};
use std::path::PathBuf;

fn read<T: DeserializeOwned>(yaml: &str) -> T {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn refused<T: DeserializeOwned>(yaml: &str) -> String {
    match serde_yaml::from_str::<T>(yaml) {
        Ok(_) => panic!("{yaml} was accepted"),
        Err(error) => error.to_string(),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn settings_have_their_defaults() {
    let defaults = CommonConfig::default();
    for yaml in [
        "{}",
        "{timeouts: null, proxies: null, ssl_verify: null, backoff: null}",
        "{progress_interval: null, cancel_grace: null, command_timeout: null, shutdown_grace: null}",
    ] {
        assert_eq!(read::<CommonConfig>(yaml), defaults, "{yaml}");
    }
    assert_eq!(
        serde_json::to_value(&defaults).unwrap(),
        json!({
            "backoff": {
                "__default__": {"max_time": "10m", "max_tries": null},
                "connect": {"max_time": "1h", "max_tries": null},
            },
            "proxies": null,
            "timeouts": {"connect": "10s", "read": "1m", "write": "30s", "pool": "30s"},
            "ssl_verify": true,
            "progress_interval": "1m",
            "cancel_grace": "30s",
            "command_timeout": null,
            "shutdown_grace": "25s",
        })
    );
    assert_eq!(defaults.problems(), []);
    assert!(refused::<CommonConfig>("{timeout: 1s}").contains("unknown field `timeout`"));
}

#[test]
fn times_of_commands_are_given_as_durations_of_some_length() {
    let given =
        "{progress_interval: 10s, cancel_grace: 90, command_timeout: 1h, shutdown_grace: 50s}";
    let settings: CommonConfig = read(given);
    assert_eq!(
        (
            settings.progress_interval,
            settings.cancel_grace,
            settings.command_timeout,
            settings.shutdown_grace
        ),
        (seconds(10), seconds(90), Some(seconds(3600)), seconds(50))
    );
    assert_eq!(settings.problems(), []);
    for key in [
        "progress_interval",
        "cancel_grace",
        "command_timeout",
        "shutdown_grace",
    ] {
        let problems = read::<CommonConfig>(&format!("{{{key}: 0}}")).problems();
        assert_eq!(problems.len(), 1, "{key}");
        assert_eq!(problems[0].0, key);
        assert!(problems[0].1.contains("too short"), "{problems:?}");
        let error = refused::<CommonConfig>(&format!("{{{key}: soon}}"));
        assert!(error.contains("Invalid duration 'soon'"), "{error}");
        let error = refused::<CommonConfig>(&format!("{{{key}: -5s}}"));
        assert!(error.contains("cannot be negative"), "{error}");
    }
}

#[test]
fn an_error_is_told_at_its_key() {
    for (json, path) in [
        (r#"{"timeouts": {"read": "soon"}}"#, "timeouts.read"),
        (r#"{"timeouts": "soon"}"#, "timeouts"),
        (
            r#"{"backoff": {"x": {"max_tries": 0}}}"#,
            "backoff.x.max_tries",
        ),
        (r#"{"proxies": {"http://a": "p"}}"#, "proxies.http://a"),
        (r#"{"proxies": "p"}"#, "proxies"),
        (r#"{"ssl_verify": 5}"#, "ssl_verify"),
    ] {
        let mut json = serde_json::Deserializer::from_str(json);
        let error = serde_path_to_error::deserialize::<_, CommonConfig>(&mut json).unwrap_err();
        assert_eq!(error.path().to_string(), path, "{error}");
    }
}

#[test]
fn what_is_given_of_backoff_is_merged_over_the_defaults() {
    let limits = |yaml: &str, context: &str| {
        let BackoffLimits {
            max_time,
            max_tries,
        } = read::<CommonConfig>(yaml).backoff.limits(context);
        (max_time.map(|time| time.to_string()), max_tries)
    };
    let time = |text: &str| Some(text.to_owned());
    for (yaml, context, expected) in [
        ("{}", "measure", (time("10m"), None)),
        ("{}", "connect", (time("1h"), None)),
        (
            "{backoff: {connect: {max_time: 3s}}}",
            "connect",
            (time("3s"), None),
        ),
        (
            "{backoff: {connect: {max_time: 3s}}}",
            "measure",
            (time("10m"), None),
        ),
        (
            "{backoff: {connect: {max_tries: 50}}}",
            "connect",
            (time("1h"), Some(50)),
        ),
        ("{backoff: {connect: null}}", "connect", (time("1h"), None)),
        (
            "{backoff: {__default__: {max_time: null}}}",
            "x",
            (None, None),
        ),
        (
            "{backoff: {__default__: {max_time: 5m, max_tries: 20}}}",
            "x",
            (time("5m"), Some(20)),
        ),
        (
            "{backoff: {__default__: {max_time: 5m, max_tries: 20}}}",
            "connect",
            (time("1h"), None),
        ),
        (
            "{backoff: {a: {max_tries: 2}, __default__: {max_time: 7}}}",
            "a",
            (time("7s"), Some(2)),
        ),
        (
            "{backoff: {__default__: {max_tries: 3}, a: {max_tries: null}}}",
            "a",
            (time("10m"), None),
        ),
    ] {
        assert_eq!(limits(yaml, context), expected, "{yaml} {context}");
    }
    for (yaml, problem) in [
        ("{backoff: {x: {max_tries: 0}}}", "must be 1 or more"),
        ("{backoff: {x: {max_tries: -1}}}", "must be 1 or more"),
        (
            "{backoff: {x: {max_tries: 5000000000}}}",
            "must be 1 or more",
        ),
        ("{backoff: {x: {max_time: -5s}}}", "cannot be negative"),
        (
            "{backoff: {x: {max_time: soon}}}",
            "Invalid duration 'soon'",
        ),
        ("{backoff: {x: {tries: 1}}}", "unknown field `tries`"),
        ("{backoff: {x: 5m}}", "invalid type"),
        ("{backoff: [1]}", "invalid type"),
    ] {
        let error = refused::<CommonConfig>(yaml);
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn timeouts_are_one_or_four() {
    for (yaml, expected) in [
        ("30s", Timeouts::all(seconds(30))),
        ("1.5", Timeouts::all(Duration::from_millis(1500))),
        ("2", Timeouts::all(seconds(2))),
        ("null", Timeouts::default()),
        (
            "{read: 5m}",
            Timeouts {
                read: seconds(300),
                ..Timeouts::default()
            },
        ),
        (
            "{connect: null, pool: 1}",
            Timeouts {
                pool: seconds(1),
                ..Timeouts::default()
            },
        ),
    ] {
        assert_eq!(read::<Timeouts>(yaml), expected, "{yaml}");
    }
    for (yaml, problem) in [
        (
            "{foo: 1s}",
            "unknown field `foo`, expected one of `connect`, `read`, `write`, `pool`",
        ),
        ("{}", "the mapping is empty"),
        ("[1s]", "expected a duration such as '30s', or a mapping"),
        ("true", "expected a duration such as '30s', or a mapping"),
        ("-5s", "cannot be negative"),
        ("-5", "cannot be negative"),
        ("1h30", "Invalid duration '1h30'"),
        ("{read: -1s}", "cannot be negative"),
    ] {
        let error = refused::<Timeouts>(yaml);
        assert!(error.contains(problem), "{yaml}: {error}");
    }
    let zero: CommonConfig = read("{timeouts: {read: 0}}");
    assert_eq!(
        zero.problems(),
        [(
            "timeouts.read".to_owned(),
            "a time limit must be longer than zero".to_owned()
        )]
    );
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    let path = |path: &str| SslVerify::Authorities(PathBuf::from(path));
    for (yaml, expected) in [
        ("null", SslVerify::System),
        ("true", SslVerify::System),
        ("1", SslVerify::System),
        ("false", SslVerify::Off),
        ("0", SslVerify::Off),
        ("'No'", SslVerify::Off),
        ("/nope.pem", path("/nope.pem")),
        ("./no", path("./no")),
    ] {
        assert_eq!(read::<SslVerify>(yaml), expected, "{yaml}");
    }
    for yaml in ["''", "' '", "2", "-1", "1.5", "[a]", "{a: b}"] {
        let error = refused::<SslVerify>(yaml);
        assert!(
            error.contains("true, false, or the path of a file"),
            "{yaml}: {error}"
        );
    }
    for (yaml, problem) in [
        ("{ssl_verify: /nope.pem}", "cannot find the file /nope.pem"),
        ("{ssl_verify: /}", "/ is no file"),
    ] {
        let problems = read::<CommonConfig>(yaml).problems();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].0 == "ssl_verify" && problems[0].1.contains(problem),
            "{problems:?}"
        );
    }
}

#[test]
fn the_most_specific_pattern_chooses_the_proxy() {
    let chosen = |yaml: &str, url: &str| {
        read::<Proxies>(yaml)
            .choose(&url.parse().unwrap())
            .map_or("direct".to_owned(), ToString::to_string)
    };
    let several = "{'all://': 'http://any', 'https://': 'http://tls', 'all://*.svc': null, 'http://a.svc': 'http://a', \
                   'all://*:1234': 'http://port', 'all://*example.com': 'http://ex', 'https://*.example.com': 'http://below', \
                   'http://[::1]': null, 'all://10.0.0.1:80': 'http://ten'}";
    for (yaml, url, proxy) in [
        ("http://p:3128", "https://x/", "http://p:3128"),
        ("{}", "https://x/", "direct"),
        ("{'https://': 'http://p'}", "http://x/", "direct"),
        (several, "http://x/", "http://any"),
        (several, "https://x/", "http://tls"),
        (several, "http://b.svc/", "direct"),
        (several, "http://B.SVC/", "direct"),
        (several, "http://svc/", "http://any"),
        (several, "http://a.svc/", "http://a"),
        (several, "https://a.svc/", "direct"),
        (several, "http://a.svc:1234/", "http://port"),
        (several, "http://example.com/", "http://ex"),
        (several, "http://notexample.com/", "http://any"),
        (several, "https://a.example.com/", "http://below"),
        (several, "http://a.example.com/", "http://ex"),
        (several, "http://[::1]:8080/", "direct"),
        (several, "http://10.0.0.1/", "http://ten"),
        (several, "http://10.0.0.1:81/", "http://any"),
    ] {
        assert_eq!(chosen(yaml, url), proxy, "{yaml} {url}");
    }
}

#[test]
fn proxies_that_are_none_are_refused() {
    for (yaml, problem) in [
        ("localhost:1234", "must begin with http:// or https://"),
        ("socks5://p", "must begin with http:// or https://"),
        ("all://p", "must begin with http:// or https://"),
        ("''", "must begin with http:// or https://"),
        ("'http://'", "empty host"),
        ("'http://p:99999'", "invalid port number"),
        ("5", "expected a proxy's URL, or a mapping"),
        ("[http://p]", "expected a proxy's URL, or a mapping"),
        (
            "{'ftp://': 'http://p'}",
            "'ftp://': it begins with none of all://, http:// and https://",
        ),
        ("{'*': 'http://p'}", "it begins with none of"),
        ("{'all://a.*.b': null}", "* may only stand at the beginning"),
        ("{'all://*.': null}", "the host is incomplete"),
        ("{'all://h:x': null}", "the port is no number"),
        ("{'all://h:': null}", "the port is no number"),
        ("{'all://h:+1': null}", "the port is no number"),
        ("{'all://h:0': null}", "the port is no number"),
        ("{'all://h/path': null}", "no host name and no IP address"),
        ("{'all://user@h': null}", "holds no user"),
        ("{'all://': 'p'}", "must begin with http:// or https://"),
        ("{'all://': 5}", "a proxy's URL such as"),
    ] {
        let error = refused::<Proxies>(yaml);
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn the_password_of_a_proxy_is_never_shown() {
    for (url, masked) in [
        ("http://ann:hush@p:3128", "http://ann:**********@p:3128"),
        ("http://hush@p", "http://**********@p"),
    ] {
        let config: CommonConfig = read(&format!(
            "{{proxies: {{'all://': '{url}', 'http://b': '{url}'}}}}"
        ));
        let shown = format!("{config:?}{}", serde_yaml::to_string(&config).unwrap());
        assert!(shown.contains(masked) && !shown.contains("hush"), "{shown}");
        let Some(Proxies::ByPattern(patterns)) = config.proxies else {
            panic!("patterns")
        };
        for proxy in patterns.values().flatten() {
            assert!(proxy.expose().contains("hush@p"), "the connection needs it");
        }
    }
    for url in [
        "ann:hush@p",
        "http://ann:hush@",
        "socks5://ann:hush@p",
        "http://ann:hush@p:99999",
    ] {
        let error = refused::<Proxies>(&format!("'{url}'"));
        assert!(!error.contains("hush"), "{error}");
        let error = refused::<CommonConfig>(&format!("{{proxies: {{'all://': '{url}'}}}}"));
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn checks_have_their_defaults_and_forms() {
    let defaults: ChecksConfig = read("{}");
    assert_eq!(
        serde_json::to_value(&defaults).unwrap(),
        json!({
            "connectors": null, "name": null, "id": null, "tag": null,
            "quiet": false, "verbose": false, "progressive": true,
            "wait": "30m", "delay": "expo", "halt_on": "critical", "remedy": true, "check_halting": false,
        })
    );
    let wait = |yaml: &str| read::<ChecksConfig>(yaml).wait;
    for (yaml, expected) in [
        ("{wait: 10}", 10),
        ("{wait: 1m}", 60),
        ("{wait: 0}", 0),
        ("{wait: null}", 0),
    ] {
        assert_eq!(wait(yaml), seconds(expected), "{yaml}");
    }
    assert!(read::<ChecksConfig>("{wait: null}").is_single_pass());
    let delay = |yaml: &str| read::<ChecksConfig>(yaml).delay;
    assert_eq!(delay("{delay: 10}"), CheckDelay::Fixed(seconds(10)));
    assert_eq!(delay("{delay: 10s}"), CheckDelay::Fixed(seconds(10)));
    let pauses: Vec<String> = (0..8)
        .map(|pass| delay("{delay: expo}").after(pass).to_string())
        .collect();
    assert_eq!(
        pauses,
        ["8s", "16s", "32s", "1m4s", "2m8s", "4m16s", "5m", "5m"]
    );
    assert_eq!(CheckDelay::Expo.after(u32::MAX), seconds(300));
    let halt_on = |yaml: &str| read::<ChecksConfig>(yaml).halt_on;
    assert_eq!(halt_on("{halt_on: common}"), HaltOn::At(Severity::Common));
    assert_eq!(halt_on("{halt_on: check}"), HaltOn::At(Severity::Common));
    assert_eq!(
        halt_on("{halt_on: requirement}"),
        HaltOn::At(Severity::Critical)
    );
    for never in ["{halt_on: never}", "{halt_on: null}"] {
        assert_eq!(halt_on(never), HaltOn::Never);
    }
    assert!(halt_on("{halt_on: common}").stops_at(Severity::Critical));
    assert!(!halt_on("{}").stops_at(Severity::Common));
    assert!(!HaltOn::Never.stops_at(Severity::Critical));
    for (yaml, problem) in [
        ("{wait: soon}", "Invalid duration 'soon'"),
        ("{wait: -1}", "cannot be negative"),
        (
            "{delay: x}",
            "Invalid duration 'x': expected 'expo' or a duration",
        ),
        ("{delay: -3}", "cannot be negative"),
        ("{delay: null}", "expected 'expo', a duration"),
        (
            "{halt_on: sometimes}",
            "unknown variant `sometimes`, expected one of `warning`, `common`, `critical`, `never`",
        ),
        ("{connectors: vegeta}", "expected a sequence"),
        ("{bogus: 1}", "unknown field `bogus`"),
    ] {
        let error = refused::<ChecksConfig>(yaml);
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn a_filter_between_slashes_must_be_a_regular_expression() {
    for fine in [
        "{name: [/a.*b/]}",
        "{id: ['a, b']}",
        "{name: ['/(/', b]}",
        "{tag: ['/(/']}",
        "{name: [/]}",
        "{name: []}",
    ] {
        assert_eq!(read::<ChecksConfig>(fine).problems(), [], "{fine}");
    }
    let problems = read::<ChecksConfig>("{name: ['/(/'], id: ['/[z-a]/']}").problems();
    assert_eq!(
        problems,
        [
            ("name[0]".to_owned(), "'/(/' is no regular expression: unclosed group".to_owned()),
            (
                "id[0]".to_owned(),
                "'/[z-a]/' is no regular expression: invalid character class range, the start must be <= the end".to_owned()
            ),
        ]
    );
}

#[test]
fn fast_fail_has_its_defaults_and_forms() {
    let defaults: FastFailConfig = read("{}");
    assert_eq!(
        serde_json::to_value(&defaults).unwrap(),
        json!({"disabled": 0, "period": "1m", "span": null, "skip": "0", "treat_zero_as_missing": false})
    );
    assert_eq!(defaults.span(), seconds(60));
    let given: FastFailConfig =
        read("{disabled: true, period: 30, span: 2m, skip: 1m, treat_zero_as_missing: true}");
    assert!(given.disabled && given.treat_zero_as_missing);
    assert_eq!((given.span(), given.skip), (seconds(120), seconds(60)));
    assert_eq!(read::<FastFailConfig>("{period: 5s}").span(), seconds(5));
    for (yaml, disabled) in [("1", true), ("0", false), ("false", false)] {
        assert_eq!(
            read::<FastFailConfig>(&format!("{{disabled: {yaml}}}")).disabled,
            disabled
        );
    }
    for yaml in [
        "{disabled: 2}",
        "{disabled: -1}",
        "{disabled: maybe}",
        "{period: -1s}",
        "{spam: 1}",
    ] {
        refused::<FastFailConfig>(yaml);
    }
    let keys = |yaml: &str| {
        let problems = read::<FastFailConfig>(yaml).problems();
        problems.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys("{period: 0}"), ["period"]);
    assert_eq!(keys("{span: 0}"), ["span"]);
}

/// Every property has a description for people, and a default.
#[test]
fn schemas_describe_and_default_every_key() {
    for schema in [
        schema_for!(CommonConfig).to_value(),
        schema_for!(ChecksConfig).to_value(),
        schema_for!(FastFailConfig).to_value(),
    ] {
        assert_eq!(schema["additionalProperties"], false);
        let properties = schema["properties"].as_object().unwrap();
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{key}: {property}");
            assert!(
                property.as_object().unwrap().contains_key("default"),
                "{key}: {property}"
            );
        }
    }
    let schema = schema_for!(CommonConfig).to_value();
    assert_eq!(
        schema["properties"]["timeouts"]["default"]["connect"],
        "10s"
    );
    assert_eq!(
        schema["properties"]["backoff"]["default"]["__default__"]["max_time"],
        "10m"
    );
    let checks = schema_for!(ChecksConfig).to_value();
    assert_eq!(checks["properties"]["wait"]["default"], "30m");
    assert_eq!(
        checks["properties"]["halt_on"]["enum"],
        json!([
            "warning",
            "common",
            "critical",
            "never",
            "check",
            "requirement",
            null
        ])
    );
    let fast_fail = schema_for!(FastFailConfig).to_value();
    assert_eq!(
        fast_fail["properties"]["disabled"]["default"],
        Value::from(0)
    );
}
