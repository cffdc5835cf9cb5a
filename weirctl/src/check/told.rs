//! What tests of these words have in common.

use weir::settings::Config;

/// What a config is told as.
type Words = fn(&Config) -> Vec<String>;

/// A config is told with all of these sentences (with none: not at all), and warned of with exactly these words. Gives what is told.
pub fn assert_told((describe, warnings): (Words, Words), config: &str, wanted: &[&str], warned: &[&str]) -> String {
    let config = Config::parse(config.as_bytes()).unwrap();
    let (text, warnings) = (describe(&config).join("\n"), warnings(&config));
    assert!(wanted.iter().all(|sentence| text.contains(sentence)), "{wanted:?}\n{text}");
    assert_eq!((text.is_empty(), warnings.len()), (wanted.is_empty(), warned.len()), "{warnings:?}");
    assert!(warnings.iter().zip(warned).all(|(warning, wanted)| warning.contains(wanted)), "{warnings:?}");
    text
}
