//! Where a call stands in its run's tree, as the W3C `baggage` carries it from call to call.
//!
//! ```text
//! baggage: weir.depth=1,weir.parent=<call id>,weir.run=<run that began the tree>
//! ```
//! The header on a request that an agent gets says what that call is; the agent hands it on with all calls it makes (as
//! OpenTelemetry's propagators do), and these are one deeper. So a proxy that calls leave through raises the depth, and one through
//! which they come in (Envoy's listener says `INBOUND`) only adds what is missing. Whoever can make up headers can make
//! up a depth: at the edge, where callers are not trusted, the `weir.` members have to be taken off.

use crate::baggage;

const DEPTH: &str = "weir.depth";
const PARENT: &str = "weir.parent";
const RUN: &str = "weir.run";

/// The longest value that is taken from a header, in bytes.
const MAX_VALUE: usize = 128;

/// A call's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Calls above it.
    pub depth: u16,
    /// The call from which it was made.
    pub parent: Option<String>,
    /// The run that began the tree.
    pub root: Option<String>,
    /// What was there says it all: nothing is to be written.
    whole: bool,
}

impl Lineage {
    /// Reads the place of a call with this `baggage`. What cannot be read counts as absent.
    pub fn read(header: &[u8], inbound: bool) -> Self {
        let text = |key| baggage::member(header, key).and_then(decoded);
        let above = text(DEPTH).and_then(|depth| depth.parse::<u16>().ok());
        let depth = match above {
            Some(depth) if !inbound => depth.saturating_add(1),
            depth => depth.unwrap_or(0),
        };
        Self { depth, parent: text(PARENT), root: text(RUN), whole: inbound && above.is_some() }
    }

    /// The `baggage` for the call with this id, of this run; nothing if it stays as it was.
    pub fn carried(&self, header: &[u8], call: &str, run: Option<&str>) -> Option<Vec<u8>> {
        if self.whole {
            return None;
        }
        let depth = self.depth.to_string();
        let (parent, root) = (encoded(call), encoded(self.root.as_deref().or(run).unwrap_or_default()));
        let all = [(DEPTH, depth.as_str()), (PARENT, parent.as_str()), (RUN, root.as_str())];
        let known: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Some(baggage::with(header, &known))
    }
}

/// A value without its percent signs; nothing if it is empty, too long or no text.
fn decoded(value: &[u8]) -> Option<String> {
    let out = baggage::decoded(value);
    (!out.is_empty() && out.len() <= MAX_VALUE).then(|| String::from_utf8(out).ok()).flatten()
}

/// A value in which nothing can end a member.
fn encoded(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/@!$&'()*+".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(digit)).map_or('0', |d| char::from(*d)));
            }
        }
    }
    out
}
