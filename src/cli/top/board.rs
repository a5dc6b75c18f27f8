//! What `servo top` shows, in which order, and what keys change about it.

use std::cmp::{Ordering, Reverse};

use clap::ValueEnum;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::admin_client::{
    answers::{Daemon, Servo},
    words::{self, age},
};
use super::screen::{Key, Line, Look, Size};

/// What the rows are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// What needs somebody first, then what is at work
    #[default]
    State,
    /// A to Z
    Name,
    /// The longest first
    Operation,
    /// The most commands first
    Done,
    /// The most commands that were not ok first
    NotOk,
    /// The most restarts first
    Restarts,
    /// The latest result first
    Last,
    /// Those with errors first
    Error,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// Another look at the daemon, now.
    Look,
    End,
}

/// The rows, and how they are looked at.
pub(super) struct Board {
    order: Order,
    reversed: bool,
    search: String,
    typing: bool,
    top: usize,
    servos: Vec<Servo>,
}

pub(super) const HEADERS: [&str; 8] = [
    "NAME",
    "STATE",
    "OPERATION",
    "DONE",
    "NOT OK",
    "RESTARTS",
    "LAST",
    "ERROR",
];

/// Columns that are no wider than this, however long what stands in them is.
const WIDEST: [usize; 8] = [40, 34, 36, 9, 7, 9, 26, usize::MAX];

/// Lines that are not rows: head, reload or trouble, keys, headers.
const AROUND: usize = 4;

/// Looked for names are no longer.
const LONGEST_SEARCH: usize = 200;

impl Board {
    pub(super) fn new(order: Order, search: String) -> Self {
        Self {
            order,
            reversed: false,
            search,
            typing: false,
            top: 0,
            servos: Vec::new(),
        }
    }

    /// Part of the names that are wanted; empty for all.
    pub(super) fn search(&self) -> &str {
        &self.search
    }

    /// Shows these from now on.
    pub(super) fn take(&mut self, servos: Vec<Servo>) {
        self.servos = servos;
        self.sort();
    }

    fn sort(&mut self) {
        let (order, reversed) = (self.order, self.reversed);
        self.servos.sort_by(|a, b| {
            let by = order.compare(a, b);
            let by = if reversed { by.reverse() } else { by };
            by.then_with(|| a.name.cmp(&b.name))
        });
    }

    /// All rows, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = [String; 8]> {
        self.servos.iter().map(row)
    }

    /// The screen.
    pub(super) fn lines(&self, daemon: &Daemon, trouble: Option<&str>, size: Size) -> Vec<Line> {
        let line = |text: String, look| Line {
            text: clipped(&words::one_line(&text), size.columns),
            look,
        };
        let second = match trouble {
            Some(trouble) => line(trouble.to_owned(), Look::Bad),
            None => {
                let memory = daemon.memory_bytes.map(memory);
                let memory = memory.map(|m| format!("memory {m}"));
                let reload = words::reload(daemon).map(|r| format!("last reload {r}"));
                let parts: Vec<_> = memory.into_iter().chain(reload).collect();
                line(parts.join("; "), Look::Plain)
            }
        };
        let visible = self.visible(size);
        let top = self.top.min(self.last_top(size));
        let shown: Vec<_> = self.servos.iter().skip(top).take(visible).collect();
        let rows: Vec<_> = shown.iter().copied().map(row).collect();
        let widths = widths(&rows);
        let mut lines = vec![
            line(words::daemon(daemon), Look::Bold),
            second,
            line(self.hint(top, shown.len()), Look::Faint),
            line(joined(&HEADERS.map(str::to_owned), &widths), Look::Reverse),
        ];
        lines.extend(
            shown
                .iter()
                .zip(&rows)
                .map(|(servo, row)| line(joined(row, &widths), look(servo))),
        );
        lines.truncate(size.rows);
        lines
    }

    fn hint(&self, top: usize, shown: usize) -> String {
        if self.typing {
            return format!("names with: {}_   Enter: done   Esc: all", self.search);
        }
        let turned = if self.reversed { ", reversed" } else { "" };
        let search = match self.search.as_str() {
            "" => String::new(),
            search => format!(" with \"{search}\""),
        };
        let range = match shown {
            0 => "no servos".to_owned(),
            _ => format!("{}-{} of {}", top + 1, top + shown, self.servos.len()),
        };
        format!(
            "{range}{search} by {}{turned}   sort: n s o d f r l e   names: /   end: q",
            self.order.name()
        )
    }

    fn visible(&self, size: Size) -> usize {
        size.rows.saturating_sub(AROUND)
    }

    fn last_top(&self, size: Size) -> usize {
        self.servos.len().saturating_sub(self.visible(size))
    }

    /// Does what a key stands for.
    pub(super) fn press(&mut self, key: Key, size: Size) -> Wish {
        if self.typing {
            return self.type_key(key);
        }
        let page = self.visible(size).max(1);
        let last = self.last_top(size);
        let top = self.top.min(last);
        match key {
            Key::Break | Key::Character('q') => return Wish::End,
            Key::Up | Key::Character('k') => self.top = top.saturating_sub(1),
            Key::Down | Key::Character('j') => self.top = (top + 1).min(last),
            Key::PageUp => self.top = top.saturating_sub(page),
            Key::PageDown | Key::Character(' ') => self.top = (top + page).min(last),
            Key::Home => self.top = 0,
            Key::End => self.top = last,
            Key::Character('/') => self.typing = true,
            Key::Escape if !self.search.is_empty() => {
                self.search.clear();
                return Wish::Look;
            }
            Key::Character(letter) => {
                if let Some(order) = Order::of_key(letter) {
                    self.reversed = order == self.order && !self.reversed;
                    self.order = order;
                    self.top = 0;
                    self.sort();
                }
            }
            Key::Enter | Key::Escape | Key::Backspace => {}
        }
        Wish::Nothing
    }

    fn type_key(&mut self, key: Key) -> Wish {
        match key {
            Key::Break => return Wish::End,
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.search.clear();
                return Wish::Look;
            }
            Key::Backspace => {
                self.search.pop();
                return Wish::Look;
            }
            Key::Character(letter) if self.search.len() < LONGEST_SEARCH => {
                self.search.push(letter);
                self.top = 0;
                return Wish::Look;
            }
            _ => {}
        }
        Wish::Nothing
    }
}

