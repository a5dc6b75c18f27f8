//! Texts that stand for secrets, and the search for any part of them.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::bench::Ended;

/// What follows each other of a secret, anywhere, gives it away.
const WINDOW: usize = 8;

/// Letters without meaning: nothing that is printed holds eight of them in a row by chance.
const LENGTH: usize = 24;

/// All secrets of a test.
#[derive(Default)]
pub(crate) struct Needles {
    made: usize,
    /// Parts of secrets, also as they are in an `Authorization: Basic`, with the secret each is of.
    parts: HashMap<String, String>,
}

impl Needles {
    /// A secret that nothing else has.
    pub(crate) fn text(&mut self) -> String {
        self.make(b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ", LENGTH)
    }

    /// A secret that YAML reads as a number.
    pub(crate) fn digits(&mut self) -> String {
        self.make(b"123456789", 15)
    }

    fn make(&mut self, alphabet: &[u8], length: usize) -> String {
        self.made += 1;
        // The same in each run, so that a failure can be looked into.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(self.made as u64);
        let secret: String = (0..length)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let index = (state >> 33) as usize % alphabet.len();
                char::from(alphabet[index])
            })
            .collect();
        self.add(&secret);
        secret
    }

    /// Searches for this one too.
    pub(crate) fn add(&mut self, secret: &str) {
        for at in 0..=secret.len() - WINDOW {
            let part = secret[at..at + WINDOW].to_owned();
            self.parts.insert(part, secret.to_owned());
        }
        // Base64 differs with what stands before; its first and last group of four may differ more.
        for shift in 0..3 {
            let encoded = STANDARD.encode(&secret[shift..]);
            let inside = encoded.get(4..encoded.len() - 4).unwrap_or_default();
            for part in inside.as_bytes().windows(WINDOW) {
                let part = String::from_utf8_lossy(part).into_owned();
                self.parts.insert(part, secret.to_owned());
            }
        }
    }

    /// The first place in `text` where a secret shows, with its neighbourhood.
    pub(crate) fn found_in(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let at = bytes.windows(WINDOW).position(|window| {
            std::str::from_utf8(window).is_ok_and(|window| self.parts.contains_key(window))
        })?;
        let around = at.saturating_sub(300)..(at + 200).min(bytes.len());
        Some(String::from_utf8_lossy(&bytes[around]).into_owned())
    }

    /// Nothing that the program wrote has a secret in it.
    #[track_caller]
    pub(crate) fn assert_hidden(&self, ended: &Ended) {
        for (stream, text) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
            if let Some(around) = self.found_in(text) {
                let all = ended.to_string();
                let command = all.lines().next().unwrap_or_default();
                panic!("a secret on {stream} of {command}:\n...{around}...");
            }
        }
    }
}

#[test]
fn parts_of_secrets_are_found() {
    let mut needles = Needles::default();
    let secret = needles.text();
    let number = needles.digits();
    for shown in [
        format!("x{secret}"),
        format!("{}...", &secret[..10]),
        format!("Basic {}", STANDARD.encode(format!("user:{secret}"))),
        format!("Basic {}", STANDARD.encode(format!("someone:{secret}"))),
        format!("Basic {}", STANDARD.encode(format!("someones:{secret}"))),
        number,
    ] {
        assert!(needles.found_in(&shown).is_some(), "{shown}");
    }
    assert_eq!(needles.found_in("SECRET abcdefgh 123456"), None);
}
