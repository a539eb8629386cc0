//! Many votes over one connection: each is asked for at once and replied when it is on disk, in order.

use tokio::sync::mpsc;

use sentineld::driver::{Answered, MonitorMessage};
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::io::Answer;
use tokio::sync::oneshot;

use crate::wire::array;
use crate::world::{PEER, World, master};

struct Asked {
    epoch: Epoch,
    reply: oneshot::Sender<Answered>,
}

impl Asked {
    async fn by(inbox: &mut mpsc::Receiver<MonitorMessage>) -> Asked {
        match inbox.recv().await {
            Some(MonitorMessage::Vote { epoch, reply, .. }) => Asked { epoch, reply },
            other => panic!("not a vote: {other:?}"),
        }
    }

    fn grant(self) {
        let answer = Answer::Vote { down: true, leader: Some(RunId::from(PEER)), epoch: self.epoch };
        self.reply.send(Answered { answer, after_event: 0 }).expect("somebody waits");
    }
}

fn request(port: u16, epoch: u64) -> Vec<u8> {
    array(&["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", &port.to_string(), &epoch.to_string(), PEER])
}

fn vote(epoch: u64) -> String {
    format!("*3\r\n:1\r\n$40\r\n{PEER}\r\n:{epoch}\r\n")
}

/// commands.md 62: as many as there are masters that fail together.
#[tokio::test]
async fn replies_keep_their_order_and_requests_do_not_wait() {
    let world = World::new();
    let mut first = world.monitor_by_hand(master("a", "127.0.0.1", 6379, world.now()));
    let mut second = world.monitor_by_hand(master("b", "127.0.0.1", 6380, world.now()));
    let mut peer = world.client().await;
    let hello = array(&["PUBLISH", "__sentinel__:hello", "nonsense"]);
    peer.send([request(6379, 7), array(&["PING"]), request(6380, 8), hello, request(6379, 9)].concat()).await;
    let (seven, eight) = (Asked::by(&mut first).await, Asked::by(&mut second).await);
    Asked::by(&mut first).await.grant();
    eight.grant();
    seven.grant();
    peer.expect([&vote(7), "+PONG\r\n", &vote(8), ":1\r\n", &vote(9)].concat()).await;
}

/// What comes later than a vote may need its reply to have left: another request that is waited for, events, the end.
#[tokio::test]
async fn nothing_overtakes_a_vote() {
    let world = World::new();
    let mut inbox = world.monitor_by_hand(master("a", "127.0.0.1", 6379, world.now()));
    let cases = [
        (&["SENTINEL", "FLUSHCONFIG"][..], "+OK\r\n"),
        (&["SUBSCRIBE", "x"], "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"),
        (&["QUIT"], "+OK\r\n"),
    ];
    for (epoch, (words, reply)) in (7..).zip(cases) {
        let mut peer = world.client().await;
        peer.send([request(6379, epoch), array(words)].concat()).await;
        let asked = Asked::by(&mut inbox).await;
        peer.send(array(&["PING"])).await;
        asked.grant();
        peer.expect([&vote(epoch), reply].concat()).await;
    }
}

/// commands.md 62: a master that is removed while its vote is on the way was never known.
#[tokio::test]
async fn a_master_that_goes_leaves_no_debt() {
    let world = World::new();
    let mut inbox = world.monitor_by_hand(master("a", "127.0.0.1", 6379, world.now()));
    let mut peer = world.client().await;
    peer.send([request(6379, 7), array(&["PING"])].concat()).await;
    drop(Asked::by(&mut inbox).await);
    peer.expect("*3\r\n:0\r\n$1\r\n*\r\n:0\r\n+PONG\r\n").await;
}

/// More is asked for than may be owed: the rest is carried out once the vote is there.
#[tokio::test]
async fn requests_go_on_when_a_big_debt_is_settled() {
    let world = World::new();
    let mut inbox = world.monitor_by_hand(master("a", "127.0.0.1", 6379, world.now()));
    let mut peer = world.client().await;
    let long = "x".repeat(100_000);
    let echoes = array(&["PING", &long]).repeat(100);
    peer.send([request(6379, 7), echoes, array(&["CLIENT", "SETNAME", "last"])].concat()).await;
    let asked = Asked::by(&mut inbox).await;
    asked.grant();
    peer.expect(vote(7)).await;
    for _ in 0..100 {
        peer.expect(format!("${}\r\n{long}\r\n", long.len())).await;
    }
    peer.expect("+OK\r\n").await;
}
