//! Prints what is replied, in the notation of the cases: the start of a new case.

use std::collections::BTreeMap;
use std::time::Duration;

use super::case::Case;
use super::fixture::{Program, Stage};
use super::script::Act;
use super::want::Protocol;
use super::wire::{Silence, Wire, array};

/// A reply that has not come by then does not come.
const FIRST: Duration = Duration::from_secs(1);
/// The same for another one after it.
const MORE: Duration = Duration::from_millis(50);

/// Sends what the cases send, and prints what comes back.
pub(crate) fn all(cases: &[Case], programs: &[Program]) {
    for program in programs {
        for case in cases {
            println!("=== {:?} {}: {}", program.kind, case.file, case.name);
            let mut stage = Stage::start(&case.scene, program);
            record(case, &mut stage);
        }
    }
}

fn record(case: &Case, stage: &mut Stage) {
    let mut wires: BTreeMap<String, Wire> = BTreeMap::new();
    for step in &case.steps {
        let (to, bytes) = match &step.act {
            Act::Send { to, words } | Act::Trickle { to, words } | Act::Until { to, words, .. } => {
                let words: Vec<_> = words.iter().map(|word| word.bytes(&stage.names).unwrap_or_default()).collect();
                (to, array(&words))
            }
            Act::Raw { to, bytes } => (to, bytes.bytes(&stage.names).unwrap_or_default()),
            _ => continue,
        };
        println!("{}", step.source.lines().next().unwrap_or_default());
        if !wires.contains_key(to) {
            let mut wire = Wire::connect(stage.port(to), FIRST).expect("it listens");
            if case.greet && case.protocols.contains(&Protocol::Resp3) {
                wire.send(&array(&[b"HELLO".to_vec(), b"3".to_vec()]));
                // Only the replies to the case's own lines are shown.
                let _ = wire.read_within(FIRST);
            }
            wires.insert(to.clone(), wire);
        }
        let wire = wires.get_mut(to).expect("it was put there");
        wire.send(&bytes);
        let mut limit = FIRST;
        let end = loop {
            match wire.read_within(limit) {
                Ok(frame) => println!("{frame}"),
                Err(silence) => break silence,
            }
            limit = MORE;
        };
        match end {
            Silence::Late => {}
            Silence::Closed(rest) => {
                println!("closed {}", rest.escape_ascii());
                wires.remove(to);
            }
            Silence::Garbled(what) => println!("# {what}"),
        }
    }
}
