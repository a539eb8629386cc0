//! What Sentinels say that may be none of ours: heard on the channel of a server it speaks for whose that is; and a
//! configuration, or a peer, may be of another group with the same name.

use super::{Heard, MAX_REMEMBERED, Reason, key_of};
use crate::sentinel::Env;
use crate::sentinel::addr::Addr;
use crate::sentinel::event::{EventKind, Level};
use crate::sentinel::groups::Whose;
use crate::sentinel::id::{LinkId, RunId};
use crate::sentinel::io::{Outbox, Output};
use crate::sentinel::monitor::Monitor;
use crate::sentinel::monitor::hello::Hello;
use crate::sentinel::monitor::instance::{Replica, Role, Server};
use crate::sentinel::time::Millis;

impl Monitor {
    /// E2: a hello was heard on the channel of a server.
    pub(in crate::sentinel::monitor) fn note_hello_on(&mut self, link: LinkId, hello: &Hello, env: &Env<'_>) {
        if !self.guards() || hello.id == env.node.myid || self.identity.kin.contains(&hello.id) {
            return;
        }
        let named = &hello.master_addr;
        let Some(at) = self.replicas.values().map(|replica| &replica.server).find(|server| server.has_link(link))
        else {
            return;
        };
        // Somebody who lags behind names one of ours, though not the one it is heard on.
        let lags = hello.master == self.spec.name
            && self.replica_at(named).is_some_and(|named| !named.server.addr.same_as(&at.addr));
        if lags || self.is_master_here(named) {
            return;
        }
        let reason = Reason::Hello(hello.master.clone(), hello.master_addr.host.clone(), hello.master_addr.port);
        for replica in self.replicas.values_mut().filter(|replica| replica.server.has_link(link)) {
            let Server { link: connections, suspicion, .. } = &mut replica.server;
            if suspicion.heard.as_ref().is_none_or(|heard| heard.link != link) {
                let is_its_own = connections
                    .pubsub
                    .zip(connections.command)
                    .is_some_and(|(pubsub, command)| pubsub.since >= command.since);
                let (at, from, reason) = (env.now.mono, hello.id.clone(), reason.clone());
                suspicion.heard = Some(Heard { link, is_its_own, at, from, reason });
                // Whatever is there may be another process than the one that we know.
                replica.server.info_wanted_at = Some(env.now.mono);
            }
        }
    }

    /// Why a hello of a configuration that is newer than ours is none for this group. `master` is where it says that the
    /// master is.
    pub(in crate::sentinel::monitor) fn refuses_config(
        &mut self,
        hello: &Hello,
        master: &Addr,
        env: &Env<'_>,
    ) -> Option<Reason> {
        let is_adopted = self.identity.adopted.contains_key(&key_of(master));
        if !self.guards() || is_adopted || self.is_master_here(master) {
            return None;
        }
        let reason = || Reason::Hello(hello.master.clone(), hello.master_addr.host.clone(), hello.master_addr.port);
        let is_kin = self.identity.kin.contains(&hello.id);
        if let Some(known) = self.replica_at(master) {
            let is_unknown = self.history.is_empty() && !known.server.is_there();
            // What a stranger calls a master must say so itself, with our data. Another group's master may have been there
            // before ours came back.
            let is_master = known.server.papers.role == Some(Role::Master) && self.is_confirmed(known);
            let is_trusted = is_unknown || is_master || self.is_followed(master, known.server.connected_since());
            let foreign = known.server.suspicion.foreign.clone();
            // One of ours may know what we have missed: what its data and its replicas look like proves little.
            let refused = match foreign {
                Some(Reason::Replica(..) | Reason::Data) if is_kin => self.stranger_at(&known.server).cloned(),
                Some(reason) => Some(reason),
                None => (!is_kin && !is_trusted).then(reason),
            };
            let named = self.replicas.values_mut().filter(|replica| replica.server.addr.same_as(master));
            if refused.is_some() {
                named.for_each(|replica| replica.server.info_wanted_at = Some(env.now.mono));
            }
            return refused;
        }
        if let Some(owner) = self.owned_by_others(Some(Whose::Address(master, env.now.mono)), env) {
            return Some(owner);
        }
        let is_plausible = is_kin && (!self.master_looks_sane(env) || self.was_member(master));
        // Who followed a member that was there does not follow whoever speaks for the place now.
        let since = self.heard_at_a_replica(&hello.id).unwrap_or_default();
        if self.is_followed(master, since) || !self.knows_members() || is_plausible {
            return None;
        }
        if is_kin {
            // It may have been promoted before we have heard of it. Then our master tells of it, or is its replica.
            self.master.info_wanted_at = Some(env.now.mono);
        }
        Some(reason())
    }

    fn replica_at(&self, addr: &Addr) -> Option<&Replica> {
        self.replicas.values().map(|replica| &**replica).find(|replica| replica.server.addr.same_as(addr))
    }

