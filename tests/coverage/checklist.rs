//! The numbered checklists at the end of the documents in tests/spec. Reads them and nothing else.

/// One line of a checklist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its number. They grow; a line that was dropped leaves a gap.
    pub(crate) number: usize,
    /// What it demands.
    pub(crate) text: String,
}

/// The lines below the heading `heading`, up to the next heading of the same rank.
///
/// Panics if the heading is missing or the numbers do not grow: then the document is broken, and no count is worth
/// anything.
pub(crate) fn read(document: &str, heading: &str) -> Vec<Item> {
    let lines = document.lines().skip_while(|line| *line != heading).skip(1);
    let section = lines.take_while(|line| !line.starts_with("## "));
    let items: Vec<Item> = section.flat_map(items).collect();
    assert!(!items.is_empty(), "no checklist below {heading:?}");
    assert!(items.is_sorted_by(|a, b| a.number < b.number), "the numbers below {heading:?} grow");
    items
}

/// The item of a line, or the items: `216–225. One each` demands the same of ten.
fn items(line: &str) -> Vec<Item> {
    let Some((numbers, text)) = line.split_once(". ") else { return Vec::new() };
    let (first, last) = numbers.split_once('–').unwrap_or((numbers, numbers));
    let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return Vec::new() };
    (first..=last).map(|number| Item { number, text: text.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_numbered_lines_of_its_own_section() {
        let text = "## 1. A\n1. no\n## 2. Checklist\nwords\n\n**B**\n1. one\n2. two. And more\n3–4. both\n---\n## 3. C\n3. no\n";
        let items = read(text, "## 2. Checklist");
        let shown: Vec<_> = items.iter().map(|item| (item.number, item.text.as_str())).collect();
        assert_eq!(shown, [(1, "one"), (2, "two. And more"), (3, "both"), (4, "both")]);
    }

    #[test]
    #[should_panic(expected = "grow")]
    fn a_repeated_number_is_an_error() {
        read("## 2. Checklist\n1. one\n1. another\n", "## 2. Checklist");
    }
}
