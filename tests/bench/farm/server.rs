//! The farm's own process: groups of servers that keep no data, on addresses of their own of 127/8. They answer what
//! Sentinels ask as Redis does, role changes, hellos and broken connections included, and die on command.
//!
//! Commands on standard input, a line each: `kill <server>...`. Each is answered with `done`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::Instant;

use super::{GROUP, PORT, address};

/// How long a replica needs to connect to a new master.
const CONNECTS: Duration = Duration::from_millis(50);

/// All servers from `first` on, `count` of them. Ends with its standard input.
pub(crate) fn run(first: usize, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(async move {
        let farm = Rc::new(Farm { first, began: Instant::now(), servers: RefCell::default() });
        for number in first..first + count {
            farm.servers.borrow_mut().push(Server::new(number));
            farm.start(number);
        }
        println!("done");
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("kill"));
            words.filter_map(|word| word.parse().ok()).for_each(|number| farm.kill(number));
            println!("done");
        }
    }));
}

struct Farm {
    first: usize,
    began: Instant,
    servers: RefCell<Vec<Server>>,
}

struct Server {
    number: usize,
    /// Whom it replicates, since when; `None` is a master.
    master: Option<(usize, Instant)>,
    alive: bool,
    listener: Option<AbortHandle>,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    /// Offset and time of the moment at which it lost its master.
    lost: Option<(u64, Instant)>,
}

struct Connection {
    task: AbortHandle,
    to: UnboundedSender<Rc<[u8]>>,
    subscribed: bool,
}

impl Server {
    fn new(number: usize) -> Server {
        let master = number - number % GROUP;
        Server {
            number,
            master: (master != number).then(|| (master, Instant::now() - CONNECTS)),
            alive: false,
            listener: None,
            connections: BTreeMap::new(),
            next_connection: 0,
            lost: None,
        }
    }

    fn run_id(&self) -> String {
        format!("{:040x}", self.number + 1)
    }
}

impl Farm {
    fn index(&self, number: usize) -> usize {
        number - self.first
    }

    fn group_of(&self, number: usize) -> std::ops::Range<usize> {
        let first = number - number % GROUP;
        self.index(first)..self.index(first) + GROUP
    }

