//! What the daemon tells the world: one log line and, unless it is a debug event, one published message.

use std::fmt;

/// Levels of stock's log, lowest first. Each has its mark in a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `.`
    Debug,
    /// `-`
    Verbose,
    /// `*`
    Notice,
    /// `#`
    Warning,
}

macro_rules! event_kinds {
    ($($kind:ident $name:literal $level:ident,)*) => {
        /// Every event, by the name of its channel (failover.md 11). Nothing else is ever published.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $(#[doc = concat!("`", $name, "`, level ", stringify!($level), ".")] $kind,)*
        }

        impl EventKind {
            /// All of them, in the order of declaration.
            pub const ALL: &'static [EventKind] = &[$(EventKind::$kind,)*];

            /// The channel, which is also the first word of the log line.
            pub fn name(self) -> &'static str {
                match self { $(EventKind::$kind => $name,)* }
            }

            /// Level of the log line.
            pub fn level(self) -> Level {
                match self { $(EventKind::$kind => Level::$level,)* }
            }
        }
    };
}

event_kinds! {
    Monitor "+monitor" Warning,
    Unmonitor "-monitor" Warning,
    Set "+set" Warning,
    ResetMaster "+reset-master" Warning,
    Replica "+slave" Notice,
    Sentinel "+sentinel" Notice,
    SentinelAddressSwitch "+sentinel-address-switch" Notice,
    SentinelAddressUpdate "+sentinel-address-update" Notice,
    SentinelInvalidAddr "+sentinel-invalid-addr" Notice,
    Reboot "+reboot" Notice,
    RoleChange "+role-change" Verbose,
    RoleMismatch "-role-change" Verbose,
    SubjectivelyDown "+sdown" Warning,
    SubjectivelyUp "-sdown" Warning,
    RebornEmpty "+reborn-empty" Warning,
    ObjectivelyDown "+odown" Warning,
    ObjectivelyUp "-odown" Warning,
    NewEpoch "+new-epoch" Warning,
    TryFailover "+try-failover" Warning,
    VoteForLeader "+vote-for-leader" Warning,
    ElectedLeader "+elected-leader" Warning,
    AbortNotElected "-failover-abort-not-elected" Warning,
    StateSelectReplica "+failover-state-select-slave" Warning,
    AbortNoGoodReplica "-failover-abort-no-good-slave" Warning,
    SelectedReplica "+selected-slave" Warning,
    StateWaitOffset "+failover-state-wait-offset" Notice,
    StateSendReplicaofNoOne "+failover-state-send-slaveof-noone" Notice,
    StateWaitPromotion "+failover-state-wait-promotion" Notice,
    StaleCandidateAccepted "+stale-candidate-accepted" Warning,
    AbortReplicaTimeout "-failover-abort-slave-timeout" Warning,
    AbortNotHandedOver "-failover-abort-not-handed-over" Warning,
    PromotedReplica "+promoted-slave" Warning,
    StateReconfReplicas "+failover-state-reconf-slaves" Warning,
    ReconfSent "+slave-reconf-sent" Notice,
    ReconfInProgress "+slave-reconf-inprog" Notice,
    ReconfDone "+slave-reconf-done" Notice,
    ReconfSentTimeout "-slave-reconf-sent-timeout" Notice,
    ReconfSentBestEffort "+slave-reconf-sent-be" Notice,
    FailoverEndForTimeout "+failover-end-for-timeout" Warning,
    FailoverEnd "+failover-end" Warning,
    SwitchMaster "+switch-master" Warning,
    ConfigUpdateFrom "+config-update-from" Warning,
    ConvertToReplica "+convert-to-slave" Notice,
    FixReplicaConfig "+fix-slave-config" Notice,
    ForeignInstance "+foreign-instance" Warning,
    ConfigUpdateForeign "-config-update-foreign" Warning,
    TiltEntered "+tilt" Warning,
    TiltExited "-tilt" Warning,
    CommandLinkReconnection "-cmd-link-reconnection" Debug,
    PubSubLinkReconnection "-pubsub-link-reconnection" Debug,
    ScriptStarted "+script-child" Debug,
    ScriptEnded "-script-child" Debug,
    ScriptError "-script-error" Warning,
    ScriptTimeout "-script-timeout" Warning,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Channel and level.
    pub kind: EventKind,
    /// The message: the grammar of each kind is in failover.md 11. Instances are written
    /// `<type> <name> <ip> <port>`, replicas and Sentinels followed by ` @ <master> <ip> <port>`.
    pub payload: String,
}

