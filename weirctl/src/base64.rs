//! Base64, as HARs and recordings have it.

use ::base64::Engine;
use ::base64::engine::DecodePaddingMode;
use ::base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// The bytes of a text; what is no base64 gives none.
pub fn decode(text: &str) -> Vec<u8> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&::base64::alphabet::STANDARD, config);
    engine.decode(text.replace(['\n', '\r'], "")).unwrap_or_default()
}
