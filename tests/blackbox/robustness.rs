//! Whatever is written where configuration is read: an answer, or an error that says something. Never
//! a panic, never an endless wait.
//!
//! Arbitrary bytes reach the outer layers only; what reaches the inner ones is made from the files
//! of `tests/corpus` by mistakes such as people and editors make. `PROPTEST_CASES` says how many
//! cases there are, 256 of each kind by default; `PROPTEST_RNG_SEED` makes them the same again.

mod mutate;

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*, sample::select};
use servo::config::{
    self, DaemonConfig, Descriptors, Dotenv, Environment, FileContents, Fingerprint, Generate,
    LoadError, LoadOptions, Need, OptimizerFlags, ReferredFiles, ServoConfig, Shapes, Source,
};
use servo_dispatch::Registry;
use servo_messages::{Adjustment, Cores, Memory, ProxyPattern, ProxyUrl, Selector, Unit};
use servo_protocol::OptimizerId;
use servo_shape::Shape;

use self::mutate::{Mutation, any_mutation, corpus, nasty};

/// Longer than any text of the size that is tried here may take, in a debug build on a busy machine.
const LONG: Duration = Duration::from_secs(20);

static REGISTRY: LazyLock<Registry> = LazyLock::new(servo::connectors::bundled);

/// Loads `text` as the program does; panics when an answer says nothing.
fn load(text: &str, variables: &[(String, String)], optimizer: Need) {
    let environment = Environment::new(variables.iter().cloned(), BTreeMap::new());
    let flags = OptimizerFlags::default();
    let options = LoadOptions {
        registry: &REGISTRY,
        environment: &environment,
        flags: &flags,
        optimizer,
        words: None,
        keep_given: true,
    };
    let source = Source {
        name: "servo.yaml".to_owned(),
        path: None,
    };
    let began = Instant::now();
    let answer = config::load_text(&source, text, &options);
    let took = began.elapsed();
    assert!(took < LONG, "{took:?} for {} bytes", text.len());
    match answer {
        Ok(assembly) => {
            let mut said = assembly.warnings.iter().chain(&assembly.notes);
            assert!(said.all(|problem| !problem.message.is_empty()));
            // Nothing differs from itself.
            let again = config::load_text(&source, text, &options).unwrap();
            let (old, new) = (fingerprints(&assembly.servos), fingerprints(&again.servos));
            let diff = config::diff(
                old.iter().map(|(name, print)| (name, *print)),
                new.iter().map(|(name, print)| (name, *print)),
            );
            assert_eq!(diff.unchanged.len(), assembly.servos.len());
        }
        Err(LoadError::Invalid(error)) => {
            assert!(!error.problems.is_empty());
            let lines = text.split(['\n', '\r']).count();
            for problem in &error.problems {
                assert!(!problem.message.trim().is_empty(), "{problem:?}");
                if let Some(place) = problem.place {
                    assert!((1..=lines + 1).contains(&place.line), "{problem:?}");
                }
            }
            assert!(error.to_string().starts_with("X Invalid configuration in "));
        }
        Err(other) => says(&other),
    }
}

/// What tells one configuration from another, without looking at the files that it names.
fn fingerprints(servos: &[ServoConfig]) -> Vec<(Arc<str>, Fingerprint)> {
    let mut contents = FileContents::default();
    let none = ReferredFiles::default();
    servos
        .iter()
        .map(|servo| {
            (
                servo.name.clone(),
                Fingerprint::of(servo, &none, &mut contents),
            )
        })
        .collect()
}

fn says(error: &impl Display) {
    assert!(!error.to_string().trim().is_empty());
}

fn read<T: std::str::FromStr<Err: Display>>(text: &str) {
    if let Err(error) = text.parse::<T>() {
        says(&error);
    }
}

/// Texts of the alphabets of durations, quantities, rates, descriptors, targets.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[-+0-9.eE_, ]{0,12}",
        "([-+]?[0-9]{0,25}\\.?[0-9]{0,25}(ns|us|µs|μs|ms|s|m|h|d|w|mm|y|S|Mi|GiB|KB|e9|)){0,6}",
        "[0-9]{1,20}/[0-9a-z.]{0,10}(/[0-9]{1,3})?",
        "[a-z.:/=\\[\\]*-]{0,24}",
        "[a-zA-Z._-]{1,8}\\.[a-z_.]{1,8}=[-+0-9.eEa-zA-Z]{0,12}",
        nasty(),
    ]
}

