//! Goes through everything that Sentinels left behind: logs, published events, and every state of their conf files.
//!
//! Every rule is a function from the evidence to complaints, and has a planted violation at the end of this file. One
//! master is assumed: log lines of votes do not name theirs. Forced failovers are not allowed in these tests, since
//! they skip the vote.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::MASTER;

/// What one Sentinel left, across its restarts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    /// Its id.
    pub(crate) id: String,
    /// Its whole log.
    pub(crate) log: String,
    /// `<name> <payload>` of every event that a subscriber got.
    pub(crate) events: Vec<String>,
    /// Every state of its conf file that was seen, in order.
    pub(crate) files: Vec<String>,
    /// Every time it was killed.
    pub(crate) deaths: Vec<Death>,
}

/// What there was when a Sentinel was killed.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    /// `<name> <payload>` of everything it had told until then, in its log and to a subscriber. SIGKILL may have taken
    /// the end of either.
    pub(crate) told: [Vec<String>; 2],
    /// Its conf file.
    pub(crate) file: String,
}

type Rule = fn(&[Witness]) -> Vec<String>;

const RULES: &[Rule] =
    &[one_vote, one_leader, epochs_never_down, config_within_current, votes_on_disk, promotions_on_disk, one_address];

/// Everything that is wrong. No evidence at all is wrong, too.
pub(crate) fn audit(witnesses: &[Witness]) -> Vec<String> {
    RULES.iter().flat_map(|rule| rule(witnesses)).collect()
}

/// Votes and elections that the evidence shows, for a test that wants to see that there were some.
pub(crate) fn count(witnesses: &[Witness]) -> (usize, usize) {
    let votes = votes(witnesses).values().map(BTreeSet::len).sum();
    let elections = witnesses.iter().map(|witness| elections(&told(&witness.log)).len()).sum();
    (votes, elections)
}

/// failover.md I2, 119, 124: a Sentinel votes for one candidate in an epoch, also after a crash; by its own word and by
/// the word of those who asked.
fn one_vote(witnesses: &[Witness]) -> Vec<String> {
    let votes = votes(witnesses).into_iter().filter(|(_, candidates)| candidates.len() > 1);
    votes.map(|((voter, epoch), candidates)| format!("{voter} voted for {candidates:?} in epoch {epoch}")).collect()
}

/// failover.md I1: one leader in an epoch.
fn one_leader(witnesses: &[Witness]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut leaders = BTreeMap::<u64, BTreeSet<&str>>::new();
    for witness in witnesses {
        // Log and events tell the same story, and either may lack its end after a SIGKILL.
        for stream in [&told(&witness.log), &witness.events] {
            let mut own = BTreeSet::new();
            for epoch in elections(stream) {
                leaders.entry(epoch).or_default().insert(&witness.id);
                if !own.insert(epoch) {
                    complaints.push(format!("{} was elected twice in epoch {epoch}", witness.id));
                }
            }
        }
    }
    let shared = leaders.into_iter().filter(|(_, leaders)| leaders.len() > 1);
    complaints.extend(shared.map(|(epoch, leaders)| format!("{leaders:?} were elected in epoch {epoch}")));
    complaints
}

/// failover.md I3, 2: no epoch goes down in a file, and no file loses one that it had.
fn epochs_never_down(witnesses: &[Witness]) -> Vec<String> {
    let mut complaints = Vec::new();
    for witness in witnesses {
        for pair in witness.files.windows(2) {
            let (before, after) = (epochs(&pair[0]), epochs(&pair[1]));
            for (name, before) in &before {
                let after = after.get(name).copied();
                if after.is_none_or(|after| after < *before) {
                    complaints.push(format!("{}: {name} went from {before} to {after:?}", witness.id));
                }
            }
        }
    }
    complaints
}

/// failover.md I4.
fn config_within_current(witnesses: &[Witness]) -> Vec<String> {
    let files = witnesses.iter().flat_map(|witness| witness.files.iter().map(move |file| (witness, file)));
    let wrong = files.filter(|(_, file)| epoch(file, "config-epoch") > epoch(file, "current-epoch"));
    wrong.map(|(witness, file)| format!("{}: config-epoch is above current-epoch in {file}", witness.id)).collect()
}

/// failover.md I5, 203: a vote that was told is in the file, at every death and at the end.
fn votes_on_disk(witnesses: &[Witness]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut check = |id: &str, vote: Option<u64>, file: &str| {
        let saved = epoch(file, "leader-epoch");
        if vote > Some(saved) {
            complaints.push(format!("{id} voted in epoch {vote:?}, and its file says {saved}"));
        }
    };
    let all = votes(witnesses);
    for witness in witnesses {
        for death in &witness.deaths {
            check(
                &witness.id,
                death.told.iter().flatten().filter_map(|line| Some(own_vote(line)?.1)).max(),
                &death.file,
            );
        }
        let last = all.keys().filter(|(voter, _)| *voter == witness.id).map(|(_, epoch)| *epoch).max();
        check(&witness.id, last, witness.files.last().map_or("", String::as_str));
    }
    complaints
}

