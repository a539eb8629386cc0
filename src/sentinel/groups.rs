//! Which servers belong to which master of this process: all that the monitor of one may know of the others (beyond.md
//! B2, E1).
//!
//! A monitor enters a server when INFO has just shown that it is its master, or a replica that follows it. What is here is
//! therefore known, not remembered: an address in a file proves nothing, since addresses are used again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::addr::Addr;
use super::id::MasterName;
use super::time::Millis;

/// How long an entry counts for an address behind which nobody has looked since, ms: two INFO periods.
const FRESH: u64 = 20_000;

/// Members of each group, by name of its master. Shared by every master of the process.
///
/// Monitors run one at a time, so nothing moves here while one of them works.
#[derive(Debug, Default)]
pub struct GroupRegister(RefCell<BTreeMap<MasterName, Group>>);

#[derive(Debug, Default)]
struct Group {
    master: Option<Addr>,
    members: Vec<Member>,
    replids: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Member {
    addr: Addr,
    run_id: String,
    seen_at: Millis,
}

/// What somebody asks by whose a server is.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// The process with this run id.
    Process(&'a str),
    /// Whatever was at this address lately.
    Address(&'a Addr, Millis),
}

/// The group that asks: one that has the same master, or data of the same history, is the same group by another name.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Its name.
    pub name: &'a MasterName,
    /// Its master.
    pub master: &'a Addr,
    /// The history of its data.
    pub replids: &'a BTreeSet<Arc<str>>,
}

impl GroupRegister {
    /// INFO shows that this process is the master of `name`, with data of these histories.
    pub fn note_master(&self, name: &MasterName, addr: &Addr, run_id: &str, replids: &[Arc<str>], now: Millis) {
        self.note_member(name, addr, run_id, now);
        let mut groups = self.0.borrow_mut();
        let group = groups.entry(name.clone()).or_default();
        if group.master.as_ref() != Some(addr) {
            group.master = Some(addr.clone());
        }
        for replid in replids.iter().filter(|replid| !group.replids.contains(*replid)).cloned().collect::<Vec<_>>() {
            group.replids.insert(replid);
        }
    }

    /// INFO shows that this process is a replica of the master of `name`.
    pub fn note_member(&self, name: &MasterName, addr: &Addr, run_id: &str, now: Millis) {
        let mut groups = self.0.borrow_mut();
        let group = groups.entry(name.clone()).or_default();
        match group.members.iter_mut().find(|member| member.addr == *addr) {
            Some(member) if member.run_id == run_id => member.seen_at = now,
            Some(member) => *member = Member { addr: addr.clone(), run_id: run_id.to_owned(), seen_at: now },
            None => group.members.push(Member { addr: addr.clone(), run_id: run_id.to_owned(), seen_at: now }),
        }
    }

    /// What is at this address is not, or no longer, a member of `name`.
    pub fn forget_member(&self, name: &MasterName, addr: &Addr) {
        if let Some(group) = self.0.borrow_mut().get_mut(name) {
            group.members.retain(|member| member.addr != *addr);
        }
    }

    /// The master is monitored no longer, or what was learnt of it is forgotten.
    pub fn forget(&self, name: &MasterName) {
        self.0.borrow_mut().remove(name);
    }

    /// The group that a server belongs to, if it is another one than the asker's, under whatever name.
    pub fn other_owner(&self, whose: Whose<'_>, asker: Asker<'_>) -> Option<MasterName> {
        let groups = self.0.borrow();
        let is_it = |member: &Member| match whose {
            Whose::Process(run_id) => member.run_id == run_id,
            Whose::Address(addr, now) => member.addr.same_as(addr) && now.since(member.seen_at) <= FRESH,
        };
        let is_other = |group: &Group| {
            group.master.as_ref().is_some_and(|master| !master.same_as(asker.master))
                && group.replids.is_disjoint(asker.replids)
        };
        let mut others = groups.iter().filter(|(name, group)| *name != asker.name && is_other(group));
        others.find(|(_, group)| group.members.iter().any(is_it)).map(|(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// beyond.md B2, E1
    #[test]
    fn a_server_belongs_to_another_group_only_if_that_has_another_master_and_other_data() {
        let register = GroupRegister::default();
        let (a, b, x) = (Addr::new("10.0.0.1", 1), Addr::new("10.0.0.2", 1), Addr::new("10.0.0.3", 1));
        let (mine, other) = (MasterName::from("mine"), MasterName::from("other"));
        register.note_master(&other, &b, "run-b", &[Arc::from("history-b")], Millis(0));
        register.note_member(&other, &x, "run-x", Millis(0));
        let owner = |whose, master: &Addr, replids: &[&str]| {
            let replids = replids.iter().map(|&replid| Arc::from(replid)).collect();
            register.other_owner(whose, Asker { name: &mine, master, replids: &replids })
        };
        assert_eq!(owner(Whose::Process("run-x"), &a, &["history-a"]), Some(other.clone()));
        assert_eq!(owner(Whose::Process("run-y"), &a, &["history-a"]), None, "another process at its address");
        assert_eq!(owner(Whose::Process("run-x"), &b, &["history-a"]), None, "the same master by another name");
        assert_eq!(owner(Whose::Process("run-x"), &a, &["history-b"]), None, "the same data by another name");
        assert_eq!(owner(Whose::Address(&x, Millis(20_000)), &a, &[]), Some(other.clone()));
        assert_eq!(owner(Whose::Address(&x, Millis(20_001)), &a, &[]), None, "nobody has looked for long");
        register.forget_member(&other, &x);
        assert_eq!(owner(Whose::Process("run-x"), &a, &[]), None);
        register.forget(&other);
        assert_eq!(owner(Whose::Process("run-b"), &a, &[]), None);
    }
}
