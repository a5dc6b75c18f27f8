#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn vocabulary() -> Vocabulary {
    Vocabulary {
        metrics: vec![
            "p99".into(),
            "throughput".into(),
            "error_rate".into(),
            "web.cpu_seconds".into(),
            "http-5xx".into(),
        ],
        settings: vec![
            ("web".into(), "cpu".into(), true),
            ("web".into(), "gc".into(), false),
            ("web-app".into(), "mem".into(), true),
            ("a.b".into(), "c".into(), true),
        ],
    }
}

const METRICS: [f64; 5] = [200.0, 1000.0, 0.5, 12.0, 3.0];
const SETTINGS: [f64; 4] = [2.0, f64::NAN, 4.0, 7.0];
const BASE_METRICS: [f64; 5] = [100.0, 800.0, 0.1, 10.0, 1.0];
const BASE_SETTINGS: [f64; 4] = [4.0, f64::NAN, 8.0, 9.0];

fn evaluation() -> Evaluation<'static> {
    Evaluation {
        metrics: &METRICS,
        settings: &SETTINGS,
        baseline_metrics: &BASE_METRICS,
        baseline_settings: &BASE_SETTINGS,
    }
}

fn value(source: &str) -> f64 {
    Formula::parse(source)
        .unwrap()
        .bind(&vocabulary())
        .unwrap()
        .value(evaluation())
}

fn violation(source: &str) -> f64 {
    Constraint::parse(source)
        .unwrap()
        .bind(&vocabulary())
        .unwrap()
        .violation(evaluation())
}

#[test]
fn formulas_have_the_values_of_arithmetic() {
    for (source, expected) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 4 - 3", 3.0),
        ("24 / 4 / 3", 2.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("2 ^ -1", 0.5),
        ("--2", 2.0),
        ("+3 - +1", 2.0),
        ("1e3 + 2.5E-1", 1000.25),
        ("min(3, 1, 2) + max(4, 5)", 6.0),
        ("abs(-3) + sqrt(16) + log(exp(2))", 9.0),
        ("p99 / throughput", 0.2),
        ("3 * settings.web.cpu", 6.0),
        ("web.cpu + metrics.p99", 202.0),
        ("web.cpu_seconds", 12.0),
        ("`web-app`.mem + `web-app.mem`", 8.0),
        ("settings.a.b.c", 7.0),
        ("`http-5xx`", 3.0),
        ("baseline.p99 + baseline.settings.web.cpu", 104.0),
        ("baseline.web.cpu", 4.0),
    ] {
        assert_eq!(value(source), expected, "{source}");
    }
}

#[test]
fn arithmetic_without_a_result_is_not_finite() {
    for source in [
        "1 / 0",
        "0 / 0",
        "log(0)",
        "sqrt(-1)",
        "exp(1000)",
        "min(1, 0 / 0)",
        "max(0 / 0, 1)",
    ] {
        assert!(!value(source).is_finite(), "{source}");
    }
}

#[test]
fn constraints_are_broken_by_the_difference_of_their_sides() {
    for (source, expected) in [
        ("p99 <= 250", -50.0),
        ("p99 <= 150", 50.0),
        ("throughput >= 900", -100.0),
        ("throughput >= 1100", 100.0),
        ("p99 <= 1.5 * baseline", 50.0),
        ("2 * baseline >= p99", 0.0),
        (
            "p99 / throughput <= 2 * baseline",
            200.0 / 1000.0 - 2.0 * 100.0 / 800.0,
        ),
        ("error_rate < baseline.error_rate + 0.5", 0.5 - 0.6),
        ("settings.web.cpu <= 4", -2.0),
    ] {
        assert!(
            (violation(source) - expected).abs() < 1e-12,
            "{source}: {}",
            violation(source)
        );
    }
    assert!(violation("p99 <= 200") <= 0.0);
    assert!(
        violation("p99 < 200") > 0.0,
        "a strict comparison is broken by equality"
    );
    assert!(violation("p99 > 200") > 0.0);
    assert!(violation("p99 > 199") <= 0.0);
}

