//! Passwords as they are kept: SHA-256, written as 64 hexadecimal digits in lower case.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The digest of one password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a password in clear.
    pub fn of(password: &[u8]) -> Digest {
        Digest(Sha256::digest(password).into())
    }

    /// From its 64 digits; `None` for anything else, also for digits in upper case.
    pub fn parse(text: &[u8]) -> Option<Digest> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Digest(bytes))
    }

    /// Whether both are the same. Takes the same time for every pair.
    pub fn matches(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A digest can be tried against a dictionary, so logs do not get it.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

    #[test]
    fn is_read_and_written_as_lower_case_digits() {
        let foo = Digest::of(b"foo");
        assert_eq!(foo.to_string(), FOO);
        assert_eq!(Digest::parse(FOO.as_bytes()), Some(foo));
        assert_eq!(Digest::parse(FOO.to_uppercase().as_bytes()), None);
        assert_eq!(Digest::parse(&FOO.as_bytes()[1..]), None);
        assert!(foo.matches(&Digest::of(b"foo")) && !foo.matches(&Digest::of(b"Foo")));
        assert!(!format!("{foo:?}").contains("2c26"));
    }
}
