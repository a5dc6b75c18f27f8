//! The terminal: a screen of its own, and keys as they are pressed.

use std::{
    io::{self, Read, Write},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C, or the end of the input.
    Break,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Bold,
    Reverse,
    Faint,
    Busy,
    Warn,
    Bad,
}

/// A line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) look: Look,
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How much fits on the terminal.
pub(super) fn size() -> Size {
    let size = tcgetwinsize(io::stdout()).ok();
    let size = size.map(|s| (usize::from(s.ws_col), usize::from(s.ws_row)));
    match size {
        Some((columns @ 1.., rows @ 1..)) => Size { columns, rows },
        // Some terminals do not tell.
        _ => Size {
            columns: 80,
            rows: 24,
        },
    }
}

/// The screen while it is ours. What was there before comes back with the drop.
pub(super) struct Screen {
    before: Termios,
    colour: bool,
}

/// The other screen, without a cursor, and lines that end at its edge.
const OPEN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const CLOSE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

impl Screen {
    /// Takes the screen over.
    ///
    /// # Errors
    /// When stdin or stdout is no terminal.
    pub(super) fn open(colour: bool) -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let screen = Self { before, colour };
        screen.write(OPEN)?;
        Ok(screen)
    }

    /// How much fits.
    pub(super) fn size(&self) -> Size {
        size()
    }

    /// Draws the whole screen.
    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        let mut text = String::from("\x1b[H");
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                text.push_str("\r\n");
            }
            let style = self.style(line.look);
            text.push_str(&format!("{style}{}\x1b[0m\x1b[K", line.text));
        }
        text.push_str("\x1b[J");
        self.write(&text)
    }

    fn style(&self, look: Look) -> &'static str {
        match look {
            Look::Plain => "",
            Look::Bold => "\x1b[1m",
            Look::Reverse => "\x1b[7m",
            Look::Faint => "\x1b[2m",
            _ if !self.colour => "",
            Look::Busy => "\x1b[36m",
            Look::Warn => "\x1b[33m",
            Look::Bad => "\x1b[31m",
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing back.
        let _ = self.write(CLOSE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Changes of the terminal's size.
pub(super) struct Resizes(Signal);

impl Resizes {
    pub(super) fn listen() -> io::Result<Self> {
        signal(SignalKind::window_change()).map(Self)
    }

    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Keys as they are pressed.
pub(super) struct Keys(mpsc::Receiver<Key>);

impl Keys {
    /// Reads them on a thread of its own, which ends with the program.
    pub(super) fn read() -> Self {
        let (send, receive) = mpsc::channel(16);
        thread::spawn(move || {
            let mut buffer = [0; 64];
            loop {
                let keys = match io::stdin().read(&mut buffer) {
                    Ok(0) | Err(_) => vec![Key::Break],
                    Ok(length) => keys(buffer.get(..length).unwrap_or_default()),
                };
                let ends = keys.contains(&Key::Break);
                for key in keys {
                    if send.blocking_send(key).is_err() {
                        return;
                    }
                }
                if ends {
                    return;
                }
            }
        });
        Self(receive)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Option<Key> {
        match self.0.recv().await {
            Some(key) => Some(key),
            None => std::future::pending().await,
        }
    }
}

/// What a terminal sends for keys that are no characters.
const SEQUENCES: [(&[u8], Key); 14] = [
    (b"\x1b[A", Key::Up),
    (b"\x1bOA", Key::Up),
    (b"\x1b[B", Key::Down),
    (b"\x1bOB", Key::Down),
    (b"\x1b[5~", Key::PageUp),
    (b"\x1b[6~", Key::PageDown),
    (b"\x1b[H", Key::Home),
    (b"\x1bOH", Key::Home),
    (b"\x1b[1~", Key::Home),
    (b"\x1b[F", Key::End),
    (b"\x1bOF", Key::End),
    (b"\x1b[4~", Key::End),
    (b"\x1b\x1b", Key::Escape),
    (b"\x03", Key::Break),
];

/// The keys that stand for what was read at a time.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        if let Some((sequence, key)) = SEQUENCES.iter().find(|(s, _)| bytes.starts_with(s)) {
            keys.push(*key);
            bytes = bytes.get(sequence.len()..).unwrap_or_default();
            continue;
        }
        match first {
            b'\r' | b'\n' => keys.push(Key::Enter),
            0x7f | 0x08 => keys.push(Key::Backspace),
            0x1b => {
                // One that is not known; alone it is the key itself.
                let known = rest.first().is_some_and(|b| matches!(b, b'[' | b'O'));
                if known {
                    let end = rest
                        .iter()
                        .skip(1)
                        .position(|b| b.is_ascii_alphabetic() || *b == b'~');
                    bytes = end.and_then(|end| rest.get(end + 2..)).unwrap_or_default();
                    continue;
                }
                keys.push(Key::Escape);
            }
            byte if byte.is_ascii_control() => {}
            _ => {
                let text = match std::str::from_utf8(bytes) {
                    Ok(text) => text,
                    Err(error) => bytes
                        .get(..error.valid_up_to())
                        .and_then(|valid| std::str::from_utf8(valid).ok())
                        .unwrap_or_default(),
                };
                if let Some(character) = text.chars().next() {
                    keys.push(Key::Character(character));
                    bytes = bytes.get(character.len_utf8()..).unwrap_or_default();
                    continue;
                }
            }
        }
        bytes = rest;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_sends() {
        for (bytes, expected) in [
            (b"q" as &[u8], vec![Key::Character('q')]),
            (
                b"\x1b[A\x1b[6~x",
                vec![Key::Up, Key::PageDown, Key::Character('x')],
            ),
            (b"\x1b", vec![Key::Escape]),
            (b"\x1b[15~n", vec![Key::Character('n')]),
            (b"\x1b[", vec![]),
            (b"\x03", vec![Key::Break]),
            (b"\r\x7f", vec![Key::Enter, Key::Backspace]),
            ("ä".as_bytes(), vec![Key::Character('ä')]),
            (b"\xc3", vec![]),
            (b"\xffa", vec![Key::Character('a')]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }
}
