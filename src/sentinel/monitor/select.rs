//! Which replica to promote: a pure function over what is known of them (failover.md 8.3).

use crate::sentinel::time::{Millis, Periods};

/// What selection looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The replica's key.
    pub key: &'a str,
    /// SDOWN.
    pub down: bool,
    /// Whether its command connection exists.
    pub connected: bool,
    /// Last acceptable PING reply.
    pub last_available: Millis,
    /// Last INFO.
    pub info_at: Option<Millis>,
    /// 0 is never promoted.
    pub priority: i64,
    /// Time its link to the master was down, ms; negative passes.
    pub link_down: i64,
    /// Bytes of the replication stream it has.
    pub offset: u64,
    /// From INFO.
    pub run_id: Option<&'a str>,
    /// Whether its data is of this master's history, or nothing speaks against it.
    pub is_kin: bool,
    /// What there is to lose. Stock does not ask.
    pub data: Data,
}

/// What a replica has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Keys.
    Keys,
    /// No keys, which may be what the master had.
    Nothing,
    /// No keys, and nothing of this master's history ever since it started: it waits for its first copy.
    Awaited,
}

/// The master's state, as far as it decides how stale a replica may be.
#[derive(Clone, Copy, Debug)]
pub struct MasterState {
    /// Since when SDOWN, if it is.
    pub sdown: Option<Millis>,
    /// `down-after-milliseconds`
    pub down_after: u64,
    /// It says that it is a replica: there is no master. What has come furthest in its history decides then, before the
    /// priority: the group may have lost its master in the middle of a handover, which one replica alone was ready for
    /// (beyond.md B4, B6).
    pub is_replica: bool,
}

/// Five PING periods: how old the last sign of life of a candidate may be.
const MAX_PING_AGE_PERIODS: u64 = 5;

/// The best candidate's key: lowest priority, then largest offset, then smallest run id ignoring case, one without a
/// run id last. Without any master the largest offset comes first. `None` when all are refused, and so is one that waits
/// for its first copy beside one with keys, however stale that is and whatever their priorities: everybody would copy the
/// nothing that it has (beyond.md B1).
pub fn select<'a>(
    candidates: &[Candidate<'a>],
    master: MasterState,
    now: Millis,
    periods: &Periods,
) -> Option<&'a str> {
    let max_link_down = 10 * master.down_after + master.sdown.map_or(0, |since| now.since(since));
    let fresh = |candidate: &&Candidate<'_>| u64::try_from(candidate.link_down).unwrap_or(0) <= max_link_down;
    let usable = || candidates.iter().filter(|candidate| is_usable(candidate, master, now, periods));
    let has_keys = usable().any(|candidate| candidate.data == Data::Keys);
    best(usable().filter(fresh).filter(|candidate| !(has_keys && candidate.data == Data::Awaited)), master)
}

/// The best candidate when stock's rule refuses them all. How long a link was down is compared between candidates and
/// not with our own SDOWN, which a Sentinel that slept through the failure sees late (beyond.md B1): ten times
/// `down-after` behind the least stale is fresh. One that restarted has lost that clock; what counts then is that its
/// data is of this master's history, and its offset.
pub fn select_relative<'a>(
    candidates: &[Candidate<'a>],
    master: MasterState,
    now: Millis,
    periods: &Periods,
) -> Option<&'a str> {
    let usable = || candidates.iter().filter(|candidate| is_usable(candidate, master, now, periods));
    let least = usable().filter_map(link_down).min().unwrap_or(0);
    let fresh = |candidate: &&Candidate<'_>| match link_down(candidate) {
        Some(down) => down <= least + 10 * master.down_after,
        None => candidate.is_kin,
    };
    best(usable().filter(fresh), master)
}

