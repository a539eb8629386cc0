//! Which script runs when: a queue with limits, retries and a time limit (config.md 8).
//!
//! It decides only. The driver starts, kills and reaps the processes and says what became of them.

use std::sync::Arc;

use super::event::{Event, EventKind, Level};
use super::id::MasterName;
use super::time::{Millis, Periods};

/// Scripts that wait or run. One more, and the one that has waited longest is dropped.
pub const MAX_QUEUED: usize = 256;
/// Scripts that run at once.
pub const MAX_RUNNING: usize = 16;
/// Runs of a script that fails every time.
pub const MAX_RUNS: u32 = 10;
/// The exit code that asks for another run.
const RETRY: i32 = 1;
/// The exit code that a script counts as having which cannot be executed.
const NOT_EXECUTABLE: i32 = 2;
/// Stands for the signal in the event of a script for which there was no process.
const NO_PROCESS: i32 = 99;

/// A script and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptJob {
    /// The path, then the arguments.
    pub argv: Vec<String>,
}

/// What a Sentinel has to do with a switch, as client-reconfig-scripts are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It led the failover.
    Leader,
    /// It learned of it.
    Observer,
}

impl ScriptJob {
    /// `notification-script`: `<path> <event> <message>`. None for events that run no script.
    pub fn notification(path: Option<&String>, event: &Event) -> Option<ScriptJob> {
        let concerns_a_master = event.kind.level() == Level::Warning
            && !matches!(
                event.kind,
                EventKind::TiltEntered | EventKind::TiltExited | EventKind::ScriptError | EventKind::ScriptTimeout
            );
        let path = path.filter(|_| concerns_a_master)?;
        Some(ScriptJob { argv: vec![path.clone(), event.kind.name().to_owned(), event.payload.clone()] })
    }

    /// `client-reconfig-script`: `<path> <master> leader|observer start <from ip> <from port> <to ip> <to port>`.
    pub fn client_reconfig(
        path: &str,
        master: &MasterName,
        part: Part,
        from: (String, u16),
        to: (String, u16),
    ) -> ScriptJob {
        let part = match part {
            Part::Leader => "leader",
            Part::Observer => "observer",
        };
        let (from_port, to_port) = (from.1.to_string(), to.1.to_string());
        let words = [path.to_owned(), master.to_string(), part.to_owned(), "start".to_owned()];
        ScriptJob { argv: words.into_iter().chain([from.0, from_port, to.0, to_port]).collect() }
    }

    fn path(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }
}

/// Names one job of the queue. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptId(u64);

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptStep {
    /// Start a process; [`ScriptQueue::started`] or [`ScriptQueue::ended`] follows.
    Start(ScriptId, Arc<ScriptJob>),
    /// Kill the process and all of its group; [`ScriptQueue::ended`] follows.
    Kill(u32),
    /// Log and publish.
    Emit(Event),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// The file cannot be executed.
    NotExecutable,
    /// The system had no process to spare.
    NoProcess,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptState {
    /// Waits at least until then.
    Scheduled {
        /// When it may start.
        at: Millis,
    },
    /// Runs, or is being started.
    Running {
        /// Since when.
        since: Millis,
        /// Once it has one.
        pid: Option<u32>,
        /// Whether its time was up.
        killed: bool,
    },
}

/// One job, as `SENTINEL PENDING-SCRIPTS` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingScript {
    /// What is run.
    pub job: Arc<ScriptJob>,
    /// Whether it runs.
    pub state: ScriptState,
    /// Runs so far, the present one included.
    pub runs: u32,
    id: ScriptId,
}

/// The queue of a process.
#[derive(Debug, Default)]
pub struct ScriptQueue {
    jobs: Vec<PendingScript>,
    last_id: u64,
}

impl ScriptQueue {
    /// Adds a job, which may start at once. Beyond [`MAX_QUEUED`] the oldest that does not run is dropped.
    pub fn submit(&mut self, job: ScriptJob, now: Millis) {
        self.last_id += 1;
        let state = ScriptState::Scheduled { at: now };
        self.jobs.push(PendingScript { job: Arc::new(job), state, runs: 0, id: ScriptId(self.last_id) });
        if self.jobs.len() > MAX_QUEUED
            && let Some(oldest) = self.jobs.iter().position(|job| !job.is_running())
        {
            self.jobs.remove(oldest);
        }
    }

