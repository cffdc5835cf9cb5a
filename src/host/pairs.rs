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

    fn serialize(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut map = (pairs.len() as u32).to_le_bytes().to_vec();
        for (name, value) in pairs {
            map.extend((name.len() as u32).to_le_bytes());
            map.extend((value.len() as u32).to_le_bytes());
        }
        for (name, value) in pairs {
            map.extend(name.iter().chain(&[0]).chain(value).chain(&[0]));
        }
        map
    }

    fn any_pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        prop::collection::vec((bytes(), bytes()), 0..20)
    }

    proptest! {
        #[test]
        fn every_map_of_any_bytes_is_read_as_it_was_written(pairs in any_pairs()) {
            let map = serialize(&pairs);
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
    fn a_count_of_four_billion_allocates_nothing() {
        assert!(parse(&[0xff; 64]).is_empty());
        assert!(parse(&[]).is_empty());
    }
}
