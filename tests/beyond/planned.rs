//! B4: a planned failover loses nothing.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::Kind;
use crate::support::cluster::Plan;
use crate::support::resp::Value;
use crate::support::sentinel::Sentinel;
use crate::support::wait::{seconds, wait_for, wait_until};
use crate::table::{percentiles, tell};
use crate::writers::{Losses, Writers};
use crate::{World, pass, plan, runs};

/// Planned failovers of the plain case, in a run of all tests and in the long form.
const FAILOVERS: [usize; 2] = [2, 50];

/// How far a replica is behind, and how long it stays so.
const BEHIND: Duration = Duration::from_millis(200);

/// How long a replica is given that does not catch up.
const TIMEOUT: Duration = Duration::from_millis(200);

/// How long stock's old master is left to take writes, in a run of all tests and in the long form.
const PATIENCE: [Duration; 2] = [seconds(1), seconds(12)];

/// Far above what is promised (p99 <= 500 ms), for machines that are busy.
const LONGEST_GAP: Duration = seconds(8);

/// beyond.md B4; failover.md 178, 180
#[test]
fn a_planned_failover_loses_nothing() {
    std::thread::scope(|scope| {
        scope.spawn(ours);
        scope.spawn(beside_stock);
        scope.spawn(stock);
    });
}

fn ours() {
    let world = World::of(&Plan { failover_timeout: 20_000, ..plan(Kind::Ours) });
    let mut planned = Planned::begin(&world);
    let count = FAILOVERS[usize::from(runs().is_some())];
    for _ in 0..count {
        planned.fail_over(Behind::No);
    }
    planned.report("8 writers, sentineld");

    for _ in 0..count.div_ceil(5) {
        planned.fail_over(Behind::Yes);
    }
    planned.report(&format!("8 writers, the replica {} ms behind, sentineld", BEHIND.as_millis()));

    planned.gives_up();
    planned.report("8 writers, a replica that does not catch up, sentineld");

    // All of CLIENT but what stock needs: Redis 6.2 takes no single subcommand away.
    world.deny(&["-client", "+client|setname", "+client|kill"]);
    for _ in 0..count.div_ceil(5) {
        planned.fail_over(Behind::No);
    }
    planned.report("8 writers, CLIENT PAUSE denied, sentineld");

    world.deny(&["-failover"]);
    planned.is_refused();
    planned.report("8 writers, CLIENT PAUSE and FAILOVER denied, sentineld");
}

/// Stock peers vote when they are asked, and follow what they hear.
fn beside_stock() {
    let sentinels = vec![(Kind::Ours, 2), (Kind::Stock, 2), (Kind::Stock, 2)];
    let world = World::of(&Plan { sentinels, ..Plan::three(Kind::Stock) });
    let mut planned = Planned::begin(&world);
    planned.fail_over(Behind::No);
    planned.report("8 writers, sentineld beside two redis-sentinels");
}

/// The same order without the word, as stock knows it: the old master goes on taking writes.
fn stock() {
    let world = World::start(Kind::Stock);
    let writers = Writers::start(&world.cluster);
    writers.wait_for_writes();
    let old = world.cluster.first_master();
    let reply = world.cluster.sentinels[0].call(&["SENTINEL", "FAILOVER", "mymaster"]).expect("it answers");
    assert_eq!(reply, Value::Simple("OK".to_owned()));
    // Whoever notices a stall of two seconds does nothing for half a minute.
    let new = world.cluster.wait_for_new_master("mymaster", old, seconds(60));
    pass(PATIENCE[usize::from(runs().is_some())]);
    let losses = writers.losses(new);
    tell(&format!("8 writers, redis-sentinel: {losses}"));
    assert!(losses.writes > 0, "stock loses nothing either?");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    No,
    Yes,
}

/// Planned failovers one after the other, and what writers see of them.
struct Planned<'a> {
    world: &'a World,
    writers: Writers,
    master: u16,
    turn: usize,
    gaps: Vec<Duration>,
}

