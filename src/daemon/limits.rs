//! The limit of open files, which bounds the number of clients (config.md 6.3).

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::sentinel::event::Level;

/// Descriptors kept for what is not a client: links, listeners, files.
const RESERVED: u64 = 32;
/// Slots of the kernel's table of descriptors that are reserved at most, half a megabyte.
const SLOTS: u64 = 1 << 16;
/// How far each further attempt asks for less.
const STEP: u64 = 16;
/// What stock assumes when it cannot ask.
const ASSUMED: u64 = 1024;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Clients that may connect.
    pub maxclients: u64,
    /// What to log.
    pub lines: Vec<(Level, String)>,
}

/// Not even one client would have a descriptor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Your current 'ulimit -n' of {limit} is not enough for the server to start. Please increase your open file limit \
     to at least {wanted}. Exiting."
)]
pub struct TooFew {
    /// Open files that the system allows.
    limit: u64,
    /// Open files that the configuration needs.
    wanted: u64,
}

/// Raises the limit as far as `maxclients` needs and the system lets it.
pub fn raise_open_files(maxclients: u64) -> Result<Outcome, TooFew> {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) => {
            settle(maxclients, soft, |limit| setrlimit(Resource::RLIMIT_NOFILE, limit, hard.max(limit)))
        }
        Err(error) => {
            let line = format!(
                "Unable to obtain the current NOFILE limit ({}), assuming {ASSUMED} and setting the max clients \
                 configuration accordingly.",
                error.desc()
            );
            Ok(Outcome { maxclients: maxclients.min(ASSUMED - RESERVED), lines: vec![(Level::Warning, line)] })
        }
    }
}

/// Has the kernel make its table of descriptors as large as the limit allows, while the process has one thread. Later it
/// doubles it whenever it is full, and whoever opens or accepts a connection then waits, 10 ms and more on a busy machine,
/// until no thread can be reading the old one.
pub fn reserve_descriptors() {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(ASSUMED, |(soft, _)| soft.min(SLOTS));
    let Ok(file) = File::open("/dev/null") else { return };
    // What could not be reserved is had later, a little more slowly.
    let _ = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(limit as i32 - 1)).map(nix::unistd::close);
}

/// Finds the highest limit that `set` accepts, between the `current` one and what `maxclients` needs.
fn settle(maxclients: u64, current: u64, mut set: impl FnMut(u64) -> nix::Result<()>) -> Result<Outcome, TooFew> {
    let wanted = maxclients + RESERVED;
    if current >= wanted {
        return Ok(Outcome { maxclients, lines: Vec::new() });
    }
    let mut refusal = Errno::UnknownErrno;
    let steps = (current + 1..=wanted).rev().step_by(STEP as usize);
    let reached = { steps }.find(|limit| set(*limit).inspect_err(|error| refusal = *error).is_ok()).unwrap_or(current);
    if reached == wanted {
        let line = format!("Increased maximum number of open files to {wanted} (it was originally set to {current}).");
        return Ok(Outcome { maxclients, lines: vec![(Level::Notice, line)] });
    }
    if reached <= RESERVED {
        return Err(TooFew { limit: current, wanted });
    }
    let reduced = reached - RESERVED;
    let lines = [
        format!("You requested maxclients of {maxclients} requiring at least {wanted} max file descriptors."),
        format!("Server can't set maximum open files to {wanted} because of OS error: {}.", refusal.desc()),
        format!(
            "Current maximum open files is {reached}. maxclients has been reduced to {reduced} to compensate for low \
             ulimit. If you need higher maxclients increase 'ulimit -n'."
        ),
    ];
    Ok(Outcome { maxclients: reduced, lines: lines.map(|line| (Level::Warning, line)).into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_nothing_when_there_is_enough() {
        let outcome = settle(10_000, 10_032, |_| panic!("nothing to ask for"));
        assert_eq!(outcome, Ok(Outcome { maxclients: 10_000, lines: vec![] }));
    }

    /// config.md 6.2
    #[test]
    fn says_that_it_raised_the_limit() {
        let outcome = settle(10_000, 1024, |_| Ok(())).expect("enough");
        let line = "Increased maximum number of open files to 10032 (it was originally set to 1024).";
        assert_eq!(outcome, Outcome { maxclients: 10_000, lines: vec![(Level::Notice, line.to_owned())] });
    }

    /// config.md 181
    #[test]
    fn reduces_maxclients_with_stocks_three_lines() {
        let outcome = settle(10_000, 1024, |_| Err(Errno::EPERM)).expect("enough");
        let lines: Vec<&str> = outcome.lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(outcome.maxclients, 992);
        assert_eq!(
            lines,
            [
                "You requested maxclients of 10000 requiring at least 10032 max file descriptors.",
                "Server can't set maximum open files to 10032 because of OS error: Operation not permitted.",
                "Current maximum open files is 1024. maxclients has been reduced to 992 to compensate for low ulimit. \
                 If you need higher maxclients increase 'ulimit -n'.",
            ]
        );
    }

    #[test]
    fn takes_the_first_step_that_is_allowed() {
        let outcome = settle(10_000, 1024, |limit| if limit <= 5_000 { Ok(()) } else { Err(Errno::EPERM) });
        assert_eq!(outcome.map(|outcome| outcome.maxclients), Ok(4_992 - RESERVED));
    }

    #[test]
    fn the_table_of_descriptors_needs_not_grow() {
        reserve_descriptors();
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let slots = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a line of its own");
        assert!(slots.trim().parse::<u64>().expect("a number") >= soft.min(SLOTS), "{slots}");
    }

    /// config.md 182
    #[test]
    fn gives_up_when_nothing_is_left_for_clients() {
        let error = settle(10_000, 20, |_| Err(Errno::EPERM)).expect_err("too few");
        assert!(error.to_string().starts_with("Your current 'ulimit -n' of 20 is not enough"), "{error}");
    }
}
