//! Amazon's binary event stream: frames with headers, a JSON payload and two CRCs.

/// A frame of a stream's regular event.
pub fn event(event_type: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", event_type), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.as_bytes())
}

/// A frame that says that the stream failed.
pub fn exception(exception_type: &str, payload: &str) -> Vec<u8> {
    let headers =
        [(":exception-type", exception_type), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, payload.as_bytes())
}

/// Total length, length of the headers, CRC of these two; headers; payload; CRC of all that.
fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    /// The type of a header's value that is a string.
    const STRING: u8 = 7;
    /// Two lengths and two checksums.
    const AROUND: usize = 16;
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(name.len() as u8);
        block.extend_from_slice(name.as_bytes());
        block.push(STRING);
        block.extend_from_slice(&(value.len() as u16).to_be_bytes());
        block.extend_from_slice(value.as_bytes());
    }
    let total = AROUND + block.len() + payload.len();
    let mut frame = Vec::with_capacity(total);
    frame.extend_from_slice(&(total as u32).to_be_bytes());
    frame.extend_from_slice(&(block.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&block);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;

    #[test]
    fn amazons_own_reader_takes_the_frames() {
        for (frame, kind, payload) in [
            (event("messageStart", r#"{"role":"assistant"}"#), "event", r#"{"role":"assistant"}"#),
            (event("metadata", ""), "event", ""),
            (exception("throttlingException", "{}"), "exception", "{}"),
        ] {
            let message = read_message_from(&frame[..]).unwrap();
            assert_eq!(message.payload().as_ref(), payload.as_bytes());
            let types: Vec<_> = message.headers().iter().filter(|h| h.name().as_str() == ":message-type").collect();
            assert_eq!(types[0].value().as_string().unwrap().as_str(), kind);
        }
    }
}