impl Planned<'_> {
    fn begin(world: &World) -> Planned<'_> {
        let (writers, master) = (Writers::start(&world.cluster), world.cluster.first_master());
        writers.wait_for_writes();
        // A replica that has just loaded its data is fed only after its first acknowledgement, up to a second later.
        let offset = |port: u16, field| world.cluster.groups[0].at(port).replication(field)?.parse::<u64>().ok();
        let taken = offset(master, "master_repl_offset");
        wait_until(seconds(20), "replicas are fed", || {
            let mut replicas = world.cluster.groups[0].servers[1..].iter();
            replicas.all(|replica| offset(replica.port, "slave_repl_offset") >= taken)
        });
        Planned { world, writers, master, turn: 0, gaps: Vec::new() }
    }

    /// Orders one from one Sentinel after the other, and waits until it is over.
    fn fail_over(&mut self, behind: Behind) {
        let cluster = &self.world.cluster;
        let group = &cluster.groups[0];
        let mut ours = cluster.sentinels.iter().filter(|sentinel| sentinel.kind == Kind::Ours).cycle();
        let sentinel = ours.nth(self.turn).expect("one of them knows the word");
        let replicas = group.servers.iter().filter(|server| server.port != self.master);
        let to = replicas.cycle().nth(self.turn).expect("there are replicas");
        self.turn += 1;
        self.writers.wait_for_writes();
        if behind == Behind::Yes {
            // What comes from its master waits, too; it answers everything else.
            let paused = to.call(&["CLIENT", "PAUSE", &(2 * BEHIND).as_millis().to_string(), "WRITE"]);
            assert_eq!(paused.expect("it answers"), Value::Simple("OK".to_owned()));
            pass(BEHIND);
        }
        self.writers.take_gaps();
        let begun = Instant::now();
        let port = to.port.to_string();
        let order = match behind {
            Behind::No => vec!["SENTINEL", "FAILOVER", "mymaster", "COORDINATED"],
            Behind::Yes => vec!["SENTINEL", "FAILOVER", "mymaster", "TO", "127.0.0.1", &port, "COORDINATED"],
        };
        let new = wait_for(seconds(60), "a failover that is not given up", || {
            wait_until(seconds(20), "a replica is fit", || {
                let reply = sentinel.call(&order).expect("it answers");
                let refused = matches!(&reply, Value::Error(text) if text.starts_with("NOGOODSLAVE"));
                assert!(refused || reply == Value::Simple("OK".to_owned()), "{reply:?}");
                !refused
            });
            self.outcome(sentinel)
        });
        assert!(behind == Behind::No || new == to.port, "the named one");
        self.writers.wait_for_writes();
        cluster.wait_until_settled(group, new);
        self.gaps.extend(self.writers.take_gaps());
        for name in ["+elected-leader", "+selected-slave", "+promoted-slave", "+failover-end", "+switch-master"] {
            // A subscriber hears of it later than whoever asks for the address.
            wait_until(seconds(5), name, || sentinel.events.find(begun, name).is_some());
        }
        self.master = new;
    }

    /// The new master, or `None` if the attempt was given up: a disk that stands still for seconds, as on busy machines, costs
    /// votes. The next one is as good.
    fn outcome(&self, sentinel: &Sentinel) -> Option<u16> {
        let ordered = Instant::now();
        let new = wait_for(seconds(30), "the master is another, or it was given up", || {
            if sentinel.events.find(ordered, "-failover-abort").is_some() {
                return Some(None);
            }
            sentinel.address("mymaster").filter(|port| *port != self.master).map(Some)
        });
        if new.is_none() {
            tell("a coordinated failover was given up, and is ordered again");
        }
        new
    }

    /// The replica does not catch up in time: the old master takes writes again.
    fn gives_up(&mut self) {
        let cluster = &self.world.cluster;
        let (sentinel, group) = (&cluster.sentinels[0], &cluster.groups[0]);
        let to = group.servers.iter().find(|server| server.port != self.master).expect("there are replicas");
        self.writers.take_gaps();
        let begun = Instant::now();
        let (port, timeout) = (to.port.to_string(), TIMEOUT.as_millis().to_string());
        to.process.signal(Signal::SIGSTOP);
        let order = ["SENTINEL", "FAILOVER", "mymaster", "COORDINATED", "TO", "127.0.0.1", &port, "TIMEOUT", &timeout];
        let reply = sentinel.call(&order).expect("it answers");
        assert_eq!(reply, Value::Simple("OK".to_owned()));
        // On a busy machine the election may take so long that the replica is not even chosen.
        wait_until(seconds(10), "it is given up", || sentinel.events.find(begun, "-failover-abort").is_some());
        self.writers.wait_for_writes();
        self.gaps.extend(self.writers.take_gaps());
        to.process.signal(Signal::SIGCONT);
        assert_eq!(sentinel.address("mymaster"), Some(self.master));
        wait_until(seconds(20), "the replica is back", || to.follows(self.master));
    }

    /// Neither way is open: an error, and nothing has changed.
    fn is_refused(&mut self) {
        let sentinel = &self.world.cluster.sentinels[0];
        let (begun, epoch) = (Instant::now(), sentinel.saved_epoch("current-epoch"));
        self.writers.take_gaps();
        let reply = sentinel.call(&["SENTINEL", "FAILOVER", "mymaster", "COORDINATED"]).expect("it answers");
        assert!(matches!(&reply, Value::Error(text) if text.starts_with("NOGOODPRIMARY")), "{reply:?}");
        self.writers.wait_for_writes();
        self.gaps.extend(self.writers.take_gaps());
        assert_eq!(sentinel.saved_epoch("current-epoch"), epoch);
        assert_eq!(sentinel.events.find(begun, "+try-failover").map(|seen| seen.line()), None);
        assert_eq!(sentinel.address("mymaster"), Some(self.master));
        let log = std::fs::read_to_string(sentinel.process.log()).expect("there is a log");
        assert!(log.contains("nothing is left to stop writes by"), "the log says why");
    }

    fn report(&mut self, case: &str) {
        let losses = self.writers.losses(self.master);
        let gaps = std::mem::take(&mut self.gaps);
        tell(&format!("{case}: {losses}; write gaps {}", percentiles(&gaps)));
        assert_eq!((losses.writes, losses.backwards), (0, 0), "{case}");
        let longest = gaps.into_iter().max().unwrap_or_default();
        assert!(longest < LONGEST_GAP, "{case}: no writes for {} ms", longest.as_millis());
    }
}

impl World {
    /// Takes a right from the user that Sentinels are, at every server.
    fn deny(&self, rules: &[&str]) {
        for server in &self.cluster.groups[0].servers {
            let reply = server.call(&[&["ACL", "SETUSER", "default"], rules].concat()).expect("it answers");
            assert_eq!(reply, Value::Simple("OK".to_owned()));
        }
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} acknowledged writes lost", self.writes, self.acknowledged)?;
        if self.backwards > 0 {
            write!(f, ", {} counters went back", self.backwards)?;
        }
        Ok(())
    }
}
