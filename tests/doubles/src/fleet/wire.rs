//! Just enough HTTP/1.1 for requests with a `Content-Length`.

/// One whole request at the beginning of what was received.
pub(super) struct Request<'a> {
    /// As sent.
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    /// Bytes, head and body.
    pub(super) length: usize,
}

pub(super) struct NotHttp;

/// More than any report of a fleet's servo.
const MOST: usize = 1024 * 1024;

/// The first request in `received`; none when it is not whole.
pub(super) fn request(received: &[u8]) -> Result<Option<Request<'_>>, NotHttp> {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if received.len() > MOST {
            Err(NotHttp)
        } else {
            Ok(None)
        };
    };
    let head = received.get(..end).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| NotHttp)?;
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1));
    let path = path.ok_or(NotHttp)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0);
    if length > MOST {
        return Err(NotHttp);
    }
    let start = end + 4;
    Ok(received.get(start..start + length).map(|body| Request {
        path,
        body,
        length: start + length,
    }))
}

/// An answer with a JSON body.
pub(super) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        if status < 300 { "OK" } else { "Refused" },
        body.len()
    )
    .into_bytes()
}