/// failover.md I5, 155, 169: a leader that told of its promotion has the config epoch in its file, at every death.
fn promotions_on_disk(witnesses: &[Witness]) -> Vec<String> {
    let mut complaints = Vec::new();
    for witness in witnesses {
        for death in &witness.deaths {
            let saved = epoch(&death.file, "config-epoch");
            let promotions = death.told.iter().flat_map(|stream| with_attempt(stream));
            let promotions = promotions.filter(|(_, line)| line.starts_with("+promoted-slave "));
            let lost = promotions.filter_map(|(attempt, _)| attempt).filter(|attempt| *attempt > saved);
            complaints.extend(lost.map(|epoch| format!("{}: promoted in {epoch}, its file says {saved}", witness.id)));
        }
    }
    complaints
}

/// failover.md I9: a config epoch has one address, in the files of everybody.
fn one_address(witnesses: &[Witness]) -> Vec<String> {
    let mut addresses = BTreeMap::<u64, BTreeSet<String>>::new();
    for file in witnesses.iter().flat_map(|witness| &witness.files) {
        if let Some(address) = line(file, "monitor") {
            // Name, address, port; the quorum is each Sentinel's own.
            let address = address.split(' ').take(3).collect::<Vec<_>>().join(" ");
            addresses.entry(epoch(file, "config-epoch")).or_default().insert(address);
        }
    }
    let wrong = addresses.into_iter().filter(|(_, addresses)| addresses.len() > 1);
    wrong.map(|(epoch, addresses)| format!("config epoch {epoch} names {addresses:?}")).collect()
}

/// Candidates by voter and epoch, from logs and events of the voter, and from the answers that others logged.
fn votes(witnesses: &[Witness]) -> BTreeMap<(String, u64), BTreeSet<String>> {
    let mut votes = BTreeMap::<_, BTreeSet<String>>::new();
    for witness in witnesses {
        let log = told(&witness.log);
        for line in log.iter().chain(&witness.events) {
            let own = own_vote(line).map(|(candidate, epoch)| (witness.id.as_str(), candidate, epoch));
            if let Some((voter, candidate, epoch)) = own.or_else(|| answer(line)) {
                votes.entry((voter.to_owned(), epoch)).or_default().insert(candidate.to_owned());
            }
        }
    }
    votes
}

/// `+vote-for-leader <candidate> <epoch>`
fn own_vote(line: &str) -> Option<(&str, u64)> {
    let (candidate, epoch) = line.strip_prefix("+vote-for-leader ")?.split_once(' ')?;
    Some((candidate, epoch.parse().ok()?))
}

/// `<voter> voted for <candidate> <epoch>`
fn answer(line: &str) -> Option<(&str, &str, u64)> {
    let (voter, vote) = line.split_once(" voted for ")?;
    let (candidate, epoch) = vote.split_once(' ')?;
    Some((voter, candidate, epoch.parse().ok()?))
}

/// Epochs of the attempts that ended in `+elected-leader`, one an election.
fn elections(lines: &[String]) -> Vec<u64> {
    let elected = with_attempt(lines).filter(|(_, line)| line.starts_with("+elected-leader "));
    elected.filter_map(|(attempt, _)| attempt).collect()
}

/// Every line with the epoch of the attempt that it belongs to: the last `+new-epoch` before `+try-failover`.
fn with_attempt(lines: &[String]) -> impl Iterator<Item = (Option<u64>, &str)> {
    let (mut newest, mut attempt) = (None, None);
    lines.iter().map(move |line| {
        if let Some(epoch) = line.strip_prefix("+new-epoch ") {
            newest = epoch.parse().ok();
        } else if line.starts_with("+try-failover ") {
            attempt = newest;
        } else if line.starts_with("Sentinel ID is ") {
            (newest, attempt) = (None, None);
        }
        (attempt, line.as_str())
    })
}

/// Log lines without process, time and level.
pub(crate) fn told(log: &str) -> Vec<String> {
    let text = |line: &str| line.splitn(7, ' ').nth(6).map(str::to_owned);
    log.lines().filter_map(text).collect()
}

/// The three epochs of a file, by name.
fn epochs(file: &str) -> BTreeMap<&'static str, u64> {
    let names = ["current-epoch", "leader-epoch", "config-epoch"];
    names.into_iter().filter(|name| line(file, name).is_some()).map(|name| (name, epoch(file, name))).collect()
}

