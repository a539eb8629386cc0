//! Somebody else's server at the address of one of ours, and the Sentinel that watches it (beyond.md B2).

use sentineld::sentinel::command::Command;

use super::{Point, ROUND_US, Server};
use crate::checker::Observation;
use crate::dns::true_ip;
use crate::net::ConnId;
use crate::swarm::group_name;
use crate::world::Shared;

/// How ids of Sentinels begin that watch somebody else's servers.
const STRANGERS: &str = "00000000000000000000";

/// Whether this is the id of such a Sentinel.
pub fn is_of_a_stranger(id: &str) -> bool {
    id.starts_with(STRANGERS)
}

/// Whether it makes a server replicate from this one.
pub fn command_names(command: &Command, server: &Server) -> bool {
    match command {
        Command::Replicaof { host, port } | Command::Failover { host, port, .. } => server.is_at(host, *port),
        _ => false,
    }
}

/// Somebody else's server, and the Sentinel that watches it.
#[derive(Debug)]
pub struct Stranger {
    /// Of its Sentinel, which knows it by the same master name.
    sentinel: String,
    /// Of its configuration.
    epoch: u64,
    /// What comes back when it is gone.
    upstream: Option<(String, u16)>,
    data: Point,
    left: Option<Point>,
    had_keys: bool,
}

impl Server {
    /// Somebody else's server starts where this one was, which is gone.
    pub fn replace(&mut self, sh: &mut Shared, epoch: u64) {
        let sentinel = format!("{STRANGERS}{:020x}", sh.now);
        let data = Point { replid: self.replid, offset: self.offset };
        let (upstream, left, had_keys) = (self.saved_upstream.take(), self.left, self.has_keys);
        self.stranger = Some(Box::new(Stranger { sentinel, epoch, upstream, data, left, had_keys }));
        self.start(sh);
        (self.left, self.has_keys) = (None, true);
    }

    /// It is gone, and this one may start again.
    pub fn leave(&mut self) {
        if let Some(stranger) = self.stranger.take() {
            self.saved_upstream = stranger.upstream;
            (self.replid, self.offset) = (stranger.data.replid, stranger.data.offset);
            (self.left, self.has_keys) = (stranger.left, stranger.had_keys);
        }
    }

    /// The hello of the stranger's Sentinel, every other second.
    pub(super) fn stranger_speaks(&self, sh: &mut Shared) {
        let Some(stranger) = self.stranger.as_ref().filter(|_| sh.now % 2_000_000 < ROUND_US) else { return };
        let name = group_name(self.group);
        let (id, epoch, ip) = (&stranger.sentinel, stranger.epoch, &self.ip);
        self.deliver_hello(sh, &format!("10.0.9.1,26379,{id},{epoch},{name},{ip},6379,{epoch}"));
    }

    /// Whether it replicates from the other one, or would after a restart, or when it goes on.
    pub fn may_follow(&self, other: &Server) -> bool {
        let saved = self.saved_upstream.as_ref();
        let later = self.stranger.as_ref().and_then(|stranger| stranger.upstream.as_ref());
        let mut waiting = self.inbox.iter().chain(&self.blocked).map(|(.., command)| command);
        self.follows(other)
            || self.handover.as_ref().is_some_and(|handover| other.is_at(&handover.host, handover.port))
            || saved.into_iter().chain(later).any(|(host, port)| other.is_at(host, *port))
            || waiting.any(|command| command_names(command, other))
    }

    /// Whoever is told to replicate loses its data.
    pub(super) fn see_told(&self, sh: &mut Shared, conn: ConnId, upstream: Option<&str>) {
        let node = sh.net.conns[conn].client;
        let is_stranger = self.stranger.is_some();
        let to_stranger = upstream.is_some_and(|host| sh.strangers.contains(&*true_ip(host)));
        sh.see(&Observation::Told { node, ip: &self.ip, is_stranger, to_stranger });
    }
}