proptest! {
    // What fails is made a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_a_file(bytes in vec(any::<u8>(), 0..600)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.yaml");
        fs::write(&file, &bytes).unwrap();
        let source = Source::new(&file, folder.path());
        match source.read() {
            Ok(text) => load(&text, &[], Need::Required),
            Err(error) => says(&error),
        }
        if let Err(error) = DaemonConfig::load(&file) {
            says(&error);
        }
        dotenv(&file);
        load(&String::from_utf8_lossy(&bytes), &[], Need::Optional);
    }

    #[test]
    fn any_text_of_yaml(text in "([-:?\\[\\]{},#&*!|>'\"%@`<~ \t\n\r]|[a-z0-9._]{1,3}|é|\u{feff}|\u{85}|\u{2028}|\u{1f600}|---\n|\\.\\.\\.\n|<<: ){0,80}") {
        load(&text, &[], Need::Optional);
    }

    #[test]
    fn documents_with_mistakes(file in select(vec!["every-connector.yaml", "several.yaml"]), mutations in vec(any_mutation(), 1..8)) {
        let text = Mutation::apply_all(&mutations, &corpus(file));
        load(&text, &[], Need::Required);
    }

    #[test]
    fn documents_of_all_keys(tree in tree(), place in any::<prop::sample::Index>()) {
        // A value of any form at any place of a document that has all stanzas.
        let mut document: serde_yaml::Value = serde_yaml::from_str(&corpus("every-connector.yaml")).unwrap();
        let places = mutate::places(&document);
        let place = place.get(&places);
        *mutate::at(&mut document, place) = tree;
        load(&serde_yaml::to_string(&document).unwrap(), &[], Need::Required);
    }

    #[test]
    fn variables_of_any_value((name, value) in (select(VARIABLES.clone()), prop_oneof![word(), tree().prop_map(|tree| json(&tree))])) {
        let file = "optimizer: {id: example.com/app, token: t}\nwait: {measure_enabled: true}\n";
        load(file, &[(name.clone(), value.clone())], Need::Required);
        load("", &[(name, value)], Need::Required);
    }

    #[test]
    fn daemon_files_with_mistakes(mutations in vec(any_mutation(), 1..8)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.toml");
        fs::write(&file, Mutation::apply_all(&mutations, &corpus("daemon.toml"))).unwrap();
        if let Err(error) = DaemonConfig::load(&file) {
            says(&error);
        }
    }

    #[test]
    fn files_of_variables_with_mistakes(mutations in vec(any_mutation(), 1..8), text in "([A-Z=$ {}'\"#:\\\\\n-]|export |\\$\\{A:-){0,60}") {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("variables.env");
        for text in [Mutation::apply_all(&mutations, &corpus("variables.env")), text] {
            fs::write(&file, text).unwrap();
            dotenv(&file);
        }
    }

    #[test]
    fn words_of_all_kinds(text in word()) {
        read::<servo_messages::Duration>(&text);
        read::<servo_messages::SignedDuration>(&text);
        read::<Cores>(&text);
        read::<Memory>(&text);
        for error in [Cores::parse_kubernetes(&text).err(), Memory::parse_kubernetes(&text).err()].into_iter().flatten() {
            says(&error);
        }
        read::<servo_connector_vegeta::Rate>(&text);
        read::<Adjustment>(&text);
        if let Err(error) = Adjustment::parse(&text, ["web", "a.b", ""]) {
            says(&error);
        }
        read::<Selector>(&text);
        read::<Unit>(&text);
        read::<ProxyUrl>(&text);
        read::<ProxyPattern>(&text);
        read::<OptimizerId>(&text);
    }

    #[test]
    fn what_durations_print_they_read(nanoseconds in any::<i64>()) {
        let shift = u32::try_from(nanoseconds.rem_euclid(40)).unwrap();
        let length = servo_messages::Duration::from_nanos(nanoseconds.unsigned_abs() >> shift);
        prop_assert_eq!(length.to_string().parse::<servo_messages::Duration>().unwrap(), length);
    }

    #[test]
    fn targets_of_any_text(text in prop_oneof![word(), "((GET|POST|get|X-Key:|@/nope|http://a/|https://\\[::1\\]:9|\\{\"method\": \"GET\", \"url\": \"http://a/\"\\}|[ \n\t:@\"{}é])){0,20}"]) {
        for format in ["http", "json"] {
            let stanza: BTreeMap<&str, &str> = [("rate", "1"), ("format", format), ("target", &text)].into();
            let stanza = serde_yaml::to_string(&stanza).unwrap().replace('\n', "\n  ");
            load(&format!("vegeta:\n  {stanza}"), &[], Need::Optional);
        }
    }

    #[test]
    fn descriptors_of_connectors(words in vec(prop_oneof![word(), "[a-z]{0,6}:?(vegeta|VegetaConnector|wait|nope|[a-z]{1,4}):?[a-z]{0,3}"], 0..4)) {
        match Descriptors::of_words(&words) {
            Ok(descriptors) => {
                let what = Generate { connectors: Some(&descriptors), ..Generate::default() };
                match config::generate(&REGISTRY, &Shapes::default(), &what) {
                    Ok(generated) => load(&generated.text, &[], Need::Required),
                    Err(problems) => problems.iter().for_each(says),
                }
            }
            Err(error) => says(&error),
        }
        let list = serde_yaml::to_string(&words).unwrap().replace('\n', "\n  ");
        load(&format!("connectors:\n  {list}"), &[], Need::Optional);
        let text = serde_yaml::to_string(&words.join(",")).unwrap();
        load(&format!("connectors: {text}"), &[("SERVO_CONNECTORS".to_owned(), words.join(","))], Need::Optional);
    }
}

