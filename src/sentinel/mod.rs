//! The core: everything a Sentinel decides, and nothing it does.
//!
//! Two pure machines: [`monitor::Monitor`] for one master and [`peer::Peer`] for one remote Sentinel, shared by all
//! masters. Each is called with one input, the time and its surroundings, and leaves a batch of outputs. No clock, no
//! entropy, no sockets, no files, no tasks, no hash maps: what is seen in a simulation is what happens in production.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod addr;
pub mod ages;
pub mod beat;
pub mod command;
pub mod epoch;
pub mod event;
pub mod groups;
pub mod id;
pub mod io;
pub mod lateness;
pub mod link;
pub mod monitor;
pub mod node;
pub mod peer;
pub mod policy;
pub mod scripts;
pub mod tilt;
pub mod time;

use std::net::IpAddr;

use epoch::EpochRegister;
use groups::GroupRegister;
use id::{RunId, Secret};
use lateness::LatenessRegister;
use policy::Policies;
use tilt::TiltRegister;
use time::{Now, Periods};

/// So many masters are a crowd: each is sent PING no more often than by stock then (failover.md 12.3, S2), and more of
/// them share a beat.
pub const CROWD: usize = 200;

/// Settings of the process that the core looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes/no directive")]
pub struct NodeSettings {
    /// `sentinel myid`
    pub myid: RunId,
    /// `sentinel announce-ip`: own host in hellos, instead of the local address of each connection.
    pub announce_ip: Option<String>,
    /// `sentinel announce-port`; 0 is unset.
    pub announce_port: u16,
    /// `port`
    pub port: u16,
    /// `tls-port` while `tls-replication` is on, else 0: peers are to come there.
    pub tls_port: u16,
    /// `sentinel resolve-hostnames`
    pub resolve_hostnames: bool,
    /// `sentinel announce-hostnames`
    pub announce_hostnames: bool,
    /// `sentinel sentinel-user`
    pub sentinel_user: Option<String>,
    /// `sentinel sentinel-pass`
    pub sentinel_pass: Option<Secret>,
    /// `requirepass`: sent to peers when there is no `sentinel-pass`.
    pub requirepass: Option<Secret>,
    /// `sentinel deny-scripts-reconfig`
    pub deny_scripts_reconfig: bool,
    /// `bind-source-addr` of outgoing connections.
    pub bind_source_addr: Option<IpAddr>,
    /// What `SENTINEL DEBUG` changes.
    pub periods: Periods,
    /// What `sentineld.toml` chooses.
    pub policies: Policies,
    /// Whether this process has a [`CROWD`] of masters.
    pub crowded: bool,
    /// `SENTINEL SIMULATE-FAILURE crash-after-election`
    pub crash_after_election: bool,
    /// `SENTINEL SIMULATE-FAILURE crash-after-promotion`
    pub crash_after_promotion: bool,
}

impl NodeSettings {
    /// Stock's defaults, for a Sentinel with this id.
    pub fn new(myid: RunId) -> NodeSettings {
        NodeSettings {
            myid,
            announce_ip: None,
            announce_port: 0,
            port: 26379,
            tls_port: 0,
            resolve_hostnames: false,
            announce_hostnames: false,
            sentinel_user: None,
            sentinel_pass: None,
            requirepass: None,
            deny_scripts_reconfig: true,
            bind_source_addr: None,
            periods: Periods::default(),
            policies: Policies::default(),
            crowded: false,
            crash_after_election: false,
            crash_after_promotion: false,
        }
    }

    /// The name this process gives its connections: `sentinel-<first 8 of my id>-cmd|pubsub`.
    pub fn client_name(&self, channel: io::Channel) -> String {
        let id = self.myid.as_str();
        let short = id.get(..8).unwrap_or(id);
        match channel {
            io::Channel::Command => format!("sentinel-{short}-cmd"),
            io::Channel::PubSub => format!("sentinel-{short}-pubsub"),
        }
    }

    /// The port that hellos carry.
    pub fn announced_port(&self) -> u16 {
        [self.announce_port, self.tls_port].into_iter().find(|port| *port != 0).unwrap_or(self.port)
    }
}

/// What a machine may look at besides its input.
#[derive(Clone, Copy, Debug)]
pub struct Env<'a> {
    /// The time of this input.
    pub now: Now,
    /// Process-wide `current_epoch`.
    pub epoch: &'a EpochRegister,
    /// Process-wide TILT state.
    pub tilt: &'a TiltRegister,
    /// How late the process is with its work.
    pub lateness: &'a LatenessRegister,
    /// Which servers belong to which master.
    pub groups: &'a GroupRegister,
    /// Process-wide settings.
    pub node: &'a NodeSettings,
}
