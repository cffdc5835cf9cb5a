//! Sealed records hold on to one another, and the MAC is the one that is written down in the module.

use serde_json::Value;
use sha2::{Digest, Sha256};
use weir::features::audit::chain::{Chain, Key, MAC_FIELD, next};
use weir::record::Record;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// RFC 2104, word by word.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|b| b ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn each_record_is_signed_with_the_one_before_it() {
    for key in ["0123456789abcdef", &"long".repeat(40)] {
        let sealer = Key::new(key.as_bytes(), "k-1");
        let mut chain = Chain::new(0xab);
        let mut before = vec![0; 32];
        for seq in 0..20 {
            let record = Record { call: format!("call \"{seq}\" é"), events: seq, ..Record::default() };
            let mut json = record.to_json();
            let plain: Value = serde_json::from_str(&json).unwrap();
            chain.seal(&mut json, &sealer);
            let signed = &json[..json.find(MAC_FIELD).unwrap() + MAC_FIELD.len()];
            before = hmac(key.as_bytes(), &[&before[..], signed.as_bytes()].concat());
            let mut sealed: Value = serde_json::from_str(&json).unwrap();
            let expected =
                serde_json::json!({"worker": "00000000000000ab", "seq": seq, "key": "k-1", "mac": hex(&before)});
            assert_eq!(sealed["chain"], expected);
            sealed.as_object_mut().unwrap().remove("chain");
            assert_eq!(sealed, plain);
        }
    }
}

#[test]
fn chains_are_counted_within_their_process_and_no_two_have_a_number() {
    let mut last = 0;
    for n in 1..=3 {
        last = next(last, 0xabcd_ef01_2345_6789);
        assert_eq!(last, 0xabcd_ef01_2345_0000 + n);
    }
    assert_eq!(next(0x1_ffff, 0x2_1234), 0x2_0001, "a count at its end begins anew");
}

#[test]
fn no_key_is_printed_with_what_it_signs() {
    let key = Key::new(b"0123456789abcdef", "name");
    assert_eq!(format!("{key:?}"), "Key { id: \"name\", .. }");
}
