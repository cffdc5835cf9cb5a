//! A path as upstreams read it: Envoy passes it on as the client spelt it, unless its configuration says otherwise, and servers
//! find the same resource under many spellings.

/// What comes first where a path has both empty segments and `..`: servers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `..` takes back an empty segment too (RFC 3986, Envoy's `normalize_path`).
    DotsFirst,
    /// Empty segments are none (`path.Clean` in Go, `posixpath.normpath` in Python).
    SlashesFirst,
}

/// Whether [`Order`] matters.
pub(super) fn is_ambiguous(raw: &[u8]) -> bool {
    let front = without_query(raw);
    front.contains(&b'%') || front.windows(2).any(|two| two == b"..")
}

/// Reads a path: without its query and fragment, percent signs decoded once, backslashes as slashes, parameters of segments
/// (`;…`) dropped, empty segments and dots resolved. The case stays.
pub(super) fn read(raw: &[u8], order: Order) -> String {
    let raw = without_query(raw);
    let is_plain = |two: &[u8]| !matches!(two, b"//" | b"/." | b"/;");
    if raw.first() == Some(&b'/') && raw.windows(2).all(is_plain) && memchr::memchr3(b'%', b'\\', b';', raw).is_none() {
        return String::from_utf8_lossy(raw).into_owned();
    }
    let decoded = decoded(raw);
    let mut out: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|b| *b == b'/').skip(usize::from(decoded.first() == Some(&b'/'))) {
        match segment {
            b"." => {}
            b".." => drop(out.pop()),
            b"" if order == Order::SlashesFirst => {}
            _ => out.push(segment),
        }
    }
    let ends_open = decoded.ends_with(b"/") || decoded.ends_with(b"/.") || decoded.ends_with(b"/..");
    let mut path = Vec::with_capacity(decoded.len());
    for segment in out.iter().filter(|segment| !segment.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    if ends_open || path.is_empty() {
        path.push(b'/');
    }
    String::from_utf8_lossy(&path).into_owned()
}

fn without_query(raw: &[u8]) -> &[u8] {
    raw.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or(raw)
}

/// Percent signs decoded, backslashes turned, and what stands behind a `;` in a segment dropped: only one that is written so, as one
/// that is encoded belongs to the name.
fn decoded(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    let mut in_parameters = false;
    let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    while let Some(b) = bytes.next() {
        let mut ahead = bytes.clone();
        let (read, written) = match (b, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                bytes = ahead;
                (high << 4 | low, false)
            }
            _ => (b, true),
        };
        match read {
            b'/' | b'\\' => {
                in_parameters = false;
                out.push(b'/');
            }
            b';' if written => in_parameters = true,
            _ if in_parameters => {}
            _ => out.push(read),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_path_is_read_as_upstreams_read_it() {
        let table: &[(&str, &str, &str)] = &[
            ("/v1/chat/completions", "/v1/chat/completions", ""),
            ("/v1/chat/completions?a=/x", "/v1/chat/completions", ""),
            ("/v1/chat/completions#a", "/v1/chat/completions", ""),
            ("/v1/chat/completion%73", "/v1/chat/completions", ""),
            ("/v1/chat%2Fcompletions", "/v1/chat/completions", ""),
            ("/v1/chat%2fcompletions/", "/v1/chat/completions/", ""),
            ("/v1\\chat%5Ccompletions", "/v1/chat/completions", ""),
            // Once: what is encoded twice is another name.
            ("/v1/chat/completion%2573", "/v1/chat/completion%73", ""),
            ("/v1/chat/completions%3Fx", "/v1/chat/completions?x", ""),
            ("/v1//chat///completions", "/v1/chat/completions", ""),
            ("//v1/chat/completions", "/v1/chat/completions", ""),
            ("v1/chat/completions", "/v1/chat/completions", ""),
            ("/v1/./chat/x/../completions", "/v1/chat/completions", ""),
            ("/%2e%2E/v1/%2e/chat/completions/.", "/v1/chat/completions/", ""),
            ("/v1/chat/completions//..", "/v1/chat/completions/", "/v1/chat/"),
            ("/v1/chat/completions/x//../", "/v1/chat/completions/x/", "/v1/chat/completions/"),
            ("/v1/chat;a=b/completions;c", "/v1/chat/completions", ""),
            ("/v1/models/a%3Bb", "/v1/models/a;b", ""),
            ("/v1/%zz/%4", "/v1/%zz/%4", ""),
            ("/.hidden/a.b/..c", "/.hidden/a.b/..c", ""),
            ("/../..", "/", ""),
            ("", "/", ""),
            ("*", "/*", ""),
            ("/%ff", "/\u{fffd}", ""),
        ];
        for (raw, dots_first, slashes_first) in table {
            let slashes_first = if slashes_first.is_empty() { dots_first } else { slashes_first };
            assert_eq!(read(raw.as_bytes(), Order::DotsFirst), *dots_first, "{raw}");
            assert_eq!(read(raw.as_bytes(), Order::SlashesFirst), *slashes_first, "{raw}");
            let differ = dots_first != slashes_first;
            assert!(!differ || is_ambiguous(raw.as_bytes()), "{raw}");
        }
    }
}