    /// Whatever is due: scripts to start, in the order of the queue, and scripts to kill.
    pub fn due(&mut self, now: Millis, periods: &Periods) -> Vec<ScriptStep> {
        let mut room = MAX_RUNNING.saturating_sub(self.running());
        let mut steps = Vec::new();
        for entry in &mut self.jobs {
            match &mut entry.state {
                ScriptState::Scheduled { at } if room > 0 && *at <= now => {
                    room -= 1;
                    entry.runs += 1;
                    entry.state = ScriptState::Running { since: now, pid: None, killed: false };
                    steps.push(ScriptStep::Start(entry.id, Arc::clone(&entry.job)));
                }
                ScriptState::Running { since, pid: Some(pid), killed: killed @ false }
                    if now.since(*since) > periods.script_max_runtime =>
                {
                    *killed = true;
                    let payload = format!("{} {pid}", entry.job.path());
                    steps.push(ScriptStep::Emit(Event::new(EventKind::ScriptTimeout, payload)));
                    steps.push(ScriptStep::Kill(*pid));
                }
                _ => {}
            }
        }
        steps
    }

    /// When [`ScriptQueue::due`] has something to do next, if nothing happens before.
    pub fn next_due(&self, periods: &Periods) -> Option<Millis> {
        let room = self.running() < MAX_RUNNING;
        let at = |entry: &PendingScript| match entry.state {
            ScriptState::Scheduled { at } => Some(at).filter(|_| room),
            ScriptState::Running { since, pid: Some(_), killed: false } => Some(since + periods.script_max_runtime + 1),
            ScriptState::Running { .. } => None,
        };
        self.jobs.iter().filter_map(at).min()
    }

    /// The process of a script is there.
    pub fn started(&mut self, id: ScriptId, process: u32) -> Option<Event> {
        let entry = self.jobs.iter_mut().find(|entry| entry.id == id)?;
        if let ScriptState::Running { pid, .. } = &mut entry.state {
            *pid = Some(process);
        }
        Some(Event::new(EventKind::ScriptStarted, process.to_string()))
    }

