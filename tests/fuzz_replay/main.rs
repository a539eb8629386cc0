//! The fuzz targets without a fuzzer: every input of the committed corpus, and a few thousand pseudo-random changes of
//! each target's, the same in every run. The targets and how to run them for longer: tests/fuzz/Cargo.toml.

#[path = "../fuzz/bodies.rs"]
mod bodies;
#[path = "../fuzz/commands.rs"]
mod commands;
#[path = "../fuzz/monitor_ops.rs"]
mod monitor_ops;

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Changed inputs of each target.
const MUTATIONS: u64 = 3_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).expect("every target has a corpus").flatten().collect();
    files.sort_by_key(fs::DirEntry::path);
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file.path()).expect("a file")).collect();
    assert!(!inputs.is_empty(), "{target} has inputs");
    inputs
}

/// Cuts, repeats, splices and flips, as a fuzzer without coverage would.
fn mutate(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut data = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(1..8) {
        let at = rng.random_range(0..=data.len());
        match rng.random_range(0..5) {
            0 if at < data.len() => data[at] = rng.random(),
            1 => data.insert(at, rng.random()),
            2 => data.truncate(at),
            3 => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                data.splice(at.., other[from..].iter().copied());
            }
            _ => data.extend((0..rng.random_range(1..40)).map(|_| rng.random::<u8>())),
        }
    }
    data
}

#[test]
fn nothing_that_comes_in_breaks_anything() {
    for (target, body) in bodies::BODIES {
        let seeds = corpus(target);
        for input in &seeds {
            body(input);
        }
        for seed in 0..MUTATIONS {
            let mut rng = StdRng::seed_from_u64(seed);
            let input = mutate(&seeds, &mut rng);
            let result = std::panic::catch_unwind(|| body(&input));
            assert!(result.is_ok(), "{target}, mutation {seed}: {}", input.escape_ascii());
        }
    }
}
