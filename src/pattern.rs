//! Glob patterns over bytes, as PSUBSCRIBE, `SENTINEL RESET` and `SENTINEL CONFIG GET` understand them.
//!
//! `*` any run of bytes, `?` any byte, `[abc]`, `[^abc]`, `[a-c]` (either order), `\` takes the next byte as it is. No
//! crate reads patterns this way: most know `!` or braces, or want UTF-8.

/// Whether letters of either case are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// They are not: names and channels.
    Sensitive,
    /// They are: parameter names.
    Insensitive,
}

/// Whether the whole of `text` matches `pattern`. An empty text matches the empty pattern only, not `*`, as in stock. Time is at most the product of their lengths: only the last star is
/// ever tried again, because an earlier one that matched as little as possible need not match more.
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            last_star = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            Some(byte) => match_one(&pattern[p..], *byte, case),
            None if p == pattern.len() => return true,
            None => return false,
        };
        match (step, last_star) {
            (Some(used), _) => {
                p += used;
                t += 1;
            }
            (None, Some((after_star, from))) => {
                last_star = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            (None, None) => return false,
        }
    }
}

/// How many bytes of the pattern stand for `byte`, if its first element matches it.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte, case).map(|used| used + 1),
        [b'\\', literal, ..] => same(*literal, byte, case).then_some(2),
        [literal, ..] => same(*literal, byte, case).then_some(1),
    }
}

/// A class without its opening bracket. One that is never closed ends with the pattern.
fn match_class(class: &[u8], byte: u8, case: Case) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at.min(class.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (fold(*low, case), fold(*high, case));
                found |= (low.min(high)..=low.max(high)).contains(&fold(byte, case));
                at += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte, case);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

fn fold(byte: u8, case: Case) -> u8 {
    match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    }
}

fn same(a: u8, b: u8, case: Case) -> bool {
    fold(a, case) == fold(b, case)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive)
    }

    #[test]
    fn matches_as_stock_does() {
        for (pattern, text, expected) in [
            ("h[^e]llo", "hallo", true),
            ("h[!e]llo", "hallo", false),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a{b,c}", "ab", false),
            ("a/*", "a/b/c", true),
            ("**a", "ba", true),
            ("*", "anything", true),
            ("+s*", "+switch-master", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[]", "]", false),
            ("[a", "a", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZd", false),
            ("", "", true),
            ("*", "", false),
            ("a*", "a", true),
            ("", "a", false),
            ("A*", "abc", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches(b"ANN*-[I]P", b"announce-ip", Case::Insensitive));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!glob(&pattern, &"a".repeat(2_000)));
    }
}