    /// A run is over: the job is done with, failed for good, or runs again later.
    pub fn ended(&mut self, id: ScriptId, end: ScriptEnd, now: Millis, periods: &Periods) -> Vec<Event> {
        let Some(index) = self.jobs.iter().position(|entry| entry.id == id) else { return Vec::new() };
        let entry = &mut self.jobs[index];
        let (signal, code) = match end {
            ScriptEnd::Exited(code) => (0, code),
            ScriptEnd::Killed(signal) => (signal, 0),
            ScriptEnd::NotExecutable => (0, NOT_EXECUTABLE),
            ScriptEnd::NoProcess => (NO_PROCESS, 0),
        };
        let mut events = Vec::new();
        if let ScriptState::Running { pid: Some(pid), .. } = entry.state {
            events.push(Event::new(EventKind::ScriptEnded, format!("{pid} {code} {signal}")));
        }
        let again = (signal != 0 || code == RETRY) && entry.runs < MAX_RUNS;
        let failed = signal != 0 || code != 0;
        // For want of a process stock says so each time.
        if failed && (!again || end == ScriptEnd::NoProcess) {
            let payload = format!("{} {signal} {code}", entry.job.path());
            events.push(Event::new(EventKind::ScriptError, payload));
        }
        if again {
            let delay = periods.script_retry_delay.saturating_mul(1 << (entry.runs - 1));
            entry.state = ScriptState::Scheduled { at: now + delay };
        } else {
            self.jobs.remove(index);
        }
        events
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> &[PendingScript] {
        &self.jobs
    }

    fn running(&self) -> usize {
        self.jobs.iter().filter(|entry| entry.is_running()).count()
    }
}

impl PendingScript {
    /// Whether it runs, or is being started.
    pub fn is_running(&self) -> bool {
        matches!(self.state, ScriptState::Running { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> ScriptJob {
        ScriptJob { argv: vec![name.to_owned()] }
    }

    fn starts(steps: &[ScriptStep]) -> Vec<ScriptId> {
        let id = |step: &ScriptStep| match step {
            ScriptStep::Start(id, _) => Some(*id),
            _ => None,
        };
        steps.iter().filter_map(id).collect()
    }

    fn texts(events: &[Event]) -> Vec<String> {
        events.iter().map(Event::to_string).collect()
    }

    /// config.md 218
    #[test]
    fn sixteen_run_and_the_oldest_that_waits_is_dropped() {
        let (mut queue, periods) = (ScriptQueue::default(), Periods::default());
        for number in 0..20 {
            queue.submit(job(&number.to_string()), Millis(0));
        }
        assert_eq!(starts(&queue.due(Millis(0), &periods)).len(), MAX_RUNNING);
        for number in 20..301 {
            queue.submit(job(&number.to_string()), Millis(1));
        }
        let names: Vec<&str> = queue.jobs().iter().map(|entry| entry.job.path()).collect();
        assert_eq!(names.len(), MAX_QUEUED);
        assert_eq!(names[15..17], ["15", "61"], "those that run stay, the 45 oldest others are gone");
        assert_eq!(queue.next_due(&periods), None, "nothing starts before one ends, and none has a process yet");
        let first = queue.jobs()[3].id;
        assert!(queue.ended(first, ScriptEnd::Exited(0), Millis(2), &periods).is_empty());
        assert_eq!(starts(&queue.due(Millis(2), &periods)), [queue.jobs()[15].id], "in the order of the queue");
    }

    /// config.md 214: one run and nine more, each after twice the time.
    #[test]
    fn a_script_that_exits_with_1_runs_ten_times() {
        let (mut queue, periods) = (ScriptQueue::default(), Periods::default());
        queue.submit(job("/s"), Millis(5));
        let mut now = Millis(5);
        for run in 0..MAX_RUNS {
            let started = starts(&queue.due(now, &periods));
            assert_eq!(started.len(), 1, "run {run}");
            queue.started(started[0], 70 + run);
            now += 3;
            let events = texts(&queue.ended(started[0], ScriptEnd::Exited(1), now, &periods));
            let ended = format!("-script-child {} 1 0", 70 + run);
            if run + 1 == MAX_RUNS {
                assert_eq!(events, [ended, "-script-error /s 0 1".to_owned()]);
                break;
            }
            assert_eq!(events, [ended]);
            let next = now + (periods.script_retry_delay << run);
            assert_eq!(queue.next_due(&periods), Some(next));
            assert_eq!(starts(&queue.due(Millis(next.0 - 1), &periods)), []);
            now = next;
        }
        assert!(queue.jobs().is_empty());
    }

    /// config.md 215, 216: neither runs again.
    #[test]
    fn another_exit_code_is_an_error_at_once() {
        let (mut queue, periods) = (ScriptQueue::default(), Periods::default());
        for end in [ScriptEnd::Exited(2), ScriptEnd::NotExecutable] {
            queue.submit(job("/s"), Millis(0));
            let started = starts(&queue.due(Millis(0), &periods));
            assert_eq!(texts(&queue.ended(started[0], end, Millis(0), &periods)), ["-script-error /s 0 2"]);
            assert!(queue.jobs().is_empty());
        }
    }

    /// config.md 217: killed once, and counted as killed by a signal.
    #[test]
    fn a_script_that_runs_for_too_long_is_killed_and_runs_again() {
        let (mut queue, periods) = (ScriptQueue::default(), Periods::default());
        queue.submit(job("/s"), Millis(0));
        let id = starts(&queue.due(Millis(0), &periods))[0];
        queue.started(id, 7);
        assert_eq!(queue.next_due(&periods), Some(Millis(60_001)));
        assert_eq!(queue.due(Millis(60_000), &periods), []);
        let timeout = Event::new(EventKind::ScriptTimeout, "/s 7");
        assert_eq!(queue.due(Millis(60_001), &periods), [ScriptStep::Emit(timeout), ScriptStep::Kill(7)]);
        assert_eq!(queue.due(Millis(90_000), &periods), [], "once");
        let events = queue.ended(id, ScriptEnd::Killed(9), Millis(60_002), &periods);
        assert_eq!(texts(&events), ["-script-child 7 0 9"]);
        assert_eq!(queue.next_due(&periods), Some(Millis(90_002)));
    }

    /// Stock tries again at its next tick, for ever.
    #[test]
    fn a_script_without_a_process_is_said_and_tried_again_later() {
        let (mut queue, periods) = (ScriptQueue::default(), Periods::default());
        queue.submit(job("/s"), Millis(0));
        let id = starts(&queue.due(Millis(0), &periods))[0];
        let events = queue.ended(id, ScriptEnd::NoProcess, Millis(0), &periods);
        assert_eq!(texts(&events), ["-script-error /s 99 0"]);
        assert_eq!(queue.next_due(&periods), Some(Millis(30_000)));
    }

    /// config.md 211, 212; failover.md 192
    #[test]
    fn warnings_about_a_master_run_its_notification_script() {
        let path = "/n.sh".to_owned();
        let silent = ["+tilt", "-tilt", "-script-error", "-script-timeout"];
        for kind in EventKind::ALL {
            let event = Event::new(*kind, "some words");
            let job = ScriptJob::notification(Some(&path), &event);
            let expected = kind.level() == Level::Warning && !silent.contains(&kind.name());
            assert_eq!(job.is_some(), expected, "{event}");
            if let Some(job) = job {
                assert_eq!(job.argv, ["/n.sh", kind.name(), "some words"]);
            }
            assert_eq!(ScriptJob::notification(None, &event), None);
        }
    }
}
