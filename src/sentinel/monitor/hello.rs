//! The hello message: how Sentinels find each other and learn of newer configurations.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use memchr::memchr;

use super::Monitor;
use super::instance::{HelloPace, Sentinel, ServerId};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::beat::Beat;
use crate::sentinel::command::Command;
use crate::sentinel::event::{EventKind, Level};
use crate::sentinel::id::{Epoch, MasterName, RunId};
use crate::sentinel::io::{Outbox, Output, Reply, Tag};
use crate::sentinel::link::is_due;
use crate::sentinel::node::NodeNotice;
use crate::sentinel::time::Millis;

/// One hello. On the wire eight comma-separated fields without escaping:
/// `<ip>,<port>,<id>,<current epoch>,<master name>,<master ip>,<master port>,<config epoch>` (failover.md 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Where the sender is reached.
    pub addr: Addr,
    /// Its id.
    pub id: RunId,
    /// Its current epoch.
    pub current_epoch: Epoch,
    /// The master it speaks of.
    pub master: MasterName,
    /// That master's address according to the sender.
    pub master_addr: Addr,
    /// Epoch of that address.
    pub config_epoch: Epoch,
}

impl Hello {
    /// Reads a payload. `None` for anything but eight fields with numbers where numbers belong: such a message
    /// changes nothing at all (failover.md 72).
    pub fn parse(payload: &[u8]) -> Option<Hello> {
        let mut rest = Some(std::str::from_utf8(payload).ok()?);
        let mut next = || {
            let here = rest?;
            let comma = memchr(b',', here.as_bytes());
            rest = comma.map(|comma| &here[comma + 1..]);
            Some(comma.map_or(here, |comma| &here[..comma]))
        };
        let hello = Hello {
            addr: Addr::new(next()?, next()?.parse().ok()?),
            id: RunId::from(next()?),
            current_epoch: Epoch(next()?.parse().ok()?),
            master: MasterName::from(next()?),
            master_addr: Addr::new(next()?, next()?.parse().ok()?),
            config_epoch: Epoch(next()?.parse().ok()?),
        };
        rest.is_none().then_some(hello)
    }
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hello { addr, id, current_epoch, master, master_addr, config_epoch } = self;
        let (addr, master_addr) = ((&*addr.host, addr.port), (&*master_addr.host, master_addr.port));
        f.write_str(&print(addr, (id, *current_epoch), master, master_addr, *config_epoch))
    }
}

/// The payload: the sender's address, its id and current epoch, and of which master it says what.
fn print(
    (host, port): (&str, u16),
    (id, current_epoch): (&RunId, Epoch),
    master: &MasterName,
    (master_host, master_port): (&str, u16),
    config_epoch: Epoch,
) -> String {
    let mut payload = String::with_capacity(TYPICAL_LENGTH);
    // Writing into a string cannot fail.
    let _ = write!(payload, "{host},{port},{id},{current_epoch},{master},{master_host},{master_port},{config_epoch}");
    payload
}

/// Room for a payload, bytes.
const TYPICAL_LENGTH: usize = 160;
/// A hello that was refused is sent again after this long, ms.
const RETRY_PERIOD: u64 = 1_000;

impl Monitor {
    /// A hello about this master. It is taken as a whole or not at all: first everything in it is checked, then the
    /// peer, the epoch and the configuration are adopted, in this order.
    pub(super) fn on_hello(&mut self, hello: &Hello, env: &Env<'_>, out: &mut Outbox) {
        if hello.master != self.spec.name || hello.id == env.node.myid {
            return;
        }
        if !env.epoch.is_sane(hello.current_epoch) || !env.epoch.is_sane(hello.config_epoch) {
            let text = format!("Refused a hello of {} with an epoch out of range: {hello}", hello.id);
            self.log_once(text, out);
            return;
        }
        let Some(addr) = self.locate(hello.addr.clone(), env, out) else { return };
        let newer = hello.config_epoch > self.config_epoch;
        let master = if newer { self.locate(hello.master_addr.clone(), env, out) } else { None };
        if newer && master.is_none() {
            return;
        }
        self.note_kin(hello);
        match &master {
            Some(named) => {
                if let Some(reason) = self.refuses_config(hello, named, env) {
                    self.refuse_config(hello, &reason, env, out);
                    return;
                }
            }
            None if self.is_stranger(hello) => {
                self.refuse_stranger(hello, env, out);
                return;
            }
            None => {}
        }
        self.meet(&hello.id, addr, env, out);
        self.observe_epoch(hello.current_epoch.max(hello.config_epoch), env, out);
        if let Some(master) = master {
            self.adopt_config(hello, master, env, out);
            self.note_kin(hello);
        }
        if let Some(sentinel) = self.sentinels.get_mut(&hello.id) {
            sentinel.last_hello.set(env.now.mono);
        }
    }

