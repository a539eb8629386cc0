//! The serving side of a Sentinel: what peers ask of it.

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::command::Command;
use sentineld::sentinel::id::{Epoch, ReplyToken, RunId};
use sentineld::sentinel::io::{Answer, Input, Reply};
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::view::InstanceView;

use super::{Job, MonitorSlot, Node, Waiting};
use crate::canary::Canary;
use crate::checker::Observation;
use crate::net::{Ask, ConnId, Tell};
use crate::world::Shared;

impl Node {
    /// The serving side: replies leave in the order of commands, so a held vote holds what was asked behind it.
    pub(super) fn asked(&mut self, sh: &mut Shared, conn: ConnId, ask: Ask) {
        let Ask::Command(tag, command) = ask else { return };
        let server = &mut sh.net.conns[conn];
        let slot = server.replied + server.replies.len() as u64;
        let reply = match command {
            Command::PublishHello(payload) => {
                self.published(&payload);
                Some(Reply::Integer(1))
            }
            Command::IsMasterDown { host, port, epoch, candidate } => {
                let addr = Addr::new(&host, port).meaning(sh.meaning(&host));
                self.is_master_down(conn, slot, addr, epoch, candidate)
            }
            Command::Ping => Some(Reply::Status(b"PONG".as_slice().into())),
            _ => Some(Reply::Status(b"OK".as_slice().into())),
        };
        sh.net.conns[conn].replies.push_back((tag, reply));
        flush(sh, conn);
    }

    /// A hello comes as a PUBLISH, of a peer or of anybody.
    pub(super) fn published(&mut self, payload: &str) {
        if let Some(hello) = Hello::parse(payload.as_bytes()) {
            let process = self.process();
            let master = process.number_of(&hello.master);
            process.mail.extend(master.map(|master| Job::Monitor(master, Input::Hello(Box::new(hello)))));
        }
    }

    pub(super) fn is_master_down(
        &mut self,
        conn: ConnId,
        slot: u64,
        addr: Addr,
        epoch: Epoch,
        candidate: Option<RunId>,
    ) -> Option<Reply> {
        let process = self.process();
        // As spelt before as meant: a stale record may give several names one address.
        let position = |is_it: &dyn Fn(&Addr) -> bool| {
            process.monitors.iter().position(|slot| {
                let Some(slot) = slot else { return false };
                let InstanceView { host, ip, port, .. } = &slot.view.instance;
                is_it(&Addr::new(host, *port).meaning(*ip))
            })
        };
        let spelt = position(&|own| own.port == addr.port && own.host.eq_ignore_ascii_case(&addr.host));
        let is_replica_elsewhere = |master: &usize| {
            let others = process.monitors.iter().enumerate().filter(|(number, _)| number != master);
            let mut replicas = others.filter_map(|(_, slot)| slot.as_ref()).flat_map(|slot| &slot.view.replicas);
            let is_it = |own: &InstanceView| own.port == addr.port && own.host.eq_ignore_ascii_case(&addr.host);
            replicas.any(|replica| is_it(&replica.instance))
        };
        let meant = || position(&|own| own.same_as(&addr)).filter(|master| !is_replica_elsewhere(master));
        let Some(master) = spelt.or_else(meant) else {
            return Some(not_mine());
        };
        let Some(candidate) = candidate else {
            let is_down = |slot: &MonitorSlot| slot.view.instance.sdown_since.is_some();
            let down = process.monitors[master].as_ref().is_some_and(is_down) && !process.tilt.is_on();
            return Some(vote_reply(down, None, Epoch(0)));
        };
        process.last_token += 1;
        let from = ReplyToken(process.last_token);
        process.tokens.insert(from, Waiting::Voter { conn, slot, master, candidate: candidate.clone() });
        process.mail.push(Job::Monitor(master, Input::VoteRequest { from, addr, epoch, candidate }));
        None
    }

    pub(super) fn answer(&mut self, sh: &mut Shared, to: ReplyToken, with: Answer) {
        let Some(waiting) = self.process().tokens.remove(&to) else {
            sh.fail("answers", format!("n{} answers {to:?} twice", self.host));
            return;
        };
        match (waiting, with) {
            (Waiting::Voter { conn, slot, master, candidate }, Answer::Vote { down, leader, epoch }) => {
                let leader = if self.canary == Canary::VotesForAll { leader.map(|_| candidate) } else { leader };
                let (node, disk) = (self.host, &self.disk.synced);
                let leader = leader.as_ref();
                sh.see(&Observation::VoteAnswered { node, master, leader, epoch, disk });
                let server = &mut sh.net.conns[conn];
                let index = (slot - server.replied) as usize;
                if let Some(entry) = server.replies.get_mut(index) {
                    entry.1 = Some(vote_reply(down, leader, epoch));
                }
                flush(sh, conn);
            }
            (Waiting::Operator, Answer::Ok) => sh.stats.forced += 1,
            (Waiting::Operator, Answer::Error(_)) => {}
            (waiting, with) => sh.fail("answers", format!("n{} answers {waiting:?} with {with:?}", self.host)),
        }
    }
}

/// The answer about a master that is not monitored here.
pub(super) fn not_mine() -> Reply {
    vote_reply(false, None, Epoch(0))
}

fn vote_reply(down: bool, leader: Option<&RunId>, epoch: Epoch) -> Reply {
    let leader = leader.map_or("*", RunId::as_str).as_bytes().into();
    Reply::Array(vec![Reply::Integer(i64::from(down)), Reply::Bulk(leader), Reply::Integer(epoch.0 as i64)])
}

/// Sends what is known, in order.
pub(super) fn flush(sh: &mut Shared, conn: ConnId) {
    loop {
        let server = &mut sh.net.conns[conn];
        let Some((_, Some(_))) = server.replies.front() else { return };
        let Some((tag, Some(reply))) = server.replies.pop_front() else { return };
        server.replied += 1;
        sh.server_send(conn, Tell::Reply(tag, reply));
    }
}
