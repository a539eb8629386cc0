//! The task of one connection: bytes in, replies and events out.
//!
//! It reads once, executes every complete request, appends all replies to one buffer and writes once. It goes on
//! reading while replies wait to leave, so that a client which sends much before it reads anything is not locked out,
//! and stops executing meanwhile, so that replies do not pile up. Buffers are given back when they are empty.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::Context;
use super::client::describe;
use super::clients::Client;
use super::counters::Counters;
use super::long::LongReply;
use super::owed::Owed;
use super::session::{Ending, Session, Step};
use super::spare;
use super::write::{self, Errand};
use crate::resp::reply::Value;
use crate::resp::request::{Scanner, reuse};

/// Bytes of one read. They land on the stack, so that a connection which waits needs no buffer.
const READ: usize = 16 << 10;
/// Replies that wait before requests wait, too.
const HIGH_WATER: usize = 1 << 20;
/// How long a connection goes on executing before others get their turn. A thousand clients that pipeline expensive requests
/// would delay each other, and every event for a subscriber, by a thousand pipelines; so it is by a thousand requests.
const TURN: Duration = Duration::from_micros(20);
/// Bytes of replies that take no time worth looking at the clock for.
const CHEAP: usize = 1 << 10;
/// Replies that do not count towards the limit of output.
const UNCOUNTED: usize = 16 << 10;
/// Events are fetched from the outbox as long as less than this waits to be written; the rest stays where it is
/// counted.
const EVENT_ROOM: usize = 64 << 10;

/// Serves a connection until it ends, and forgets it.
pub(crate) async fn run<S>(stream: S, client: Arc<Client>, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let scanner = Scanner::new(context.limits.max_bulk);
    let session = Session::new(context, client);
    let mut connection = Connection {
        stream,
        session,
        scanner,
        input: BytesMut::new(),
        output: BytesMut::new(),
        rest: None,
        held: None,
        owed: Owed::default(),
        counted: 0,
        has_mail: false,
    };
    // An error of the socket ends the connection like an end of file; nobody is left to be told.
    let _ = connection.serve().await;
}

