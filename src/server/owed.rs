//! Replies of one connection that wait for a vote to be on disk.
//!
//! A peer asks for one vote after the other over one connection, a hundred when a hundred masters fail together. Were each
//! waited for before the next request is read, each would have a write of the conf file to itself. So the votes are cast as
//! they are asked for, and the replies leave in order, each when it is there; what is replied meanwhile queues behind.

use std::collections::VecDeque;

use bytes::BytesMut;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::write;
use crate::driver::Answered;
use crate::resp::reply::{Protocol, Value};

/// So many replies may wait; more requests are not read.
const MOST: usize = 1_024;
/// So many bytes of them may.
const MOST_BYTES: usize = 1 << 20;

/// The replies that wait, oldest first. Nearly always there is none, and this takes no room.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "there is one for each connection, and all but those of peers never have any"
)]
pub(crate) struct Owed(Option<Box<VecDeque<Debt>>>);

#[derive(Debug)]
enum Debt {
    Vote(oneshot::Receiver<Answered>),
    /// Replies as they will leave.
    Ready(BytesMut),
}

impl Owed {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether another request may be executed.
    pub(crate) fn has_room(&self) -> bool {
        let bytes = |debts: &VecDeque<Debt>| debts.iter().map(Debt::bytes).sum::<usize>();
        self.0.as_ref().is_none_or(|debts| debts.len() < MOST && bytes(debts) < MOST_BYTES)
    }

    /// A vote was asked for.
    pub(crate) fn push_vote(&mut self, answer: oneshot::Receiver<Answered>) {
        self.0.get_or_insert_default().push_back(Debt::Vote(answer));
    }

    /// A reply that is there, and must not overtake those that wait.
    pub(crate) fn push(&mut self, reply: &Value, protocol: Protocol) {
        let debts = self.0.get_or_insert_default();
        if !matches!(debts.back(), Some(Debt::Ready(_))) {
            debts.push_back(Debt::Ready(BytesMut::new()));
        }
        if let Some(Debt::Ready(bytes)) = debts.back_mut() {
            reply.write(protocol, bytes);
        }
    }

    /// Waits until the oldest may leave; for ever if there is none. Cancel-safe.
    pub(crate) async fn settled(&mut self, protocol: Protocol) {
        let Some(front) = self.0.as_mut().and_then(|debts| debts.front_mut()) else {
            return std::future::pending().await;
        };
        if let Debt::Vote(answer) = front {
            let answered = answer.await.ok();
            *front = Debt::ready(answered.as_ref(), protocol);
        }
    }

    /// Moves to `output` whatever may leave.
    pub(crate) fn take_settled(&mut self, protocol: Protocol, output: &mut BytesMut) {
        let Some(debts) = &mut self.0 else { return };
        while let Some(front) = debts.front_mut() {
            match front {
                Debt::Ready(bytes) => output.extend_from_slice(bytes),
                Debt::Vote(answer) => match answer.try_recv() {
                    Err(TryRecvError::Empty) => return,
                    answered => write::vote_reply(answered.ok().as_ref()).write(protocol, output),
                },
            }
            debts.pop_front();
        }
        self.0 = None;
    }
}

impl Debt {
    fn bytes(&self) -> usize {
        match self {
            Debt::Vote(_) => 0,
            Debt::Ready(bytes) => bytes.len(),
        }
    }

    fn ready(answered: Option<&Answered>, protocol: Protocol) -> Debt {
        let mut bytes = BytesMut::new();
        write::vote_reply(answered).write(protocol, &mut bytes);
        Debt::Ready(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that hangs must not make replies pile up behind a vote.
    #[test]
    fn neither_replies_nor_their_bytes_grow_without_bound() {
        let reply = Value::text("x".repeat(MOST_BYTES / 4));
        let (mut owed, mut pushed) = (Owed::default(), 0);
        owed.push_vote(oneshot::channel().1);
        while owed.has_room() && pushed < 10 {
            owed.push(&reply, Protocol::Resp2);
            pushed += 1;
        }
        assert_eq!(pushed, 4);

        let (mut owed, mut pushed) = (Owed::default(), 0);
        while owed.has_room() && pushed < 2 * MOST {
            owed.push_vote(oneshot::channel().1);
            pushed += 1;
        }
        assert_eq!(pushed, MOST);
    }
}
