//! B8: an old master that is back after it was replaced.

use std::time::{Duration, Instant};

use crate::support::Kind;
use crate::support::resp::Value;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::{note, tell};
use crate::{World, runs};

/// How soon after its first answer it is to be a replica.
const PROMISED: Duration = Duration::from_millis(500);
/// Stock waits for so long before it looks.
const STOCK_WAITS: Duration = seconds(8);

/// How the old master was away, and what it has when it is back.
#[derive(Clone, Copy, Debug)]
enum Absence {
    /// SIGSTOP and SIGCONT.
    Frozen,
    /// Killed; it starts without data.
    Empty,
    /// Killed; it starts with an RDB file.
    Rdb,
}

impl Absence {
    fn words(self) -> &'static str {
        match self {
            Absence::Frozen => "old master after SIGCONT is a replica",
            Absence::Empty => "old master restarted without data is a replica",
            Absence::Rdb => "old master restarted with RDB is a replica",
        }
    }
}

/// beyond.md B8
#[test]
fn an_old_master_that_is_back_takes_no_more_writes() {
    for _ in 0..runs().map_or(1, |runs| 2 * runs) {
        std::thread::scope(|scope| {
            for absence in [Absence::Frozen, Absence::Empty, Absence::Rdb] {
                scope.spawn(move || {
                    let took = returns(Kind::Ours, absence, seconds(5)).expect("it is demoted");
                    note(&format!("{}, sentineld", absence.words()), took);
                    // A busy machine delays the one who looks, too; the long form has it to itself.
                    let limit = if runs().is_some() { PROMISED } else { seconds(4) };
                    assert!(took < limit, "{absence:?}: {} ms", took.as_millis());
                });
            }
            scope.spawn(|| stock(Absence::Empty));
        });
    }
}

fn stock(absence: Absence) {
    let limit = if runs().is_some() { seconds(30) } else { seconds(2) };
    match returns(Kind::Stock, absence, limit) {
        Some(took) => {
            note(&format!("{}, redis-sentinel", absence.words()), took);
            assert!(took > STOCK_WAITS, "stock is as fast: {} ms", took.as_millis());
        }
        None => tell(&format!("{}, redis-sentinel: not within {} s", absence.words(), limit.as_secs())),
    }
}

/// The master is replaced and comes back; how long it takes writes after its first answer, if not longer than `limit`.
fn returns(kind: Kind, absence: Absence, limit: Duration) -> Option<Duration> {
    let mut world = World::start(kind);
    let old = world.cluster.first_master();
    let server = world.cluster.group().at_mut(old);
    server.call(&["SET", "key", "value"]).expect("it answers");
    match absence {
        Absence::Frozen => server.hang(),
        Absence::Empty => server.process.kill(),
        Absence::Rdb => {
            server.call(&["SAVE"]).expect("it answers");
            server.process.kill();
        }
    }
    let new = world.cluster.wait_for_new_master("mymaster", old, seconds(20));
    world.cluster.wait_until_settled(&world.cluster.groups[0], new);
    let server = world.cluster.group().at_mut(old);
    match absence {
        Absence::Frozen => server.resume(),
        Absence::Empty | Absence::Rdb => server.process.start_again(),
    }
    let mut client = wait_for(seconds(10), "it answers", || {
        let mut client = server.client().ok()?;
        client.call(&["PING"]).ok().map(|_| client)
    });
    let back = Instant::now();
    let took = wait_for(limit + seconds(5), "it is a replica, or the time is up", || {
        // Its clients are disconnected when it is demoted.
        match client.call(&["ROLE"]) {
            Ok(role) if is_replica_of(&role, new) => return Some(Some(back.elapsed())),
            Ok(_) => {}
            Err(_) => client = server.client().ok()?,
        }
        (back.elapsed() > limit).then_some(None)
    });
    if took.is_some() && kind == Kind::Ours {
        wait_until(seconds(20), "it follows the new master", || world.cluster.groups[0].at(old).follows(new));
    }
    took
}

/// Stock, with so short a down-after, may fail over once more, and then the old master follows somebody else.
fn is_replica_of(role: &Value, master: u16) -> bool {
    let items = role.items();
    items.first().and_then(Value::text) == Some("slave") && items.get(2) == Some(&Value::Integer(master.into()))
}