    fn start(self: &Rc<Self>, number: usize) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket");
        socket.bind(SocketAddrV4::new(address(number), PORT).into()).expect("an address of 127/8");
        let listener = socket.listen(64).expect("it is bound");
        let accepting = tokio::task::spawn_local(Rc::clone(self).accept(number, listener)).abort_handle();
        let mut servers = self.servers.borrow_mut();
        let at = self.index(number);
        let server = &mut servers[at];
        server.alive = true;
        server.listener = Some(accepting);
    }

    fn kill(&self, number: usize) {
        let mut servers = self.servers.borrow_mut();
        let (now, offset) = (Instant::now(), self.offset(&servers, number));
        let at = self.index(number);
        let server = &mut servers[at];
        server.alive = false;
        server.listener.take().inspect(AbortHandle::abort);
        for connection in std::mem::take(&mut server.connections).into_values() {
            connection.task.abort();
        }
        for replica in self.group_of(number) {
            if servers[replica].master.is_some_and(|(master, _)| master == number) {
                // Some replicas have heard more than others.
                servers[replica].lost = Some((offset - (replica % GROUP) as u64, now));
            }
        }
    }

    async fn accept(self: Rc<Self>, number: usize, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (to, deliveries) = mpsc::unbounded_channel();
            let at = self.index(number);
            let id = self.servers.borrow()[at].next_connection;
            let serving = tokio::task::spawn_local(Rc::clone(&self).serve(number, id, stream, deliveries));
            let server = &mut self.servers.borrow_mut()[at];
            server.next_connection += 1;
            server.connections.insert(id, Connection { task: serving.abort_handle(), to, subscribed: false });
        }
    }

    async fn serve(
        self: Rc<Self>,
        number: usize,
        id: u64,
        mut stream: TcpStream,
        mut deliveries: UnboundedReceiver<Rc<[u8]>>,
    ) {
        let (mut input, mut output) = (Vec::with_capacity(512), Vec::new());
        let mut queued: Option<Vec<Vec<String>>> = None;
        loop {
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    if !read.is_ok_and(|read| read > 0) {
                        break;
                    }
                    let mut rest = &input[..];
                    while let Some(words) = command(&mut rest) {
                        self.answer(number, id, words, &mut queued, &mut output);
                    }
                    let used = input.len() - rest.len();
                    input.drain(..used);
                }
                Some(delivery) = deliveries.recv() => {
                    output.extend_from_slice(&delivery);
                    while let Ok(delivery) = deliveries.try_recv() {
                        output.extend_from_slice(&delivery);
                    }
                }
            }
            if stream.write_all(&output).await.is_err() {
                break;
            }
            output.clear();
        }
        let at = self.index(number);
        self.servers.borrow_mut()[at].connections.remove(&id);
    }

    /// Transactions, and everything else by [`Farm::execute`].
    fn answer(
        &self,
        number: usize,
        id: u64,
        words: Vec<String>,
        queued: &mut Option<Vec<Vec<String>>>,
        output: &mut Vec<u8>,
    ) {
        match (words[0].to_ascii_uppercase().as_str(), queued.take()) {
            ("MULTI", _) => {
                *queued = Some(Vec::new());
                output.extend_from_slice(b"+OK\r\n");
            }
            ("EXEC", Some(all)) => {
                output.extend_from_slice(format!("*{}\r\n", all.len()).as_bytes());
                for words in all {
                    self.execute(number, id, &words, output);
                }
            }
            (_, Some(mut all)) => {
                all.push(words);
                *queued = Some(all);
                output.extend_from_slice(b"+QUEUED\r\n");
            }
            (_, None) => self.execute(number, id, &words, output),
        }
    }

    fn execute(&self, number: usize, id: u64, words: &[String], output: &mut Vec<u8>) {
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let mut servers = self.servers.borrow_mut();
        let at = self.index(number);
        match word(0).to_ascii_uppercase().as_str() {
            "PING" => output.extend_from_slice(b"+PONG\r\n"),
            "INFO" => {
                let text = self.info(&servers, number, &words[1..]);
                output.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
            }
            "PUBLISH" => {
                let (channel, payload) = (word(1), word(2));
                let message = format!(
                    "*3\r\n$7\r\nmessage\r\n${}\r\n{channel}\r\n${}\r\n{payload}\r\n",
                    channel.len(),
                    payload.len()
                );
                let message: Rc<[u8]> = Rc::from(message.into_bytes());
                let hears = |server: &&Server| {
                    server.number == number || server.master.is_some_and(|(master, _)| master == number)
                };
                for server in servers[self.group_of(number)].iter().filter(hears) {
                    for connection in server.connections.values().filter(|connection| connection.subscribed) {
                        // It may be ending.
                        let _ = connection.to.send(Rc::clone(&message));
                    }
                }
                output.extend_from_slice(b":1\r\n");
            }
            "SUBSCRIBE" => {
                servers[at].connections.get_mut(&id).into_iter().for_each(|connection| connection.subscribed = true);
                let channel = word(1);
                let text = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len());
                output.extend_from_slice(text.as_bytes());
            }
            "SLAVEOF" | "REPLICAOF" => {
                let group = self.group_of(number);
                let host = word(1).parse::<Ipv4Addr>().ok();
                let master = servers[group].iter().map(|server| server.number).find(|n| Some(address(*n)) == host);
                let server = &mut servers[at];
                if server.master.map(|(master, _)| master) != master {
                    server.master = master.map(|master| (master, Instant::now()));
                    server.lost = None;
                }
                output.extend_from_slice(b"+OK\r\n");
            }
            "CLIENT" if word(1).eq_ignore_ascii_case("KILL") => {
                let subscribers = word(3).eq_ignore_ascii_case("pubsub");
                let all = &mut servers[at].connections;
                all.retain(|other, connection| {
                    let goes = *other != id && connection.subscribed == subscribers;
                    if goes {
                        connection.task.abort();
                    }
                    !goes
                });
                output.extend_from_slice(b":1\r\n");
            }
            _ => output.extend_from_slice(b"+OK\r\n"),
        }
    }

    /// Written so far, as this server knows: a byte each millisecond, everywhere.
    fn offset(&self, servers: &[Server], number: usize) -> u64 {
        let lost = servers[self.index(number)].lost;
        lost.map_or_else(|| self.began.elapsed().as_millis() as u64 + GROUP as u64, |(offset, _)| offset)
    }

    fn info(&self, servers: &[Server], number: usize, sections: &[String]) -> String {
        let server = &servers[self.index(number)];
        let wants =
            |name: &str| sections.is_empty() || sections.iter().any(|section| section.eq_ignore_ascii_case(name));
        let offset = self.offset(servers, number);
        let mut text = String::with_capacity(5_200);
        if wants("server") {
            let uptime = self.began.elapsed().as_secs();
            let _ = write!(
                text,
                "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:{}\r\ntcp_port:{PORT}\r\n\
                 uptime_in_seconds:{uptime}\r\n",
                server.run_id()
            );
            // What there is besides, to 600 bytes.
            for line in 0..12 {
                let _ = write!(text, "something_of_the_server_{line:03}:{:08}\r\n", line * 7);
            }
            text += "\r\n";
        }
        if wants("replication") {
            text += "# Replication\r\n";
            if let Some((master, since)) = server.master {
                let up = servers[self.index(master)].alive && since.elapsed() > CONNECTS;
                let link = if up { "up" } else { "down" };
                let _ = write!(
                    text,
                    "role:slave\r\nmaster_host:{}\r\nmaster_port:{PORT}\r\nmaster_link_status:{link}\r\n\
                     master_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\nslave_read_repl_offset:{offset}\r\n\
                     slave_repl_offset:{offset}\r\n",
                    address(master)
                );
                if !up {
                    let down = server.lost.map_or(0, |(_, at)| at.elapsed().as_secs());
                    let _ = write!(text, "master_link_down_since_seconds:{down}\r\n");
                }
                text += "slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\nconnected_slaves:0\r\n";
            } else {
                let group = &servers[self.group_of(number)];
                let follows = |other: &&Server| {
                    other.alive
                        && other.master.is_some_and(|(master, since)| master == number && since.elapsed() > CONNECTS)
                };
                let replicas: Vec<_> = group.iter().filter(follows).collect();
                let _ = write!(text, "role:master\r\nconnected_slaves:{}\r\n", replicas.len());
                for (place, replica) in replicas.iter().enumerate() {
                    let ip = address(replica.number);
                    let _ = write!(text, "slave{place}:ip={ip},port={PORT},state=online,offset={offset},lag=0\r\n");
                }
            }
            let _ = write!(
                text,
                "master_replid:{:040x}\r\nmaster_replid2:{:040}\r\nmaster_repl_offset:{offset}\r\n",
                self.group_of(number).start + 1,
                0
            );
        }
        if wants("keyspace") {
            text += "\r\n# Keyspace\r\ndb0:keys=1000,expires=0,avg_ttl=0\r\n";
        }
        if sections.is_empty() {
            // What INFO has besides, some 4 KiB.
            text += "\r\n# Memory\r\n";
            for line in 0..120 {
                let _ = write!(text, "used_memory_of_something_{line:03}:{:08}\r\n", line * 7);
            }
        }
        text
    }
}

/// The next command in `rest`, which is an array of bulk strings.
fn command(rest: &mut &[u8]) -> Option<Vec<String>> {
    let mut left = *rest;
    let count = number(&mut left, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(&mut left, b'$')?;
        let word = left.get(..length)?;
        left = left.get(length + 2..)?;
        words.push(String::from_utf8_lossy(word).into_owned());
    }
    *rest = left;
    Some(words)
}

fn number(left: &mut &[u8], mark: u8) -> Option<usize> {
    let end = left.iter().position(|byte| *byte == b'\n')?;
    let line = left[..end].strip_prefix(&[mark])?.strip_suffix(b"\r")?;
    let number = std::str::from_utf8(line).ok()?.parse().ok()?;
    *left = &left[end + 1..];
    Some(number)
}