#[test]
fn grammar_errors_point_at_the_column_and_say_what_was_expected() {
    for (source, column, words) in [
        ("", 1, "empty"),
        ("   ", 1, "empty"),
        ("1 +", 4, "ends too early"),
        ("1 2", 3, "unexpected the number `2`"),
        ("(1 + 2", 7, "`(` of column 1 is not closed"),
        ("min(1, 2", 9, "`(` of `min` at column 1 is not closed"),
        ("mim(1, 2)", 1, "did you mean `min`?"),
        ("min(1)", 1, "two or more values, not 1"),
        ("sqrt(1, 2)", 1, "exactly one value, not 2"),
        ("p99 <= 3", 5, "put it under `constraints`"),
        ("p99 == 3", 5, "use `<=` or `>=`"),
        ("2 ** 3", 3, "`**` is written `^`"),
        ("12ms", 1, "numbers take no unit"),
        ("5 % 2", 3, "not an operator"),
        ("a.", 3, "after `.`"),
        ("`a", 1, "not closed"),
        ("``", 1, "nothing between"),
        ("p99 # x", 5, "unexpected character '#'"),
        (".5", 1, "write `0.5`"),
        ("1e999", 1, "too large"),
        ("1.05 * baseline", 8, "only in a constraint"),
        ("é + ?", 5, "unexpected character '?'"),
    ] {
        let error = Formula::parse(source).expect_err(source);
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.problem.contains(words), "{source}: {error}");
    }
    for (source, column, words) in [
        ("p99", 4, "compares two sides"),
        ("1 <= p99 <= 2", 10, "write two constraints"),
        ("baseline <= baseline", 13, "both sides"),
        ("p99 250", 5, "compares two sides"),
        ("<= 3", 1, "a number, a name or `(`"),
    ] {
        let error = Constraint::parse(source).expect_err(source);
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.problem.contains(words), "{source}: {error}");
    }
}

#[test]
fn unknown_names_are_named_with_the_nearest_known_one() {
    for (source, column, words) in [
        ("1 + p98", 5, "did you mean `p99`?"),
        ("troughput", 1, "did you mean `throughput`?"),
        ("settings.web.cpus", 1, "did you mean `web.cpu`?"),
        ("web-app.mem", 1, "quoted, as in `settings.`web-app`.mem`"),
        ("http-5", 1, "quoted, as in ``http-5xx``"),
        ("web.gc", 1, "is not a number"),
        ("metrics.web.cpu", 1, "unknown name `web.cpu`"),
        ("zzzzzzzzz", 1, "known: p99, throughput"),
    ] {
        let error = Formula::parse(source)
            .unwrap()
            .bind(&vocabulary())
            .expect_err(source);
        assert_eq!(error.column, column, "{source}: {error}");
        assert!(error.problem.contains(words), "{source}: {error}");
    }
    let error = Formula::parse("p99")
        .unwrap()
        .bind(&Vocabulary::default())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("describes no metrics and no settings"),
        "{error}"
    );
}

#[test]
fn a_bound_expression_knows_the_metrics_it_needs() {
    let mut needed = Vec::new();
    Constraint::parse("p99 + p99 <= baseline + baseline.throughput")
        .unwrap()
        .bind(&vocabulary())
        .unwrap()
        .metrics(&mut needed);
    assert_eq!(needed, [0, 1]);
}

#[test]
fn hostile_nesting_and_length_are_refused() {
    for source in [
        "(".repeat(4000),
        "-".repeat(4000) + "1",
        "2^".repeat(2000) + "1",
        "min(1,".repeat(600),
        "1".repeat(5000),
    ] {
        assert!(Formula::parse(&source).is_err());
    }
    let long = vec!["1"; 900].join("+");
    assert_eq!(value(&long), 900.0);
}

fn node() -> impl Strategy<Value = Node> {
    let name = prop::collection::vec(
        prop_oneof!["[a-z_][a-z0-9_]{0,6}", "[a-z]{1,3}-[a-z]{1,3}", "[0-9]x"],
        1..3,
    );
    let leaf = prop_oneof![
        (0.0f64..1e9).prop_map(Node::Number),
        prop_oneof![Just(0.0), Just(1e-12), Just(1e300), Just(0.1)].prop_map(Node::Number),
        name.prop_map(|pieces| Node::Name(Name { pieces, column: 1 })),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = prop_oneof![
            Just(Operator::Add),
            Just(Operator::Subtract),
            Just(Operator::Multiply),
            Just(Operator::Divide),
            Just(Operator::Power)
        ];
        prop_oneof![
            inner.clone().prop_map(|node| Node::Negate(Box::new(node))),
            (operator, inner.clone(), inner.clone()).prop_map(|(operator, left, right)| {
                Node::Binary(operator, Box::new(left), Box::new(right))
            }),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|arguments| Node::Call(Function::Max, arguments)),
            inner.prop_map(|argument| Node::Call(Function::Sqrt, vec![argument])),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn printing_then_parsing_is_the_identity(root in node()) {
        let text = root.to_string();
        let parsed = parse::formula(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&parsed, &root, "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = Formula::parse(&text);
        let _ = Constraint::parse(&text);
    }

    #[test]
    fn no_text_of_the_language_makes_it_panic(words in prop::collection::vec(
        prop_oneof!["p99", "web\\.cpu", "baseline", "min\\(", "\\(", "\\)", ",", "[-+*/^]", "<=", "[0-9]{1,3}", " "], 0..30)
    ) {
        let text = words.concat();
        if let Ok(formula) = Formula::parse(&text) && let Ok(bound) = formula.bind(&vocabulary()) {
            let _ = bound.value(evaluation());
        }
        if let Ok(constraint) = Constraint::parse(&text) && let Ok(bound) = constraint.bind(&vocabulary()) {
            let _ = bound.violation(evaluation());
        }
    }
}
