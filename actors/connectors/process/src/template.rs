//! Texts with `{name}` in them.

/// A text in which names stand for values. `{{name}}` is the text `{name}`; braces that hold no plain
/// word (`{"a": 1}`, `{}`) are only text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl Template {
    pub(crate) fn parse(source: &str) -> Self {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            if let Some((word, tail)) = after
                .strip_prefix('{')
                .and_then(|inner| inner.split_once("}}"))
                .filter(|(word, _)| is_word(word))
            {
                text.push('{');
                text.push_str(word);
                text.push('}');
                rest = tail;
            } else if let Some((word, tail)) =
                after.split_once('}').filter(|(word, _)| is_word(word))
            {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(Piece::Name(word.to_owned()));
                rest = tail;
            } else {
                text.push('{');
                rest = after;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self(pieces)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with each name replaced by its value.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Name(name) => value(name),
            })
            .collect()
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_filled_and_braces_survive() {
        for (source, filled) in [
            ("--workers={w}", "--workers=<w>"),
            ("{a}:{b-c}", "<a>:<b-c>"),
            ("{{w}}", "{w}"),
            (r#"{"a": {"b": 1}}"#, r#"{"a": {"b": 1}}"#),
            ("{}", "{}"),
            ("{", "{"),
            ("a{b", "a{b"),
            ("}{w}{", "}<w>{"),
            ("{{{w}}}", "{{w}}"),
            ("", ""),
        ] {
            let template = Template::parse(source);
            assert_eq!(
                template.fill(|name| format!("<{name}>")),
                filled,
                "{source}"
            );
        }
    }

    proptest! {
        #[test]
        fn text_without_braces_is_only_text(text in "[^{]{0,40}") {
            let template = Template::parse(&text);
            prop_assert_eq!(template.names().count(), 0);
            prop_assert_eq!(template.fill(|_| unreachable!()), text);
        }

        #[test]
        fn names_written_back_give_the_source(text in r"([a-z{} ]|\{[a-z]\}){0,20}") {
            prop_assume!(!text.contains("{{"));
            prop_assert_eq!(Template::parse(&text).fill(|name| format!("{{{name}}}")), text);
        }
    }
}
