use servo_yaml::{MAX_ERRORS, YamlErrorKind};

use crate::{errors, shown};

#[test]
fn all_errors_of_a_document_come_together() {
    let text = "\
wait: {measure: 1}
process:
  components:
    - name: a
      name: b
    - settings: !vault secret
    - ? [1, 2]
      : value
    - {a: 1}: {b: !x 1}
wait: {b: 1, b: 2}
wait: 3
";
    let shown: Vec<_> = errors(text).iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            "#1 5:7 process.components.0.name: duplicate key \"name\": it already stands at line 4, column 7, remove one of the two",
            "#1 6:17 process.components.1.settings: unknown tag: remove it, or quote the value if it is to begin with an exclamation mark",
            "#1 7:9 process.components.2: a key must be text, but this one is a list: quote it if it is meant as text",
            "#1 9:7 process.components.3: a key must be text, but this one is a mapping: quote it if it is meant as text",
            "#1 9:19 process.components.3.b: unknown tag: remove it, or quote the value if it is to begin with an exclamation mark",
            "#1 10:1 wait: duplicate key \"wait\": it already stands at line 1, column 1, remove one of the two",
            "#1 10:14 wait.b: duplicate key \"b\": it already stands at line 10, column 8, remove one of the two",
            "#1 11:1 wait: duplicate key \"wait\": it already stands at line 1, column 1, remove one of the two",
        ]
    );
}

#[test]
fn keys_that_differ_only_in_style_are_duplicates() {
    for text in [
        "a: 1\n'a': 2\n",
        "{1: a, \"1\": b}",
        "x: &k a\na: 1\n*k : 2\n",
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(matches!(
            &errors[0].kind,
            YamlErrorKind::DuplicateKey { first, second, .. }
                if first < second && errors[0].place == Some(*second)
        ));
    }
    assert_eq!(errors("{~: 1, ~: 2}").len(), 1);
}

#[test]
fn unknown_tags_are_errors() {
    for (text, tag) in [
        ("!!python/object:os.system x", "!!python/object:os.system"),
        ("!local x", "!local"),
        ("!local [1]", "!local"),
        ("!local {a: 1}", "!local"),
        ("! x", "!"),
        ("!<tag:example.com,2000:t> x", "tag:example.com,2000:t"),
        ("!!binary aGk=", "!!binary"),
        ("!!set {a}", "!!set"),
    ] {
        let errors = errors(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        assert_eq!(errors[0].kind, YamlErrorKind::UnknownTag(tag.to_owned()));
    }
}

#[test]
fn what_is_not_yaml_is_placed() {
    for (text, lines) in [
        ("a: [1,", 1..=1),
        ("a: {b: 1\nc: 2\n", 1..=3),
        ("a: 1\n b: 2\n", 2..=2),
        ("a: 'x\n", 1..=2),
        ("a: 1\n\tb: 2\n", 1..=2),
        ("a: b: c\n", 1..=1),
        ("a: @x\n", 1..=1),
        ("a: \"\\q\"\n", 1..=1),
        ("a: *\n", 1..=1),
        ("a: 1\nb\n", 2..=3),
        ("a: 1\0\n", 1..=1),
        ("- 1\nb: 2\n", 2..=2),
        ("a: ]\n", 1..=1),
    ] {
        let errors = errors(text);
        let place = errors[0].place.unwrap();
        assert!(lines.contains(&place.line), "{text:?}: {errors:?}");
        let message = errors[0].to_string();
        assert!(message.starts_with("not valid YAML: "), "{message}");
        assert!(!message.contains("line"), "{message}");
    }
    let nested = errors("a:\n  - b:\n    - 1\n    - c:\n        - @\n");
    assert_eq!(nested[0].path, ["a", "0", "b", "1", "c", "0"]);
}

#[test]
fn messages_speak_of_the_text_not_of_the_parser() {
    for (text, expected) in [
        ("a: 1\nb\n", "but there is no colon"),
        ("'a':b\n", "put \"---\" before it"),
        ("a: *p4ss\n", "quote it if it is meant as text"),
    ] {
        let all: Vec<_> = servo_yaml::documents(text).collect();
        let errors = all.last().unwrap().as_ref().unwrap_err();
        let message = errors[0].to_string();
        assert!(message.contains(expected), "{text:?}: {message}");
        assert!(!message.contains("p4ss"), "{message}");
    }
}

#[test]
fn what_was_wrong_before_the_text_stopped_being_yaml_is_reported_too() {
    let errors = errors("a: !x 1\na: 2\nb: [\n");
    let kinds: Vec<_> = errors.iter().map(|error| &error.kind).collect();
    assert!(matches!(
        kinds[..],
        [
            YamlErrorKind::UnknownTag(_),
            YamlErrorKind::DuplicateKey { .. },
            YamlErrorKind::Syntax(_)
        ]
    ));
}

#[test]
fn very_many_errors_are_counted() {
    let text = "a: 1\n".repeat(MAX_ERRORS + 6);
    let errors = errors(&text);
    assert_eq!(errors.len(), MAX_ERRORS + 1);
    assert_eq!(
        errors.last().unwrap().to_string(),
        "and 5 more errors in this document"
    );
}
