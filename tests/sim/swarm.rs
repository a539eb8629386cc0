//! Draws one world per seed: its size, its settings, and which faults strike it how often.
//!
//! Every world switches some fault classes off altogether. A world in which everything fails all the time spends its
//! life in one corner; many different unfair worlds reach more states than one fair one.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use sentineld::sentinel::id::MasterName;
use sentineld::sentinel::monitor::record::MasterSpec;
use sentineld::sentinel::policy::{CoordinatedPath, Election, Masterless, Policies, TiltMode};
use sentineld::sentinel::time::Periods;

use crate::faults::Fault;
use crate::redis_model::Denied;

/// Mean time between two faults of one class, microseconds. Classes that are absent never strike.
pub type Rates = std::collections::BTreeMap<Fault, u64>;

/// Everything that is decided before the first event.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Feeds every stream of the world.
    pub seed: u64,
    /// Sentinels.
    pub sentinels: usize,
    /// How many of them, the last ones, are stock.
    pub stock: usize,
    /// Groups, by number of replicas.
    pub groups: Vec<usize>,
    /// Sentinels that must agree on ODOWN.
    pub quorum: u32,
    /// `down-after-milliseconds`
    pub down_after_ms: u64,
    /// `failover-timeout`, ms
    pub failover_timeout_ms: u64,
    /// `parallel-syncs`
    pub parallel_syncs: u32,
    /// How long TILT lasts, ms; shorter than stock's so that a world sees its end.
    pub tilt_ms: u64,
    /// Period of INFO to healthy servers, ms.
    pub info_ms: u64,
    /// How servers are named in the files.
    pub names: Names,
    /// How far clocks may run wrong, millionths.
    pub drift_ppm: u64,
    /// Chance of a replica to have priority 0; the first of each group never has.
    pub never_promoted: f64,
    /// Smallest one-way delay, microseconds.
    pub latency_us: u64,
    /// Largest extra delay of a segment, microseconds.
    pub jitter_us: u64,
    /// Smallest time of one commit, microseconds.
    pub disk_us: u64,
    /// How late a timer may fire, microseconds.
    pub tick_late_us: u64,
    /// Faults.
    pub rates: Rates,
    /// What ours do where stock does otherwise.
    pub policies: Policies,
    /// What servers do not let Sentinels do.
    pub denied: Denied,
    /// Operators change settings: see [`Fault::Operate`].
    pub operated: bool,
    /// How long faults may strike, microseconds after warm-up.
    pub faulty_us: u64,
}

impl Swarm {
    /// A quiet world of three Sentinels, one master and two replicas: what scenarios start from.
    pub fn quiet(seed: u64) -> Swarm {
        Swarm {
            seed,
            sentinels: 3,
            stock: 0,
            groups: vec![2],
            quorum: 2,
            down_after_ms: 1_000,
            failover_timeout_ms: 6_000,
            parallel_syncs: 1,
            tilt_ms: 5_000,
            info_ms: 10_000,
            names: Names::Addresses,
            drift_ppm: 0,
            never_promoted: 0.0,
            latency_us: 200,
            jitter_us: 300,
            disk_us: 1_000,
            tick_late_us: 1_000,
            rates: Rates::new(),
            policies: Policies::default(),
            denied: Denied::default(),
            operated: false,
            faulty_us: 0,
        }
    }

    /// Makes Sentinels die while they write, on slow disks, with masters failing all the time: where votes get lost.
    pub fn crash_often(&mut self) {
        self.rates.insert(Fault::NodeCrash, 1_500_000);
        self.rates.insert(Fault::ServerKill, 6_000_000);
        self.rates.insert(Fault::Partition, 5_000_000);
        self.disk_us = 100_000;
    }

    /// Leaves out what stock does not survive, and what its model does not know.
    pub fn spare_stock(&mut self) {
        for fault in [Fault::Hostile, Fault::Operate, Fault::Dns, Fault::Reuse] {
            self.rates.remove(&fault);
        }
        self.operated = false;
        self.names = Names::Addresses;
    }

