//! What Bedrock's InvokeModelWithResponseStream wraps: `{"bytes":"<the model's own document, base64>","p":"…"}`.

use memchr::memmem;

/// The document inside, decoded into `scratch`; the payload itself if it is not wrapped.
pub fn inside<'a>(payload: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    match wrapped(payload) {
        Some(base64) => {
            scratch.clear();
            decode(base64, scratch);
            scratch
        }
        None => payload,
    }
}

fn wrapped(payload: &[u8]) -> Option<&[u8]> {
    let at = memmem::find(payload, b"\"bytes\"")? + b"\"bytes\"".len();
    let value = payload.get(at..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    value.get(..memchr::memchr(b'"', value)?)
}

/// Base64 of either alphabet; stops at what is none.
fn decode(base64: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0u32, 0u32);
    for b in base64 {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(six);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
}