/// Variables that mean something, and some that nearly do.
static VARIABLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut names: Vec<String> = REGISTRY
        .types()
        .iter()
        .flat_map(|kind| {
            let prefix = format!("SERVO_{}", kind.metadata().default_name.to_uppercase());
            Shape::of(&kind.schema()).variables(&prefix)
        })
        .map(|(_, name)| name)
        .collect();
    for name in names.clone() {
        names.extend([
            format!("{name}__0"),
            format!("{name}__0__NAME"),
            format!("{name}__X__1"),
        ]);
    }
    let named = "SERVO_NAME SERVO_UID SERVO_DESCRIPTION SERVO_CONNECTORS SERVO_OPTIMIZER SERVO_SETTINGS SERVO_CHECKS \
        SERVO_NO_DIAGNOSTICS SERVO_SETTINGS_TIMEOUTS SERVO_SETTINGS_TIMEOUTS__CONNECT SERVO_SETTINGS_PROXIES SERVO_CHECKS_WAIT \
        CHECKS_WAIT CHECKS_NAME COMMON_PROXIES OPSANI_OPTIMIZER OPSANI_ID OPSANI_TOKEN OPSANI_TOKEN_FILE OPSANI_BASE_URL \
        OPSANI_URL APPD_OPTIMIZER_ID APPD_TENANT_ID APPD_BASE_URL APPD_CLIENT_ID APPD_CLIENT_SECRET APPD_CONNECTION_FILE \
        APPD_TOKEN APPD_URL APPD_TOKEN_URL SERVO_OPTIMIZER_EMBEDDED SERVO_OPTIMIZER_EMBEDDED_TRIALS SERVO_ SERVO_WAITX";
    names.extend(named.split_whitespace().map(str::to_owned));
    names
});

fn dotenv(file: &std::path::Path) {
    let folder = file.parent().unwrap();
    match config::read_dotenv(folder, &Dotenv::Files(vec![file.to_owned()])) {
        Ok((_, warnings)) => warnings.iter().for_each(says),
        Err(error) => says(&error),
    }
}

/// A value of any form.
fn tree() -> impl Strategy<Value = serde_yaml::Value> {
    use serde_yaml::Value;
    let key = prop_oneof![
        word(),
        select(vec![
            "name", "min", "max", "step", "type", "values", "value", "token", "0", "connect", "on"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key.clone(), inner), 0..4).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value));
                Value::Mapping(pairs.collect())
            }),
        ]
    })
}

fn json(tree: &serde_yaml::Value) -> String {
    serde_json::to_string(tree).unwrap_or_else(|_| "{".to_owned())
}
