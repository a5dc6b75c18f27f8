use servo_yaml::Place;

use crate::one;

const FILE: &str = "\
# comment
name: one
process:
  components:
    - name: a
      settings:
        - {name: workers, min: 1}
        - name: cache
          max: 5
    -
      name: b
    - # - a comment |
  ? long
  : here
list:
- 1
-   two
- [x, \"y\", {deep: [z]}]
-
'ключ': {\"ü\": 1, b: 2,
   c: 3, d}
tagged: !!str 12
pair: [k: v]
";

fn at(text: &str, path: &[&str]) -> Option<(usize, usize)> {
    one(text)
        .places
        .exact(path)
        .map(|place| (place.line, place.column))
}

#[test]
fn keys_and_items_are_where_the_text_has_them() {
    let file = FILE;
    let settings = ["process", "components", "0", "settings"];
    let in_settings = |rest: &[&str]| at(file, &[&settings[..], rest].concat());
    assert_eq!(at(file, &["name"]), Some((2, 1)));
    assert_eq!(at(file, &["process"]), Some((3, 1)));
    assert_eq!(at(file, &["process", "components"]), Some((4, 3)));
    assert_eq!(at(file, &["process", "components", "0"]), Some((5, 7)));
    assert_eq!(
        at(file, &["process", "components", "0", "name"]),
        Some((5, 7))
    );
    assert_eq!(in_settings(&[]), Some((6, 7)));
    assert_eq!(in_settings(&["0"]), Some((7, 11)));
    assert_eq!(in_settings(&["0", "min"]), Some((7, 27)));
    assert_eq!(in_settings(&["1", "max"]), Some((9, 11)));
    assert_eq!(at(file, &["process", "components", "1"]), Some((11, 7)));
    assert_eq!(at(file, &["process", "components", "2"]), Some((12, 5)));
    assert_eq!(at(file, &["process", "long"]), Some((13, 5)));
    assert_eq!(at(file, &["list", "0"]), Some((16, 3)));
    assert_eq!(at(file, &["list", "1"]), Some((17, 5)));
    assert_eq!(at(file, &["list", "2"]), Some((18, 3)));
    assert_eq!(at(file, &["list", "2", "1"]), Some((18, 7)));
    assert_eq!(at(file, &["list", "2", "2", "deep"]), Some((18, 13)));
    assert_eq!(at(file, &["list", "2", "2", "deep", "0"]), Some((18, 20)));
    assert_eq!(at(file, &["list", "3"]), Some((19, 1)));
    assert_eq!(at(file, &["ключ"]), Some((20, 1)));
    assert_eq!(at(file, &["ключ", "ü"]), Some((20, 10)));
    assert_eq!(at(file, &["ключ", "b"]), Some((20, 18)));
    assert_eq!(at(file, &["ключ", "c"]), Some((21, 4)));
    assert_eq!(at(file, &["ключ", "d"]), Some((21, 10)));
    assert_eq!(at(file, &["tagged"]), Some((22, 1)));
    assert_eq!(at(file, &["pair", "0", "k"]), Some((23, 8)));
    let windows = &file.replace('\n', "\r\n");
    assert_eq!(at(windows, &["pair", "0", "k"]), Some((23, 8)));
    assert_eq!(at(windows, &["ключ", "c"]), Some((21, 4)));
    let marked = &format!("\u{feff}{}", file.trim_start_matches("# comment\n"));
    assert_eq!(at(marked, &["name"]), Some((1, 1)));
    assert_eq!(at(marked, &["pair", "0", "k"]), Some((22, 8)));
}

#[test]
fn block_scalars_and_empty_items_stand_at_their_indicators() {
    let text = "\
a:
  - |
    x | # y
  - >-  # comment

     z

  - &t |+


  -
  - - # inner - # x
    - |
  - {n: 1}
? |
  key
: - >

- # é - é
- |2-";
    for line_end in ["\n", "\r\n", "\r"] {
        let text = text.replace('\n', line_end);
        let (mapping, list) = text.split_at(text.find("- # é").unwrap());
        assert_eq!(at(mapping, &["a", "0"]), Some((2, 5)));
        assert_eq!(at(mapping, &["a", "1"]), Some((4, 5)));
        assert_eq!(at(mapping, &["a", "2"]), Some((8, 5)));
        assert_eq!(at(mapping, &["a", "3"]), Some((11, 3)));
        assert_eq!(at(mapping, &["a", "4", "0"]), Some((12, 5)));
        assert_eq!(at(mapping, &["a", "4", "1"]), Some((13, 7)));
        assert_eq!(at(mapping, &["a", "5", "n"]), Some((14, 6)));
        assert_eq!(at(mapping, &["key\n"]), Some((15, 3)));
        assert_eq!(at(mapping, &["key\n", "0"]), Some((17, 5)));
        assert_eq!(at(list, &["0"]), Some((1, 1)));
        assert_eq!(at(list, &["1"]), Some((2, 3)));
    }
}

#[test]
fn keys_that_are_empty_or_have_an_anchor_or_a_tag_have_places_too() {
    assert_eq!(at("- : x\n", &["0", ""]), Some((1, 3)));
    assert_eq!(at("a: {: x}\n", &["a", ""]), Some((1, 5)));
    assert_eq!(at("&a b: x\n!!str c: y\n", &["b"]), Some((1, 1)));
    assert_eq!(at("&a b: x\n!!str c: y\n", &["c"]), Some((2, 1)));
}

#[test]
fn what_is_missing_is_placed_where_it_is_missing_from() {
    let document = one("a:\n  - b: 1\n    c: {d: 1}\n");
    let of = |path: &[&str]| {
        let place = document.places.of(path);
        place.map(|place| (place.line, place.column))
    };
    assert_eq!(of(&["a", "0", "x"]), Some((2, 5)));
    assert_eq!(of(&["a", "0", "c", "d", "deeper", "still"]), Some((3, 9)));
    assert_eq!(of(&["a", "1"]), Some((1, 1)));
    assert_eq!(of(&["a", "00"]), Some((1, 1)));
    assert_eq!(of(&["a", "+0"]), Some((1, 1)));
    assert_eq!(of(&["a", ""]), Some((1, 1)));
    assert_eq!(of(&["x", "a"]), None);
    assert_eq!(of(&[]), None);
    assert_eq!(document.places.exact(&["a", "0", "x"]), None);
    assert_eq!(document.places.exact::<&str>(&[]), None);
    let owned = ["a".to_owned(), "0".to_owned()];
    let expected = Place { line: 2, column: 5 };
    assert_eq!(document.places.exact(&owned), Some(expected));
}

#[test]
fn aliases_stand_at_their_own_key_and_hold_what_stands_at_the_anchor() {
    let text = "\
x-base: &base
  inner: {k: 1}
  list: [&item {n: 1}]
use: *base
again:
  - *base
  - *item
";
    assert_eq!(at(text, &["use"]), Some((4, 1)));
    assert_eq!(at(text, &["use", "inner"]), Some((2, 3)));
    assert_eq!(at(text, &["use", "inner", "k"]), Some((2, 11)));
    assert_eq!(at(text, &["again", "0"]), Some((6, 5)));
    assert_eq!(at(text, &["again", "0", "list", "0", "n"]), Some((3, 17)));
    assert_eq!(at(text, &["again", "1"]), Some((7, 5)));
    assert_eq!(at(text, &["again", "1", "n"]), Some((3, 17)));
}

#[test]
fn merged_keys_stand_where_their_anchor_has_them() {
    let text = "\
x-base: &base {a: 1, b: {c: 1}}
use:
  a: 2
  <<: *base
  d: 3
flow: {<<: [*base, {e: 1}], b: 0}
";
    assert_eq!(at(text, &["use", "a"]), Some((3, 3)));
    assert_eq!(at(text, &["use", "b"]), Some((1, 22)));
    assert_eq!(at(text, &["use", "b", "c"]), Some((1, 26)));
    assert_eq!(at(text, &["use", "d"]), Some((5, 3)));
    assert_eq!(at(text, &["use", "<<"]), None);
    assert_eq!(at(text, &["flow", "a"]), Some((1, 16)));
    assert_eq!(at(text, &["flow", "e"]), Some((6, 21)));
    assert_eq!(at(text, &["flow", "b"]), Some((6, 29)));
}

#[test]
fn places_count_from_the_start_of_the_text_in_every_document() {
    let text = "a: 1\n---\n\nb:\n  c: 1\n--- # x\n- d\n";
    let all: Vec<_> = servo_yaml::documents(text).map(Result::unwrap).collect();
    let starts: Vec<_> = all.iter().map(|document| document.place.line).collect();
    assert_eq!(starts, [1, 4, 7]);
    let place = all[1].places.exact(&["b", "c"]).unwrap();
    assert_eq!(place.to_string(), "line 5, column 3");
    assert_eq!(
        all[2].places.exact(&["0"]).unwrap().to_string(),
        "line 7, column 3"
    );
}
