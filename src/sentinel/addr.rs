//! Addresses of instances.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::NodeSettings;

/// Where an instance is: the host as it was given, what it resolved to, and the port. Port 0 is never connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr {
    /// As configured or heard: a literal address or a host name.
    pub host: Arc<str>,
    /// The resolved address; `None` for a host name that was not resolved yet.
    pub ip: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
}

impl Addr {
    /// From literal address text or a host name (whose `ip` is then unknown).
    pub fn new(host: &str, port: u16) -> Addr {
        Addr { host: Arc::from(host), ip: host.parse().ok(), port }
    }

    /// Whether `host` is a name that has to be resolved.
    pub fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// Whether both mean the same instance: equal port, and equal ip or equal host ignoring case (failover.md 7).
    pub fn same_as(&self, other: &Addr) -> bool {
        self.port == other.port
            && (self.host.eq_ignore_ascii_case(&other.host) || (self.ip.is_some() && self.ip == other.ip))
    }

    /// The host as shown to others: the ip, or the host name where `announce-hostnames` is on. A name that is not
    /// resolved is shown as given (stock shows nothing, which breaks its own file).
    pub fn shown_host(&self, node: &NodeSettings) -> String {
        match self.ip {
            Some(ip) if !node.announce_hostnames => ip.to_string(),
            _ => self.host.to_string(),
        }
    }

    /// `host:port`, IPv6 in brackets: the name and key of a replica (failover.md 6).
    pub fn key(&self, node: &NodeSettings) -> String {
        join_host_port(&self.shown_host(node), self.port)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&join_host_port(&self.host, self.port))
    }
}

/// `host:port`, with brackets around a host that contains a colon.
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