impl Event {
    /// An event of `kind` with `payload`.
    pub fn new(kind: EventKind, payload: impl Into<String>) -> Event {
        Event { kind, payload: payload.into() }
    }

    /// Whether it goes to subscribers: all but debug events do.
    pub fn is_published(&self) -> bool {
        self.kind.level() > Level::Debug
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// config.md 155, as its section 6.4 has it; the last two lists are ours and verbose ones.
    #[test]
    fn every_event_has_its_level() {
        let warning = "+monitor -monitor +set +reset-master +sdown -sdown +odown -odown +new-epoch +try-failover \
                       +vote-for-leader +elected-leader +failover-state-select-slave +selected-slave \
                       -failover-abort-no-good-slave -failover-abort-not-elected -failover-abort-slave-timeout \
                       +promoted-slave +failover-state-reconf-slaves +failover-end +failover-end-for-timeout \
                       +switch-master +config-update-from +tilt -tilt -script-error -script-timeout \
                       +stale-candidate-accepted -failover-abort-not-handed-over +reborn-empty +foreign-instance \
                       -config-update-foreign";
        let notice = "+slave +sentinel +sentinel-address-switch +sentinel-address-update +sentinel-invalid-addr +reboot \
                      +convert-to-slave +fix-slave-config +failover-state-send-slaveof-noone \
                      +failover-state-wait-promotion +slave-reconf-sent +slave-reconf-inprog +slave-reconf-done \
                      +slave-reconf-sent-be -slave-reconf-sent-timeout +failover-state-wait-offset";
        let verbose = "+role-change -role-change";
        let debug = "+script-child -script-child -cmd-link-reconnection -pubsub-link-reconnection";
        let lists =
            [(Level::Warning, warning), (Level::Notice, notice), (Level::Verbose, verbose), (Level::Debug, debug)];
        let mut listed = 0;
        for (level, names) in lists {
            for name in names.split_whitespace() {
                let kind = EventKind::ALL.iter().find(|kind| kind.name() == name);
                assert_eq!(kind.map(|kind| kind.level()), Some(level), "{name}");
                listed += 1;
            }
        }
        assert_eq!(listed, EventKind::ALL.len());
    }

    /// failover.md 191; config.md 156
    #[test]
    fn debug_events_are_logged_only() {
        let published = |kind| Event::new(kind, "x").is_published();
        assert!(!published(EventKind::CommandLinkReconnection) && !published(EventKind::PubSubLinkReconnection));
        let others = EventKind::ALL.iter().filter(|kind| kind.level() != Level::Debug);
        assert!(others.copied().all(published));
    }

    /// failover.md 193, 196: nothing of older versions' vocabulary, nor lines that are not events.
    #[test]
    fn no_event_has_a_name_that_only_history_knows() {
        let historical = [
            "-dup-sentinel",
            "+failover-detected",
            "no-good-slave",
            "selected-slave",
            "failover-state-send-slaveof-noone",
            "failover-end",
            "failover-end-for-timeout",
            "+failover-triggered",
            "+failover-state-wait-start",
            "+failover-takedown",
            "-failover-abort-master-is-back",
            "-failover-abort-x-sdown",
            "-failover-abort-race",
            "-promotion-timeout",
            "-slave-reconf-undo",
            "+demote-old-slave",
            "-demote-flag-cleared",
            "+redirect-to-master",
            "-slave-restart-as-master",
            "+cmd-link",
            "-cmd-link",
            "+pubsub-link",
            "-pubsub-link",
        ];
        for kind in EventKind::ALL {
            let name = kind.name();
            assert!(!historical.contains(&name), "{name}");
            assert!(name.starts_with(['+', '-']) && !name.contains(' '), "{name} is a name with a sign");
        }
    }
}
