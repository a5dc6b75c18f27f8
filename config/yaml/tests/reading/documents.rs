use serde_yaml::Value;
use servo_yaml::documents;

use crate::{shown, value};

/// Number, line and value of every document.
fn all(text: &str) -> Vec<(usize, usize, Value)> {
    documents(text)
        .map(|document| {
            let document = document.expect(text);
            (document.number, document.place.line, document.value)
        })
        .collect()
}

#[test]
fn a_text_without_documents_has_none() {
    for text in [
        "",
        "\n\n",
        "# only\n  # comments\n",
        "\u{feff}",
        "...\n",
        "\r\n",
    ] {
        assert_eq!(all(text), [], "{text:?}");
    }
}

#[test]
fn a_document_with_nothing_in_it_is_null() {
    assert_eq!(all("---"), [(1, 1, Value::Null)]);
    assert_eq!(all("# c\n---\n# x\n"), [(1, 2, Value::Null)]);
    assert_eq!(all("a\n---\n"), [(1, 1, "a".into()), (2, 2, Value::Null)]);
    assert_eq!(
        all("---\n---\n# x\n---\nb\n---\n...\n"),
        [
            (1, 1, Value::Null),
            (2, 2, Value::Null),
            (3, 5, "b".into()),
            (4, 6, Value::Null),
        ]
    );
}

#[test]
fn documents_are_split_and_numbered() {
    let expected = [(1, 3, "a".into()), (2, 6, "b".into())];
    assert_eq!(all("# c\n---\na\n---\n# d\nb\n"), expected);
    assert_eq!(all("%YAML 1.2\n---\na\n...\n# comment\nb\n...\n"), expected);
    assert_eq!(all("# c\r\n---\r\na\r\n---\r\n# d\r\nb\r\n"), expected);
    assert_eq!(
        all("--- a\n--- b"),
        [(1, 1, "a".into()), (2, 2, "b".into())]
    );
}

#[test]
fn line_ends_and_byte_order_marks_make_no_difference() {
    let plain = "a:\n  b: [1, 2]\n  c: |\n    x\n    y\nd: e\n";
    let expected = value(plain);
    assert_eq!(expected["a"]["c"], "x\ny\n");
    assert_eq!(value(&plain.replace('\n', "\r\n")), expected);
    assert_eq!(value(&plain.replace('\n', "\r")), expected);
    assert_eq!(value(&format!("\u{feff}{plain}")), expected);
    assert_eq!(value(&format!("\u{feff}# c\n---\n{plain}")), expected);
    assert_eq!(value("a: \t1 \t# c\nb: [1,\t2]\t\n")["b"][1], 2);
}

#[test]
fn reading_is_lazy_and_ends_after_what_is_not_yaml() {
    let mut all = documents("a: 1\n---\nb: [1,\n---\nc: 1\n");
    assert_eq!(all.next().unwrap().unwrap().value["a"], 1);
    let errors = all.next().unwrap().unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].document, 2);
    assert!(shown(&errors[0]).contains("not valid YAML"), "{errors:?}");
    assert!(all.next().is_none());
    assert!(all.next().is_none());
}

#[test]
fn other_errors_leave_the_documents_after_it_readable() {
    let text = "a: 1\na: 2\n---\nb: 1\n---\nc: !x 1\n---\nd: 1\n";
    let read: Vec<_> = documents(text)
        .map(|document| document.map(|document| document.number))
        .map(|document| document.map_err(|errors| errors[0].document))
        .collect();
    assert_eq!(read, [Err(1), Ok(2), Err(3), Ok(4)]);
}

#[test]
fn directives_without_a_document_are_an_error_of_the_next_document() {
    let all: Vec<_> = documents("a\n...\n%YAML 1.2\nb\n").collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].as_ref().unwrap_err()[0].document, 2);
}