struct Connection<S> {
    stream: S,
    session: Session,
    scanner: Scanner,
    input: BytesMut,
    output: BytesMut,
    /// What is left of the last reply. No request is executed meanwhile, and no event is fetched.
    rest: Option<Box<LongReply>>,
    /// A request that waits for the end of a pause, and when that is.
    held: Option<(Vec<Bytes>, Instant)>,
    /// Replies that wait for a vote.
    owed: Owed,
    /// Bytes of output that count towards its limit, as noted last.
    counted: usize,
    /// Whether events may wait for it.
    has_mail: bool,
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        let Session { context, client, subscriptions, .. } = &mut self.session;
        subscriptions.clear(&context.hub, client);
        context.clients.forget(client.id);
    }
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// So many bytes came; none at the end of the stream.
    Read(usize),
    /// Replies left, and more may be done now than before.
    Wrote,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn serve(&mut self) -> io::Result<()> {
        // One for as many waits as it lasts: each that begins enters a list under a lock, and leaves it again.
        let client = self.session.client.clone();
        let mut woken = pin!(client.woken());
        loop {
            self.go_on().await;
            self.execute_ready().await;
            if self.session.ending.is_some() {
                self.settle().await;
            }
            self.limit_output();
            if self.session.client.is_cut_off() {
                self.log_overflow();
                return Ok(());
            }
            match self.session.ending {
                None => self.fetch_events(),
                Some(Ending::Flushed) if self.rest.is_none() => return self.finish(&client, woken).await,
                Some(Ending::Flushed) => {}
                Some(Ending::Silent) => return Ok(()),
            }
            if self.output.is_empty() {
                spare::give_back(&mut self.output);
            }
            if self.wait(&client, woken.as_mut()).await?.is_break() {
                return Ok(());
            }
        }
    }

    /// Executes every request that is complete, unless too much waits to leave.
    async fn execute_ready(&mut self) {
        let (mut begun, mut replied) = (None, self.output.len());
        if let Some((words, _)) = self.held.take_if(|(_, until)| *until <= Instant::now()) {
            self.carry_out(words).await;
        }
        while self.output.len() < HIGH_WATER
            && self.session.ending.is_none()
            && self.rest.is_none()
            && self.held.is_none()
            && self.owed.has_room()
            && !self.input.is_empty()
        {
            match self.scanner.next(&mut self.input, self.session.trust()) {
                Ok(None) => break,
                Ok(Some(words)) if words.is_empty() => {}
                Ok(Some(words)) => self.carry_out(words).await,
                Err(error) => {
                    self.reply(&error.reply());
                    self.session.ending = Some(Ending::Flushed);
                }
            }
            if self.output.len() >= replied + CHEAP && !self.input.is_empty() {
                replied = self.output.len();
                if begun.get_or_insert_with(Instant::now).elapsed() >= TURN {
                    // Rare: on the heap, to be kept out of the size of an idle connection's task.
                    Box::pin(self.session.context.turns.another()).await;
                    begun = None;
                }
            }
        }
        if self.input.is_empty() {
            spare::give_back(&mut self.input);
        }
    }

    /// Begins a long reply, if it is wanted.
    fn begin(&mut self, reply: LongReply) {
        if self.session.wants(&Value::OK) {
            reply.begin(&mut self.output);
            self.rest = Some(Box::new(reply));
            self.make_more();
        }
    }

    /// Makes more of a long reply, after others had their turn.
    async fn go_on(&mut self) {
        if self.rest.is_some() {
            Box::pin(self.session.context.turns.another()).await;
            self.make_more();
        }
    }

    fn make_more(&mut self) {
        self.rest.take_if(|reply| reply.go_on(self.session.protocol, &mut self.output));
    }

    /// Stock does not count the 16 KiB that it writes from first.
    fn limit_output(&mut self) {
        let waiting = self.output.len().saturating_sub(UNCOUNTED);
        // Nearly always both are 0, and nothing has to be asked.
        if waiting != std::mem::replace(&mut self.counted, waiting) {
            let Session { context, client, .. } = &self.session;
            client.note_replies(waiting);
            client.limit_output(context.limits.output_of(client), context.clock.mono());
        }
    }

    fn log_overflow(&self) {
        let Session { context, client, .. } = &self.session;
        if client.has_overflowed() {
            let line = describe(client, context.clock.mono());
            let line = String::from_utf8_lossy(&line);
            tracing::warn!("Client {line} scheduled to be closed ASAP for overcoming of output buffer limits.");
        }
    }

    async fn carry_out(&mut self, words: Vec<Bytes>) {
        if let Some(step) = self.execute(words) {
            // Rare and large: kept out of the size of an idle connection's task.
            Box::pin(self.finish_step(*step)).await;
        }
    }

    /// Executes a request. A step that has to wait for something is returned, on the heap for the same reason.
    fn execute(&mut self, words: Vec<Bytes>) -> Option<Box<Step>> {
        let step = self.session.execute(&words);
        if let Step::Hold(ms) = step {
            self.held = Some((words, Instant::now() + Duration::from_millis(ms)));
            return None;
        }
        reuse(words);
        match step {
            Step::Reply(reply) if self.owed.is_empty() || self.session.subscriptions.count() == 0 => self.reply(&reply),
            Step::List(reply) if self.owed.is_empty() => self.begin(reply),
            Step::End(ending) => self.session.ending = Some(ending),
            step => return Some(Box::new(step)),
        }
        self.session.command_is_done();
        None
    }

    async fn finish_step(&mut self, step: Step) {
        match step {
            Step::Ask(Errand::Vote(ballot))
                if self.session.subscriptions.count() == 0 && self.session.wants(&Value::OK) =>
            {
                self.owed.push_vote(write::request_vote(&self.session.context, ballot).await);
            }
            Step::Ask(errand) => self.ask(errand).await,
            // Who has just subscribed is sent events, which would overtake what is owed.
            Step::Reply(reply) => {
                self.settle().await;
                self.reply(&reply);
            }
            Step::List(reply) => {
                self.settle().await;
                self.begin(reply);
            }
            Step::Hold(_) | Step::End(_) => {}
        }
        self.session.command_is_done();
    }

    /// Has an errand run. Events that were published before its answer go before the reply.
    async fn ask(&mut self, errand: Errand) {
        // A peer's hellos are not waited for, and come between its requests for votes.
        if !matches!(errand, Errand::Hello(_) | Errand::Reply(_)) {
            self.settle().await;
        }
        let outcome = write::run(errand, &self.session.context, self.session.client.id).await;
        if self.session.subscriptions.count() > 0
            && let Some(after_event) = outcome.after_event
        {
            self.session.context.hub.delivered(after_event).await;
            self.session.client.collect(after_event, usize::MAX, &mut self.output);
        }
        self.reply(&outcome.reply);
        if let Some(ending) = outcome.ending {
            self.session.ending = Some(ending);
        }
    }

    fn reply(&mut self, reply: &Value) {
        if matches!(reply, Value::Error(_)) {
            self.session.context.counters.error();
        }
        if !self.session.wants(reply) {
            return;
        }
        if self.owed.is_empty() {
            if self.output.capacity() == 0 {
                self.output = spare::take();
            }
            reply.write(self.session.protocol, &mut self.output);
        } else {
            self.owed.push(reply, self.session.protocol);
        }
    }

    /// Waits for every reply that is owed.
    async fn settle(&mut self) {
        while !self.owed.is_empty() {
            Box::pin(self.owed.settled(self.session.protocol)).await;
            self.owed.take_settled(self.session.protocol, &mut self.output);
        }
    }

    fn fetch_events(&mut self) {
        if self.has_mail && self.output.len() < EVENT_ROOM && self.rest.is_none() {
            self.has_mail = self.session.client.collect(u64::MAX, EVENT_ROOM, &mut self.output);
        }
    }

    /// Waits until something can be done: bytes moved either way, events arrived, or the connection is cut off.
    async fn wait<'a>(
        &mut self,
        client: &'a Client,
        mut woken: Pin<&mut Notified<'a>>,
    ) -> io::Result<std::ops::ControlFlow<()>> {
        use std::ops::ControlFlow::{Break, Continue};
        let counters = &self.session.context.counters;
        let limits = &self.session.context.limits;
        let held = self.held.as_ref().map(|(_, until)| *until);
        let end = held.or_else(|| self.session.idle_limit().map(|idle| Instant::now() + idle));
        tokio::select! {
            // The likeliest first. Nothing else is kept waiting by it: everything is looked at between two waits.
            biased;
            moved = poll_fn(|cx| exchange(&mut self.stream, &mut self.input, &mut self.output, counters, cx)) => match moved? {
                Moved::Read(0) => return Ok(Break(())),
                Moved::Read(n) => {
                    counters.read(n);
                    if self.input.len() + self.scanner.held() > limits.query_buffer {
                        tracing::warn!("Closing client that reached max query buffer length: id={}", client.id);
                        return Ok(Break(()));
                    }
                }
                Moved::Wrote => {}
            },
            () = woken.as_mut() => {
                woken.set(client.woken());
                self.has_mail = true;
            }
            () = self.owed.settled(self.session.protocol), if !self.owed.is_empty() => {}
            () = sleep_until(end), if end.is_some() => if held.is_none() {
                return Ok(Break(()));
            }
        }
        self.owed.take_settled(self.session.protocol, &mut self.output);
        Ok(Continue(()))
    }

    /// Writes what is left and closes.
    async fn finish<'a>(&mut self, client: &'a Client, mut woken: Pin<&mut Notified<'a>>) -> io::Result<()> {
        let n = self.output.len();
        let cut_off = async {
            // An event wakes, too. It is not sent any more, and must not keep the last reply from leaving.
            while !client.is_cut_off() {
                woken.as_mut().await;
                woken.set(client.woken());
            }
        };
        tokio::select! {
            written = self.stream.write_all(&self.output) => written?,
            () = cut_off => return Ok(()),
        }
        self.session.context.counters.write(n);
        self.stream.shutdown().await
    }
}

