//! Headers as the ABI hands them over.
//!
//! ```text
//! count: u32   count × (name size: u32, value size: u32)   count × (name, 0, value, 0)
//! ```
//! All numbers are little-endian. A value may be any bytes.

/// The pairs of a serialized map, in order. What is cut short or lies ends the list; nothing is made up.
pub fn parse(map: &[u8]) -> Vec<(&[u8], &[u8])> {
    let Some((count, rest)) = number(map) else { return Vec::new() };
    let Some((mut sizes, mut data)) = count.checked_mul(8).and_then(|size| rest.split_at_checked(size)) else {
        return Vec::new();
    };
    let mut pairs = Vec::with_capacity(count);
    while let Some((name_size, more)) = number(sizes)
        && let Some((value_size, more)) = number(more)
        && let Some((name, after)) = text(data, name_size)
        && let Some((value, after)) = text(after, value_size)
    {
        pairs.push((name, value));
        (sizes, data) = (more, after);
    }
    pairs
}

/// A map of pairs, in order. A map of 4 GiB or more cannot be told, and is an empty one.
pub fn serialize<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Vec<u8> {
    let pairs = || pairs.iter().map(|(name, value)| [name.as_ref(), value.as_ref()]);
    let size = pairs().flatten().fold(4usize, |sum, text| sum.saturating_add(text.len()).saturating_add(5));
    if u32::try_from(size).is_err() {
        return vec![0; 4];
    }
    // Nothing below is larger than the whole.
    let number = |n: usize| u32::try_from(n).unwrap_or_default().to_le_bytes();
    let mut map = Vec::with_capacity(size);
    map.extend(number(pairs().count()));
    map.extend(pairs().flatten().flat_map(|text| number(text.len())));
    for text in pairs().flatten() {
        map.extend_from_slice(text);
        map.push(0);
    }
    map
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// `size` bytes and the zero after them.
fn text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    Some((text, rest.strip_prefix(&[0])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::vec((bytes(), bytes()), 0..20)
    }

    proptest! {
        #[test]
        fn every_map_of_any_bytes_is_read_as_it_was_written(pairs in any_pairs()) {
            let map = serialize(&pairs);
            prop_assert_eq!(map.capacity(), map.len());
            let read: Vec<_> = parse(&map).into_iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn a_map_cut_anywhere_gives_a_beginning_of_its_pairs(pairs in any_pairs(), at in 0..1000usize) {
            let map = serialize(&pairs);
            let cut = &map[..at.min(map.len())];
            let read: Vec<_> = parse(cut).into_iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert!(pairs.starts_with(&read));
        }

        #[test]
        fn any_bytes_at_all_are_survived(map in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&map).len() <= map.len() / 8);
        }
    }

    #[test]
    fn a_map_is_written_as_the_abi_says() {
        let map = serialize(&[("a", &b"xyz"[..]), ("", b"")]);
        assert_eq!(map, b"\x02\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0a\0xyz\0\0\0");
        assert_eq!(serialize::<&str, &str>(&[]), [0; 4]);
    }

    #[test]
    fn a_count_of_four_billion_allocates_nothing() {
        assert!(parse(&[0xff; 64]).is_empty());
        assert!(parse(&[]).is_empty());
    }
}