impl Order {
    fn of_key(letter: char) -> Option<Self> {
        Some(match letter {
            's' => Self::State,
            'n' => Self::Name,
            'o' => Self::Operation,
            'd' => Self::Done,
            'f' => Self::NotOk,
            'r' => Self::Restarts,
            'l' => Self::Last,
            'e' => Self::Error,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Operation => "operation",
            Self::Done => "commands done",
            Self::NotOk => "commands not ok",
            Self::Restarts => "restarts",
            Self::Last => "last result",
            Self::Error => "error",
        }
    }

    fn compare(self, a: &Servo, b: &Servo) -> Ordering {
        let runtime = |servo: &Servo| servo.command.as_ref().map_or(-1.0, |c| c.runtime_seconds);
        let ago = |servo: &Servo| {
            servo
                .last
                .as_ref()
                .map_or(f64::MAX, |l| l.ended_seconds_ago)
        };
        match self {
            Self::State => urgency(&a.state).cmp(&urgency(&b.state)),
            // Names decide what is equal anyway, but not in reverse.
            Self::Name => a.name.cmp(&b.name),
            Self::Operation => runtime(b).total_cmp(&runtime(a)),
            Self::Done => b.finished.cmp(&a.finished),
            Self::NotOk => b.not_ok.cmp(&a.not_ok),
            Self::Restarts => b.restarts.cmp(&a.restarts),
            Self::Last => ago(a).total_cmp(&ago(b)),
            Self::Error => Reverse(a.error.is_some()).cmp(&Reverse(b.error.is_some())),
        }
    }
}

/// The place of a state among those that an operator wants to see first.
fn urgency(state: &str) -> usize {
    const FIRST: [&str; 13] = [
        "parked",
        "backing_off",
        "waiting",
        "deprovisioned",
        "executing",
        "reporting",
        "starting",
        "attaching",
        "connecting",
        "shutting_down",
        "sleeping",
        "polling",
        "idle",
    ];
    let place = FIRST.iter().position(|first| *first == state);
    place.unwrap_or(FIRST.len())
}

fn look(servo: &Servo) -> Look {
    match servo.state.as_str() {
        "parked" => Look::Bad,
        "backing_off" | "waiting" | "deprovisioned" => Look::Warn,
        "executing" | "reporting" => Look::Busy,
        "ended" | "shutting_down" => Look::Faint,
        _ => Look::Plain,
    }
}

fn row(servo: &Servo) -> [String; 8] {
    let since = age(servo.since_seconds);
    let cells = [
        servo.name.clone(),
        format!("{} {since}", words::state(&servo.state)),
        words::operation(servo),
        servo.finished.to_string(),
        servo.not_ok.to_string(),
        servo.restarts.to_string(),
        words::last(servo),
        servo.error.clone().unwrap_or_default(),
    ];
    let mut widths = WIDEST.iter();
    cells.map(|cell| {
        let widest = widths.next().copied().unwrap_or(usize::MAX);
        clipped(&words::one_line(&cell), widest)
    })
}

fn widths(rows: &[[String; 8]]) -> [usize; 8] {
    let mut widths = HEADERS.map(UnicodeWidthStr::width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    widths
}

fn joined(row: &[String; 8], widths: &[usize; 8]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        line.push_str(cell);
        let blanks = width.saturating_sub(cell.width()) + 2;
        line.extend(std::iter::repeat_n(' ', blanks));
    }
    line
}

/// As much of a text as fits so many columns.
fn clipped(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let kept: String = text
        .chars()
        .take_while(|character| {
            let fits = character.width().unwrap_or(0) <= left;
            left = left.saturating_sub(character.width().unwrap_or(0));
            fits
        })
        .collect();
    if columns == 0 {
        kept
    } else {
        format!("{kept}…")
    }
}

fn memory(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1024 * 1024))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const SIZE: Size = Size {
        columns: 60,
        rows: 8,
    };

    fn board(states: &[&str]) -> Board {
        let mut board = Board::new(Order::State, String::new());
        let servos = states.iter().enumerate().map(|(index, state)| Servo {
            name: format!("s{index}"),
            state: (*state).to_owned(),
            finished: index as u64,
            ..Servo::default()
        });
        board.take(servos.collect());
        board
    }

    fn names(board: &Board) -> Vec<String> {
        board.rows().map(|[name, ..]| name).collect()
    }

    fn daemon() -> Daemon {
        let daemon = json!({"version": "1", "ready": true, "servos": {"total": 3}});
        serde_json::from_value(daemon).unwrap()
    }

    #[test]
    fn what_needs_somebody_stands_first() {
        let mut board = board(&["polling", "parked", "executing", "polling"]);
        assert_eq!(names(&board), ["s1", "s2", "s0", "s3"]);
        board.press(Key::Character('d'), SIZE);
        assert_eq!(names(&board), ["s3", "s2", "s1", "s0"]);
        board.press(Key::Character('d'), SIZE);
        assert_eq!(names(&board), ["s0", "s1", "s2", "s3"]);
        board.press(Key::Character('n'), SIZE);
        board.press(Key::Character('n'), SIZE);
        assert_eq!(names(&board), ["s3", "s2", "s1", "s0"]);
    }

    #[test]
    fn the_screen_is_filled_and_no_line_is_too_long() {
        let mut board = board(&["polling"; 9]);
        let first = |board: &Board| {
            let lines = board.lines(&daemon(), None, SIZE);
            assert_eq!(lines.len(), SIZE.rows);
            assert!(lines.iter().all(|line| line.text.width() <= SIZE.columns));
            lines[AROUND].text.split(' ').next().unwrap().to_owned()
        };
        assert_eq!(first(&board), "s0");
        board.press(Key::PageDown, SIZE);
        assert_eq!(first(&board), "s4");
        board.press(Key::PageDown, SIZE);
        assert_eq!(first(&board), "s5");
        board.press(Key::Up, SIZE);
        assert_eq!(first(&board), "s4");
        board.press(Key::Home, SIZE);
        assert_eq!(first(&board), "s0");
        for (columns, rows) in [(1, 1), (0, 0), (200, 3)] {
            let lines = board.lines(&daemon(), Some("gone"), Size { columns, rows });
            assert_eq!(lines.len(), rows);
        }
    }

    #[test]
    fn names_are_looked_for_as_they_are_typed() {
        let mut board = board(&["polling"]);
        assert_eq!(board.press(Key::Character('/'), SIZE), Wish::Nothing);
        assert_eq!(board.press(Key::Character('q'), SIZE), Wish::Look);
        assert_eq!(board.search(), "q");
        assert_eq!(board.press(Key::Enter, SIZE), Wish::Nothing);
        assert_eq!(board.press(Key::Escape, SIZE), Wish::Look);
        assert_eq!(board.search(), "");
        assert_eq!(board.press(Key::Character('q'), SIZE), Wish::End);
    }

    #[test]
    fn texts_are_clipped_by_columns() {
        for (text, columns, clipped_to) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 4, "日…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(clipped(text, columns), clipped_to);
        }
    }
}