/// An epoch of a file; 0 where it has none, as in a new file.
pub(crate) fn epoch(file: &str, name: &str) -> u64 {
    line(file, name).and_then(|rest| rest.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// What follows `sentinel <name> ` in the first such line.
fn line<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = file.lines().filter_map(|line| line.strip_prefix("sentinel ")?.strip_prefix(name));
    lines.find_map(|rest| rest.strip_prefix(' ')).filter(|rest| name == "current-epoch" || rest.starts_with(MASTER))
}

#[cfg(test)]
mod tests {
    use super::{Death, RULES, Rule, Witness, audit, config_within_current, count, epochs_never_down, one_address};
    use super::{one_leader, one_vote, promotions_on_disk, told, votes_on_disk};

    fn file(current: u64, leader: u64, config: u64, host: u8) -> String {
        format!(
            "port 26379\nsentinel monitor mymaster 10.77.0.{host} 6379 2\nsentinel config-epoch mymaster {config}\n\
             sentinel leader-epoch mymaster {leader}\nsentinel current-epoch {current}\n"
        )
    }

    fn log(lines: &[&str]) -> String {
        let lines = lines.iter().map(|line| format!("12:X 21 Nov 2026 10:00:00.000 # {line}\n"));
        lines.collect::<Vec<_>>().concat()
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    /// A leader and a voter after one sound failover; the leader was killed after the promotion.
    fn sound() -> Vec<Witness> {
        let story = [
            "Sentinel ID is aa",
            "+new-epoch 1",
            "+try-failover master mymaster 10.77.0.1 6379",
            "+vote-for-leader aa 1",
            "bb voted for aa 1",
            "+elected-leader master mymaster 10.77.0.1 6379",
            "+promoted-slave slave 10.77.0.2:6379 10.77.0.2 6379 @ mymaster 10.77.0.1 6379",
        ];
        let leader = Witness {
            id: "aa".to_owned(),
            log: log(&story),
            events: lines(&story[1..3]),
            files: vec![String::new(), file(0, 0, 0, 1), file(1, 1, 0, 1), file(1, 1, 1, 2)],
            deaths: vec![Death { told: [lines(&story), Vec::new()], file: file(1, 1, 1, 2) }],
        };
        let voter = Witness {
            id: "bb".to_owned(),
            log: log(&["Sentinel ID is bb", "+new-epoch 1", "+vote-for-leader aa 1"]),
            events: lines(&["+vote-for-leader aa 1"]),
            files: vec![file(0, 0, 0, 1), file(1, 1, 0, 1), file(1, 1, 1, 2)],
            deaths: Vec::new(),
        };
        vec![leader, voter]
    }

    /// The violation is found by its own rule, and by the audit.
    fn finds(rule: Rule, plant: impl FnOnce(&mut Vec<Witness>)) {
        let mut planted = sound();
        assert_eq!(audit(&planted), Vec::<String>::new(), "without the violation nothing is wrong");
        plant(&mut planted);
        assert!(RULES.iter().any(|&known| std::ptr::fn_addr_eq(known, rule)));
        assert_ne!(rule(&planted), Vec::<String>::new(), "{planted:?}");
    }

    #[test]
    fn counts_votes_and_elections() {
        assert_eq!(count(&sound()), (2, 1));
        assert_eq!(told(&log(&["+new-epoch 1"])), ["+new-epoch 1"]);
    }

    #[test]
    fn finds_two_votes_in_the_own_log() {
        finds(one_vote, |all| all[1].log.push_str(&log(&["Sentinel ID is bb", "+vote-for-leader cc 1"])));
    }

    #[test]
    fn finds_a_vote_published_and_another_logged() {
        finds(one_vote, |all| all[1].events.push("+vote-for-leader bb 1".to_owned()));
    }

    #[test]
    fn finds_another_vote_in_the_answer_to_a_candidate() {
        finds(one_vote, |all| all[0].log.push_str(&log(&["bb voted for cc 1"])));
    }

    #[test]
    fn finds_two_leaders_of_an_epoch() {
        finds(one_leader, |all| {
            all[1].log.push_str(&log(&["+new-epoch 1", "+try-failover master", "+elected-leader master"]));
        });
    }

    #[test]
    fn finds_a_second_election_in_an_epoch() {
        finds(one_leader, |all| {
            all[0].log.push_str(&log(&["+new-epoch 1", "+try-failover master", "+elected-leader master"]));
        });
    }

    #[test]
    fn finds_epochs_that_go_down() {
        for lower in [file(0, 1, 0, 1), file(1, 0, 0, 1), file(1, 1, 0, 1)] {
            finds(epochs_never_down, |all| all[1].files.push(lower));
        }
    }

    #[test]
    fn finds_a_file_cut_short() {
        finds(epochs_never_down, |all| all[0].files.push("port 26379\n".to_owned()));
    }

    #[test]
    fn finds_a_config_epoch_above_the_current_one() {
        finds(config_within_current, |all| all[0].files.push(file(1, 1, 2, 2)));
    }

    #[test]
    fn finds_a_vote_that_a_death_took() {
        finds(votes_on_disk, |all| all[0].deaths[0].file = file(1, 0, 0, 1));
        finds(votes_on_disk, |all| {
            all[1].files.truncate(1);
        });
    }

    #[test]
    fn finds_a_promotion_that_a_death_took() {
        finds(promotions_on_disk, |all| all[0].deaths[0].file = file(1, 1, 0, 1));
    }

    #[test]
    fn finds_two_addresses_of_a_config_epoch() {
        finds(one_address, |all| all[1].files.push(file(1, 1, 1, 3)));
    }
}
