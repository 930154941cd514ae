//! Messages of NATS around what they carry: subject and reply subject in the first two lines, then
//! headers, an empty line, and the payload. The same bytes also as an answer of the JetStream API.
//! What cannot be read is refused in one line.

use super::shown::is_one_line;
use bytes::Bytes;
use safe_chat::bus::nats::arriving;

pub fn check(bytes: &[u8]) {
    let mut readings = arriving::answered(bytes);
    let end = bytes
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .unwrap_or(bytes.len());
    let payload = Bytes::copy_from_slice(bytes.get(end + 2..).unwrap_or_default());
    if let Ok(head) = std::str::from_utf8(&bytes[..end]) {
        let mut lines = head.split('\n');
        let (subject, reply) = (
            lines.next().unwrap_or_default(),
            lines.next().unwrap_or_default(),
        );
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
        readings.extend(arriving::delivered(subject, reply, &headers, &payload));
        readings.extend(arriving::stored(&headers, &payload));
    }
    for refused in readings.into_iter().filter_map(Result::err) {
        is_one_line(&refused);
    }
}