impl Session {
    /// How much longer an idle connection is kept. Subscribers are, for ever.
    fn idle_limit(&self) -> Option<Duration> {
        let timeout = self.context.limits.idle_timeout * 1_000;
        if timeout == 0 || self.subscriptions.count() > 0 {
            return None;
        }
        let idle = self.context.clock.mono().since(self.client.last_seen());
        Some(Duration::from_millis((timeout + 1).saturating_sub(idle)))
    }
}

/// On the heap, since most connections wait without an end.
async fn sleep_until(end: Option<Instant>) {
    if let Some(end) = end {
        Box::pin(tokio::time::sleep_until(end)).await;
    }
}

/// Writes what there is to write, then reads. Nothing is lost when the caller stops polling.
fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    output: &mut BytesMut,
    counters: &Counters,
    cx: &mut TaskContext<'_>,
) -> Poll<io::Result<Moved>> {
    if !output.is_empty()
        && let Poll::Ready(written) = Pin::new(&mut *stream).poll_write(cx, output)
    {
        let n = written?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        counters.write(n);
        let is_all = n == output.len();
        // What is cleared without a step forward is whole for whoever gets it next.
        if is_all {
            output.clear();
        } else {
            output.advance(n);
        }
        // So few bytes kept nobody waiting and counted for nothing: with them gone, only a read makes a difference.
        if !is_all || n > UNCOUNTED {
            return Poll::Ready(Ok(Moved::Wrote));
        }
        spare::give_back(output);
    }
    let mut bytes = [const { MaybeUninit::<u8>::uninit() }; READ];
    let mut bytes = ReadBuf::uninit(&mut bytes);
    match Pin::new(stream).poll_read(cx, &mut bytes) {
        Poll::Ready(Ok(())) => {
            if input.capacity() == 0 {
                *input = spare::take();
            }
            input.extend_from_slice(bytes.filled());
            Poll::Ready(Ok(Moved::Read(bytes.filled().len())))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}
