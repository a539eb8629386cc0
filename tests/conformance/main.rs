//! The conformance suite: what a client sees, case by case, of stock and of `sentineld`.
//!
//! A case is a few lines in one of the `.toml` files here: what is sent, and what is expected back (see `script`,
//! `want` and `text` for the notation, `case` for what may stand beside it, `fixture` for what there is to talk to).
//! Every case is played against the installed redis-sentinel, which proves it, and against `sentineld`, each in RESP2
//! and in RESP3. What stock cannot pass is marked `ours = "reason"`.
//!
//! `CASE=words` plays the cases with these words in their names or files only, `BIN=/path` a program of your choice
//! alone, `SWITCHES=stock` leaves out what a switch of ours does otherwise, and `RECORD=1` prints the replies instead
//! of judging them: to write a case, write what is sent, and record.

mod abuse;
mod case;
mod fixture;
mod frame;
mod play;
mod record;
mod run;
mod script;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;
mod text;
mod want;
mod wire;

use std::path::Path;
use std::time::Duration;

use fixture::{KindOf, Program};
use support::Kind;

/// The programs that are asked.
fn programs() -> Vec<Program> {
    if let Some(given) = std::env::var_os("BIN") {
        let path = std::path::absolute(given).expect("BIN names a program");
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = if name.contains("sentineld") { KindOf::Ours } else { KindOf::Stock };
        return vec![Program { path, kind }];
    }
    vec![
        Program { path: Kind::Stock.program(), kind: KindOf::Stock },
        Program { path: Kind::Ours.program(), kind: KindOf::Ours },
    ]
}

#[test]
fn stock_and_sentineld_answer_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut cases = case::load(&folder);
    if let Ok(words) = std::env::var("CASE") {
        cases.retain(|case| case.name.contains(&words) || case.file.contains(&words));
        assert!(!cases.is_empty(), "no case is called {words:?}");
    }
    if std::env::var_os("SWITCHES").is_some_and(|value| value == "stock") {
        cases.retain(|case| case.switch.is_none());
    }
    if std::env::var_os("RECORD").is_some() {
        record::all(&cases, &programs());
        return;
    }
    let outcome = run::all(&cases, &programs());
    println!("{} cases, played {} times in {} ms", cases.len(), outcome.played, outcome.ms);
    for line in &outcome.slowest {
        println!("  {line}");
    }
    assert!(outcome.failures.is_empty(), "\n{}\n{} failures\n", outcome.failures.join("\n"), outcome.failures.len());
}

#[test]
fn ten_thousand_malformed_streams_leave_no_trace() {
    let ours = programs().pop().expect("ours is the last");
    abuse::play(&ours);
}

/// What these cases claim is wrong, and stock's answers show it: a runner that lets them pass proves nothing.
#[test]
fn a_wrong_expectation_fails() {
    let stock = Program { path: Kind::Stock.program(), kind: KindOf::Stock };
    let claims = [
        ("> PING\n+PANG", "got +PONG"),
        ("> PING x\n+x", "got \"x\""),
        ("> HELLO\n[...]", "got {"),
        ("> PING\n> PING\n+PONG", "something more"),
        ("> PING\n+PONG\n+PONG", "got nothing"),
        ("> CLIENT ID\n:<5000..6000>", "got :"),
        ("> PING\n+PONG\n! log no such line", "it has only"),
        ("> SENTINEL MASTERS\nnull", "got []"),
        ("> PING\n+PONG\nclosed", "not closed"),
    ];
    let case = |(at, (say, _)): (usize, &(&str, &str))| {
        format!("[[case]]\nname = \"wrong {at}\"\nfresh = true\nprotocols = [3]\nsay = '''\n{say}\n'''\n")
    };
    let text = claims.iter().enumerate().map(case).collect::<Vec<_>>().concat();
    let mut wrong = case::parse("wrong.toml", &text).expect("cases");
    for case in &mut wrong {
        case.patience = Duration::from_secs(2);
    }
    let outcome = run::all(&wrong, &[stock]);
    assert_eq!(outcome.failures.len(), claims.len(), "{:#?}", outcome.failures);
    for (at, (say, complaint)) in claims.iter().enumerate() {
        let about = format!("wrong.toml: \"wrong {at}\"");
        let found = outcome.failures.iter().any(|failure| failure.contains(&about) && failure.contains(complaint));
        assert!(found, "{say}: {complaint}: {:#?}", outcome.failures);
    }
    let unmarked = "[[case]]\nname = \"x\"\nsay = '''\n> PING\nours| +PONG\n'''\n";
    assert!(case::parse("x.toml", unmarked).is_err(), "a deviation needs its reason");
}
