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
}

/// The master's state, as far as it decides how stale a replica may be.
#[derive(Clone, Copy, Debug)]
pub struct MasterState {
    /// Since when SDOWN, if it is.
    pub sdown: Option<Millis>,
    /// `down-after-milliseconds`
    pub down_after: u64,
}

/// Five PING periods: how old the last sign of life of a candidate may be.
const MAX_PING_AGE_PERIODS: u64 = 5;

/// The best candidate's key: lowest priority, then largest offset, then smallest run id ignoring case, one without a
/// run id last. `None` when all are refused.
pub fn select<'a>(
    candidates: &[Candidate<'a>],
    master: MasterState,
    now: Millis,
    periods: &Periods,
) -> Option<&'a str> {
    candidates
        .iter()
        .filter(|candidate| is_eligible(candidate, master, now, periods))
        .min_by_key(|candidate| {
            let run_id = candidate.run_id.map(str::to_ascii_lowercase);
            (candidate.priority, u64::MAX - candidate.offset, run_id.is_none(), run_id, candidate.key)
        })
        .map(|candidate| candidate.key)
}

fn is_eligible(candidate: &Candidate<'_>, master: MasterState, now: Millis, periods: &Periods) -> bool {
    let max_info_age = match master.sdown {
        Some(_) => MAX_PING_AGE_PERIODS * periods.ping,
        None => 3 * periods.info,
    };
    let max_link_down = 10 * master.down_after + master.sdown.map_or(0, |since| now.since(since));
    !candidate.down
        && candidate.connected
        && candidate.priority != 0
        && now.since(candidate.last_available) <= MAX_PING_AGE_PERIODS * periods.ping
        && candidate.info_at.is_some_and(|at| now.since(at) <= max_info_age)
        && u64::try_from(candidate.link_down).unwrap_or(0) <= max_link_down
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
        }
    }

    fn pick<'a>(candidates: &[Candidate<'a>]) -> Option<&'a str> {
        let master = MasterState { sdown: Some(Millis(NOW.0 - 1_000)), down_after: 1_000 };
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
        let master = MasterState { sdown: None, down_after: 1_000 };
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
