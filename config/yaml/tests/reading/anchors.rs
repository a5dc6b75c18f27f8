use serde_yaml::Value;

use crate::{errors, shown, value};

fn keys(value: &Value) -> Vec<&str> {
    let mapping = value.as_mapping().unwrap();
    mapping.keys().map(|key| key.as_str().unwrap()).collect()
}

/// `text` as it reads without anchors.
fn same(text: &str, without: &str) {
    assert_eq!(value(text), value(without), "{text}");
}

#[test]
fn aliases_stand_for_what_has_the_anchor() {
    same("a: &x 1\nb: *x\n", "{a: 1, b: 1}");
    same(
        "a: &x [1, &y {z: 2}]\nb: [*x, *y]\n",
        "{a: [1, {z: 2}], b: [[1, {z: 2}], {z: 2}]}",
    );
    same("a: &x '1'\nb: *x\n", "{a: '1', b: '1'}");
    same("a: &x\nb: *x\n", "{a: ~, b: ~}");
    same("- &x 1\n- &x 2\n- *x\n", "[1, 2, 2]");
    same(
        "a: &x {b: &y {c: 1}}\nd: {e: {f: *x}}\n",
        "{a: {b: {c: 1}}, d: {e: {f: {b: {c: 1}}}}}",
    );
}

#[test]
fn keys_can_have_anchors_and_be_aliases() {
    same("&x on: 1\nb: *x\n", "{on: 1, b: on}");
    same("a: &x 007\n*x : 1\n", "{a: 007, 007: 1}");
    same("a: &x 0x10\n*x : 1\n", "{a: 16, 0x10: 1}");
    same("&n 1: 2\nb: *n\n", "{1: 2, b: 1}");
}

#[test]
fn merge_keys_fill_in_what_the_mapping_has_not() {
    let base = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\n";
    let same = |text: &str, without: &str| {
        assert_eq!(
            value(&format!("{base}r: {text}\n"))["r"],
            value(without),
            "{text}"
        );
    };
    same("{<<: *x}", "{a: 1, b: 1}");
    same("{<<: *x, a: 3}", "{a: 3, b: 1}");
    same("{a: 3, <<: *x}", "{a: 3, b: 1}");
    same("{<<: [*x, *y]}", "{a: 1, b: 1, c: 2}");
    same("{<<: [*y, *x], c: 3}", "{b: 2, c: 3, a: 1}");
    same("{<<: {a: 5}, b: 6}", "{a: 5, b: 6}");
    same("{<<: [{a: 5}, *y]}", "{a: 5, b: 2, c: 2}");
    same("{<<: []}", "{}");
    same("{<<: {<<: *x, b: 9}, c: 3}", "{a: 1, b: 9, c: 3}");
    same("{!!merge <<: *x}", "{a: 1, b: 1}");
}

#[test]
fn merged_keys_come_in_order_where_the_merge_key_stands() {
    let text = "x: &x {a: 1, b: 1}\nr: {z: 0, <<: *x, y: 2, b: 3}\n";
    assert_eq!(keys(&value(text)["r"]), ["z", "a", "b", "y"]);
}

#[test]
fn merges_of_merges_carry_on() {
    let text = "\
a: &a {k: 1, l: 1}
b: &b {<<: *a, l: 2}
c: &c {<<: *b, m: 3}
d: {<<: [*c, *a]}
";
    assert_eq!(value(text)["d"], value("{k: 1, l: 2, m: 3}"));
    assert_eq!(value(text)["a"], value("{k: 1, l: 1}"));
}

#[test]
fn a_quoted_merge_key_is_an_ordinary_key() {
    for text in ["'<<': {a: 1}", "\"<<\": {a: 1}", "!!str <<: {a: 1}"] {
        assert_eq!(keys(&value(text)), ["<<"]);
    }
    assert_eq!(value("a: <<\n")["a"], "<<");
}

#[test]
fn what_cannot_be_merged_is_an_error() {
    let cases = [
        (
            "r: {<<: 1}",
            "#1 1:9 r.<<: the merge key \"<<\" takes a mapping or a list of mappings, but this is a scalar",
        ),
        (
            "<<:\nb: 1",
            "#1 1:3 <<: the merge key \"<<\" takes a mapping or a list of mappings, but this is a scalar",
        ),
        (
            "x: &x [1]\nr: {<<: *x}",
            "#1 2:9 r.<<: the merge key \"<<\" takes a mapping or a list of mappings, but this is a list with something else than mappings",
        ),
        (
            "<<: [[{a: 1}]]",
            "#1 1:5 <<: the merge key \"<<\" takes a mapping or a list of mappings, but this is a list with something else than mappings",
        ),
        (
            "<<: {a: 1}\nb: 1\n<<: {c: 1}",
            "#1 3:1 <<: duplicate key \"<<\": it already stands at line 1, column 1, remove one of the two",
        ),
    ];
    for (text, expected) in cases {
        let errors: Vec<_> = errors(text).iter().map(shown).collect();
        assert_eq!(errors, [expected], "{text}");
    }
}

#[test]
fn an_anchor_inside_of_itself_is_an_error() {
    for (text, expected) in [
        ("a: &x [1, *x]", "#1 1:11 a.1: "),
        ("a: &x {b: {c: *x}}", "#1 1:15 a.b.c: "),
        ("&x {<<: *x}", "#1 1:9 <<: "),
        ("a: &x\n  *x : 1", "#1 2:3 a: "),
    ] {
        let errors: Vec<_> = errors(text).iter().map(shown).collect();
        let message = "this alias stands inside the value of its own anchor, which would never end";
        assert_eq!(errors, [format!("{expected}{message}")], "{text}");
    }
}

#[test]
fn anchors_end_with_their_document() {
    let all: Vec<_> = servo_yaml::documents("a: &x 1\n---\nb: *x\n---\nc: 1\n").collect();
    let errors = all[1].as_ref().unwrap_err();
    assert_eq!(
        errors.iter().map(shown).collect::<Vec<_>>(),
        [
            "#2 3:4 b: this alias has no anchor in its document: anchors end where their document ends"
        ]
    );
    assert!(all[2].is_ok());
    let unknown = errors_of("b: *nowhere\n");
    assert!(unknown[0].contains("no anchor above it"), "{unknown:?}");
}

fn errors_of(text: &str) -> Vec<String> {
    errors(text).iter().map(shown).collect()
}
