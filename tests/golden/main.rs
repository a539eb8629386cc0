//! Golden transcripts of the core: each `tests/golden/*.txt` is a story of one Sentinel, told as inputs and the outputs
//! that must follow, and one path through its state machines. Read them to learn the protocol.
//!
//! A line that begins with `#` is prose, one with `>` an input ([`script`] says which there are), and everything else
//! was printed by the machine. `UPDATE=1 cargo test --test golden` rewrites what was printed; read the difference
//! before you commit it.

mod print;
mod script;
mod server;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_transcript_is_what_the_core_says() {
    let files = transcripts();
    assert!(files.len() >= 10, "the walk finds the transcripts: {files:?}");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in files {
        let expected = fs::read_to_string(&path).expect("text");
        let played = script::play(&expected);
        if played == expected {
            continue;
        }
        if update {
            fs::write(&path, played).expect("the repository can be written");
        } else {
            wrong.push(format!("{}:{}", path.display(), difference(&expected, &played)));
        }
    }
    assert!(wrong.is_empty(), "\n{}\nUPDATE=1 rewrites them.\n", wrong.join("\n"));
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(folder).expect("the folder of this file").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    files
}

/// The first line that differs, and a few that follow.
fn difference(expected: &str, played: &str) -> String {
    const SHOWN: usize = 8;
    let equal = expected.lines().zip(played.lines()).take_while(|(a, b)| a == b).count();
    let some = |text: &str, mark: &str| {
        let lines = text.lines().skip(equal).take(SHOWN);
        lines.flat_map(|line| [mark, " ", line, "\n"]).collect::<String>()
    };
    format!("{}\n{}{}", equal + 1, some(expected, "-"), some(played, "+"))
}

/// A runner that nobody has seen complain checks nothing.
#[test]
fn a_transcript_that_lies_is_found() {
    let lie = "> server 6379 master\n> watch mymaster 6379 quorum 1 down-after 1000\n> kill 6379\n> wait 2000\n\
               2.000 event -sdown master mymaster 127.0.0.1 6379\n";
    let played = script::play(lie);
    assert_ne!(played, lie);
    assert!(played.contains("event   +sdown master mymaster 127.0.0.1 6379"), "{played}");
    assert!(difference(lie, &played).contains("- 2.000 event -sdown"));
    assert_eq!(script::play(&played), played, "what was printed is passed over and printed again");
}
