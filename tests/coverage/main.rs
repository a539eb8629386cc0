//! Which lines of the specification's checklists have a test that quotes their number. `make coverage-of-spec` prints
//! the whole picture; every run fails when a line of failover.md or commands.md has none, or when a test quotes a line that does not
//! exist.

mod checklist;
mod quote;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A document of tests/spec.
struct Document {
    name: &'static str,
    /// The heading of its checklist.
    heading: &'static str,
    /// Lines that need no test yet, each with its reason; `None` while the document is only counted.
    later: Option<&'static [(usize, &'static str)]>,
}

const DOCUMENTS: &[Document] = &[
    Document { name: "failover.md", heading: "## 14. Conformance checklist", later: Some(&[]) },
    Document { name: "commands.md", heading: "## 13. Conformance checklist", later: Some(LATER_COMMANDS) },
    Document { name: "config.md", heading: "## 11. Conformance checklist", later: Some(&[]) },
];

/// Lines of commands.md without a test. One that has a test by now is named in the report: it must leave this list.
const LATER_COMMANDS: &[(usize, &str)] =
    &[(217, CLIENTS), (218, CLIENTS), (219, CLIENTS), (223, CLIENTS), (224, CLIENTS)];

const CLIENTS: &str = "its package is in none of the registries that the tests install from";

/// What the tests say of one document.
struct Coverage {
    /// Line, and the files that quote it.
    quoted: BTreeMap<usize, BTreeSet<String>>,
}

impl Coverage {
    fn of(document: &str, files: &[(String, String)]) -> Coverage {
        let mut quoted: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (path, text) in files {
            for number in quote::quoted(path, text, document) {
                quoted.entry(number).or_default().insert(path.clone());
            }
        }
        Coverage { quoted }
    }

    /// The report, and what is wrong.
    fn judge(&self, document: &Document, items: &[checklist::Item]) -> (String, Vec<String>) {
        let (mut report, mut wrong) = (String::new(), Vec::new());
        let later: BTreeMap<usize, &str> = document.later.unwrap_or_default().iter().copied().collect();
        let name = document.name;
        for item in items {
            let number = item.number;
            let state = match (self.quoted.get(&number), later.get(&number)) {
                (Some(files), Some(_)) => format!("covered, and must leave the list of later ones: {}", join(files)),
                (Some(files), None) => format!("covered: {}", join(files)),
                (None, Some(reason)) => format!("later: {reason}"),
                (None, None) => {
                    if document.later.is_some() {
                        wrong.push(format!("{name} {number} has no test: {}", item.text));
                    }
                    format!("NOT COVERED: {}", item.text)
                }
            };
            writeln!(report, "{name} {number:>3}  {state}").expect("a string takes everything");
        }
        let exists = |number| items.iter().any(|item| item.number == number);
        for (number, files) in self.quoted.iter().filter(|(number, _)| !exists(**number)) {
            wrong.push(format!("{} quotes {name} {number}, which does not exist", join(files)));
        }
        let covered = items.iter().filter(|item| self.quoted.contains_key(&item.number)).count();
        let listed = items.iter().filter(|item| later.contains_key(&item.number)).count();
        writeln!(report, "{name}: {covered} of {} lines covered, {listed} for later", items.len())
            .expect("a string takes everything");
        (report, wrong)
    }
}

fn join(files: &BTreeSet<String>) -> String {
    files.iter().cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_line_of_the_specification_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.iter().any(|(path, _)| path == "tests/e2e/main.rs"), "the walk finds the tests");
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let path = root.join("tests/spec").join(document.name);
        let text = fs::read_to_string(&path).expect("the specification is in the repository");
        let (report, complaints) =
            Coverage::of(document.name, &files).judge(document, &checklist::read(&text, document.heading));
        println!("{report}");
        wrong.extend(complaints);
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Every text file below `folder` that may quote; the specification does not, nor this test.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
        let path = entry.path();
        let shown = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        let quotes = path.extension().is_some_and(|end| ["rs", "txt", "toml", "sh"].iter().any(|known| end == *known));
        if path.is_dir() && !["tests/spec", "tests/coverage"].contains(&shown.as_str()) && !shown.ends_with("/target") {
            collect(root, &path, files);
        } else if quotes {
            files.push((shown, fs::read_to_string(&path).expect("text")));
        }
    }
}

#[test]
fn a_missing_line_and_a_made_up_one_are_found() {
    let document = Document { name: "spec.md", heading: "", later: Some(&[(3, "not yet"), (4, "not yet")]) };
    let items: Vec<checklist::Item> =
        (1..=4).map(|number| checklist::Item { number, text: "words".to_owned() }).collect();
    // Put together here, so that nothing in this file quotes them.
    let file = ("tests/a.rs".to_owned(), ["/// spec", "md 1, 4, 9\n"].join("."));
    let (report, wrong) = Coverage::of("spec.md", &[file]).judge(&document, &items);
    assert_eq!(wrong, ["spec.md 2 has no test: words", "tests/a.rs quotes spec.md 9, which does not exist"]);
    for expected in ["1  covered: tests/a.rs", "2  NOT COVERED", "3  later: not yet", "4  covered, and must", "2 of 4"]
    {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let counted = Document { later: None, ..document };
    let (_, wrong) = Coverage::of("spec.md", &[]).judge(&counted, &items);
    assert!(wrong.is_empty(), "only counted: {wrong:?}");
}
