//! The W3C `baggage` header: `key=value;property, key=value`.

/// The value of a member, as it stands there.
#[inline(never)]
pub fn member<'a>(header: &'a [u8], key: &str) -> Option<&'a [u8]> {
    members(header).find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

/// A value without its percent signs. What follows one and is no hex digit stays as it is.
pub fn decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        rest = match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                after.get(2..).unwrap_or_default()
            }
            _ => {
                out.push(*byte);
                after
            }
        };
    }
    out
}

/// The same header with these members in the place of those of the same names. Others stay as they are.
pub fn with(header: &[u8], new: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len().saturating_add(64));
    for member in header.split(|b| *b == b',') {
        let name = member.split(|b| matches!(b, b'=' | b';')).next().unwrap_or_default().trim_ascii();
        if !name.is_empty() && !new.iter().any(|(key, _)| key.as_bytes() == name) {
            join(&mut out, &[member.trim_ascii()]);
        }
    }
    for (key, value) in new {
        join(&mut out, &[key.as_bytes(), b"=", value.as_bytes()]);
    }
    out
}

fn join(out: &mut Vec<u8>, parts: &[&[u8]]) {
    if !out.is_empty() {
        out.push(b',');
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn members(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|b| *b == b',').filter_map(|member| {
        let pair = member.split(|b| *b == b';').next()?;
        let at = memchr::memchr(b'=', pair)?;
        Some((pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?.trim_ascii()))
    })
}
