use std::time::{Duration, Instant};

use servo_yaml::{MAX_COPIES, MAX_DEPTH, YamlErrorKind, documents};

use crate::{errors, one};

/// For what takes milliseconds when it is linear, and minutes when it is not.
const SOON: Duration = Duration::from_secs(20);

fn kinds(text: &str) -> Vec<YamlErrorKind> {
    errors(text).into_iter().map(|error| error.kind).collect()
}

#[test]
fn many_documents_are_read_soon() {
    let document = "\
---
name: servo
optimizer:
  id: example.com/app
  token: abc
connectors: [wait, process]
wait:
  measure_enabled: true
process:
  components:
    - name: main
      settings:
        cpu: {min: 1, max: 4, step: 0.5}
        mem: {min: 1, max: 4, step: 0.5}
";
    let text = document.repeat(10_000);
    let start = Instant::now();
    let last = documents(&text).map(Result::unwrap).last().unwrap();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(last.number, 10_000);
    let place = last.places.exact(&["process", "components", "0"]).unwrap();
    assert_eq!(place.line, 139_997);
}

#[test]
fn nesting_is_limited() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    one(&nested(MAX_DEPTH));
    assert_eq!(kinds(&nested(MAX_DEPTH + 1)), [YamlErrorKind::TooDeep]);
    assert_eq!(kinds(&nested(200)), [YamlErrorKind::TooDeep]);
    // What comes after it is still read.
    let text = format!("a: {}\nb: 1\nb: 2\n", nested(100));
    let all = kinds(&text);
    assert!(
        matches!(
            all[..],
            [YamlErrorKind::TooDeep, YamlErrorKind::DuplicateKey { .. }]
        ),
        "{all:?}"
    );
    let block = format!("{}x\n", "- ".repeat(100_000));
    assert_eq!(kinds(&block), [YamlErrorKind::TooDeep]);
    let keys = format!("{}x\n", "? ".repeat(10_000));
    assert!(kinds(&keys).contains(&YamlErrorKind::TooDeep));
}

#[test]
fn aliases_count_as_deep_as_what_they_stand_for() {
    let step = MAX_DEPTH / 2;
    let text = |inner: usize, outer: usize| {
        format!(
            "a: &a {}{}\nb: {}*a{}\n",
            "[".repeat(inner),
            "]".repeat(inner),
            "[".repeat(outer),
            "]".repeat(outer)
        )
    };
    one(&text(step, step - 1));
    assert_eq!(kinds(&text(step, step)), [YamlErrorKind::TooDeep]);
    // Merging adds keys, not levels.
    let mut chain = "m0: &m0 {k0: 0}\n".to_owned();
    for level in 1..300 {
        chain += &format!("m{level}: &m{level} {{<<: *m{}, k: {level}}}\n", level - 1);
    }
    assert_eq!(one(&chain).value["m299"]["k0"], 0);
}

#[test]
fn anchors_inside_of_what_is_too_deep_are_not_missed_later() {
    let text = format!("a: {}&x 1{}\nb: *x\n", "[".repeat(99), "]".repeat(99));
    assert_eq!(kinds(&text), [YamlErrorKind::TooDeep]);
}

#[test]
fn alias_bombs_are_refused_soon() {
    let start = Instant::now();
    let mut laughs = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    let mut merges = "m0: &m0 {k0: 0}\n".to_owned();
    for level in 1..30 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{list}]\n");
        let below = level - 1;
        merges += &format!(
            "m{level}: &m{level} {{<<: *m{below}, l{level}: *m{below}, r{level}: *m{below}}}\n"
        );
    }
    assert_eq!(kinds(&laughs), [YamlErrorKind::AliasBomb]);
    assert_eq!(kinds(&merges), [YamlErrorKind::AliasBomb]);

    // Long texts count as well as many values.
    let long = format!(
        "a: &a {}\nb:\n{}",
        "x".repeat(1_000_000),
        "- *a\n".repeat(1000)
    );
    assert_eq!(kinds(&long), [YamlErrorKind::AliasBomb]);

    let many = laughs + "---\n";
    let all = documents(&many.repeat(1000)).filter(Result::is_err).count();
    assert_eq!(all, 1000);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn honest_aliases_are_not_refused() {
    let copies = MAX_COPIES / 11;
    let text = format!(
        "x: &x {{a: 1, b: 2, c: [1, 2, 3], d: {{e: 1}}, f: ok}}\nall:\n{}",
        "- *x\n".repeat(copies)
    );
    assert_eq!(one(&text).value["all"].as_sequence().unwrap().len(), copies);
}

#[test]
fn odd_texts_take_no_longer_than_others() {
    let unit = 40_000;
    let texts = [
        "[".repeat(unit),
        "{a: ".repeat(unit),
        "- ".repeat(unit),
        "? ".repeat(unit),
        ": ".repeat(unit),
        "&a ".repeat(unit),
        "*a ".repeat(unit),
        "!a ".repeat(unit),
        "%A\n".repeat(unit),
        "---\n".repeat(unit),
        "...\n".repeat(unit),
        "# c\n".repeat(unit),
        "a\n".repeat(unit),
        "\"a\n\n".repeat(unit),
        "'".repeat(unit),
        "\t\n ".repeat(unit),
        "- |\n  a\n".repeat(unit),
        "- >+\n\n".repeat(unit),
        format!("[{}", "a, ".repeat(unit)),
        format!("[{}]", "a: b, ".repeat(unit)),
        format!("{{{}", "a, ".repeat(unit)),
        format!("{}{}", "[".repeat(200), "a, ".repeat(unit)),
        format!("a: {}", "b ".repeat(unit)),
        (0..unit)
            .map(|key| format!("k{key}: &k{key} v\n"))
            .collect(),
        (0..unit)
            .map(|key| format!("- &k{key} v\n- *k{key}\n"))
            .collect(),
        (0..unit).rev().map(|key| format!("k{key}: v\n")).collect(),
        "--- &a [x, *a]\n".repeat(unit),
        format!("{}: {{{}}}", "k".repeat(1000), "a: 1, ".repeat(unit)),
    ];
    for text in texts {
        let start = Instant::now();
        let _ = documents(&text).count();
        let took = start.elapsed();
        assert!(took < SOON, "{took:?} for {:?}", text.get(..20));
    }
}
