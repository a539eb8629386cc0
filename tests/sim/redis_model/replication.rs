//! Replication: what happens in a round.

use rand::RngExt;

use super::{CLIENTS_AWAY_US, Point, Process, Server, Upstream};
use crate::world::Shared;

/// A replica that hears nothing from its master for so long gives up its link.
const REPL_TIMEOUT_US: u64 = 4_000_000;

fn catch_up(servers: &mut [Server], replica: usize, master: usize) {
    (servers[replica].offset, servers[replica].replid) = (servers[master].offset, servers[master].replid);
    servers[replica].left = servers[master].left;
    servers[replica].has_keys = servers[master].has_keys;
}

/// One round: links go up and down, replicas catch up, and then masters take writes, which replicas get in the next one.
pub fn replicate(servers: &mut [Server], sh: &mut Shared) {
    for server in servers.iter_mut() {
        server.replicas.clear();
    }
    for server in &*servers {
        server.stranger_speaks(sh);
    }
    for replica in 0..servers.len() {
        if servers[replica].process != Process::Running {
            continue;
        }
        let Some(upstream) = servers[replica].upstream.clone() else { continue };
        let master = servers.iter().position(|server| server.is_at(&upstream.host, upstream.port));
        let Some(master) = master.filter(|master| *master != replica) else { continue };
        round(servers, replica, master, upstream, sh);
    }
    for server in servers.iter_mut() {
        server.unblock(sh);
        if server.process == Process::Running && server.upstream.is_none() {
            // The shortest write there is takes more than a PING.
            let written = sh.rng.servers.random_range(20..1_000);
            if server.takes_writes(sh.now) && server.script.is_none() {
                server.offset += written;
                server.has_keys |= sh.now > server.loading_until + CLIENTS_AWAY_US;
                server.acked = Point { replid: server.replid, offset: server.offset };
            }
        }
    }
    for server in 0..servers.len() {
        hand_over(servers, server, sh);
    }
}

/// A server that hands over goes on, or gives up.
fn hand_over(servers: &mut [Server], server: usize, sh: &mut Shared) {
    let Some(handover) = servers[server].handover.clone() else { return };
    if servers[server].process != Process::Running || sh.now < handover.acked_at {
        return;
    }
    if sh.now > handover.until {
        servers[server].handover = None;
        return;
    }
    let target = servers.iter().position(|other| other.is_at(&handover.host, handover.port));
    let Some(target) = target.filter(|target| servers[server].replicas.contains(target)) else { return };
    if servers[target].offset == servers[server].offset && servers[target].upstream.is_some() {
        servers[target].promote(sh);
        servers[server].handover = None;
        let now = sh.now;
        servers[server].demote((handover.host, handover.port), now);
    }
}

fn round(servers: &mut [Server], replica: usize, master: usize, mut upstream: Upstream, sh: &mut Shared) {
    let connected = sh.net.connects(servers[replica].host, servers[master].host);
    let alive = servers[master].process != Process::Dead && sh.now >= servers[master].loading_until;
    let idle = servers[master].process == Process::Running && servers[master].script.is_none();
    let answers = connected && idle && alive;
    let chained = servers[master].upstream.as_ref().is_none_or(|above| above.up);
    if answers && chained {
        upstream.heard_at = sh.now;
    }
    if upstream.up {
        let is_broken = connected && (!alive || upstream.process != servers[master].processes);
        if is_broken || sh.now - upstream.heard_at > REPL_TIMEOUT_US {
            upstream.up = false;
            upstream.down_since = Some(sh.now);
            upstream.synced_at = None;
        } else if answers && chained {
            catch_up(servers, replica, master);
        }
    } else if answers && chained {
        let delay = sh.sync_us.clone();
        let ready = *upstream.synced_at.get_or_insert_with(|| sh.now + sh.rng.servers.random_range(delay));
        if sh.now >= ready {
            (upstream.up, upstream.process) = (true, servers[master].processes);
            catch_up(servers, replica, master);
        }
    } else {
        upstream.synced_at = None;
    }
    if upstream.up && answers {
        servers[master].replicas.push(replica);
    }
    servers[replica].upstream = Some(upstream);
}
