//! Growth of buffers that input can steer.

/// There is no room: the bound is reached, or the memory is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Makes room for `more` bytes behind what `buffer` holds, but never for more than `most` in all.
///
/// The room is `most`, or the smallest half, quarter … of it that will do. So it doubles, which keeps appending linear, ends
/// at `most` exactly, and takes no more than one and a half times `most` while old and new room are there together. It
/// grows with what has arrived, not with what a length field promises. Memory that runs out is an error, not an abort.
pub fn make_room(buffer: &mut Vec<u8>, more: usize, most: usize) -> Result<(), Full> {
    let needed = buffer.len().checked_add(more).filter(|needed| *needed <= most).ok_or(Full)?;
    if needed > buffer.capacity() {
        let capacity = most >> (most / needed).ilog2();
        buffer.try_reserve_exact(capacity.saturating_sub(buffer.len())).map_err(|_| Full)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn room_doubles_up_to_the_bound_and_not_beyond() {
        let mut buffer = Vec::new();
        let mut grown = 0;
        for _ in 0..1000 {
            let before = buffer.capacity();
            make_room(&mut buffer, 1, 1000).unwrap();
            grown += usize::from(buffer.capacity() != before);
            buffer.push(0);
        }
        assert_eq!((buffer.capacity(), make_room(&mut buffer, 1, 1000)), (1000, Err(Full)));
        // 1, 3, 7, 15, 31, 62, 125, 250, 500, 1000.
        assert_eq!(grown, 10);
        assert_eq!(make_room(&mut Vec::new(), usize::MAX, usize::MAX), Err(Full));
    }
}