    /// Whether what answers at a replica's address is the group's beyond doubt.
    fn is_confirmed(&self, replica: &Replica) -> bool {
        let is_member = || self.is_obedient(replica) || self.has_our_history(&replica.server.papers);
        // The two connections to an address may lead to two processes, one of which is gone.
        let pubsub = replica.server.link.pubsub.map(|pubsub| pubsub.since);
        let is_news = pubsub.is_none_or(|since| replica.server.info_at.is_some_and(|at| at >= since));
        replica.server.has_shown_papers() && is_news && is_member()
    }

    /// Whether a member of ours replicates from this address, and from whoever is there since `since`.
    fn is_followed(&self, master: &Addr, since: Millis) -> bool {
        let follows = |server: &Server| {
            let upstream = server.papers.upstream.as_ref().filter(|_| server.papers.role == Some(Role::Replica));
            upstream.is_some_and(|(host, port)| Addr::new(host, *port).same_as(master))
                && server.info_at.is_some_and(|at| at > since)
        };
        let mut replicas = self.replicas.values().filter(|replica| replica.link_up).map(|replica| &replica.server);
        // What begins to follow it at one of our addresses may be one of its own.
        let is_ours = |server: &Server| self.is_same_member(server) || self.has_our_history(&server.papers);
        // Whoever has heard neither its master nor a peer since it was told of them can compare it with nothing.
        let is_taken_for_ours = self.history.is_empty() && self.identity.kin.is_empty();
        follows(&self.master) && (is_taken_for_ours || is_ours(&self.master))
            || replicas.any(|server| follows(server) && is_ours(server))
    }

    /// Whether a hello that brings no newer configuration is of another group with the same name: whoever sends it would
    /// be a voter here.
    pub(in crate::sentinel::monitor) fn is_stranger(&self, hello: &Hello) -> bool {
        let named = &hello.master_addr;
        self.guards()
            && self.knows_members()
            && !self.identity.kin.contains(&hello.id)
            && named.ip.is_some()
            && !self.is_credible(named, &hello.id)
            && !self.identity.adopted.contains_key(&key_of(named))
    }

    /// Whether `sender`, if it is one of ours that lags behind, may take this for our master: it is, or was, one of ours, and
    /// nobody else is known to be there.
    fn is_credible(&self, named: &Addr, sender: &RunId) -> bool {
        match self.replica_at(named) {
            Some(replica) if replica.server.papers.role == Some(Role::Master) => {
                !replica.server.is_there() || self.is_confirmed(replica)
            }
            Some(replica) => !replica.server.is_there(),
            // A host name may have moved on from there, while our subscription has not: then it is heard on the very server
            // that it speaks for.
            None => self.was_member(named) && self.heard_at_a_replica(sender).is_none(),
        }
    }

    /// Since when this Sentinel is heard on the channel of a server against which it speaks.
    fn heard_at_a_replica(&self, sender: &RunId) -> Option<Millis> {
        let heard = self.replicas.values().filter_map(|replica| replica.server.suspicion.heard.as_ref());
        heard.filter(|heard| heard.from == *sender).map(|heard| heard.at).max()
    }

    /// Whoever names our master is one of ours.
    pub(in crate::sentinel::monitor) fn note_kin(&mut self, hello: &Hello) {
        let named = &hello.master_addr;
        let is_ours = self.is_master_here(named) || (named.ip.is_none() && *self.master.addr.host == *named.host);
        if is_ours && self.identity.kin.len() < MAX_REMEMBERED && !self.identity.kin.contains(&hello.id) {
            self.identity.kin.insert(hello.id.clone());
        }
    }

    /// `-config-update-foreign`, once for each sender and reason.
    pub(in crate::sentinel::monitor) fn refuse_config(
        &mut self,
        hello: &Hello,
        reason: &Reason,
        env: &Env<'_>,
        out: &mut Outbox,
    ) {
        let payload = format!("{} #{reason}", self.describe_sender(hello, env));
        if self.is_new_refusal(&payload) {
            self.emit(EventKind::ConfigUpdateForeign, payload, out);
        }
    }

    /// A line in the log, once for each sender and what it says.
    pub(in crate::sentinel::monitor) fn refuse_stranger(&mut self, hello: &Hello, env: &Env<'_>, out: &mut Outbox) {
        let at = format!("{} {}", hello.master_addr.host, hello.master_addr.port);
        let sender = self.describe_sender(hello, env);
        let text = format!("Refused {sender}: it watches another master of this name, at {at}");
        if self.is_new_refusal(&text) {
            out.push(Output::Log(Level::Warning, text));
        }
    }

    fn is_new_refusal(&mut self, text: &str) -> bool {
        self.identity.refused.len() < MAX_REMEMBERED && self.identity.refused.insert(text.to_owned())
    }

    fn describe_sender(&self, hello: &Hello, env: &Env<'_>) -> String {
        let master = &self.master.addr;
        let at = format!("{} {} {}", self.spec.name, master.shown_host(env.node), master.port);
        format!("sentinel {} {} {} @ {at}", hello.id, hello.addr.host, hello.addr.port)
    }
}
