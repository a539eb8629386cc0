//! Events of one master at one Sentinel come in an order that says something: SDOWN before ODOWN before an attempt, and
//! the steps of a failover one behind the other (failover.md 8, 11).

use std::collections::{BTreeMap, BTreeSet};

use sentineld::sentinel::event::EventKind;

use super::{Checker, Facts, Observation};

/// What has been told, by node and master.
#[derive(Debug, Default)]
pub struct Grammar(BTreeMap<(usize, usize), Told>);

#[derive(Debug, Default)]
struct Told {
    /// The last step of the failover under way.
    step: Option<EventKind>,
    down: BTreeSet<String>,
    odown: bool,
    update_announced: bool,
}

/// What a step has to follow.
fn needs(kind: EventKind) -> Option<&'static [EventKind]> {
    Some(match kind {
        EventKind::ElectedLeader | EventKind::AbortNotElected => &[EventKind::TryFailover],
        EventKind::StateSelectReplica => &[EventKind::ElectedLeader],
        EventKind::SelectedReplica | EventKind::AbortNoGoodReplica => &[EventKind::StateSelectReplica],
        EventKind::StateWaitOffset => &[EventKind::SelectedReplica],
        EventKind::StateSendReplicaofNoOne => &[EventKind::SelectedReplica, EventKind::StateWaitOffset],
        EventKind::StateWaitPromotion => &[EventKind::StateSendReplicaofNoOne],
        EventKind::AbortReplicaTimeout => {
            &[EventKind::StateWaitOffset, EventKind::StateSendReplicaofNoOne, EventKind::StateWaitPromotion]
        }
        EventKind::AbortNotHandedOver => {
            &[EventKind::SelectedReplica, EventKind::StateWaitOffset, EventKind::StateWaitPromotion]
        }
        EventKind::PromotedReplica => &[EventKind::StateWaitPromotion],
        EventKind::StateReconfReplicas => &[EventKind::PromotedReplica],
        EventKind::FailoverEnd => &[EventKind::StateReconfReplicas],
        _ => return None,
    })
}

impl Checker for Grammar {
    fn rule(&self) -> &'static str {
        "grammar: events in order"
    }

    fn see(&mut self, seen: &Observation<'_>, _facts: &Facts) -> Result<(), String> {
        let (node, master, event) = match seen {
            Observation::Started { node, .. } => {
                self.0.retain(|(owner, _), _| owner != node);
                return Ok(());
            }
            Observation::Removed { node, master } => {
                self.0.remove(&(*node, *master));
                return Ok(());
            }
            Observation::Emitted { node, master, event, .. } => (node, master, event),
            _ => return Ok(()),
        };
        let told = self.0.entry((*node, *master)).or_default();
        let wrong = |why: &str| Err(format!("n{node} m{master}: {event}, {why}"));
        if let Some(before) = needs(event.kind) {
            if !told.step.is_some_and(|step| before.contains(&step)) {
                return wrong(&format!("behind {:?}", told.step));
            }
            told.step = Some(event.kind);
        }
        match event.kind {
            EventKind::TryFailover if told.step.is_some() => return wrong("while another is under way"),
            EventKind::TryFailover => told.step = Some(event.kind),
            EventKind::AbortNotElected
            | EventKind::AbortNoGoodReplica
            | EventKind::AbortReplicaTimeout
            | EventKind::AbortNotHandedOver => {
                told.step = None;
            }
            EventKind::SubjectivelyDown if !told.down.insert(instance(&event.payload)) => {
                return wrong("for the second time");
            }
            EventKind::SubjectivelyUp if !told.down.remove(&instance(&event.payload)) => {
                return wrong("and was not down");
            }
            EventKind::ObjectivelyDown => {
                if told.odown || !told.down.contains(&instance(&event.payload)) {
                    return wrong("and was not SDOWN, or was ODOWN");
                }
                told.odown = true;
            }
            EventKind::ObjectivelyUp if !std::mem::take(&mut told.odown) => return wrong("and was not ODOWN"),
            EventKind::ConfigUpdateFrom => told.update_announced = true,
            EventKind::SwitchMaster => {
                // A leader whose promotion is overtaken by a newer configuration settles it first, without an end.
                let settled = [EventKind::FailoverEnd, EventKind::StateReconfReplicas, EventKind::StateWaitPromotion];
                if !told.step.is_some_and(|step| settled.contains(&step)) && !told.update_announced {
                    return wrong("and neither a failover ended nor a newer configuration came");
                }
                let peers = std::mem::take(&mut told.down);
                let is_peer = |who: &String| who.starts_with("sentinel ");
                *told = Told { down: peers.into_iter().filter(is_peer).collect(), ..Told::default() };
            }
            EventKind::ResetMaster => *told = Told::default(),
            _ => {}
        }
        Ok(())
    }
}

/// Type and name of the instance that a payload begins with.
fn instance(payload: &str) -> String {
    payload.split(' ').take(2).collect::<Vec<_>>().join(" ")
}
