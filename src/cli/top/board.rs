//! What `servo top` shows, in which order, and what keys change about it.
//!
//! The daemon sorts, and tells of as many servos as are looked at, with some above and below them to
//! scroll into.

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

/// Which servos are wanted of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Part of their names; empty for all.
    pub(super) search: String,
    pub(super) order: Order,
    pub(super) reversed: bool,
    /// The first of them, among all of that name in that order.
    pub(super) offset: usize,
    pub(super) limit: usize,
}

/// The rows, and how they are looked at.
pub(super) struct Board {
    order: Order,
    reversed: bool,
    search: String,
    typing: bool,
    /// The first that is shown, among all that match.
    top: usize,
    /// How many match.
    matched: usize,
    /// Those that are known, from this one on.
    offset: usize,
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

/// Servos that are asked for at a time.
const MOST: usize = 1000;

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
            matched: 0,
            offset: 0,
            servos: Vec::new(),
        }
    }

    /// What is to be asked for on a screen of this size: what it shows, and a page above and below.
    pub(super) fn view(&self, size: Size) -> View {
        let page = self.visible(size);
        let offset = self.top.saturating_sub(page);
        View {
            search: self.search.clone(),
            order: self.order,
            reversed: self.reversed,
            offset,
            limit: (self.top - offset + 2 * page).clamp(1, MOST),
        }
    }

    /// Shows these from now on, of `matched`, if they are still what is wanted; says whether they are.
    pub(super) fn take(&mut self, view: &View, matched: usize, servos: Vec<Servo>) -> bool {
        let wanted = view.search == self.search
            && view.order == self.order
            && view.reversed == self.reversed;
        if wanted {
            (self.matched, self.offset, self.servos) = (matched, view.offset, servos);
        }
        wanted
    }

    /// Whether all that is to be shown is known.
    pub(super) fn is_complete(&self, size: Size) -> bool {
        let top = self.top.min(self.last_top(size));
        let end = (top + self.visible(size)).min(self.matched);
        self.offset <= top && end <= self.offset + self.servos.len()
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
        // Above what is known there is nothing to show yet.
        let known = self.servos.iter().skip(top.saturating_sub(self.offset));
        let missing = self.offset.saturating_sub(top);
        let shown: Vec<_> = known.take(visible.saturating_sub(missing)).collect();
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
            _ => format!("{}-{} of {}", top + 1, top + shown, self.matched),
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
        self.matched.saturating_sub(self.visible(size))
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
                    return Wish::Look;
                }
            }
            Key::Enter | Key::Escape | Key::Backspace => {}
        }
        if self.is_complete(size) {
            Wish::Nothing
        } else {
            Wish::Look
        }
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

    /// The daemon's word for it.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Operation => "command",
            Self::Done => "finished",
            Self::NotOk => "not_ok",
            Self::Restarts => "restarts",
            Self::Last => "last",
            Self::Error => "error",
        }
    }
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

/// The cells of a row.
pub(super) fn row(servo: &Servo) -> [String; 8] {
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

    /// A daemon of so many servos, and what it answers.
    fn answer(board: &mut Board, of: usize, size: Size) -> View {
        let view = board.view(size);
        let numbers = view.offset..(view.offset + view.limit).min(of);
        let servos = numbers.map(|number| Servo {
            name: format!("s{number}"),
            state: "polling".to_owned(),
            ..Servo::default()
        });
        assert!(board.take(&view, of, servos.collect()));
        view
    }

    fn board(of: usize) -> Board {
        let mut board = Board::new(Order::State, String::new());
        answer(&mut board, of, SIZE);
        board
    }

    fn daemon() -> Daemon {
        let daemon = json!({"version": "1", "ready": true, "servos": {"total": 3}});
        serde_json::from_value(daemon).unwrap()
    }

    fn first(board: &Board) -> String {
        let lines = board.lines(&daemon(), None, SIZE);
        assert_eq!(lines.len(), SIZE.rows);
        assert!(lines.iter().all(|line| line.text.width() <= SIZE.columns));
        lines[AROUND].text.split(' ').next().unwrap().to_owned()
    }

    #[test]
    fn an_order_is_asked_for_and_one_that_is_no_more_wanted_is_not_shown() {
        let mut board = board(3);
        let before = board.view(SIZE);
        assert_eq!(board.press(Key::Character('d'), SIZE), Wish::Look);
        assert!(!board.take(&before, 1, Vec::new()));
        let view = board.view(SIZE);
        assert_eq!((view.order, view.reversed), (Order::Done, false));
        board.press(Key::Character('d'), SIZE);
        assert!(board.view(SIZE).reversed);
        board.press(Key::Character('n'), SIZE);
        assert_eq!(board.view(SIZE).order.parameter(), "name");
        assert!(!board.view(SIZE).reversed);
    }

    #[test]
    fn the_screen_is_filled_and_no_line_is_too_long() {
        let mut board = board(9);
        assert_eq!(first(&board), "s0");
        for (key, shown) in [
            (Key::PageDown, "s4"),
            (Key::PageDown, "s5"),
            (Key::Up, "s4"),
            (Key::Home, "s0"),
        ] {
            if board.press(key, SIZE) == Wish::Look {
                answer(&mut board, 9, SIZE);
            }
            assert_eq!(first(&board), shown);
        }
        for (columns, rows) in [(1, 1), (0, 0), (200, 3)] {
            let size = Size { columns, rows };
            let lines = board.lines(&daemon(), Some("gone"), size);
            assert_eq!(lines.len(), rows);
            answer(&mut board, 9, size);
        }
    }

    /// However many there are, a look is at three pages.
    #[test]
    fn of_many_only_those_around_the_screen_are_asked_for() {
        let mut board = board(10_000);
        assert_eq!(board.view(SIZE).limit, 8);
        assert_eq!(board.press(Key::Down, SIZE), Wish::Nothing, "it is known");
        assert_eq!(board.press(Key::End, SIZE), Wish::Look);
        assert!(!board.is_complete(SIZE));
        let lines = board.lines(&daemon(), None, SIZE);
        assert!(lines.len() <= SIZE.rows, "nothing to show yet");
        let view = answer(&mut board, 10_000, SIZE);
        assert_eq!((view.offset, view.limit), (9_992, 12));
        assert!(board.is_complete(SIZE));
        assert_eq!(first(&board), "s9996");
        assert_eq!(board.press(Key::PageUp, SIZE), Wish::Nothing);
        assert_eq!(first(&board), "s9992");
        // Most of them are gone.
        answer(&mut board, 2, SIZE);
        board.press(Key::Up, SIZE);
        answer(&mut board, 2, SIZE);
        assert_eq!(board.lines(&daemon(), None, SIZE).len(), AROUND + 2);
    }

    #[test]
    fn names_are_looked_for_as_they_are_typed() {
        let mut board = board(1);
        assert_eq!(board.press(Key::Character('/'), SIZE), Wish::Nothing);
        assert_eq!(board.press(Key::Character('q'), SIZE), Wish::Look);
        assert_eq!(board.view(SIZE).search, "q");
        assert_eq!(board.press(Key::Enter, SIZE), Wish::Nothing);
        assert_eq!(board.press(Key::Escape, SIZE), Wish::Look);
        assert_eq!(board.view(SIZE).search, "");
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