    /// Lets operators at work, often, on groups of Sentinels that share links.
    pub fn be_operated(&mut self) {
        self.rates.insert(Fault::Operate, 2_000_000);
        self.operated = true;
        self.stock = 0;
        self.quorum = self.sentinels as u32 / 2 + 1;
        self.groups = vec![1; 3];
    }

    /// The world of this seed.
    pub fn draw(seed: u64, seconds: Option<u64>) -> Swarm {
        let mut rng = StdRng::seed_from_u64(seed);
        let sentinels = [3, 3, 3, 4, 5, 5][rng.random_range(0..6)];
        let groups: Vec<usize> = (0..[1, 1, 2][rng.random_range(0..3)]).map(|_| rng.random_range(1..=3)).collect();
        let majority = sentinels as u32 / 2 + 1;
        let quorum = match rng.random_range(0..4) {
            0 => rng.random_range(1..=sentinels as u32),
            _ => majority,
        };
        let mut rates = Rates::new();
        let drawn = rng.random_range(60..=120);
        let duration = seconds.unwrap_or(drawn);
        for fault in Fault::ALL.iter().filter(|fault| !matches!(fault, Fault::Plan | Fault::NodeLate)) {
            let strikes = rng.random_bool(fault.likelihood());
            let mean = rng.random_range(fault.mean_seconds()) * 1_000_000;
            if strikes {
                rates.insert(*fault, mean);
            }
        }
        // A world in which no server ever fails tests nothing but patience.
        if !rates.contains_key(&Fault::ServerKill) && !rates.contains_key(&Fault::ServerHang) {
            rates.insert(Fault::ServerKill, 15_000_000);
        }
        let mut swarm = Swarm {
            seed,
            sentinels,
            stock: 0,
            groups,
            quorum,
            down_after_ms: rng.random_range(500..3_000),
            failover_timeout_ms: rng.random_range(2_000..10_000),
            parallel_syncs: rng.random_range(1..=2),
            tilt_ms: rng.random_range(2_000..8_000),
            info_ms: [10_000, 10_000, 3_000][rng.random_range(0..3)],
            names: Names::Addresses,
            drift_ppm: [0, 0, 1_000, 40_000][rng.random_range(0..4)],
            never_promoted: [0.0, 0.2][rng.random_range(0..2)],
            latency_us: [100, 500, 5_000, 40_000][rng.random_range(0..4)],
            jitter_us: [300, 2_000, 20_000, 80_000][rng.random_range(0..4)],
            disk_us: [500, 5_000, 30_000][rng.random_range(0..3)],
            tick_late_us: [1_000, 10_000, 50_000][rng.random_range(0..3)],
            rates,
            policies: Policies::default(),
            denied: Denied::default(),
            operated: false,
            faulty_us: duration * 1_000_000,
        };
        swarm.mix(&mut rng);
        swarm.plan(seed);
        swarm.overload(seed);
        swarm
    }

    /// In some worlds Sentinels have too much to do at times. Drawn by itself, as plans are.
    fn overload(&mut self, seed: u64) {
        let mut rng = stream(seed, 10);
        if rng.random_bool(Fault::NodeLate.likelihood()) {
            self.rates.insert(Fault::NodeLate, rng.random_range(Fault::NodeLate.mean_seconds()) * 1_000_000);
        }
    }

    /// In a third of the worlds operators plan failovers. Drawn by itself, so that the rest of the world is as without.
    fn plan(&mut self, seed: u64) {
        let mut rng = stream(seed, 9);
        if rng.random_bool(0.35) {
            self.rates.insert(Fault::Plan, rng.random_range(Fault::Plan.mean_seconds()) * 1_000_000);
            let denies = rng.random_range(0..8);
            self.denied = Denied { pause: denies < 2, failover: denies == 0 || denies == 7 };
            if rng.random_bool(0.2) {
                self.policies.defaults.coordinated_path = CoordinatedPath::Failover;
            }
        }
    }

