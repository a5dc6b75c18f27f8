//! What `servo run` says first (`spec/config-and-cli.md` §8.2): its name in large letters when a
//! person looks, and what it runs with.

mod figure;

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
};

use crate::daemon::logging::one_line;

/// What the banner tells.
#[derive(Clone, Debug)]
pub struct Banner {
    /// Version of the program, without a `v`.
    pub version: String,
    /// What this version is called, if it is called anything.
    pub cryptonym: Option<String>,
    /// `<command>-<version>` of the connectors that run, in any order.
    pub connectors: Vec<String>,
    /// The file that the servos come from.
    pub config_file: PathBuf,
    /// What runs.
    pub servos: Servos,
    /// `SERVO_BANNER_FONT`: random when it is not set; a warning, and random, when unknown.
    pub font: Option<String>,
    /// `SERVO_BANNER_COLOR`, in any case: random when it is not set; a warning, and random, when
    /// unknown.
    pub colour: Option<String>,
    /// Whether a person looks: without a terminal there is no figure and no colour.
    pub terminal: bool,
    /// Whether colours are wanted.
    pub colours: bool,
}

/// What a program runs.
#[derive(Clone, Debug)]
pub enum Servos {
    /// One.
    One {
        /// Its UID, if it has one.
        uid: Option<String>,
        /// The optimizer's id.
        optimizer: String,
        /// The optimizer's address, when it is not the default one. Without credentials.
        base_url: Option<String>,
        /// The address of the servo's own account, when the file names it. Without credentials.
        url: Option<String>,
        /// Proxies, without credentials.
        proxies: Vec<String>,
    },
    /// So many.
    Several(usize),
}

/// Prints the banner to `out`, and logs a warning for a font or colour that does not exist,
/// whether or not anything is drawn.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(banner: &Banner, out: &mut impl Write) -> io::Result<()> {
    let mut text = String::new();
    let font = figure::font_named(banner.font.as_deref());
    let paint = figure::paint_named(banner.colour.as_deref());
    if banner.terminal {
        text.push_str(&figure::draw(font, banner.colours.then_some(paint)));
        text.push('\n');
    }
    text.push_str(&lines(banner));
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn lines(banner: &Banner) -> String {
    let cryptonym = banner.cryptonym.as_deref().map(|c| format!(" \"{c}\""));
    let mut text = format!(
        "v{}{} initialized\n\n",
        banner.version,
        cryptonym.unwrap_or_default()
    );
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<12} {}", one_line(value));
    };
    let mut connectors = banner.connectors.clone();
    connectors.sort();
    line("connectors:", &connectors.join(", "));
    line("config file:", &banner.config_file.display().to_string());
    match &banner.servos {
        Servos::One {
            uid,
            optimizer,
            base_url,
            url,
            proxies,
        } => {
            if let Some(uid) = uid {
                line("servo UID:", uid);
            }
            line("optimizer:", optimizer);
            if let Some(base_url) = base_url {
                line("base url:", base_url);
            }
            if let Some(url) = url {
                line("url:", url);
            }
            if !proxies.is_empty() {
                line("proxies:", &proxies.join(", "));
            }
        }
        Servos::Several(count) => line("servos:", &count.to_string()),
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn banner(servos: Servos) -> Banner {
        Banner {
            version: "0.1.0".to_owned(),
            cryptonym: None,
            connectors: vec!["wait-0.1.0".to_owned(), "kube-metrics-0.0.1".to_owned()],
            config_file: PathBuf::from("/etc/servo/servo.yaml"),
            servos,
            font: None,
            colour: None,
            terminal: false,
            colours: true,
        }
    }

    fn printed(banner: &Banner) -> String {
        let mut out = Vec::new();
        print(banner, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_servo() {
        let mut shown = banner(Servos::One {
            uid: Some("u-1".to_owned()),
            optimizer: "example.com/app".to_owned(),
            base_url: Some("https://api.test/".to_owned()),
            url: Some("https://api.test/acc".to_owned()),
            proxies: vec!["http://proxy:3128".to_owned(), "x\x1b[2J".to_owned()],
        });
        shown.cryptonym = Some("Robust".to_owned());
        assert_eq!(
            printed(&shown),
            "v0.1.0 \"Robust\" initialized\n\n\
             connectors:  kube-metrics-0.0.1, wait-0.1.0\n\
             config file: /etc/servo/servo.yaml\n\
             servo UID:   u-1\n\
             optimizer:   example.com/app\n\
             base url:    https://api.test/\n\
             url:         https://api.test/acc\n\
             proxies:     http://proxy:3128, x\\x1b[2J\n\n"
        );
    }

    #[test]
    fn what_there_is_not_is_not_printed() {
        let text = printed(&banner(Servos::One {
            uid: None,
            optimizer: "a/b".to_owned(),
            base_url: None,
            url: None,
            proxies: Vec::new(),
        }));
        for absent in ["UID", "base url", "url:", "proxies", "None", "\x1b"] {
            assert!(!text.contains(absent), "{text}");
        }
        assert!(printed(&banner(Servos::Several(12))).contains("\nservos:      12\n\n"));
    }

    #[test]
    fn a_figure_for_people_in_colour_on_request() {
        let mut shown = banner(Servos::Several(2));
        shown.terminal = true;
        shown.colour = Some("Red".to_owned());
        let text = printed(&shown);
        assert!(text.contains("\x1b[31m"), "{text}");
        let plain = {
            shown.colours = false;
            printed(&shown)
        };
        assert!(!plain.contains('\x1b'));
        assert!(plain.lines().count() > lines(&shown).lines().count() + 4);
    }

    #[test]
    fn unknown_names_draw_something() {
        let mut shown = banner(Servos::Several(2));
        shown.terminal = true;
        shown.font = Some("zzzz".to_owned());
        shown.colour = Some("pink".to_owned());
        assert!(printed(&shown).ends_with(&lines(&shown)));
    }
}
