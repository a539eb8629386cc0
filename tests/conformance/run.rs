//! Plays cases in parallel: those that change nothing share a stage, the others get one each.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use super::case::Case;
use super::fixture::{Fixture, KindOf, Program, Scene, Stage};
use super::play::play;
use super::want::Protocol;

/// Stages at a time: most of their life they wait for a process to start.
const WORKERS: usize = 16;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One text each.
    pub(crate) failures: Vec<String>,
    /// Cases times programs times protocols.
    pub(crate) played: usize,
    pub(crate) ms: u128,
    /// The jobs that took longest, for people.
    pub(crate) slowest: Vec<String>,
}

/// Cases that one stage is used for, one after the other.
struct Job<'a> {
    program: &'a Program,
    scene: &'a Scene,
    plays: Vec<(&'a Case, Protocol)>,
}

/// Plays every case against every program that can be asked.
pub(crate) fn all(cases: &[Case], programs: &[Program]) -> Outcome {
    let start = Instant::now();
    let mut jobs = jobs(cases, programs);
    let mut outcome = Outcome { played: jobs.iter().map(|job| job.plays.len()).sum(), ..Outcome::default() };
    // What takes long to start comes first; workers take from the end.
    jobs.sort_by_key(|job| (job.scene.fixture == Fixture::Group, job.scene.fixture == Fixture::Live, job.plays.len()));
    let (queue, results) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("no worker panics here").pop();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let from = Instant::now();
                    let failures = job.play();
                    results.lock().expect("no worker panics here").push((
                        from.elapsed().as_millis(),
                        job.name(),
                        failures,
                    ));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no worker panics here");
    results.sort();
    outcome.slowest = results.iter().rev().take(5).map(|(ms, name, _)| format!("{ms} ms: {name}")).collect();
    let mut failures: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (who, what) in results.into_iter().flat_map(|(_, _, failures)| failures) {
        failures.entry(what).or_default().push(who);
    }
    outcome.failures = failures.into_iter().map(|(what, who)| format!("--- {}: {what}", who.join(", "))).collect();
    outcome.ms = start.elapsed().as_millis();
    outcome
}

fn jobs<'a>(cases: &'a [Case], programs: &'a [Program]) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for program in programs {
        let asked = cases.iter().filter(|case| program.kind == KindOf::Ours || !case.ours_alone);
        let mut shared: BTreeMap<&Scene, Vec<(&Case, Protocol)>> = BTreeMap::new();
        for case in asked {
            let plays = case.protocols.iter().map(|protocol| (case, *protocol));
            if case.fresh {
                jobs.extend(plays.map(|play| Job { program, scene: &case.scene, plays: vec![play] }));
            } else {
                shared.entry(&case.scene).or_default().extend(plays);
            }
        }
        jobs.extend(shared.into_iter().map(|(scene, plays)| Job { program, scene, plays }));
    }
    jobs
}

impl Job<'_> {
    fn name(&self) -> String {
        let (case, _) = self.plays[0];
        format!("{:?}, {} plays of {}: {}", self.program.kind, self.plays.len(), case.file, case.name)
    }

    /// Who failed at what.
    fn play(&self) -> Vec<(String, String)> {
        let mut failures = Vec::new();
        let mut stage: Option<Stage> = None;
        for (case, protocol) in &self.plays {
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let stage = stage.get_or_insert_with(|| Stage::start(self.scene, self.program));
                let verdict = play(case, stage, self.program.kind, *protocol);
                // The log tells why it is silent; of a wrong reply it knows nothing.
                verdict.map_err(|error| if error.contains("got nothing") { error + &tail(&stage.log()) } else { error })
            }));
            let error = match attempt {
                Ok(Ok(())) => {
                    // What ended the Sentinel should have been marked as fresh; the next case gets a new one.
                    if self.plays.len() > 1 && !stage.as_ref().is_some_and(Stage::is_alive) {
                        stage = None;
                    }
                    continue;
                }
                Ok(Err(error)) => error,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
                }
            };
            stage = None;
            let (file, name) = (&case.file, &case.name);
            failures.push((format!("{:?} in {protocol:?}", self.program.kind), format!("{file}: {name:?}\n{error}")));
        }
        failures
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(4)..].join(
        "
      ",
    );
    format!(
        "
  its log ends:
      {end}"
    )
}
