//! Integers as the protocol writes them: one text a number, no other accepted.

use bytes::BufMut;

/// Reads a signed 64-bit decimal in its only accepted form: no plus sign, no leading zero, no blank, no `-0`.
///
/// Lengths on the wire, and every number that an operator gives in a command, are judged by this rule
/// (commands.md 1.3).
pub fn parse_strict(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let canonical = match digits {
        [b'0'] => sign == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    digits.iter().try_fold(0_i64, |n, digit| n.checked_mul(10)?.checked_add(sign * i64::from(digit - b'0')))
}

/// Appends `<kind><n>\r\n`: an integer, or the header of anything that begins with a length.
pub fn put_line(out: &mut impl BufMut, kind: u8, n: i64) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(n).as_bytes());
    out.put_slice(b"\r\n");
}

/// Appends `$<length>\r\n<bytes>\r\n`. Big replies have tens of thousands of them: where the length is known when this is
/// compiled, so is its text.
#[inline]
pub fn put_bulk(out: &mut impl BufMut, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..=9 => out.put_slice(&[b'$', digit(length), b'\r', b'\n']),
        length @ 10..=99 => out.put_slice(&[b'$', digit(length / 10), digit(length % 10), b'\r', b'\n']),
        length => put_line(out, b'$', length as i64),
    }
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

fn digit(below_ten: usize) -> u8 {
    b'0' + below_ten as u8
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use proptest::prelude::*;

    /// commands.md 1.3
    #[test]
    fn refuses_every_other_spelling_of_a_number() {
        for bad in ["", "-", "+5", " 5", "5 ", "05", "0x5", "5.0", "-0", "00", "-01", "1x", "9223372036854775808"] {
            assert_eq!(parse_strict(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_strict(b"0"), Some(0));
        assert_eq!(parse_strict(b"-9223372036854775808"), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(n in any::<i64>()) {
            let mut out = BytesMut::new();
            put_line(&mut out, b':', n);
            prop_assert_eq!(out.first(), Some(&b':'));
            prop_assert_eq!(parse_strict(out[1..].strip_suffix(b"\r\n").unwrap()), Some(n));
        }

        #[test]
        fn bulk_strings_tell_their_length(length in 0usize..1_200) {
            let mut out = BytesMut::new();
            put_bulk(&mut out, &vec![b'x'; length]);
            prop_assert_eq!(&out[..], &*format!("${length}\r\n{}\r\n", "x".repeat(length)).into_bytes());
        }

        #[test]
        fn accepts_exactly_what_the_language_writes(text in "[-+ 0-9]{0,4}") {
            let expected = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
            prop_assert_eq!(parse_strict(text.as_bytes()), expected);
        }
    }
}
