//! Text with holes: what stands between the quotes of an expected reply, of a request, of a line of a file.
//!
//! | | |
//! |---|---|
//! | `<any>` | anything, also nothing |
//! | `<int>` | an integer |
//! | `<5..900>` | an integer from 5 to 900 |
//! | `<word>` | at least one byte, no blank |
//! | `<id>` | 40 hex characters |
//! | `<x*200>` | `x`, 200 times |
//! | `<name=int>` | the same, and kept as `<name>` from then on |
//! | `<port>` and others | what the fixture knows by this name, or what was kept |
//!
//! Escapes: `\<`, `\"`, `\\`, `\r`, `\n`, `\t`, `\0`, `\xHH`, and `\s` for a blank at the end of a line.

use std::collections::BTreeMap;

/// What is known by name.
pub(crate) type Names = BTreeMap<String, String>;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Hole { keep: Option<String>, hole: Hole },
    Name(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Any,
    Word,
    Id,
    Integer { least: i64, most: i64 },
}

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Piece>);

impl Text {
    /// Reads the notation.
    pub(crate) fn parse(source: &str) -> Result<Text, String> {
        let (mut pieces, mut literal) = (Vec::new(), Vec::new());
        let mut rest = source;
        while let Some(char) = rest.chars().next() {
            let after = &rest[char.len_utf8()..];
            rest = match char {
                '\\' => {
                    let (byte, after) = escaped(after).ok_or_else(|| format!("a wrong escape: \\{after}"))?;
                    literal.push(byte);
                    after
                }
                '<' => {
                    let (name, after) = after.split_once('>').ok_or_else(|| format!("no > after <{after}"))?;
                    if let Some(repeated) = repeated(name) {
                        literal.extend(repeated);
                    } else {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        pieces.push(hole(name));
                    }
                    after
                }
                _ => {
                    literal.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    after
                }
            };
        }
        pieces.push(Piece::Literal(literal));
        pieces.retain(|piece| *piece != Piece::Literal(Vec::new()));
        Ok(Text(pieces))
    }

    /// The bytes, if there is no hole in it.
    pub(crate) fn bytes(&self, names: &Names) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => bytes.extend_from_slice(literal),
                Piece::Name(name) => bytes.extend_from_slice(known(name, names)?.as_bytes()),
                Piece::Hole { .. } => return Err("a hole where exact bytes are needed".to_owned()),
            }
        }
        Ok(bytes)
    }

    /// Whether these bytes fit as a whole; what was kept is entered into `names` then.
    pub(crate) fn fits(&self, bytes: &[u8], names: &mut Names) -> Result<bool, String> {
        let mut kept = Vec::new();
        let fits = fits(&self.0, bytes, names, &mut kept)?;
        if fits {
            names.extend(kept);
        }
        Ok(fits)
    }

    /// Whether they fit somewhere in the middle of these bytes.
    pub(crate) fn is_within(&self, bytes: &[u8], names: &mut Names) -> Result<bool, String> {
        let any = Piece::Hole { keep: None, hole: Hole::Any };
        let mut around = vec![any.clone()];
        around.extend(self.0.iter().cloned());
        around.push(any);
        Text(around).fits(bytes, names)
    }
}

fn known<'a>(name: &str, names: &'a Names) -> Result<&'a str, String> {
    names.get(name).map(String::as_str).ok_or_else(|| format!("nothing is known as <{name}>"))
}

fn escaped(after: &str) -> Option<(u8, &str)> {
    let char = after.chars().next()?;
    let rest = &after[char.len_utf8()..];
    let byte = match char {
        'r' => b'\r',
        'n' => b'\n',
        't' => b'\t',
        's' => b' ',
        '0' => 0,
        'x' => return Some((u8::from_str_radix(rest.get(..2)?, 16).ok()?, &rest[2..])),
        '\\' | '"' | '<' => char as u8,
        _ => return None,
    };
    Some((byte, rest))
}

fn repeated(name: &str) -> Option<Vec<u8>> {
    let (text, count) = name.split_once('*')?;
    Some(text.as_bytes().repeat(count.parse().ok()?))
}

