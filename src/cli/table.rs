//! Plain tables, as ServoX prints them (`spec/config-and-cli.md` §7.2): upper-case headers,
//! columns two blanks apart, no lines.

use comfy_table::{ContentArrangement, Table};

/// A table of `rows` under `headers`; a cell may hold several lines.
pub(super) fn render<const N: usize>(headers: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