    /// Makes sure that the peer is known under this address.
    fn meet(&mut self, id: &RunId, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        match self.sentinels.get(id) {
            Some(known) if known.addr.same_as(&addr) => return,
            Some(_) => self.move_peer(id, addr, env, out),
            None => self.add_peer(id, addr, env, out),
        }
        self.persist(env, out);
    }

    fn add_peer(&mut self, id: &RunId, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        let squatted = self.sentinels.iter().find(|(_, sentinel)| sentinel.addr.same_as(&addr));
        if let Some(old) = squatted.map(|(old, _)| old.clone()) {
            self.emit(EventKind::SentinelInvalidAddr, self.describe_sentinel(&old, env), out);
            self.sentinels.remove(&old);
            out.push(Output::Notify(NodeNotice::PeerReplaced { peer: old, addr: addr.clone() }));
        }
        self.sentinels.insert(id.clone(), Box::new(Sentinel::new(addr.clone(), env.now.mono)));
        self.watch_peer(id, addr, out);
        self.emit(EventKind::Sentinel, self.describe_sentinel(id, env), out);
    }

    /// Votes and answers known of a peer are lost with its old address, as in stock.
    fn move_peer(&mut self, id: &RunId, addr: Addr, env: &Env<'_>, out: &mut Outbox) {
        let payload = format!(
            "{} ip {} port {} for {id}",
            self.describe(&ServerId::Master, env),
            addr.shown_host(env.node),
            addr.port
        );
        self.emit(EventKind::SentinelAddressSwitch, payload, out);
        self.sentinels.insert(id.clone(), Box::new(Sentinel::new(addr.clone(), env.now.mono)));
        out.push(Output::Notify(NodeNotice::PeerMoved { peer: id.clone(), addr }));
    }

    /// Tells the supervisor that this master has this peer.
    pub(super) fn watch_peer(&self, id: &RunId, addr: Addr, out: &mut Outbox) {
        let down_after = self.spec.down_after;
        out.push(Output::Notify(NodeNotice::WatchPeer { peer: id.clone(), addr, down_after }));
    }

    /// Follows a configuration that is newer than ours. The same address under a newer epoch changes only the epoch.
    fn adopt_config(&mut self, hello: &Hello, master: Addr, env: &Env<'_>, out: &mut Outbox) {
        assert!(hello.config_epoch > self.config_epoch, "config epochs grow");
        // A promotion of ours may have been announced: what is newer replaces the promoted address, not the one before
        // (stock compares with the one before, and then gives its promoted replica an epoch that names another).
        self.settle_promotion(env, out);
        if hello.config_epoch <= self.config_epoch {
            return;
        }
        let before = std::mem::replace(&mut self.config_epoch, hello.config_epoch);
        if self.master.addr.same_as(&master) {
            self.confirm_deposed(before);
            // From now on by the name under which everybody knows it: ours may come to mean another server.
            self.abort_overtaken(env, out);
            self.rename_master(master, env, out);
            self.persist(env, out);
        } else {
            self.follow_config(self.describe_sentinel(&hello.id, env), &master, env, out);
        }
        // Nobody hears of the newer configuration from us before it is on our disk (failover.md I5).
        self.announce_after = self.rev;
    }

    /// When the next hello to anybody is due, as far as time decides it.
    pub(super) fn hello_at(&self, env: &Env<'_>) -> Option<Millis> {
        if self.durable < self.announce_after {
            return None;
        }
        // A hello says where we are: the address of the connection, unless `announce-ip` is set.
        let has_local = |local: Option<IpAddr>| local.is_some() || env.node.announce_ip.is_some();
        let held = usize::from(self.writes_are_held());
        let servers = self.servers().skip(held).filter(|server| server.link.health.connected && server.link.has_room());
        let servers = servers.filter(|server| has_local(server.link.health.local));
        let peers = self.sentinels.values().filter(|sentinel| sentinel.health.connected);
        let peers = peers.filter(|sentinel| has_local(sentinel.health.local));
        servers.map(|server| server.hello).chain(peers.map(|peer| peer.hello)).filter_map(|hello| hello.at()).min()
    }

