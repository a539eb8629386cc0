//! B7: what a stall of all Sentinels costs, and a wall clock that is set.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::clock::WallClock;
use crate::support::Kind;
use crate::support::cluster::Plan;
use crate::support::sentinel::Sentinel;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::{note, tell};
use crate::{DOWN_AFTER, World, pass, plan, runs};

/// Longer than what makes a Sentinel notice that it stood still, 2 s.
const STALL: Duration = seconds(5);

/// How much later than `down-after-milliseconds` after its end somebody acts.
const PROMISED: Duration = Duration::from_millis(500);

const HOUR: i64 = 3_600;

/// beyond.md B7
#[test]
fn a_stall_of_all_sentinels_costs_a_stall() {
    for _ in 0..runs().unwrap_or(1) {
        std::thread::scope(|scope| {
            scope.spawn(healthy);
            scope.spawn(|| dead(Kind::Ours));
            scope.spawn(|| dead(Kind::Stock));
        });
    }
}

/// The master is well all the time: nobody is taken for dead.
fn healthy() {
    let world = World::start(Kind::Ours);
    let start = Instant::now();
    world.signal_sentinels(Signal::SIGSTOP);
    pass(STALL);
    world.signal_sentinels(Signal::SIGCONT);
    let sentinels = &world.cluster.sentinels;
    wait_until(seconds(20), "TILT is entered and left", || {
        sentinels.iter().all(|sentinel| sentinel.events.find(start, "-tilt").is_some())
    });
    let after = Instant::now();
    wait_until(seconds(10), "a false alarm would have come", || after.elapsed() > 2 * DOWN_AFTER);
    for sentinel in sentinels {
        assert!(sentinel.events.find(start, "+tilt #tilt mode entered").is_some());
        assert!(sentinel.events.find(start, "+sdown").is_none(), "{}", sentinel.story());
    }
}

/// The master dies meanwhile: somebody begins to replace it, and stock does not within the same time.
fn dead(kind: Kind) {
    let mut world = World::start(kind);
    let old = world.cluster.first_master();
    let start = Instant::now();
    world.signal_sentinels(Signal::SIGSTOP);
    world.cluster.group().at_mut(old).process.kill();
    pass(STALL);
    let woken = Instant::now();
    world.signal_sentinels(Signal::SIGCONT);
    let limit = DOWN_AFTER + PROMISED;
    let sentinels = &world.cluster.sentinels;
    let acted = wait_for(limit + seconds(10), "somebody acts, or the time is up", || {
        let mut told = sentinels.iter().filter_map(|sentinel| sentinel.events.find(start, "+try-failover"));
        told.next().map(|seen| Some(seen.at - woken)).or_else(|| (woken.elapsed() > limit).then_some(None))
    });
    match (kind, acted) {
        (Kind::Ours, Some(took)) => {
            note("acting after a stall of 5 s, sentineld", took);
            assert!(took < limit, "{} ms", took.as_millis());
            let new = world.cluster.wait_for_new_master("mymaster", old, seconds(20));
            world.cluster.wait_until_settled(&world.cluster.groups[0], new);
        }
        (Kind::Ours, None) => panic!("nobody acts within {} ms", limit.as_millis()),
        (_, None) => tell(&format!("stock does not act within {} ms of a stall", limit.as_millis())),
        (_, Some(took)) => panic!("stock acts after {} ms", took.as_millis()),
    }
}

/// beyond.md B7: set by an hour, forth and back. Ours goes on as if nothing had been; stock stops all action.
#[test]
fn a_step_of_the_wall_clock_is_no_event() {
    let Some(clock) = WallClock::new() else {
        tell("no C compiler under the name of cc, so that the wall clock cannot be set");
        return;
    };
    let start = |kind| World::of(&Plan { environment: clock.environment(), ..plan(kind) });
    let (ours, stock) = (start(Kind::Ours), start(Kind::Stock));
    for (step, offset) in (1..).zip([HOUR, 0, -HOUR]) {
        let begun = Instant::now();
        clock.set_seconds(offset);
        let noticed = |sentinel: &Sentinel| {
            let log = std::fs::read_to_string(sentinel.process.log()).expect("there is a log");
            log.matches("The wall clock was set by").count() == step
        };
        wait_until(seconds(5), "ours notices", || ours.cluster.sentinels.iter().all(noticed));
        wait_until(seconds(10), "whatever follows has come", || begun.elapsed() > 2 * DOWN_AFTER);
        for sentinel in &ours.cluster.sentinels {
            let told = sentinel.events.all().into_iter().find(|seen| seen.at >= begun);
            assert!(told.is_none(), "{told:?}");
        }
    }
    for sentinel in &stock.cluster.sentinels {
        assert!(sentinel.events.all().iter().any(|seen| seen.name == "+tilt"), "the clock is really set");
    }
}
