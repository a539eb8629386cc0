//! Planted bugs. The suite must catch every one of them within a stated number of seeds; a simulation that nobody has
//! seen fail proves nothing. They sit at the edge of the core, which stays as it is.

use sentineld::sentinel::id::{Epoch, LinkId, RunId};
use sentineld::sentinel::io::{Input, Reply};
use sentineld::sentinel::monitor::hello::Hello;

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// All is well.
    None,
    /// The core is told that a record is on disk as soon as it wants it saved.
    GrantBeforeDurable,
    /// A peer's vote for me counts in whatever epoch I am a candidate now.
    TallyIgnoresEpoch,
    /// My own hellos come back under other ids, so that I become my own peers.
    OwnPeer,
    /// Hellos are always taken for newer than what I know.
    HelloIgnoresEpoch,
    /// Hellos of others are not heard, so nobody knows how many voters there are.
    VotersForgotten,
}

impl Canary {
    /// What the core gets for a payload from a hello channel.
    pub fn hello(self, payload: Option<Box<[u8]>>, link: LinkId, myid: &RunId) -> Option<Box<[u8]>> {
        if self != Canary::OwnPeer {
            return payload;
        }
        let bytes = payload?;
        let Some(mut hello) = Hello::parse(&bytes).filter(|hello| hello.id == *myid) else { return Some(bytes) };
        // Two more of me, at ports of their own so that neither replaces the other.
        let alias = 1 + link.0 % 2;
        hello.port += alias as u16;
        hello.id = RunId::from(format!("{}x{alias}", &myid.as_str()[..38]).as_str());
        Some(hello.to_string().into_bytes().into())
    }

    /// What the core gets instead of an input.
    pub fn input(self, input: Input, asked_in: Epoch) -> Input {
        match (self, input) {
            (Canary::TallyIgnoresEpoch, Input::PeerReply { peer, tag, value }) => {
                Input::PeerReply { peer, tag, value: with_epoch(value, asked_in) }
            }
            (Canary::HelloIgnoresEpoch, Input::PubSub { link, payload: Some(payload) }) => {
                let payload = match Hello::parse(&payload) {
                    Some(hello) => newer(hello).to_string().into_bytes().into(),
                    None => payload,
                };
                Input::PubSub { link, payload: Some(payload) }
            }
            (Canary::VotersForgotten, Input::PubSub { link, .. }) => Input::PubSub { link, payload: None },
            (_, input) => input,
        }
    }
}

fn with_epoch(value: Reply, asked_in: Epoch) -> Reply {
    match value {
        Reply::Array(mut parts) if parts.len() == 3 && parts[1] != Reply::Bulk(b"*".as_slice().into()) => {
            parts[2] = Reply::Integer(asked_in.0 as i64);
            Reply::Array(parts)
        }
        value => value,
    }
}

fn newer(hello: Hello) -> Hello {
    // As current as can be without moving the receiver's own epoch.
    Hello { config_epoch: hello.current_epoch, ..hello }
}
