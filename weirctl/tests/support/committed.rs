//! Files that are generated and committed: the test that compares them also writes them.

use super::root;

/// The variable that makes the tests write what they would compare.
const UPDATE: &str = "WEIR_UPDATE";

/// Compares a committed file with what it should be; with `WEIR_UPDATE=1` writes it instead.
///
/// # Panics
/// If they differ.
pub fn is(path: &str, wanted: &str) {
    let file = root().join(path);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&file, wanted).unwrap_or_else(|e| panic!("{path}: {e}"));
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
    if found == wanted {
        return;
    }
    let line = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    panic!(
        "{path} is not what the code generates, from line {}:\n  committed: {:?}\n  generated: {:?}\nWrite it with: {UPDATE}=1 \
         cargo test --package weirctl",
        line + 1,
        found.lines().nth(line),
        wanted.lines().nth(line),
    );
}

/// The same for a part of a file: all that stands behind the line `mark`, up to the end.
///
/// # Panics
/// If they differ, or the mark is not there.
pub fn ends_with(path: &str, mark: &str, wanted: &str) {
    let file = std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let line = format!("{mark}\n");
    let at = file.find(&line).unwrap_or_else(|| panic!("{path} has no line `{mark}`"));
    is(path, &format!("{}{wanted}", &file[..at + line.len()]));
}
