//! Addresses of instances.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::NodeSettings;

/// Where an instance is: the host as it was given, what it resolved to, and the port. Port 0 is never connected to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr {
    /// As configured or heard: a literal address or a host name.
    pub host: Arc<str>,
    /// The resolved address; `None` for a host name that was not resolved yet.
    pub ip: Option<IpAddr>,
    /// TCP port.
    pub port: u16,
    /// Follows from `host`, and is asked for all the time.
    is_named: bool,
}

impl Addr {
    /// From literal address text or a host name (whose `ip` is then unknown).
    pub fn new(host: &str, port: u16) -> Addr {
        let ip = host.parse().ok();
        Addr { host: Arc::from(host), ip, port, is_named: ip.is_none() }
    }

    /// The same host, once it is known what it means, or is not known any more.
    #[must_use]
    pub fn meaning(self, ip: Option<IpAddr>) -> Addr {
        Addr { ip, ..self }
    }

    /// Whether `host` is a name that has to be resolved.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// Whether both mean the same instance: equal port, and equal ip or equal host ignoring case (failover.md 7).
    pub fn same_as(&self, other: &Addr) -> bool {
        self.port == other.port
            && (self.host.eq_ignore_ascii_case(&other.host) || (self.ip.is_some() && self.ip == other.ip))
    }

    /// The host as shown to others: the ip, or the host name where `announce-hostnames` is on. A name that is not
    /// resolved is shown as given (stock shows nothing, which breaks its own file).
    pub fn shown_host(&self, node: &NodeSettings) -> Arc<str> {
        match self.ip {
            // The text of an IPv4 address is the only one that it has.
            Some(ip) if !node.announce_hostnames && (self.is_named || !ip.is_ipv4()) => Arc::from(ip.to_string()),
            _ => Arc::clone(&self.host),
        }
    }

    /// `host:port`, IPv6 in brackets: the name and key of a replica (failover.md 6).
    pub fn key(&self, node: &NodeSettings) -> String {
        join_host_port(&self.shown_host(node), self.port)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addr { host, ip, port, is_named: _ } = self;
        f.debug_struct("Addr").field("host", host).field("ip", ip).field("port", port).finish()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::id::RunId;

    /// failover.md 7
    #[test]
    fn equal_are_port_and_either_ip_or_name() {
        let named = |host: &str, ip: &str, port| Addr::new(host, port).meaning(ip.parse().ok());
        assert!(Addr::new("10.0.0.1", 1).same_as(&named("db.example", "10.0.0.1", 1)));
        assert!(named("db.example", "10.0.0.1", 1).same_as(&named("DB.example", "10.0.0.2", 1)));
        assert!(named("db.example", "", 1).same_as(&named("DB.example", "", 1)));
        assert!(!named("db.example", "", 1).same_as(&named("other.example", "", 1)), "unknown ips are not equal");
        assert!(!Addr::new("10.0.0.1", 1).same_as(&Addr::new("10.0.0.1", 2)));
        assert!(!Addr::new("10.0.0.1", 1).same_as(&Addr::new("10.0.0.2", 1)));
    }

    /// failover.md 6, 197
    #[test]
    fn keys_are_what_others_are_shown() {
        let mut node = NodeSettings::new(RunId::from("me"));
        let named = Addr::new("db.example", 6380).meaning("10.0.0.1".parse().ok());
        assert_eq!(named.key(&node), "10.0.0.1:6380");
        assert_eq!(Addr::new("::1", 6380).key(&node), "[::1]:6380");
        node.announce_hostnames = true;
        assert_eq!(named.key(&node), "db.example:6380");
    }
}
