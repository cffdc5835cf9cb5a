//! What the core sees of the world: headers and properties, as values it is handed.

/// The headers of a request or a response: names are lower case, values are bytes and may be anything.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(pub &'a [(&'a [u8], &'a [u8])]);

impl<'a> Headers<'a> {
    /// The first value of a header; `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, v)| *v)
    }

    /// The first value of a header that is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }
}

/// Facts that the proxy knows and hands out by path (`["xds", "route_name"]`). One read costs about a microsecond.
pub trait Properties {
    /// The raw bytes of a property, or nothing where the proxy has none.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
}

/// What becomes of a piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on as it is.
    Forward,
    /// It is kept back; the next call sees it again in front of what comes then.
    Hold,
    /// It goes on as these bytes instead (all that is buffered is replaced).
    Replace(Vec<u8>),
}
