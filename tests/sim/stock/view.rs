//! What readers and checkers see of the stock model.

use std::sync::Arc;

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::ages::{SharedAges, SharedMillis};
use sentineld::sentinel::monitor::view::{InstanceView, MasterView, ReplicaView, SentinelView, ServerView};
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::time::Millis;

use super::{Link, Master, PeerSeen, Reconf, Server, State};

impl Master {
    /// Everything as of now.
    pub(super) fn view(&self, now: u64) -> MasterView {
        let current = self.current();
        let in_progress = (self.state != State::None).then_some("failover_in_progress");
        let flags = |server: usize| {
            let seen = &self.servers[server];
            let flags = [
                seen.sdown_since.map(|_| "s_down"),
                (server == 0 && self.odown_since != 0).then_some("o_down"),
                Some(if server == 0 { "master" } else { "slave" }),
                (seen.link.cc.is_none() || seen.link.pc.is_none()).then_some("disconnected"),
                in_progress.filter(|_| server == 0),
                (self.promoted == Some(server)).then_some("promoted"),
                match seen.reconf {
                    Reconf::None => None,
                    Reconf::Sent => Some("reconf_sent"),
                    Reconf::InProgress => Some("reconf_inprog"),
                    Reconf::Done => Some("reconf_done"),
                },
                (server == 0 && self.forced).then_some("force_failover"),
            ];
            flags.into_iter().flatten().collect::<Vec<_>>().join(",")
        };
        let seen = |server: usize, name: String| {
            let it = &self.servers[server];
            instance(&it.addr, name, &it.link, it.sdown_since, &flags(server))
        };
        let replica = |server: usize| {
            let it = &self.servers[server];
            let (master_host, master_port) = it.master.clone().unwrap_or(("?".to_owned(), 0));
            ReplicaView {
                instance: seen(server, it.key()),
                server: server_view(it),
                master_link_down: it.link_down,
                master_link_up: it.link_up,
                master_host: master_host.into(),
                master_port,
                priority: it.priority,
                offset: it.offset,
                announced: true,
            }
        };
        let peer = |peer: &PeerSeen| {
            let flags = [
                peer.sdown_since.map(|_| "s_down"),
                Some("sentinel"),
                peer.link.cc.is_none().then_some("disconnected"),
                peer.down.then_some("master_down"),
            ];
            let flags = flags.into_iter().flatten().collect::<Vec<_>>().join(",");
            SentinelView {
                instance: instance(&peer.addr, peer.id.to_string(), &peer.link, peer.sdown_since, &flags),
                last_hello: Arc::new(SharedMillis::new(Millis(now))),
                voted_leader: peer.leader.clone(),
                voted_epoch: peer.leader_epoch,
            }
        };
        MasterView {
            instance: seen(0, self.spec.name.to_string()),
            current_host: Arc::clone(&current.host),
            current_port: current.port,
            failover_state: self.state.name(),
            odown_since: (self.odown_since != 0).then_some(Millis(self.odown_since)),
            config_epoch: self.config_epoch,
            leader_epoch: self.leader_epoch,
            server: server_view(&self.servers[0]),
            replicas: (1..self.servers.len()).map(replica).collect(),
            sentinels: self.peers.iter().map(peer).collect(),
            ..self.view.clone()
        }
    }
}

impl State {
    fn name(self) -> Option<&'static str> {
        match self {
            State::None => None,
            State::WaitStart => Some("wait_start"),
            State::SelectReplica => Some("select_slave"),
            State::SendReplicaofNoOne => Some("send_slaveof_noone"),
            State::WaitPromotion => Some("wait_promotion"),
            State::ReconfReplicas => Some("reconf_slaves"),
            State::UpdateConfig => Some("update_config"),
        }
    }
}

pub(super) fn instance(addr: &Addr, name: String, link: &Link, sdown: Option<u64>, flags: &str) -> InstanceView {
    let health = LinkHealth {
        pending_commands: u64::from(link.pending),
        ping_pending_since: (link.act_ping != 0).then_some(Millis(link.act_ping)),
        last_available: Millis(link.last_avail),
        last_pong: Millis(link.last_pong),
        ..LinkHealth::new(Millis(0))
    };
    InstanceView {
        name: name.into(),
        ip: addr.ip,
        host: Arc::clone(&addr.host),
        port: addr.port,
        run_id: Arc::default(),
        flags: flags.to_owned().into(),
        ages: Arc::new(SharedAges::new(&health)),
        sdown_since: sdown.map(Millis),
        down_after: 0,
    }
}

pub(super) fn server_view(server: &Server) -> ServerView {
    ServerView {
        role_reported: if server.is_master { "master" } else { "slave" },
        role_reported_at: Millis(server.role_at),
        info_at: (server.info_at != 0).then_some(Millis(server.info_at)),
        info: None,
    }
}
