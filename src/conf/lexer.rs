//! Lines to tokens and back, byte for byte as stock reads them (config.md 2.1, 2.2, 5.4, 5.5).

use thiserror::Error;

/// A quote was not closed, or something followed a closing quote without a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Unbalanced quotes in configuration line")]
pub struct UnbalancedQuotes;

/// A line without the blanks around it: space, tab, carriage return, line feed.
pub fn trim(line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
    let end = line.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

/// The tokens of a line. Quotes may begin inside a token (`ab"cd"` is `abcd`); a backslash means something only
/// between quotes; `""` is a token of its own.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut tokens = Vec::new();
    let mut rest = line;
    loop {
        let skipped = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[skipped..];
        if rest.is_empty() {
            return Ok(tokens);
        }
        let (token, after) = token(rest)?;
        tokens.push(token);
        rest = after;
    }
}

/// One token from the start of `rest`, which is not a blank, and what follows it.
fn token(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), UnbalancedQuotes> {
    let mut token = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok((token, rest)),
            [b'"', after @ ..] => {
                let after = ended(double_quoted(after, &mut token)?)?;
                return Ok((token, after));
            }
            [b'\'', after @ ..] => {
                let after = ended(single_quoted(after, &mut token)?)?;
                return Ok((token, after));
            }
            [byte, after @ ..] => {
                token.push(*byte);
                rest = after;
            }
        }
    }
}

/// What follows a closing quote has to be a blank or the end.
fn ended(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], token: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                token.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                token.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                token.push(*byte);
                after
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], token: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                token.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                token.push(*byte);
                after
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A token in double quotes, the form stock gives to every plain string and to words of its command line.
pub fn quoted(token: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in token {
        match byte {
            b'\\' | b'"' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            0x07 => text.extend(b"\\a"),
            0x08 => text.extend(b"\\b"),
            b' '..=b'~' => text.push(*byte),
            other => text.extend(format!("\\x{other:02x}").bytes()),
        }
    }
    text.push(b'"');
    text
}

/// Tokens joined into a line: each as it stands, or quoted where it would be read back as something else, which is when it
/// is empty or has blanks, quotes, backslashes or control bytes in it. Deviates: stock never quotes these and cannot read
/// its own file then.
pub fn join<T: AsRef<[u8]>>(tokens: impl IntoIterator<Item = T>) -> Vec<u8> {
    let is_unsafe = |byte: &u8| byte.is_ascii_control() || matches!(byte, b' ' | b'"' | b'\'' | b'\\');
    let mut line = Vec::with_capacity(TYPICAL_LINE);
    for (index, token) in tokens.into_iter().enumerate() {
        let token = token.as_ref();
        if index > 0 {
            line.push(b' ');
        }
        if token.is_empty() || token.iter().any(is_unsafe) {
            line.extend(quoted(token));
        } else {
            line.extend_from_slice(token);
        }
    }
    line
}

/// Room for a line, bytes.
const TYPICAL_LINE: usize = 96;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(line: &str) -> Vec<String> {
        split(line.as_bytes())
            .expect("balanced")
            .into_iter()
            .map(|t| String::from_utf8_lossy(&t).into_owned())
            .collect()
    }

    /// config.md 38, 39
    #[test]
    fn quotes_and_escapes_read_as_in_stock() {
        assert_eq!(tokens(r#"a "no\x74ice" ab"cd" "" "#), ["a", "notice", "abcd", ""]);
        assert_eq!(tokens(r"'a\n\'b' c\d"), [r"a\n'b", r"c\d"]);
        assert_eq!(tokens(r#""\q\xzz\n\a""#), ["qxzz\n\u{7}"]);
        assert_eq!(tokens("\x0ba\x0bb"), ["a\x0bb"]);
    }

    /// config.md 36, 37
    #[test]
    fn unbalanced_quotes_are_errors() {
        for line in [r#"a "b"#, r#""abc"d"#, "'a", r"'a\'", r#"a "b\"#, r#""abc"'d'"#] {
            assert_eq!(split(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn ordinary_tokens_stay_bare() {
        assert_eq!(
            join(["sentinel", "monitor", "my-master", "::1", "6379", "2"]),
            b"sentinel monitor my-master ::1 6379 2"
        );
        assert_eq!(join([b"a b"]), br#""a b""#);
        assert_eq!(join([b"a\\b"]), br#""a\\b""#);
        assert_eq!(join([b""]), br#""""#);
        assert_eq!(join(["pässwörd"]), "pässwörd".as_bytes());
        assert_eq!(quoted(b"a\"\\\n\x01\xff"), br#""a\"\\\n\x01\xff""#);
    }

    proptest! {
        /// config.md 125
        #[test]
        fn any_tokens_survive_a_round_trip(tokens in prop::collection::vec(prop::collection::vec(1u8..=255, 0..12), 0..6)) {
            prop_assert_eq!(split(&join(&tokens)).expect("balanced"), tokens.clone());
            let all_quoted: Vec<Vec<u8>> = tokens.iter().map(|token| quoted(token)).collect();
            prop_assert_eq!(split(&all_quoted.join(&b' ')).expect("balanced"), tokens);
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = split(trim(&line));
        }
    }
}
