//! How JSON pointers are written (RFC 6901).

/// Whether what is escaped in it is `~` or `/`.
pub(crate) fn is_escaped(pointer: &str) -> bool {
    pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

/// The names on its way, without their escapes.
pub(crate) fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"))
}