    /// In a third of the worlds one or two Sentinels are stock; some have ours behave like stock in one thing; some are of
    /// an unusual size.
    fn mix(&mut self, rng: &mut StdRng) {
        self.stock = [0, 0, 0, 0, 1, 2][rng.random_range(0..6)];
        match rng.random_range(0..12) {
            0 => self.policies.tilt = TiltMode::Stock,
            1 => self.policies.defaults.election = Election::Stock,
            2 => self.policies.defaults.masterless = Masterless::Stock,
            _ => {}
        }
        if rng.random_bool(0.15) {
            self.sentinels = [1, 2, 6, 7][rng.random_range(0..4)];
            self.stock = self.stock.min(self.sentinels / 2);
            self.quorum = self.sentinels as u32 / 2 + 1;
            self.groups = (0..rng.random_range(1..=3)).map(|_| rng.random_range(0..=5)).collect();
        }
        self.names = [Names::Addresses, Names::Addresses, Names::Addresses, Names::Hidden, Names::Announced]
            [rng.random_range(0..5)];
        if self.names == Names::Addresses {
            self.rates.remove(&Fault::Dns);
        }
        // Who has forgotten its peers elects itself with a quorum of less than the majority.
        if self.quorum < self.sentinels as u32 / 2 + 1 {
            self.rates.remove(&Fault::Operate);
        }
        self.operated = self.rates.contains_key(&Fault::Operate);
        if self.stock > 0 {
            self.spare_stock();
        }
    }
}

/// How servers are named in the files of Sentinels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// By address.
    Addresses,
    /// By host name, `resolve-hostnames yes`; Sentinels tell each other addresses.
    Hidden,
    /// By host name, and Sentinels tell each other names: `announce-hostnames yes`.
    Announced,
}

impl Swarm {
    /// What an operator says of a master of this world.
    pub fn spec(&self, group: usize) -> MasterSpec {
        MasterSpec {
            down_after: self.down_after_ms,
            failover_timeout: self.failover_timeout_ms,
            parallel_syncs: self.parallel_syncs,
            ..MasterSpec::new(group_name(group), self.quorum, &Periods::default())
        }
    }

    /// The longest `down-after-milliseconds` that any Sentinel may ever have.
    pub fn longest_down_after_ms(&self) -> u64 {
        if self.operated { 3_000 } else { self.down_after_ms }
    }

    /// The longest `failover-timeout` that any Sentinel may ever have, ms.
    pub fn longest_failover_timeout_ms(&self) -> u64 {
        if self.operated { 10_000 } else { self.failover_timeout_ms }
    }

    /// The largest `parallel-syncs` that any Sentinel may ever have.
    pub fn most_parallel_syncs(&self) -> u32 {
        if self.operated { 2 } else { self.parallel_syncs }
    }
}

/// Name of the group with this number.
pub fn group_name(group: usize) -> MasterName {
    MasterName::from(format!("m{group}").as_str())
}

/// One stream per source of chance, so that switching one fault class off leaves the draws of all others alone.
#[derive(Debug)]
pub struct Streams {
    seed: u64,
    /// Delays of segments.
    pub net: StdRng,
    /// Commit times.
    pub disk: StdRng,
    /// Lateness of timers.
    pub tick: StdRng,
    /// Writes, syncs and ids of servers.
    pub servers: StdRng,
    /// What happens to connections when a partition heals.
    pub heal: StdRng,
    /// What survives of an unsynced write.
    pub crash: StdRng,
    /// Order of work after a pause.
    pub pause: StdRng,
    /// Times of lookups.
    pub dns: StdRng,
    faults: Vec<StdRng>,
}

impl Streams {
    /// All streams of one seed.
    pub fn new(seed: u64) -> Streams {
        Streams {
            seed,
            net: stream(seed, 1),
            disk: stream(seed, 2),
            tick: stream(seed, 3),
            servers: stream(seed, 4),
            heal: stream(seed, 5),
            crash: stream(seed, 6),
            pause: stream(seed, 7),
            dns: stream(seed, 8),
            faults: (0..Fault::ALL.len() as u64).map(|class| stream(seed, 100 + class)).collect(),
        }
    }

    /// The stream of one fault class.
    pub fn fault(&mut self, fault: Fault) -> &mut StdRng {
        &mut self.faults[fault as usize]
    }

    /// A number that depends on the seed and `what` alone.
    pub fn fixed(&self, what: u64) -> u64 {
        stream(self.seed, 1_000_000 + what).random()
    }
}

fn stream(seed: u64, class: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ class.wrapping_mul(0xd1b5_4a32_d192_ed03))
}
