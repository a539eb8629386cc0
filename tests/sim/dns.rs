//! Host names: every server has one beside its address. Looking it up takes its time, and may hang, fail or give an address
//! of yesterday.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use rand::RngExt;

use crate::node::Happening;
use crate::redis_model::server_ip;
use crate::world::{Event, Shared};

/// How lookups go just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// They take their time and tell the truth.
    #[default]
    Good,
    /// They are answered at this time, microseconds.
    Hangs(u64),
    /// There is no such name.
    Fails,
    /// Every name means an address at which there is nobody, as a stale record does.
    Stale,
}

/// Where nobody is.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 250);

/// Longest time of a lookup, microseconds.
const SLOWEST_US: u64 = 30_000;

/// Host name of the server with this number.
pub fn server_name(number: usize) -> String {
    format!("s{}.test", number + 1)
}

/// Number of the server with this name.
fn named(host: &str) -> Option<usize> {
    let number: usize = host.strip_prefix('s')?.strip_suffix(".test")?.parse().ok()?;
    number.checked_sub(1)
}

/// The address behind a server's name; anything else as it is.
pub fn true_ip(host: &str) -> Cow<'_, str> {
    named(host).map_or(Cow::Borrowed(host), |number| Cow::Owned(server_ip(number)))
}

/// Address of the server with this number.
fn address(number: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 1, number as u8 + 1).into()
}

impl Dns {
    fn answer(self, host: &str) -> Option<IpAddr> {
        let number = named(host)?;
        match self {
            Dns::Fails => None,
            Dns::Stale => Some(NOBODY.into()),
            Dns::Good | Dns::Hangs(_) => Some(address(number)),
        }
    }
}

impl Shared {
    /// What a name means to somebody who asks now and does not wait for a resolver that hangs.
    pub fn meaning(&self, host: &str) -> Option<IpAddr> {
        host.parse().ok().or_else(|| match self.dns {
            Dns::Hangs(_) | Dns::Fails => None,
            dns => dns.answer(host),
        })
    }

    /// A monitor of this Sentinel looks a name up.
    pub fn look_up(&mut self, node: usize, incarnation: u32, master: usize, host: std::sync::Arc<str>) {
        let takes = self.rng.dns.random_range(100..SLOWEST_US);
        let asked = match self.dns {
            Dns::Hangs(until) => self.now.max(until),
            _ => self.now,
        };
        let (at, ip) = (asked + takes, host.parse().ok().or_else(|| self.dns.answer(&host)));
        let happening = Happening::Resolved { master, host, ip };
        self.push(at, Event::Node { node, incarnation, happening });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_belong_together() {
        assert_eq!(true_ip(&server_name(3)), server_ip(3));
        assert_eq!(true_ip("10.0.1.9"), "10.0.1.9");
        assert_eq!(address(3).to_string(), server_ip(3));
    }
}
