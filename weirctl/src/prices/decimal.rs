//! Decimals as they are written, digit by digit: prices are no floats.

/// A decimal number from its text: `digits` times ten to the power of `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    digits: u128,
    exponent: i32,
}

/// Digits beyond these would not fit; a double has 17.
const MAX_DIGITS: usize = 30;
/// The largest power of ten that is ever multiplied or divided by.
const MAX_POWER: u32 = 38;

impl Decimal {
    /// Reads what JSON takes for a number, 0 or more; a string with such a number too, for some are written so.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches('"');
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{places}");
        if whole.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.parse::<i16>().ok().map(i32::from)?;
        Some(Self { digits: digits.parse().ok()?, exponent: exponent - places.len() as i32 })
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// It times ten to a power as a whole number, rounded half up, and whether that is all of it.
    pub fn times_ten_to(self, power: i32) -> Option<(u64, bool)> {
        let exponent = self.exponent + power;
        let scale = |power: u32| 10u128.checked_pow(power).filter(|_| power <= MAX_POWER);
        let (whole, all) = match exponent {
            0.. => (self.digits.checked_mul(scale(exponent as u32)?)?, true),
            _ => match scale(exponent.unsigned_abs()) {
                Some(scale) => {
                    let rest = self.digits % scale;
                    (self.digits / scale + u128::from(rest >= scale - rest), rest == 0)
                }
                None => (0, self.is_zero()),
            },
        };
        Some((u64::try_from(whole).ok()?, all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_what_its_text_says() {
        for (text, power, wanted) in [
            ("2.5e-06", 15, Some((2_500_000_000, true))),
            ("0.0000025", 15, Some((2_500_000_000, true))),
            ("\"4e-07\"", 15, Some((400_000_000, true))),
            ("1E-12", 15, Some((1_000, true))),
            ("1e-15", 15, Some((1, true))),
            ("5.0000000000000004E-8", 15, Some((50_000_000, false))),
            ("4.6999999999999995e-07", 15, Some((470_000_000, false))),
            ("3.337860107421875e-08", 15, Some((33_378_601, false))),
            ("5e-16", 15, Some((1, false))),
            ("4.9e-16", 15, Some((0, false))),
            ("1e-300", 15, Some((0, false))),
            ("0", 15, Some((0, true))),
            ("0.0", 9, Some((0, true))),
            ("3", 9, Some((3_000_000_000, true))),
            ("1e30", 9, None),
            ("1e300", 9, None),
        ] {
            assert_eq!(Decimal::read(text).unwrap().times_ten_to(power), wanted, "{text}");
        }
        for text in ["", "-1", "+1", "1.2.3", "e5", "1e", "NaN", "true", "[1]", "1_0", ".5"] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }
}
