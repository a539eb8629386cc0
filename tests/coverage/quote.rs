//! Finds the checklist numbers that test code quotes: `failover.md 87`, `failover.md 36, 38 and 42`,
//! `config.md 180 to 182`, `config.md 12-28, 5.3 example 4`.
//!
//! Only test code counts: a comment of the program says why something is so, not that it is. Numbers with a dot are
//! sections and `I5`, `R1`, `S8` entries of other lists; numbers after `example` or `section` are those. They are
//! passed over.

use std::collections::BTreeSet;

/// The numbers that `text`, the content of the file at `path`, quotes from the document called `document`.
pub(crate) fn quoted(path: &str, text: &str, document: &str) -> BTreeSet<usize> {
    paragraphs(path, text).iter().flat_map(|paragraph| numbers(paragraph, document)).collect()
}

/// The lines of test code; comments that follow each other are one line, for a quote may be broken by its end.
fn paragraphs(path: &str, text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut in_comment = false;
    for line in test_code(path, text).lines().map(str::trim) {
        let bare = line.trim_start_matches(['/', '!', '#']);
        let comment = bare.len() < line.len();
        match all.last_mut().filter(|_| in_comment && comment) {
            Some(last) => *last = format!("{last} {bare}"),
            None => all.push(bare.to_owned()),
        }
        in_comment = comment;
    }
    all
}

/// The part of a file that is test code: all of it in tests/ and in `tests.rs`, else what follows `#[cfg(test)]`.
fn test_code<'a>(path: &str, text: &'a str) -> &'a str {
    let whole = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
    if whole {
        return text;
    }
    text.split_once("#[cfg(test)]\nmod tests {").map_or("", |(_, tests)| tests)
}

fn numbers(paragraph: &str, document: &str) -> Vec<usize> {
    let starts = paragraph.match_indices(document).map(|(at, _)| at + document.len());
    starts.flat_map(|at| list(&paragraph[at..])).collect()
}

/// What the words of a list mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A number is a line of the checklist.
    Lines,
    /// It is an example, or a section.
    Examples,
    /// It ends a range that begins with this number.
    Range(usize),
}

/// Reads a list of numbers as far as it goes.
fn list(text: &str) -> Vec<usize> {
    let (mut found, mut mode, mut last) = (Vec::new(), Mode::Lines, None);
    for word in words(text) {
        match (word.as_str(), mode) {
            ("to" | "-" | "–", Mode::Lines) => match last {
                Some(first) => mode = Mode::Range(first),
                None => return found,
            },
            ("," | ";" | "and" | ":", _) => {}
            ("example" | "examples" | "section" | "sections", _) => mode = Mode::Examples,
            (word, _) => {
                let number: Option<usize> = word.parse().ok();
                match (number, mode) {
                    (Some(number), Mode::Lines) => found.push(number),
                    (Some(number), Mode::Range(first)) => found.extend(first + 1..=number),
                    (Some(_), Mode::Examples) => {}
                    (None, _) if is_reference(word) => {}
                    (None, _) => return found,
                }
                (last, mode) = (number, if mode == Mode::Examples { mode } else { Mode::Lines });
                if number.is_none() {
                    mode = Mode::Lines;
                }
            }
        }
    }
    found
}

/// A section such as `12.3`, or an entry of another list such as `I5`.
fn is_reference(word: &str) -> bool {
    let section = word.split('.').count() > 1 && word.split('.').all(|part| part.parse::<usize>().is_ok());
    let entry = word.strip_prefix(['B', 'I', 'R', 'S']).is_some_and(|number| number.parse::<usize>().is_ok());
    section || entry
}

/// Words, with every mark as a word of its own except dots: those belong to sections, or end a sentence and go.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() && c != '.' || c == '–' {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    spaced.split_whitespace().map(|word| word.trim_end_matches('.').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<usize> {
        quoted("tests/x.rs", line, "spec.md").into_iter().collect()
    }

    #[test]
    fn reads_lists_and_ranges() {
        assert_eq!(of("/// spec.md 87"), [87]);
        assert_eq!(of("// see spec.md 36, 38 and 42: the pace."), [36, 38, 42]);
        assert_eq!(of("/// spec.md 180 to 182, 190"), [180, 181, 182, 190]);
        assert_eq!(of("/// spec.md 12-14; 99"), [12, 13, 14, 99]);
        assert_eq!(of("/// other.md 3; spec.md 4. Then 5 more"), [4]);
        assert_eq!(of("    assert!(x, \"spec.md 7\");"), [7]);
        assert_eq!(of("covers = [\"spec.md 7 to 9\", \"other.md 1\", \"spec.md 12\"]"), [7, 8, 9, 12]);
    }

    #[test]
    fn passes_over_what_is_no_line_of_the_checklist() {
        assert_eq!(of("/// spec.md 12.3 S8, 154, I5"), [154]);
        assert_eq!(of("/// spec.md 5.3 examples 4 and 5, 5.4, 138"), [138]);
        assert_eq!(of("/// spec.md says 5"), [0; 0]);
        assert_eq!(of("/// spec.md 92, and some 5 for a busy"), [92]);
        assert_eq!(of("//! spec.md, sections 11 and 12"), [0; 0]);
    }

    #[test]
    fn a_quote_may_be_broken_by_the_end_of_a_line() {
        assert_eq!(of("/// spec.md 1, 2,\n/// 3"), [1, 2, 3]);
        assert_eq!(of("/// spec.md 1,\nfn f() {}\n/// 3"), [1]);
    }

    #[test]
    fn only_test_code_counts() {
        let text = "/// spec.md 1\n#[cfg(test)]\nmod tests {\n/// spec.md 2\n}";
        let numbers = |path| quoted(path, text, "spec.md").into_iter().collect::<Vec<_>>();
        assert_eq!(numbers("src/a.rs"), [2]);
        assert_eq!(numbers("src/a/tests.rs"), [1, 2]);
        assert_eq!(numbers("src/a/tests/b.rs"), [1, 2]);
        let transcript = quoted("tests/golden/a.txt", "# spec.md 4,\n# 5\n", "spec.md");
        assert_eq!(transcript.into_iter().collect::<Vec<_>>(), [4, 5]);
    }
}
