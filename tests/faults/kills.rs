//! kill -9 of Sentinels at random moments, in failover after failover.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::audit::count;
use crate::net::tell;
use crate::support::Kind;
use crate::support::wait::{seconds, wait_until};
use crate::world::{Plan, World};

/// Kills in `make test`; `FAULTS_KILLS` asks for another number.
const KILLS: u32 = 20;

/// Events at which a decision has just been made.
const MOMENTS: [&str; 8] = [
    "+sdown master",
    "+new-epoch",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "+failover-state-wait-promotion",
    "+promoted-slave",
    "+switch-master",
];

/// failover.md 2, 124, 169, 170, 203, I1-I5: half of the kills come a few ms after an event of the failover, half at any time.
#[test]
fn survives_kills_at_random_moments() {
    storm(&Plan { down_after: 600, failover_timeout: 2000, ..Plan::ours(3) }, KILLS);
}

/// failover.md 202: the same with a stock Sentinel among them, which is killed too.
#[test]
fn survives_kills_with_stock_in_the_quorum() {
    let sentinels = vec![Kind::Ours, Kind::Stock, Kind::Ours];
    storm(&Plan { sentinels, failover_timeout: 3000, ..Plan::mixed() }, KILLS / 4);
}

fn storm(plan: &Plan, kills: u32) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let kills = number("FAULTS_KILLS").map_or(kills, |wanted: u64| wanted as u32 * kills / KILLS);
    let seed = number("FAULTS_SEED").unwrap_or_else(|| rand::rng().random());
    println!("FAULTS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::start(plan);
    let mut killed = 0;
    let mut rounds = 0;
    while killed < kills {
        let old = world.wait_until_agreed();
        world.wait_until_acquainted();
        let start = Instant::now();
        world.server_mut(old).process.kill();
        for _ in 0..rng.random_range(1..=3) {
            pause(&world, start, plan.down_after, &mut rng);
            let victim = rng.random_range(0..world.sentinels.len());
            world.kill(victim);
            std::thread::sleep(Duration::from_millis(rng.random_range(0..200)));
            world.sentinels[victim].start_again();
            killed += 1;
        }
        let new = world.wait_for_new_master(&(0..world.sentinels.len()).collect::<Vec<_>>(), old);
        world.server_mut(old).start_again_below(new);
        rounds += 1;
    }
    let evidence = world.finish();
    let (votes, elections) = count(&evidence);
    let deaths = evidence.iter().map(|witness| witness.deaths.len()).sum::<usize>();
    tell(&format!("{deaths} kills in {rounds} failovers: {votes} votes, {elections} elections, seed {seed}"));
    assert!(deaths >= kills as usize && elections >= rounds);
}

/// Until shortly after an event that nobody can foresee, or for any time that a failover may take.
fn pause(world: &World, start: Instant, down_after: u64, rng: &mut StdRng) {
    if rng.random_bool(0.5) {
        let moment = MOMENTS[rng.random_range(0..MOMENTS.len())];
        let told = || world.sentinels.iter().any(|sentinel| sentinel.events.find(start, moment).is_some());
        let limit = Instant::now() + seconds(4);
        // An event that does not come this time is as good a moment as any.
        wait_until(seconds(10), moment, || told() || Instant::now() > limit);
        std::thread::sleep(Duration::from_millis(rng.random_range(0..10)));
    } else {
        std::thread::sleep(Duration::from_millis(rng.random_range(0..down_after + 500)));
    }
}
