//! What reaches a monitor or a peer: what is in its mailbox, and what comes over its connections.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::links::{LinkEvent, Links};

/// Messages that a machine takes at once. What waits beyond that comes after its tick, so that a flood cannot hold the
/// tick up.
const BATCH: usize = 256;
/// A tick that comes later than this after its deadline is late: this thread stood still or was busy.
const LATE: Duration = Duration::from_millis(5);
/// How often a late tick is put off: in each round the sockets are looked at and every task that is ready runs once,
/// so a reply needs two to get through a peer to a monitor.
const MIN_ROUNDS: usize = 2;
/// The same while messages keep coming, unless the rounds have taken [`LONG`].
const MAX_ROUNDS: usize = 8;
/// Where thousands of masters keep this thread busy messages always keep coming, and a tick that is put off for seconds is
/// taken for a stall of the process.
const LONG: Duration = Duration::from_millis(200);

/// Whether a tick is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not yet.
    No,
    /// It is.
    OnTime,
    /// It has been for a while.
    Late,
}

impl Due {
    /// Of a task that wanted to be woken then.
    pub(super) fn at(wake: Option<Instant>) -> Due {
        match wake.and_then(|wake| Instant::now().checked_duration_since(wake)) {
            None => Due::No,
            Some(age) if age <= LATE => Due::OnTime,
            Some(_) => Due::Late,
        }
    }
}

/// The mailbox and the connections of one owner.
#[derive(Debug)]
pub(super) struct Inbox<M> {
    mailbox: mpsc::Receiver<M>,
    pub(super) links: Links,
}

impl<M: From<LinkEvent>> Inbox<M> {
    /// Without connections.
    pub(super) fn new(mailbox: mpsc::Receiver<M>) -> Inbox<M> {
        Inbox { mailbox, links: Links::default() }
    }

    /// Waits for messages, and sends meanwhile what waits to be sent. Cancel-safe.
    pub(super) async fn receive(&mut self, messages: &mut Vec<M>) {
        poll_fn(|cx| {
            self.poll(cx, messages);
            if messages.is_empty() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Adds what is on its way to what has arrived. Before a late tick that judges somebody every message counts that could
    /// have come earlier: after a stall the sockets hold replies that nobody has read yet, and without this a master that
    /// did answer would be taken for one that did not. Stock's event loop looks at its sockets before its timers, too. Any
    /// other tick goes ahead: where thousands of masters keep this thread busy, every tick is late.
    pub(super) async fn gather(&mut self, messages: &mut Vec<M>) {
        let begun = Instant::now();
        for round in 1..=MAX_ROUNDS {
            tokio::task::yield_now().await;
            let before = messages.len();
            poll_fn(|cx| {
                self.poll(cx, messages);
                Poll::Ready(())
            })
            .await;
            if is_enough(round, messages.len() > before, begun.elapsed()) {
                return;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, messages: &mut Vec<M>) {
        self.links.poll(cx, messages);
        let room = BATCH.saturating_sub(messages.len());
        if room > 0 {
            let _ = self.mailbox.poll_recv_many(cx, messages, room);
        }
    }
}

/// Whether the rounds so far are enough; messages came in the last of them or not.
fn is_enough(rounds: usize, more_came: bool, took: Duration) -> bool {
    rounds >= MIN_ROUNDS && (!more_came || took > LONG)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use tokio::io::AsyncReadExt;
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    use super::*;
    use crate::driver::links::Route;
    use crate::sentinel::addr::Addr;
    use crate::sentinel::id::LinkId;
    use crate::sentinel::io::Channel;

    /// A tick may find its task woken before the sockets were looked at. Then what they hold comes first all the same, also
    /// what a task in between passes on.
    #[test]
    fn what_the_sockets_hold_is_gathered_before_a_tick() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(LocalSet::new().run_until(async {
            let server = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
            let address = server.local_addr().expect("bound");
            let (sender, mailbox) = mpsc::channel(1);
            let mut inbox = Inbox::new(mailbox);
            let addr = Addr::new("127.0.0.1", address.port());
            inbox.links.connect(LinkId(1), &addr, Channel::PubSub, Route::default());
            let mut messages = Vec::new();
            inbox.receive(&mut messages).await;
            let (mut own_end, _) = server.accept().expect("accepts");
            let mut others_end = TcpStream::connect(address).expect("connects");
            let (stream, _) = server.accept().expect("accepts");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            let (waits, others_wait) = oneshot::channel();
            tokio::task::spawn_local(async move {
                // It waits as soon as this task yields, before anybody hears of it.
                waits.send(()).expect("somebody listens");
                stream.read_u8().await.expect("a byte comes");
                sender.send(LinkEvent::PubSub(LinkId(2), None)).await
            });
            others_wait.await.expect("the task runs");
            own_end.write_all(b"*0\r\n").expect("the socket takes it");
            others_end.write_all(b"x").expect("the socket takes it");
            // As a task, since a `LocalSet` polls its root future out of turn.
            let gathering = tokio::task::spawn_local(async move {
                messages.clear();
                inbox.gather(&mut messages).await;
                messages
            });
            let mut links: Vec<LinkId> = gathering.await.expect("does not panic").iter().map(LinkEvent::link).collect();
            links.sort();
            assert_eq!(links, [LinkId(1), LinkId(2)]);
        }));
    }

    /// Where a round of all tasks takes long, a tick is put off for no more of them than it must be, although there is always
    /// more.
    #[test]
    fn a_busy_thread_gathers_no_more_than_it_must() {
        let (short, long) = (Duration::from_millis(1), LONG + Duration::from_millis(1));
        assert!(is_enough(MIN_ROUNDS, false, short), "nothing more comes");
        assert!(!is_enough(MIN_ROUNDS, true, short), "more comes, and soon");
        assert!(is_enough(MIN_ROUNDS, true, long), "more comes, but it takes long");
        assert!(
            !is_enough(MIN_ROUNDS - 1, true, long) && !is_enough(MIN_ROUNDS - 1, false, long),
            "it may be on its way"
        );
    }
}