fn hole(name: &str) -> Piece {
    let (keep, kind) = match name.split_once('=') {
        Some((keep, kind)) => (Some(keep.to_owned()), kind),
        None => (None, name),
    };
    let hole = match kind {
        "any" => Hole::Any,
        "word" => Hole::Word,
        "id" => Hole::Id,
        "int" => Hole::Integer { least: i64::MIN, most: i64::MAX },
        _ => match kind.split_once("..").map(|(least, most)| (least.parse(), most.parse())) {
            Some((Ok(least), Ok(most))) => Hole::Integer { least, most },
            _ => return Piece::Name(name.to_owned()),
        },
    };
    Piece::Hole { keep, hole }
}

impl Hole {
    fn takes(self, bytes: &[u8]) -> bool {
        match self {
            Hole::Any => true,
            Hole::Word => !bytes.is_empty() && !bytes.contains(&b' '),
            Hole::Id => bytes.len() == 40 && bytes.iter().all(u8::is_ascii_hexdigit),
            Hole::Integer { least, most } => {
                let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i64>().ok());
                number.is_some_and(|number| (least..=most).contains(&number))
            }
        }
    }
}

fn fits(pieces: &[Piece], bytes: &[u8], names: &Names, kept: &mut Vec<(String, String)>) -> Result<bool, String> {
    let Some((piece, others)) = pieces.split_first() else { return Ok(bytes.is_empty()) };
    let literal = match piece {
        Piece::Literal(literal) => literal.as_slice(),
        Piece::Name(name) => match kept.iter().find(|(kept, _)| kept == name) {
            Some((_, value)) => &value.clone().into_bytes(),
            None => known(name, names)?.as_bytes(),
        },
        Piece::Hole { keep, hole } => {
            for end in 0..=bytes.len() {
                if !hole.takes(&bytes[..end]) {
                    continue;
                }
                let before = kept.len();
                if let Some(name) = keep {
                    kept.push((name.clone(), String::from_utf8_lossy(&bytes[..end]).into_owned()));
                }
                if fits(others, &bytes[end..], names, kept)? {
                    return Ok(true);
                }
                kept.truncate(before);
            }
            return Ok(false);
        }
    };
    match bytes.strip_prefix(literal) {
        Some(rest) => fits(others, rest, names, kept),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits_text(pattern: &str, text: &str) -> bool {
        let mut names = Names::from([("port".to_owned(), "6379".to_owned())]);
        Text::parse(pattern).expect("a text").fits(text.as_bytes(), &mut names).expect("known names")
    }

    #[test]
    fn holes_take_what_they_name_and_nothing_else() {
        assert!(fits_text("age=<0..20> id=<int>", "age=12 id=-5"));
        assert!(!fits_text("age=<0..20>", "age=21"));
        assert!(!fits_text("age=<int>", "age="));
        assert!(fits_text("<any>:<port><any>", "127.0.0.1:6379"));
        assert!(!fits_text("<word>", "a b"));
        assert!(fits_text("<id>", &"0f".repeat(20)) && !fits_text("<id>", &"0f".repeat(19)));
        assert!(fits_text("<x*3>\\<y>\\x41", "xxx<y>A"));
        assert!(!fits_text("OK", "OK ") && !fits_text("OK", "O"));
    }

    #[test]
    fn what_is_kept_is_known_afterwards_and_at_once() {
        let mut names = Names::new();
        let text = Text::parse("id=<id1=int> again=<id1>").expect("a text");
        assert_eq!(text.fits(b"id=7 again=8", &mut names), Ok(false));
        assert!(names.is_empty(), "what does not fit keeps nothing");
        assert_eq!(text.fits(b"id=7 again=7", &mut names), Ok(true));
        assert_eq!(Text::parse("<id1>!").expect("a text").bytes(&names), Ok(b"7!".to_vec()));
        assert!(Text::parse("<nobody>").expect("a text").bytes(&names).is_err());
    }
}