/// Whether so many of the replicas answer that the best of them can be trusted to be the best of all: a majority.
pub fn majority_answers(candidates: &[Candidate<'_>], now: Millis, periods: &Periods) -> bool {
    let answering = candidates.iter().filter(|candidate| answers(candidate, now, periods)).count();
    2 * answering > candidates.len()
}

fn best<'a: 'c, 'c>(candidates: impl Iterator<Item = &'c Candidate<'a>>, master: MasterState) -> Option<&'a str> {
    candidates
        .min_by_key(|candidate| {
            let missing = u64::MAX - candidate.offset;
            let first = master.is_replica.then_some((!candidate.is_kin, missing));
            let run_id = candidate.run_id.map(str::to_ascii_lowercase);
            (first, candidate.priority, missing, run_id.is_none(), run_id, candidate.key)
        })
        .map(|candidate| candidate.key)
}

/// A link that was down for longer than this, ms, never was up: servers count from 1970 then.
const ABSURD_LINK_DOWN: u64 = 10 * 365 * 24 * 3_600_000;

/// For how long the link was down; `None` if the replica has no such clock.
fn link_down(candidate: &Candidate<'_>) -> Option<u64> {
    u64::try_from(candidate.link_down).ok().filter(|down| *down < ABSURD_LINK_DOWN)
}

fn answers(candidate: &Candidate<'_>, now: Millis, periods: &Periods) -> bool {
    !candidate.down && candidate.connected && now.since(candidate.last_available) <= MAX_PING_AGE_PERIODS * periods.ping
}

/// Every rule but that of staleness.
fn is_usable(candidate: &Candidate<'_>, master: MasterState, now: Millis, periods: &Periods) -> bool {
    let max_info_age = match master.sdown {
        Some(_) => MAX_PING_AGE_PERIODS * periods.ping,
        None => 3 * periods.info,
    };
    answers(candidate, now, periods)
        && candidate.priority != 0
        && candidate.info_at.is_some_and(|at| now.since(at) <= max_info_age)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn good(key: &str) -> Candidate<'_> {
        Candidate {
            key,
            down: false,
            connected: true,
            last_available: NOW,
            info_at: Some(NOW),
            priority: 100,
            link_down: 0,
            offset: 10,
            run_id: Some("b"),
            is_kin: true,
            data: Data::Keys,
        }
    }

    /// beyond.md B1
    #[test]
    fn who_waits_for_its_first_copy_is_the_last_resort() {
        let waits = Candidate { priority: 10, data: Data::Awaited, ..good("waits") };
        let beside = |other: Candidate<'static>| pick(&[other, waits.clone()]);
        assert_eq!(beside(good("x")), Some("x"));
        assert_eq!(beside(Candidate { link_down: 21_000, ..good("stale") }), None, "the stale one is looked at next");
        assert_eq!(beside(Candidate { down: true, ..good("dead") }), Some("waits"));
        assert_eq!(beside(Candidate { data: Data::Nothing, ..good("empty") }), Some("waits"));
    }

    /// beyond.md B6: without a master the data decides, and a replica of another history comes last.
    #[test]
    fn without_a_master_the_furthest_is_the_best() {
        let pick = |is_replica| {
            let preferred = Candidate { priority: 10, ..good("preferred") };
            let furthest = Candidate { offset: 20, ..good("furthest") };
            let stranger = Candidate { offset: 30, is_kin: false, priority: 20, ..good("stranger") };
            let never = Candidate { offset: 40, priority: 0, ..good("never") };
            let master = MasterState { sdown: Some(NOW), down_after: 1_000, is_replica };
            select(&[preferred, furthest, stranger, never], master, NOW, &Periods::default()).map(str::to_owned)
        };
        assert_eq!((pick(false).as_deref(), pick(true).as_deref()), (Some("preferred"), Some("furthest")));
    }

    /// beyond.md B1
    #[test]
    fn staleness_can_be_judged_between_replicas() {
        let master = MasterState { sdown: Some(NOW), down_after: 1_000, is_replica: false };
        let pick = |candidates: &[Candidate<'static>]| select_relative(candidates, master, NOW, &Periods::default());
        let stale = |key, link_down, offset| Candidate { link_down, offset, ..good(key) };
        assert_eq!(select(&[stale("a", 21_000, 5)], master, NOW, &Periods::default()), None);
        assert_eq!(pick(&[stale("a", 21_000, 5)]), Some("a"));
        assert_eq!(pick(&[stale("a", 21_000, 5), stale("b", 31_000, 9)]), Some("b"));
        assert_eq!(pick(&[stale("a", 21_000, 5), stale("b", 31_001, 9)]), Some("a"));
        assert_eq!(pick(&[Candidate { priority: 0, ..stale("a", 21_000, 5) }]), None);
        for no_clock in [-1_000, 1_700_000_000_000] {
            let restarted = stale("r", no_clock, 9);
            assert_eq!(pick(&[stale("a", 21_000, 5), restarted.clone()]), Some("r"));
            assert_eq!(pick(&[stale("a", 21_000, 5), Candidate { is_kin: false, ..restarted }]), Some("a"));
        }
    }

    /// beyond.md B1
    #[test]
    fn a_majority_counts_those_that_do_not_answer() {
        let silent = |key| Candidate { connected: false, ..good(key) };
        let periods = Periods::default();
        assert!(majority_answers(&[good("a"), good("b"), silent("c")], NOW, &periods));
        assert!(!majority_answers(&[good("a"), silent("b")], NOW, &periods));
        assert!(!majority_answers(&[], NOW, &periods));
    }

    fn pick<'a>(candidates: &[Candidate<'a>]) -> Option<&'a str> {
        let master = MasterState { sdown: Some(Millis(NOW.0 - 1_000)), down_after: 1_000, is_replica: false };
        select(candidates, master, NOW, &Periods::default())
    }

    /// failover.md 150
    #[test]
    fn orders_by_priority_then_offset_then_run_id() {
        let low = Candidate { priority: 10, offset: 1, ..good("low") };
        assert_eq!(pick(&[good("x"), low.clone()]), Some("low"));
        let far = Candidate { offset: 11, run_id: Some("z"), ..good("far") };
        assert_eq!(pick(&[good("x"), far]), Some("far"));
        let small = Candidate { run_id: Some("A"), ..good("small") };
        assert_eq!(pick(&[good("x"), small]), Some("small"));
        let nameless = Candidate { run_id: None, ..good("a") };
        assert_eq!(pick(&[nameless.clone(), good("x")]), Some("x"));
        assert_eq!(pick(&[nameless]), Some("a"));
    }

    /// failover.md 146, 147, 148, 149
    #[test]
    fn refuses_what_is_not_fit() {
        let unfit = [
            Candidate { priority: 0, ..good("x") },
            Candidate { down: true, ..good("x") },
            Candidate { connected: false, ..good("x") },
            Candidate { last_available: Millis(NOW.0 - 5_001), ..good("x") },
            Candidate { info_at: Some(Millis(NOW.0 - 5_001)), ..good("x") },
            Candidate { info_at: None, ..good("x") },
            Candidate { link_down: 11_001, ..good("x") },
        ];
        for candidate in unfit {
            assert_eq!(pick(std::slice::from_ref(&candidate)), None, "{candidate:?}");
        }
        let at_the_limit = Candidate {
            last_available: Millis(NOW.0 - 5_000),
            info_at: Some(Millis(NOW.0 - 5_000)),
            link_down: 11_000,
            ..good("x")
        };
        assert_eq!(pick(&[at_the_limit]), Some("x"));
        assert_eq!(pick(&[Candidate { link_down: -1_000, ..good("x") }]), Some("x"));
    }

    /// failover.md 148: a healthy master allows INFO of three periods.
    #[test]
    fn older_info_is_good_enough_while_the_master_is_up() {
        let master = MasterState { sdown: None, down_after: 1_000, is_replica: false };
        let old = Candidate { info_at: Some(Millis(NOW.0 - 30_000)), ..good("x") };
        assert_eq!(select(&[old], master, NOW, &Periods::default()), Some("x"));
        let older = Candidate { info_at: Some(Millis(NOW.0 - 30_001)), ..good("x") };
        assert_eq!(select(&[older], master, NOW, &Periods::default()), None);
    }

    proptest! {
        /// failover.md 150, against a sort that does nothing clever.
        #[test]
        fn agrees_with_a_dumb_sort(ranks in prop::collection::vec((1i64..4, 0u64..4, prop::option::of("[a-cA-C]{1,2}")), 1..8)) {
            let keys: Vec<String> = (0..ranks.len()).map(|n| format!("k{n}")).collect();
            let candidates: Vec<Candidate<'_>> = ranks.iter().zip(&keys).map(|((priority, offset, run_id), key)| Candidate {
                priority: *priority, offset: *offset, run_id: run_id.as_deref(), ..good(key)
            }).collect();
            let mut sorted = candidates.clone();
            sorted.sort_by(|a, b| {
                a.priority.cmp(&b.priority).then(b.offset.cmp(&a.offset)).then_with(|| match (a.run_id, b.run_id) {
                    (Some(x), Some(y)) => x.to_lowercase().cmp(&y.to_lowercase()),
                    (x, y) => y.is_some().cmp(&x.is_some()),
                })
            });
            prop_assert_eq!(pick(&candidates), Some(sorted[0].key));
        }
    }
}
