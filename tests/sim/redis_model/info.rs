//! What a server says of itself.

use std::fmt::Write as _;

use super::{Server, server_ip};
use crate::world::Shared;

/// Room for nearly every text.
const USUAL: usize = 640;

impl Server {
    pub(super) fn info(&self, sh: &Shared) -> String {
        let mut text = String::with_capacity(USUAL);
        // Writing into a string cannot fail.
        let _ = write!(text, "# Server\r\nredis_version:7.0.15\r\nrun_id:{}\r\n\r\n# Replication\r\n", self.run_id);
        match &self.upstream {
            None => {
                text.push_str("role:master\r\n");
            }
            Some(upstream) => {
                let status = if upstream.up { "up" } else { "down" };
                let _ = write!(
                    text,
                    "role:slave\r\nmaster_host:{}\r\nmaster_port:{}\r\nmaster_link_status:{status}\r\n\
                     slave_repl_offset:{}\r\n",
                    upstream.host, upstream.port, self.offset
                );
                if !upstream.up {
                    let down = upstream.down_since.map_or(-1, |since| ((sh.now - since) / 1_000_000) as i64);
                    let _ = write!(text, "master_link_down_since_seconds:{down}\r\n");
                }
                let _ =
                    write!(text, "slave_priority:{}\r\nslave_read_only:1\r\nreplica_announced:1\r\n", self.priority);
            }
        }
        let _ = write!(text, "master_replid:{:040x}\r\n", self.replid);
        if let Some(left) = self.left {
            let _ = write!(text, "master_replid2:{:040x}\r\nsecond_repl_offset:{}\r\n", left.replid, left.offset);
        }
        let _ = write!(text, "connected_slaves:{}\r\n", self.replicas.len());
        for (number, replica) in self.replicas.iter().enumerate() {
            let ip = server_ip(*replica);
            let _ = write!(text, "slave{number}:ip={ip},port=6379,state=online,offset={},lag=0\r\n", self.offset);
        }
        let keys = if self.has_keys { "db0:keys=5000,expires=0,avg_ttl=0\r\n" } else { "" };
        let _ = write!(text, "master_repl_offset:{}\r\n\r\n# Keyspace\r\n{keys}", self.offset);
        text
    }
}
