//! How long elections take (beyond.md B5): the master is killed again and again, and the time until every Sentinel has
//! switched is written down.
//!
//! A few kills in every run. `BEYOND_KILLS=200`, which `make beyond` sets, kills that often on each kind of line with 3,
//! 5 and 7 Sentinels, and then asserts what is promised of medians and of the slowest in a hundred.

use std::time::{Duration, Instant};

use crate::net::tell;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::world::{Lines, Plan, World};

/// Kills of each case in a run of all tests.
const KILLS: usize = 3;

/// 50 +/- 40 ms one way from and to Sentinels, which is a round trip of 20 to 180 ms.
const FAR: Lines = Lines::Far { delay: (10, 90), lossy: false };
/// The same, and one packet of twenty is lost, on the way there or back.
const FAR_AND_BAD: Lines = Lines::Far { delay: (10, 90), lossy: true };

/// beyond.md B5
#[test]
fn three_near_sentinels_switch_in_no_time() {
    kill_masters(3, Lines::Near);
}

/// beyond.md B5
#[test]
fn five_far_sentinels_switch_within_a_second() {
    kill_masters(5, FAR);
}

/// beyond.md B5
#[test]
fn seven_sentinels_on_bad_lines_switch_in_time() {
    kill_masters(7, FAR_AND_BAD);
}

/// The other lines and numbers of Sentinels are too long for every run: `make beyond` has them.
mod at_length {
    use super::{FAR, FAR_AND_BAD, Lines, kill_masters, wanted};

    fn kill_masters_if_wanted(sentinels: usize, lines: Lines) {
        if wanted().is_some() {
            kill_masters(sentinels, lines);
        }
    }

    #[test]
    fn five_near_sentinels() {
        kill_masters_if_wanted(5, Lines::Near);
    }

    #[test]
    fn seven_near_sentinels() {
        kill_masters_if_wanted(7, Lines::Near);
    }

    #[test]
    fn three_far_sentinels() {
        kill_masters_if_wanted(3, FAR);
    }

    #[test]
    fn seven_far_sentinels() {
        kill_masters_if_wanted(7, FAR);
    }

    #[test]
    fn three_sentinels_on_bad_lines() {
        kill_masters_if_wanted(3, FAR_AND_BAD);
    }

    #[test]
    fn five_sentinels_on_bad_lines() {
        kill_masters_if_wanted(5, FAR_AND_BAD);
    }
}

/// How often to kill, when the run is one for figures.
fn wanted() -> Option<usize> {
    std::env::var("BEYOND_KILLS").ok().map(|text| text.parse().expect("BEYOND_KILLS is a number"))
}

fn kill_masters(sentinels: usize, lines: Lines) {
    let kills = wanted().unwrap_or(KILLS);
    let quorum = u32::try_from(sentinels / 2 + 1).expect("a few");
    let plan = Plan { quorum, lines, failover_timeout: 20_000, ..Plan::ours(sentinels) };
    let mut world = World::start(&plan);
    let mut times = Vec::new();
    let mut repeated = 0;
    for _ in 0..kills {
        let (took, elections) = kill_the_master(&mut world);
        times.push(took.saturating_sub(Duration::from_millis(plan.down_after)));
        repeated += usize::from(elections > 1);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    let (median, late, last) = (at(50), at(99), at(100));
    tell(&format!(
        "{sentinels} Sentinels, {lines:?}: {kills} kills, ms from the kill to the last +switch-master, less down-after: p50 \
         {}, p90 {}, p99 {}, max {}; {repeated} with more than one attempt",
        median.as_millis(),
        at(90).as_millis(),
        late.as_millis(),
        last.as_millis()
    ));
    // A few kills on a busy machine say nothing of medians.
    if wanted().is_some() {
        match lines {
            Lines::Near => assert!(median <= Duration::from_millis(150), "p50 {} ms", median.as_millis()),
            Lines::Far { lossy: false, .. } => assert!(late <= seconds(1), "p99 {} ms", late.as_millis()),
            // TCP sends a lost packet again after 200 ms and a round trip, and some more when it is the second time.
            Lines::Far { lossy: true, .. } => {}
        }
    }
    let limit = Duration::from_millis(plan.failover_timeout);
    assert!(last < limit, "no wait reaches the failover-timeout: {} ms", last.as_millis());
    world.finish();
}

/// The time until every Sentinel has switched, and the attempts at it of all together.
fn kill_the_master(world: &mut World) -> (Duration, usize) {
    let mut old = world.wait_until_agreed();
    loop {
        world.wait_until_acquainted();
        // A connection that breaks in its first second is tried again only when that second is over.
        let calm = Instant::now();
        wait_until(seconds(5), "a second passes", || calm.elapsed() > seconds(1));
        // On bad lines the master may have been taken for dead meanwhile.
        let now = world.wait_until_agreed();
        if now == old {
            break;
        }
        old = now;
    }
    let start = Instant::now();
    world.server_mut(old).process.kill();
    let switched = wait_for(seconds(60), "all Sentinels have switched", || {
        let told = world.sentinels.iter().map(|sentinel| sentinel.events.find(start, "+switch-master"));
        told.map(|seen| Some(seen?.at)).collect::<Option<Vec<_>>>()
    });
    let last = switched.into_iter().max().expect("there are Sentinels");
    let attempts = |sentinel: &crate::host::Sentinel| {
        let all = sentinel.events.all().into_iter();
        all.filter(|seen| seen.at >= start && seen.name == "+try-failover").count()
    };
    let attempts = world.sentinels.iter().map(attempts).sum();
    let everybody = (0..world.sentinels.len()).collect::<Vec<_>>();
    let new = world.wait_for_new_master(&everybody, old);
    world.server_mut(old).start_again_below(new);
    (last - start, attempts)
}
