//! Reads the section `prices`.

use super::{Case, Dollars, MAX_DIGITS, Price, PriceMatch, Rates};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, object, sections};

sections! {
    PriceMatch { kind, tool, route, path, host }
    Rates { input, output, cache_read, cache_write, cache_write_1h, reasoning, audio_input, audio_output }
    Case { tier, above, per_million }
}

impl Made for Price {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut price = Self::default();
        let Self { models, matches, per_million, cases, per_call, per_second } = &mut price;
        object(
            from,
            path,
            &mut [
                ("models", models),
                ("match", matches),
                ("per_million", per_million),
                ("cases", cases),
                ("per_call", per_call),
                ("per_second", per_second),
            ],
        )?;
        price.fits().map(|()| price)
    }
}

impl Made for Dollars {
    /// A number came through a binary one, in which 15 digits survive: its shortest form is what was written.
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        let text = match from {
            Json::Text(text) => return Self::try_from(text.as_str()),
            Json::Whole(number) => number.to_string(),
            Json::Fraction(number) => serde_json::to_string(number).unwrap_or_default(),
            other => return Err(other.is_no("an amount of dollars")),
        };
        let text = plain(&text);
        if text.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count() > MAX_DIGITS {
            return Err("more than 15 digits: write it as a string".to_owned());
        }
        Self::try_from(text.as_str())
    }
}

/// `1.5e-7` as `0.00000015`, `1e20` as it is: no amount is written so.
fn plain(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once("e-") else { return text.to_owned() };
    let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
    let zeros = exponent.parse::<usize>().unwrap_or(usize::MAX).saturating_sub(whole.len()).min(MAX_DIGITS);
    ["0.", &"0".repeat(zeros), whole, places].concat()
}
