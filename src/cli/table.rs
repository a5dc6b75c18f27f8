//! Plain tables, as ServoX prints them (`spec/config-and-cli.md` §7.2): upper-case headers, no
//! lines, columns two blanks apart.

use unicode_width::UnicodeWidthStr;

/// Blanks between columns.
const GAP: usize = 2;

/// Columns are at least this much wider than their headers.
const HEADER_ROOM: usize = 2;

/// A table of `rows` under `headers`; a cell may hold several lines. Each row has one cell for
/// each header. There is no line break at the end.
pub(super) fn render<R: AsRef<[String]>>(
    headers: impl AsRef<[&'static str]>,
    rows: Vec<R>,
) -> String {
    let headers = headers.as_ref();
    let rows: Vec<Vec<Vec<String>>> = rows
        .iter()
        .map(|row| row.as_ref().iter().map(|cell| lines(cell)).collect())
        .collect();
    let widths: Vec<usize> = headers
        .iter()
        .enumerate()
        .map(|(column, header)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .flatten()
                .map(|line| line.width())
                .chain([header.width() + HEADER_ROOM])
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = vec![line(headers.iter().copied(), &widths)];
    for row in &rows {
        let height = row.iter().map(Vec::len).max().unwrap_or_default();
        text.extend((0..height).map(|index| {
            let cells = row
                .iter()
                .map(|cell| cell.get(index).map_or("", String::as_str));
            line(cells, &widths)
        }));
    }
    text.join("\n")
}

/// The lines of a cell. What comes from elsewhere must not move the cursor of a terminal.
fn lines(cell: &str) -> Vec<String> {
    cell.lines()
        .map(|line| {
            line.replace('\t', " ")
                .replace(char::is_control, "\u{fffd}")
        })
        .collect()
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(cell);
        let blanks = width.saturating_sub(cell.width()) + GAP;
        line.extend(std::iter::repeat_n(' ', blanks));
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_headers_and_two_or_their_widest_line() {
        let rows = vec![
            ["a\nlonger than that".to_owned(), "1e3".to_owned()],
            [String::new(), "x".to_owned()],
        ];
        assert_eq!(
            render(["NAME", "UNIT"], rows),
            "NAME              UNIT\na                 1e3\nlonger than that\n                  x"
        );
        assert_eq!(
            render(["EVENT", "CONNECTORS"], Vec::<[String; 2]>::new()),
            "EVENT    CONNECTORS"
        );
    }

    #[test]
    fn wide_characters_take_two_columns_and_marks_none() {
        let rows = vec![
            ["日本語日本".to_owned(), "a".to_owned()],
            ["e\u{301}tude".to_owned(), "b".to_owned()],
        ];
        assert_eq!(
            render(["NAME", "X"], rows),
            "NAME        X\n日本語日本  a\ne\u{301}tude       b"
        );
    }

    #[test]
    fn no_cell_moves_the_cursor() {
        let rows = vec![["a\u{1b}[2Jb\tc\r".to_owned()]];
        assert_eq!(render(["NAME"], rows), "NAME\na\u{fffd}[2Jb c\u{fffd}");
    }
}
