//! Lists as English reads them aloud.

use std::fmt::Display;

/// `a`; `a and b`; `a, b, and c`.
pub fn english_series<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    english_series_with(items, "and", ",")
}

/// The same with another conjunction (`or`), and with the mark that stands before it from three items on: `","` for
/// the Oxford comma, `""` to leave it out.
pub fn english_series_with<T: Display>(
    items: impl IntoIterator<Item = T>,
    conjunction: &str,
    oxford_mark: &str,
) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let Some(last) = items.pop() else {
        return String::new();
    };
    match items.as_slice() {
        [] => last,
        [only] => format!("{only} {conjunction} {last}"),
        many => format!("{}{oxford_mark} {conjunction} {last}", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_every_length() {
        assert_eq!(english_series::<&str>([]), "");
        assert_eq!(english_series(["a"]), "a");
        assert_eq!(english_series(["a", "b"]), "a and b");
        assert_eq!(english_series(["a", "b", "c"]), "a, b, and c");
        assert_eq!(english_series_with([1, 2, 3], "or", ""), "1, 2 or 3");
    }
}
