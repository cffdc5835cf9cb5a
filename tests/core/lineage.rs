//! A call's place in its tree, from `baggage` to `baggage`.

use proptest::prelude::*;
use weir::baggage;
use weir::features::limits::lineage::Lineage;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn place(header: &str, inbound: bool) -> (u16, Option<String>, Option<String>) {
    let Lineage { depth, parent, root, .. } = Lineage::read(header.as_bytes(), inbound);
    (depth, parent, root)
}

#[test]
fn a_call_that_leaves_is_one_deeper_and_one_that_comes_in_is_what_it_says() {
    for (header, inbound, depth, parent, root) in [
        ("", false, 0, None, None),
        ("", true, 0, None, None),
        ("weir.depth=2,weir.parent=p,weir.run=r", true, 2, Some("p"), Some("r")),
        ("weir.depth=2,weir.parent=p,weir.run=r", false, 3, Some("p"), Some("r")),
        ("a=b;c=d , weir.depth = 7 ;x, weir.run=r", false, 8, None, Some("r")),
        ("weir.depth=65535", false, 65535, None, None),
        ("weir.depth=65536", false, 0, None, None),
        ("weir.depth=-1,weir.parent=%ff,weir.run=%e2%82%ac", false, 0, None, Some("€")),
        ("weir.depth=%31,weir.parent=100%,weir.run=%4", false, 2, Some("100%"), Some("%4")),
        ("weir.depth,weir.parent=,weir.run==", false, 0, None, Some("=")),
        ("xweir.depth=4", false, 0, None, None),
    ] {
        let got = place(header, inbound);
        assert_eq!(got, (depth, parent.map(str::to_owned), root.map(str::to_owned)), "{header} {inbound}");
    }
}

#[test]
fn what_is_carried_on_names_the_call_as_the_parent_and_keeps_what_others_put_there() {
    for (header, inbound, run, carried) in [
        ("", false, Some("r"), Some("weir.depth=0,weir.parent=call 1,weir.run=r")),
        ("", true, None, Some("weir.depth=0,weir.parent=call 1")),
        ("k=v;p=1, other=2", false, Some("r"), Some("k=v;p=1,other=2,weir.depth=0,weir.parent=call 1,weir.run=r")),
        (
            "weir.depth=1,k=v,weir.parent=p,weir.run=first",
            false,
            Some("r"),
            Some("k=v,weir.depth=2,weir.parent=call 1,weir.run=first"),
        ),
        ("weir.depth=1,weir.parent=p,weir.run=first", true, Some("r"), None),
        ("weir.depth=junk,weir.depth=9", true, Some("r"), Some("weir.depth=0,weir.parent=call 1,weir.run=r")),
    ] {
        let lineage = Lineage::read(header.as_bytes(), inbound);
        let got = lineage.carried(header.as_bytes(), "call 1", run).map(|h| String::from_utf8(h).unwrap());
        assert_eq!(got, carried.map(|c| c.replace("call 1", "call%201")), "{header} {inbound}");
    }
}

#[test]
fn through_any_number_of_proxies_the_depth_counts_calls_and_the_run_is_the_first_ones() {
    let mut header = Vec::new();
    for depth in 0..5u16 {
        let (call, run) = (format!("call-{depth}"), format!("run-{depth}"));
        // Out of an agent through one proxy, and into the next one's through another, which adds nothing.
        let left = Lineage::read(&header, false);
        assert_eq!(left.depth, depth);
        assert_eq!(left.parent, depth.checked_sub(1).map(|above| format!("call-{above}")));
        header = left.carried(&header, &call, Some(&run)).unwrap();
        let came = Lineage::read(&header, true);
        assert_eq!((came.depth, came.root.as_deref()), (depth, Some("run-0")));
        assert_eq!(came.carried(&header, &call, Some(&run)), None);
    }
}

proptest! {
    #[test]
    fn no_name_ends_a_member_or_is_read_back_as_another(call in "\\PC{1,40}", run in "\\PC{0,40}", k in "[a-z]{1,8}=[a-z0-9%]{0,9}") {
        let header = Lineage::read(k.as_bytes(), false).carried(k.as_bytes(), &call, Some(&run)).unwrap();
        let back = Lineage::read(&header, false);
        prop_assert_eq!(back.depth, 1);
        if call.len() <= 128 {
            prop_assert_eq!(back.parent, Some(call));
        }
        if run.len() <= 128 {
            prop_assert_eq!(back.root.unwrap_or_default(), run);
        }
        let (key, value) = k.split_once('=').unwrap();
        prop_assert_eq!(baggage::member(&header, key), Some(value.as_bytes()));
        prop_assert!(header.iter().all(|b| (0x21..0x7f).contains(b)), "{:?}", String::from_utf8_lossy(&header));
    }

    #[test]
    fn no_header_breaks_it_and_what_is_taken_from_it_is_bounded(header in proptest::collection::vec(any::<u8>(), 0..300), inbound: bool) {
        let mut junk = b"weir.parent=".to_vec();
        junk.extend(&header);
        let lineage = Lineage::read(&junk, inbound);
        prop_assert!(lineage.parent.as_ref().is_none_or(|parent| parent.len() <= 128));
        let _ = lineage.carried(&junk, "c", None);
    }
}

#[test]
fn a_header_of_64_kb_is_read_and_nothing_long_is_kept() {
    let long = format!("weir.run={},weir.depth=3", "x".repeat(64 << 10));
    assert_eq!(place(&long, true), (3, None, None));
    let many = "a=b,".repeat(16 << 10) + "weir.depth=3";
    assert_eq!(place(&many, true), (3, None, None));
}
