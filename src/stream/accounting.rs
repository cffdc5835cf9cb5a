//! A call and what it is to those who pay: its kind.

use super::Stream;
use super::admission::property_text;
use crate::port::{Headers, Properties};
use crate::signals::kind::Kinds;

impl Stream {
    /// The request's head, as far as its kind wants to know it.
    pub fn kind_head(&mut self, head: Headers<'_>, kinds: &Kinds, properties: &dyn Properties) {
        if !kinds.is_on() {
            return;
        }
        let route = kinds.wants_route().then(|| property_text(properties, &["xds", "route_name"])).flatten();
        self.kind = kinds.of(head, self.asked.api, route.as_deref());
    }
}
