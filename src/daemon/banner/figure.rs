//! The word `servo` in large letters.
//!
//! ServoX draws it with FIGlet fonts, whose files have licences of their own. The letters here were
//! drawn for this program; each of ServoX's font names is a way of its own to draw them.

use std::fmt::Write;

/// `servo`, a dot for each place that is left blank.
const WORD: [&str; 5] = [
    ".#### ##### ####. #...# .###.",
    "#.... #.... #...# #...# #...#",
    ".###. ####. ####. .#.#. #...#",
    "....# #.... #..#. .#.#. #...#",
    "####. ##### #...# ..#.. .###.",
];

/// A way to draw the letters.
#[derive(Debug)]
pub(super) struct Font {
    name: &'static str,
    /// What a dot is drawn with; rows take turns.
    ink: &'static [&'static str],
    /// Columns that each row stands further to the right than the one below.
    lean: usize,
}

const fn font(name: &'static str, ink: &'static [&'static str], lean: usize) -> Font {
    Font { name, ink, lean }
}

static SLANT: Font = font("slant", &["//"], 1);

/// ServoX's names (`spec/config-and-cli.md` §8.2).
static FONTS: [&Font; 14] = [
    &SLANT,
    &font("banner3", &["##"], 0),
    &font("bigchief", &["==", "--"], 0),
    &font("cosmic", &["::"], 0),
    &font("speed", &[">>"], 2),
    &font("nancyj", &["88"], 0),
    &font("fourtops", &["|~", "|_"], 0),
    &font("contessa", &["[]"], 0),
    &font("doom", &["||"], 0),
    &font("broadway", &["88", "oo"], 0),
    &font("acrobatic", &["o/", "o\\"], 0),
    &font("trek", &["oo"], 1),
    &font("eftirobot", &["{}"], 0),
    &font("roman", &["d8", "8b"], 0),
];

/// What the figure is painted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// One colour: the last digit of its escape sequence.
    Plain(u8),
    /// A random one for each character.
    Rainbow,
}

const COLOURS: [(&str, u8); 6] = [
    ("RED", 1),
    ("GREEN", 2),
    ("YELLOW", 3),
    ("BLUE", 4),
    ("MAGENTA", 5),
    ("CYAN", 6),
];

/// The font called `name`; a random one without a name, or, with a warning, for an unknown one.
pub(super) fn font_named(name: Option<&str>) -> &'static Font {
    let known = name.and_then(|name| FONTS.iter().find(|f| f.name.eq_ignore_ascii_case(name)));
    if let (Some(name), None) = (name, known) {
        let names: Vec<_> = FONTS.iter().map(|f| f.name).collect();
        tracing::warn!(
            "unknown banner font '{name}' in SERVO_BANNER_FONT: taking a random one of {}",
            names.join(", ")
        );
    }
    known.or_else(|| any(&FONTS)).unwrap_or(&&SLANT)
}

/// The colour called `name`; a random one without a name, or, with a warning, for an unknown one.
pub(super) fn paint_named(name: Option<&str>) -> Paint {
    let random = || match any(&COLOURS) {
        Some((_, digit)) if rand::random() => Paint::Plain(*digit),
        _ => Paint::Rainbow,
    };
    let Some(name) = name else {
        return random();
    };
    if name.eq_ignore_ascii_case("RAINBOW") {
        return Paint::Rainbow;
    }
    match COLOURS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
        Some((_, digit)) => Paint::Plain(*digit),
        None => {
            let names: Vec<_> = COLOURS.iter().map(|(n, _)| *n).collect();
            tracing::warn!(
                "unknown banner colour '{name}' in SERVO_BANNER_COLOR: taking a random one of {}, RAINBOW",
                names.join(", ")
            );
            random()
        }
    }
}

fn any<T>(all: &[T]) -> Option<&T> {
    all.get(rand::random_range(0..all.len()))
}

/// The word in `font`, painted or not; each line ends with a newline.
pub(super) fn draw(font: &Font, paint: Option<Paint>) -> String {
    let mut out = String::new();
    for (row, (dots, ink)) in WORD.iter().zip(font.ink.iter().cycle()).enumerate() {
        let mut line = " ".repeat(font.lean * (WORD.len() - 1 - row));
        for dot in dots.chars() {
            line.push_str(if dot == '#' { ink } else { "  " });
        }
        paint_line(line.trim_end(), paint, &mut out);
        out.push('\n');
    }
    out
}

fn paint_line(line: &str, paint: Option<Paint>, out: &mut String) {
    match paint {
        None => out.push_str(line),
        Some(Paint::Plain(digit)) => {
            let _ = write!(out, "\x1b[3{digit}m{line}\x1b[0m");
        }
        Some(Paint::Rainbow) => {
            for c in line.chars() {
                match any(&COLOURS) {
                    Some((_, digit)) if c != ' ' => {
                        let _ = write!(out, "\x1b[3{digit}m{c}");
                    }
                    _ => out.push(c),
                }
            }
            out.push_str("\x1b[0m");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_font_of_servox_draws_on_its_own_and_fits() {
        let names = "slant banner3 bigchief cosmic speed nancyj fourtops contessa doom broadway acrobatic trek eftirobot roman";
        let mut drawn = std::collections::BTreeSet::new();
        for name in names.split(' ') {
            let font = font_named(Some(&name.to_uppercase()));
            assert_eq!(font.name, name);
            let figure = draw(font, None);
            assert_eq!(figure.lines().count(), WORD.len());
            assert!(figure.lines().all(|l| l.len() < 80), "{name}\n{figure}");
            assert!(drawn.insert(figure), "{name} looks like another one");
        }
        assert_eq!(drawn.len(), FONTS.len());
    }

    #[test]
    fn colours_in_any_case() {
        assert_eq!(paint_named(Some("red")), Paint::Plain(1));
        assert_eq!(paint_named(Some("Rainbow")), Paint::Rainbow);
        paint_named(Some("pink"));
        let figure = draw(font_named(Some("doom")), Some(Paint::Rainbow));
        assert!(figure.contains("\x1b[3") && figure.lines().all(|l| l.ends_with("\x1b[0m")));
    }
}
