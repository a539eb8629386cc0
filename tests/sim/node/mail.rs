//! What waits for the machines of a Sentinel: a mailbox each, as their tasks have, and who is woken in which order.

use std::collections::VecDeque;

use sentineld::sentinel::io::Input;
use sentineld::sentinel::peer::PeerInput;

use crate::net::Who;

/// A message.
#[derive(Debug)]
pub(super) enum Job {
    /// For a monitor, by number of its master.
    Monitor(usize, Input),
    /// For a peer, by its place in the node's table.
    Peer(usize, PeerInput),
}

/// All mailboxes of a process.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Whose mailbox is not empty, longest first.
    woken: VecDeque<Who>,
    monitors: Vec<Vec<Input>>,
    peers: Vec<Vec<PeerInput>>,
}

impl Mail {
    /// Puts a message behind the others of that machine, which is woken by its first one.
    pub(super) fn push(&mut self, job: Job) {
        let (who, is_first) = match job {
            Job::Monitor(number, input) => (Who::Monitor(number), put(&mut self.monitors, number, input)),
            Job::Peer(number, input) => (Who::Peer(number), put(&mut self.peers, number, input)),
        };
        if is_first {
            self.woken.push_back(who);
        }
    }

    /// Puts several.
    pub(super) fn extend(&mut self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            self.push(job);
        }
    }

    /// Who steps next. It has to take its messages.
    pub(super) fn next(&mut self) -> Option<Who> {
        self.woken.pop_front()
    }

    /// What is there for a monitor that was woken.
    pub(super) fn of_monitor(&mut self, number: usize) -> impl Iterator<Item = Input> {
        self.monitors[number].drain(..)
    }

    /// What is there for a peer that was woken.
    pub(super) fn of_peer(&mut self, number: usize) -> impl Iterator<Item = PeerInput> {
        self.peers[number].drain(..)
    }
}

/// Whether it is the first one there.
fn put<T>(boxes: &mut Vec<Vec<T>>, number: usize, message: T) -> bool {
    if boxes.len() <= number {
        boxes.resize_with(number + 1, Vec::new);
    }
    boxes[number].push(message);
    boxes[number].len() == 1
}
