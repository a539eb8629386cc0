//! The fuzz target `commands`: whatever a client sends, what it is answered is whole RESP, and nothing panics.
//!
//! The bytes go through a real connection task: decoder, command table, rules, the commands themselves. Behind it stand
//! two masters without monitors and a supervisor that says yes to everything.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use sentineld::acl::{PubsubDefault, Users};
use sentineld::driver::clock::Clock;
use sentineld::driver::post::{self, Letterbox};
use sentineld::driver::{Answered, SupervisorHandle};
use sentineld::publish::{MasterEntry, Publisher};
use sentineld::resp::request::{Scanner, Trust};
use sentineld::sentinel::NodeSettings;
use sentineld::sentinel::ages::SharedAges;
use sentineld::sentinel::id::{Epoch, RunId};
use sentineld::sentinel::io::Answer;
use sentineld::sentinel::monitor::view::{InstanceView, MasterView, ServerView};
use sentineld::sentinel::peer::LinkHealth;
use sentineld::sentinel::tilt::TiltRegister;
use sentineld::server::acl::Acl;
use sentineld::server::clients::{Clients, Endpoint};
use sentineld::server::counters::Counters;
use sentineld::server::pause::Pause;
use sentineld::server::pubsub::Hub;
use sentineld::server::turns::Turns;
use sentineld::server::{Context, Facts, Limits, Renames, converse, pubsub};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

/// The body.
pub(crate) fn run(data: &[u8]) {
    if waits(data) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let said = runtime.block_on(converse_with(data));
    let mut rest = &said[..];
    while !rest.is_empty() {
        rest =
            after_frame(rest, 0).unwrap_or_else(|| panic!("not RESP: {}", rest[..rest.len().min(300)].escape_ascii()));
    }
}

/// Whether it asks for a pause, which would be waited for.
fn waits(data: &[u8]) -> bool {
    let (mut scanner, mut buffer) = (Scanner::new(1 << 20), BytesMut::from(data));
    while let Ok(Some(words)) = scanner.next(&mut buffer, Trust::Known) {
        if words.iter().any(|word| word.eq_ignore_ascii_case(b"pause")) {
            return true;
        }
    }
    false
}

/// Everything that is said back.
async fn converse_with(data: &[u8]) -> Vec<u8> {
    let (sender, mut requests) = mpsc::channel(4);
    let supervisor = tokio::spawn(async move {
        while let Some((_, asker)) = requests.recv().await {
            let asker: tokio::sync::oneshot::Sender<Answered> = asker;
            // An asker that has hung up needs no answer.
            let _ = asker.send(Answered { answer: Answer::Ok, after_event: 0 });
        }
    });
    let publisher = Publisher::default();
    for name in ["mymaster", "other"] {
        let (_, view) = watch::channel(Arc::new(master(name)));
        // Its monitor has ended.
        let mailbox = Letterbox::new(mpsc::channel(1).0, post::office().0);
        publisher.add(name.into(), MasterEntry { view, mailbox });
    }
    let hub = pubsub::hub().1;
    let (_keep, settings) = watch::channel(Arc::new(NodeSettings::new(RunId::from("a".repeat(40).as_str()))));
    let handle = SupervisorHandle { requests: sender, settings };
    let context = Arc::new(context(&publisher, handle, hub));
    let end = || Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let connection = tokio::spawn(converse(near, end(), end(), context));
    let mut said = Vec::new();
    // It may close before it has read everything, as after a protocol error.
    let _ = far.write_all(data).await;
    let _ = far.shutdown().await;
    far.read_to_end(&mut said).await.expect("a pipe in memory");
    connection.await.expect("it does not panic");
    supervisor.abort();
    said
}

fn context(publisher: &Publisher, supervisor: SupervisorHandle, hub: Arc<Hub>) -> Context {
    let clock = Clock::new();
    Context {
        reader: publisher.reader(),
        supervisor,
        hub,
        clock,
        tilt: Arc::new(TiltRegister::default()),
        tls: None,
        acl: Acl::new(Users::new(PubsubDefault::AllChannels), None, 128),
        renames: Renames::new(),
        log_level: watch::channel("notice".to_owned()).1,
        facts: Facts {
            run_id: "c".repeat(40),
            executable: "/usr/bin/sentineld".to_owned(),
            config_file: "/etc/sentinel.conf".to_owned(),
            supervised: "no",
            tcp_port: 26_379,
            unix_socket: None,
            started: clock.mono(),
        },
        limits: Limits { query_buffer: 1 << 20, max_bulk: 1 << 20, ..Limits::default() },
        counters: Counters::default(),
        clients: Clients::default(),
        pause: Pause::default(),
        turns: Turns::default(),
    }
}

fn master(name: &str) -> MasterView {
    let now = Clock::new().mono();
    MasterView {
        instance: InstanceView {
            name: name.into(),
            host: "127.0.0.1".into(),
            ip: None,
            port: 6379,
            run_id: "".into(),
            flags: "master".into(),
            ages: Arc::new(SharedAges::new(&LinkHealth { ping_pending_since: None, ..LinkHealth::new(now) })),
            sdown_since: None,
            down_after: 30_000,
        },
        current_host: "127.0.0.1".into(),
        current_port: 6379,
        failover_state: None,
        odown_since: None,
        config_epoch: Epoch(0),
        leader_epoch: Epoch(0),
        quorum: 2,
        failover_timeout: 180_000,
        parallel_syncs: 1,
        notification_script: None,
        client_reconfig_script: None,
        server: ServerView { role_reported: "master", role_reported_at: now, info_at: None, info: None },
        replicas: Vec::new(),
        sentinels: Vec::new(),
    }
}

/// COMMAND DOCS of everything is the deepest reply: choices of blocks of arguments of subcommands.
const MAX_DEPTH: u32 = 16;

/// What follows a whole frame; `None` if it does not begin with one.
fn after_frame(bytes: &[u8], depth: u32) -> Option<&[u8]> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, mut rest) = (&bytes[..end], &bytes[end + 2..]);
    let (kind, header) = line.split_first()?;
    let number = || std::str::from_utf8(header).ok()?.parse::<i64>().ok();
    match kind {
        b'+' | b'-' => (!header.contains(&b'\r') && !header.contains(&b'\n')).then_some(rest),
        b':' => number().map(|_| rest),
        b',' => std::str::from_utf8(header).ok()?.parse::<f64>().ok().map(|_| rest),
        b'_' => header.is_empty().then_some(rest),
        b'$' | b'=' => match usize::try_from(number()?) {
            Err(_) => (header == b"-1" && *kind == b'$').then_some(rest),
            Ok(length) => rest.get(length..)?.strip_prefix(b"\r\n"),
        },
        b'*' | b'%' | b'~' | b'>' if depth < MAX_DEPTH => match usize::try_from(number()?) {
            Err(_) => (header == b"-1" && *kind == b'*').then_some(rest),
            Ok(count) => {
                for _ in 0..count * if *kind == b'%' { 2 } else { 1 } {
                    rest = after_frame(rest, depth + 1)?;
                }
                Some(rest)
            }
        },
        _ => None,
    }
}
