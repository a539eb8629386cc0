//! Scripted hard cases: one quiet world each, and exactly the faults that the case is about.

mod beyond;
mod coordinated;
mod disk;
mod leader_crash;
mod partition;
mod stall;
mod together;

use crate::canary::Canary;
use crate::net::Host;
use crate::swarm::Swarm;
use crate::trace::Keep;
use crate::world::{Violation, World};

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// Longer than any scenario.
const FOR_GOOD: u64 = 3_600 * SECOND;

/// A quiet world in which everybody knows everybody.
fn quiet() -> World {
    world(Swarm::quiet(7))
}

fn world(swarm: Swarm) -> World {
    let keep = if std::env::var("SIM_TRACE").is_ok() { Keep::Lines } else { Keep::Nothing };
    let mut world = World::new(swarm, keep, Canary::None, None);
    let started = world.start(Canary::None);
    check(&mut world, started);
    let settled = world.demand_agreement("start");
    check(&mut world, settled);
    world
}

/// Fails the scenario with what was broken, and the trace if it was asked for.
fn check<T>(world: &mut World, result: Result<T, Violation>) -> T {
    match result {
        Ok(value) => value,
        Err(Violation { rule, story, at }) => {
            for line in world.sh.trace.tail(usize::MAX) {
                crate::say(line);
            }
            panic!("at {:.6} s: {rule}: {story}", at as f64 / 1e6);
        }
    }
}

/// Runs until the condition holds; a scenario that waits in vain has failed.
fn until(world: &mut World, us: u64, what: &str, mut holds: impl FnMut(&World) -> bool) {
    let usual = std::mem::take(&mut world.look_us);
    let reached = world.run_while(us, |world| !holds(world));
    world.look_us = usual;
    if !check(world, reached) {
        let at = world.sh.now;
        check::<()>(world, Err(Violation { rule: "scenario", story: format!("waited in vain for {what}"), at }));
    }
}

/// Runs until the condition holds, or so long in vain.
fn reaches(world: &mut World, us: u64, mut holds: impl FnMut(&World) -> bool) -> bool {
    let reached = world.run_while(us, |world| !holds(world));
    check(world, reached)
}

fn pass(world: &mut World, us: u64) {
    let passed = world.run_for(us);
    check(world, passed);
}

fn agree(world: &mut World) {
    let agreed = world.demand_agreement("agreement");
    check(world, agreed);
}

/// Number of the server that this Sentinel names as the first master.
fn named_by(world: &World, node: Host) -> Option<usize> {
    let view = world.nodes[node].view(0)?;
    world.server_at(&view.current_host, view.current_port)
}

/// The Sentinel that is in this state of a failover of the first master.
fn leader_in(world: &World, state: &str) -> Option<Host> {
    let is_in = |node: &&crate::node::Node| node.view(0).is_some_and(|view| view.failover_state == Some(state));
    world.nodes.iter().find(is_in).map(|node| node.host)
}

/// All ways between two groups of hosts.
fn ways(one: &[Host], other: &[Host]) -> Vec<(Host, Host)> {
    one.iter().flat_map(|from| other.iter().flat_map(move |to| [(*from, *to), (*to, *from)])).collect()
}
