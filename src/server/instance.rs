//! The maps that SENTINEL MASTERS, REPLICAS and SENTINELS reply: fields and order of commands.md 4. Every value is a
//! bulk string; points in time become ages here.

use crate::resp::int::put_bulk;
use crate::resp::reply::Value;
use crate::sentinel::monitor::view::{InstanceView, MasterView, ReplicaView, SentinelView, ServerView};
use crate::sentinel::time::Millis;

/// Room for the pairs of nearly every instance.
const USUAL: usize = 1_024;

/// Pairs of a map, in order, encoded as they come: a reply has thousands of them.
#[derive(Debug)]
struct Fields {
    count: usize,
    encoded: Vec<u8>,
}

impl Fields {
    fn new() -> Fields {
        Fields { count: 0, encoded: Vec::with_capacity(USUAL) }
    }

    #[inline]
    fn text(&mut self, name: &'static str, value: &str) {
        self.count += 1;
        put_bulk(&mut self.encoded, name.as_bytes());
        put_bulk(&mut self.encoded, value.as_bytes());
    }

    #[inline]
    fn number(&mut self, name: &'static str, value: impl itoa::Integer) {
        self.text(name, itoa::Buffer::new().format(value));
    }

    fn map(self) -> Value {
        Value::Pairs(self.count, self.encoded)
    }

    #[inline]
    fn age(&mut self, name: &'static str, since: Option<Millis>, now: Millis) {
        self.number(name, since.map_or(0, |since| now.since(since)));
    }

    /// What all three kinds begin with, up to `s-down-time`.
    fn instance(&mut self, instance: &InstanceView, failover_state: Option<&str>, now: Millis) {
        self.text("name", &instance.name);
        self.text("ip", &instance.host);
        self.number("port", instance.port);
        self.text("runid", &instance.run_id);
        self.text("flags", &instance.flags);
        self.number("link-pending-commands", instance.ages.pending_commands());
        self.number("link-refcount", instance.ages.refcount());
        if let Some(state) = failover_state {
            self.text("failover-state", state);
        }
        self.age("last-ping-sent", instance.ages.ping_pending_since(), now);
        self.age("last-ok-ping-reply", Some(instance.ages.last_available()), now);
        self.age("last-ping-reply", Some(instance.ages.last_pong()), now);
        if instance.sdown_since.is_some() {
            self.age("s-down-time", instance.sdown_since, now);
        }
    }

    /// What masters and replicas have in common after that.
    fn server(&mut self, server: &ServerView, now: Millis) {
        self.age("info-refresh", server.info_at, now);
        self.text("role-reported", server.role_reported);
        self.age("role-reported-time", Some(server.role_reported_at), now);
    }
}

/// A master: 20 pairs, and up to five more while they apply.
pub(super) fn master(view: &MasterView, now: Millis) -> Value {
    let mut fields = Fields::new();
    fields.instance(&view.instance, view.failover_state, now);
    if view.odown_since.is_some() {
        fields.age("o-down-time", view.odown_since, now);
    }
    fields.number("down-after-milliseconds", view.instance.down_after);
    fields.server(&view.server, now);
    fields.number("config-epoch", view.config_epoch.0);
    fields.number("num-slaves", view.replicas.len());
    fields.number("num-other-sentinels", view.sentinels.len());
    fields.number("quorum", view.quorum);
    fields.number("failover-timeout", view.failover_timeout);
    fields.number("parallel-syncs", view.parallel_syncs);
    if let Some(path) = &view.notification_script {
        fields.text("notification-script", path);
    }
    if let Some(path) = &view.client_reconfig_script {
        fields.text("client-reconfig-script", path);
    }
    fields.map()
}

/// A replica: 21 pairs, and one more while it is down.
pub(super) fn replica(view: &ReplicaView, now: Millis) -> Value {
    let mut fields = Fields::new();
    fields.instance(&view.instance, None, now);
    fields.number("down-after-milliseconds", view.instance.down_after);
    fields.server(&view.server, now);
    fields.number("master-link-down-time", view.master_link_down);
    fields.text("master-link-status", if view.master_link_up { "ok" } else { "err" });
    fields.text("master-host", &view.master_host);
    fields.number("master-port", view.master_port);
    fields.number("slave-priority", view.priority);
    fields.number("slave-repl-offset", view.offset);
    fields.number("replica-announced", u8::from(view.announced));
    fields.map()
}

/// A Sentinel: 14 pairs, and one more while it is down.
pub(super) fn sentinel(view: &SentinelView, now: Millis) -> Value {
    let mut fields = Fields::new();
    fields.instance(&view.instance, None, now);
    fields.number("down-after-milliseconds", view.instance.down_after);
    fields.age("last-hello-message", Some(view.last_hello.get()), now);
    fields.text("voted-leader", view.voted_leader.as_ref().map_or("?", |id| id.as_str()));
    fields.number("voted-leader-epoch", view.voted_epoch.0);
    fields.map()
}
