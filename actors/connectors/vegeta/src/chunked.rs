//! The framing of chunked bodies, byte by byte (RFC 9112 §7.1).

/// The longest chunk extension or trailer section that is accepted, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// The framing breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where in a chunked body the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    Size { size: u64, digits: u8 },
    Extension { size: u64, length: usize },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataEnd { seen_return: bool },
    Trailer { line: usize, length: usize },
}

impl Chunk {
    /// Before the first byte of the body.
    pub(crate) const START: Self = Self::Size { size: 0, digits: 0 };

    /// The chunk state after one byte of framing; `None` at the end of the body.
    pub(crate) fn step(self, byte: u8) -> Result<Option<Self>, Malformed> {
        let next = match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 32 => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(digit))
                    .ok_or(Malformed)?;
                Self::Size {
                    size,
                    digits: digits + 1,
                }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(Malformed),
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Self::Extension { size, length: 0 },
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => {
                Self::SizeEnd { size }
            }
            (
                Self::Size { size, .. } | Self::Extension { size, .. } | Self::SizeEnd { size },
                b'\n',
            ) => {
                if size == 0 {
                    Self::Trailer { line: 0, length: 0 }
                } else {
                    Self::Data { left: size }
                }
            }
            (Self::Extension { size, length }, _) if length < LONGEST_LINE => Self::Extension {
                size,
                length: length + 1,
            },
            (Self::DataEnd { seen_return: false }, b'\r') => Self::DataEnd { seen_return: true },
            (Self::DataEnd { .. }, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { line, length }, b'\r') => Self::Trailer { line, length },
            (Self::Trailer { line: 0, .. }, b'\n') => return Ok(None),
            (Self::Trailer { length, .. }, b'\n') => Self::Trailer { line: 0, length },
            (Self::Trailer { line, length }, _) if length < LONGEST_LINE => Self::Trailer {
                line: line + 1,
                length: length + 1,
            },
            _ => return Err(Malformed),
        };
        Ok(Some(next))
    }
}
