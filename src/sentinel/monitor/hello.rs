//! The hello message: how Sentinels find each other and learn of newer configurations.

use std::fmt;

use crate::sentinel::id::{Epoch, MasterName, RunId};

/// One hello. On the wire eight comma-separated fields without escaping:
/// `<ip>,<port>,<id>,<current epoch>,<master name>,<master ip>,<master port>,<config epoch>` (failover.md 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Host at which the sender is reached.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its id.
    pub id: RunId,
    /// Its current epoch.
    pub current_epoch: Epoch,
    /// The master it speaks of.
    pub master: MasterName,
    /// That master's address according to the sender.
    pub master_host: String,
    /// Its port.
    pub master_port: u16,
    /// Epoch of that address.
    pub config_epoch: Epoch,
}

impl Hello {
    /// Reads a payload. `None` for anything but eight fields with numbers where numbers belong: such a message
    /// changes nothing at all (failover.md 72).
    pub fn parse(payload: &[u8]) -> Option<Hello> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut fields = text.split(',');
        let mut next = || fields.next();
        let hello = Hello {
            host: next()?.to_owned(),
            port: next()?.parse().ok()?,
            id: RunId::from(next()?),
            current_epoch: Epoch(next()?.parse().ok()?),
            master: MasterName::from(next()?),
            master_host: next()?.to_owned(),
            master_port: next()?.parse().ok()?,
            config_epoch: Epoch(next()?.parse().ok()?),
        };
        fields.next().is_none().then_some(hello)
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hello { host, port, id, current_epoch, master, master_host, master_port, config_epoch } = self;
        write!(f, "{host},{port},{id},{current_epoch},{master},{master_host},{master_port},{config_epoch}")
    }
}