    /// Publishes to one server, if due.
    pub(super) fn publish_to_server(&mut self, who: &ServerId, env: &Env<'_>, out: &mut Outbox) {
        let Some(server) = self.server(who) else { return };
        let local = server.link.health.local;
        let held = *who == ServerId::Master && self.writes_are_held();
        let ready = server.link.health.connected && server.link.has_room() && !held;
        let is_foreign = server.is_foreign();
        let Some(payload) = self.hello_if_due(server.hello, ready, local, env) else { return };
        // Who hears us there is no business of ours, and may believe us.
        if let (true, Some(server)) = (is_foreign, self.server_mut(who)) {
            server.hello.due = env.now.mono + env.node.periods.publish;
            return;
        }
        if self.send(who, Tag::Publish, Command::PublishHello(payload), out)
            && let Some(server) = self.server_mut(who)
        {
            server.hello.outstanding += 1;
            self.note_hello_sent(who, env.now.mono);
        }
    }

    /// Publishes to one peer, if due.
    pub(super) fn publish_to_peer(&mut self, peer: &RunId, env: &Env<'_>, out: &mut Outbox) {
        let Some(sentinel) = self.sentinels.get(peer) else { return };
        let local = sentinel.health.local;
        let ready = sentinel.health.connected;
        let Some(payload) = self.hello_if_due(sentinel.hello, ready, local, env) else { return };
        let command = Command::PublishHello(payload);
        out.push(Output::SendPeer { peer: peer.clone(), tag: Tag::Publish, command });
        if let Some(sentinel) = self.sentinels.get_mut(peer) {
            sentinel.hello.outstanding += 1;
        }
    }

    fn hello_if_due(&self, pace: HelloPace, ready: bool, local: Option<IpAddr>, env: &Env<'_>) -> Option<String> {
        let due = ready && is_due(pace.at(), env.now.mono) && self.durable >= self.announce_after;
        if !due {
            return None;
        }
        let host = env.node.announce_ip.clone().or_else(|| local.map(|ip| ip.to_string()))?;
        let master = self.current_addr();
        Some(print(
            (&host, env.node.announced_port()),
            (&env.node.myid, env.epoch.current()),
            &self.spec.name,
            (&master.shown_host(env.node), master.port),
            self.config_epoch,
        ))
    }

    /// Writes a refusal to the log, but the same one only once in a row: it comes again every two seconds.
    fn log_once(&mut self, text: String, out: &mut Outbox) {
        if self.last_refusal.as_ref() != Some(&text) {
            out.push(Output::Log(Level::Warning, text.clone()));
            self.last_refusal = Some(text);
        }
    }
}

impl HelloPace {
    /// A PUBLISH was answered: an error means that it has not been published.
    pub(super) fn answered(&mut self, value: &Reply, beat: Beat, env: &Env<'_>) {
        self.outstanding = self.outstanding.saturating_sub(1);
        let (now, period) = (env.now.mono, env.node.periods.publish);
        let refused = matches!(value, Reply::Error(_));
        self.due = if refused { now + RETRY_PERIOD } else { beat.until(now + period, period) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "127.0.0.1,23310,73b56ff1717e177615e61c602c1026f1fc6140c5,7,mymaster,127.0.0.2,23300,5";

    /// failover.md 69
    #[test]
    fn payload_has_eight_fields_in_order() {
        let hello = Hello::parse(EXAMPLE.as_bytes()).expect("well-formed");
        assert_eq!((&hello.addr, hello.current_epoch), (&Addr::new("127.0.0.1", 23310), Epoch(7)));
        assert_eq!((&hello.master_addr, hello.config_epoch), (&Addr::new("127.0.0.2", 23300), Epoch(5)));
        assert_eq!(hello.to_string(), EXAMPLE);
    }

    /// failover.md 72, 87
    #[test]
    fn malformed_payloads_are_ignored() {
        let nine = format!("{EXAMPLE},x");
        let seven = EXAMPLE.rsplit_once(',').expect("has commas").0;
        let port = EXAMPLE.replace("23310", "99999");
        let epoch = EXAMPLE.replace(",7,", ",-1,");
        for payload in ["", &nine, seven, &port, &epoch] {
            assert_eq!(Hello::parse(payload.as_bytes()), None, "{payload}");
        }
    }

    proptest! {
        #[test]
        fn parsing_undoes_printing(host in "[a-z0-9.:]{1,20}", port: u16, id in "[0-9a-f]{40}", epoch: u64,
                                   name in "[^,]{1,20}", master_port: u16, config_epoch: u64) {
            let hello = Hello {
                addr: Addr::new(&host, port), id: RunId::from(id.as_str()), current_epoch: Epoch(epoch),
                master: MasterName::from(name.as_str()), master_addr: Addr::new(&host, master_port),
                config_epoch: Epoch(config_epoch),
            };
            prop_assert_eq!(Hello::parse(hello.to_string().as_bytes()), Some(hello));
        }

        #[test]
        fn never_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            Hello::parse(&payload);
        }
    }
}
