//! Buffers that connections of one thread lend each other.
//!
//! A connection that waits has none. While it answers it needs one for what it has read and one for what it writes, and
//! whoever comes next needs the same two: they are not freed and allocated again for every request.

use std::cell::RefCell;

use bytes::BytesMut;

/// Buffers that are kept, and the size in bytes of a new one. Most requests and replies fit.
const KEPT: usize = 4;
const USUAL: usize = 1 << 10;
/// A buffer that has grown beyond this is not kept.
const LARGEST: usize = 16 << 10;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = RefCell::default();
}

/// An empty buffer.
pub(crate) fn take() -> BytesMut {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(USUAL))
}

/// Takes a buffer that is not needed any more, whatever is in it, and leaves one that holds no memory.
pub(crate) fn give_back(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    // Nothing can be reclaimed while somebody holds a part of it, such as a word of a request that waits.
    if !buffer.try_reclaim(LARGEST + 1) && buffer.try_reclaim(USUAL) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    fn spare() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    #[test]
    fn a_buffer_that_was_used_up_is_whole_again() {
        let mut buffer = take();
        let place = buffer.as_ptr();
        buffer.extend_from_slice(&[b'x'; USUAL]);
        drop(buffer.split_to(USUAL / 2).freeze());
        buffer.advance(USUAL / 2);
        give_back(&mut buffer);
        assert_eq!((buffer.capacity(), spare()), (0, 1));
        let again = take();
        assert_eq!((again.as_ptr(), again.capacity(), again.len()), (place, USUAL, 0));
    }

    #[test]
    fn one_with_a_part_in_use_is_let_go() {
        let mut buffer = take();
        buffer.extend_from_slice(b"SET one 1");
        let word = buffer.split_to(3).freeze();
        give_back(&mut buffer);
        assert_eq!((&word[..], spare()), (&b"SET"[..], 0));
    }

    #[test]
    fn neither_large_ones_nor_many_are_kept() {
        let mut large = take();
        large.resize(LARGEST + 1, b'x');
        // What is left of its room is small.
        large.advance(LARGEST);
        give_back(&mut large);
        assert_eq!(spare(), 0);
        let mut many: Vec<BytesMut> = (0..2 * KEPT).map(|_| take()).collect();
        many.iter_mut().for_each(give_back);
        assert_eq!(spare(), KEPT);
    }
}
