//! Client connections: what they may ask, and what they are answered.
//!
//! The daemon builds one [`Context`] and runs [`serve`] on the runtime of the serving thread. Reads are answered from
//! snapshots; everything that changes something becomes a message to a monitor or to the supervisor. Nothing in here
//! decides anything about masters, and nothing here can keep a monitor waiting.

pub mod acl;
mod catalogue;
mod client;
pub mod clients;
mod command;
mod conn;
pub mod counters;
mod help;
mod info;
mod instance;
mod long;
mod owed;
pub mod pause;
pub mod pubsub;
mod read;
mod session;
mod set;
mod spare;
mod table;
pub mod tracking;
pub mod turns;
mod usage;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::driver::SupervisorHandle;
use crate::driver::clock::Clock;
use crate::net::direct::Direct;
use crate::net::listen::{self, Accepted, Listener};
use crate::net::tls::Tls;
use crate::publish::Reader;
use crate::sentinel::tilt::TiltRegister;
use crate::sentinel::time::Millis;
use acl::Acl;
use clients::{Client, Clients, Endpoint, OutputLimit};
use counters::Counters;
use pause::Pause;
use pubsub::{Feed, Hub};
pub use table::Renames;
use turns::Turns;

/// The version of Redis that clients are told, because they choose their behaviour by it.
pub const REDIS_VERSION: &str = "7.0.15";

/// What the process says of itself in INFO and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// 40 hex characters, drawn at every start. Not the Sentinel's id.
    pub run_id: String,
    /// Absolute path of the program.
    pub executable: String,
    /// Absolute path of the conf file.
    pub config_file: String,
    /// `no`, `systemd` or `upstart`.
    pub supervised: &'static str,
    /// `port`, or `tls-port` if that is 0.
    pub tcp_port: u16,
    /// `unixsocket`, as the conf file has it.
    pub unix_socket: Option<Arc<str>>,
    /// When the process started, for its uptime.
    pub started: Millis,
}

/// Limits from the conf file, with stock's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `maxclients`
    pub max_clients: usize,
    /// `timeout`, seconds; 0 is never.
    pub idle_timeout: u64,
    /// `tcp-keepalive`, seconds; 0 is off.
    pub keepalive: u64,
    /// `client-query-buffer-limit`, bytes.
    pub query_buffer: usize,
    /// `proto-max-bulk-len`, bytes.
    pub max_bulk: u64,
    /// `client-output-buffer-limit normal`
    pub normal: OutputLimit,
    /// `client-output-buffer-limit pubsub`
    pub subscriber: OutputLimit,
    /// `protected-mode`
    pub protected_mode: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_clients: 10_000,
            idle_timeout: 0,
            keepalive: 300,
            query_buffer: 1 << 30,
            max_bulk: 512 << 20,
            normal: OutputLimit::NONE,
            subscriber: OutputLimit::default(),
            protected_mode: false,
        }
    }
}

/// What every connection shares.
#[derive(Debug)]
pub struct Context {
    /// Snapshots of the masters.
    pub reader: Reader,
    /// The way to the supervisor, and the settings of the process.
    pub supervisor: SupervisorHandle,
    /// Subscriptions.
    pub hub: Arc<Hub>,
    /// Ages are measured with it.
    pub clock: Clock,
    /// Whether TILT is on.
    pub tilt: Arc<TiltRegister>,
    /// For those who come by `tls-port`.
    pub tls: Option<Tls>,
    /// Who may do what.
    pub acl: Acl,
    /// Commands that go by other names.
    pub renames: Renames,
    /// `loglevel`, by stock's name.
    pub log_level: watch::Receiver<String>,
    /// For INFO.
    pub facts: Facts,
    /// From the conf file.
    pub limits: Limits,
    /// For INFO.
    pub counters: Counters,
    /// Everybody who is connected.
    pub clients: Clients,
    /// Whether commands are held.
    pub pause: Pause,
    /// The line of connections that have more to execute.
    pub turns: Turns,
}

/// Accepts and serves connections until `closing` becomes true, then closes them all. Takes the hub's feed, whose
/// events it distributes, along.
pub async fn serve(listeners: Vec<Listener>, context: Arc<Context>, feed: Feed, mut closing: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(feed.run(context.clock, context.limits.subscriber));
    tasks.spawn(sample(context.clone()));
    for listener in listeners {
        tasks.spawn(accept_all(listener, context.clone()));
    }
    // A sender that is gone means that the daemon is, too.
    let _ = closing.wait_for(|closing| *closing).await;
    tasks.shutdown().await;
}

/// Serves one connection over any stream, as if it came from `peer`, until it ends. Turns it away without a word if
/// there are `maxclients` already.
pub async fn converse<S>(stream: S, peer: Endpoint, local: Endpoint, context: Arc<Context>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(client) = context.clients.admit(peer, local, context.clock.mono(), context.limits.max_clients) {
        conn::run(stream, client, context).await;
    }
}

/// Measures rates for INFO, and looks for clients that have not read for too long.
async fn sample(context: Arc<Context>) {
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        every_second.tick().await;
        let now = context.clock.mono();
        context.counters.sample(now);
        for client in context.clients.list() {
            client.limit_output(context.limits.output_of(&client), now);
        }
    }
}

async fn accept_all(listener: Listener, context: Arc<Context>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listen::accept(&listener) => {
                if let Err(error) = admit(accepted, &context, &mut connections).await {
                    tracing::debug!("Accepting client connection: {error}");
                }
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::warn!("A client connection ended by a bug: {error}");
                }
            }
        }
    }
}

/// Starts a task for the connection, or turns it away.
async fn admit(accepted: Accepted, context: &Arc<Context>, connections: &mut JoinSet<()>) -> std::io::Result<()> {
    context.counters.connection();
    match accepted {
        Accepted::Tcp(stream, peer) => {
            let local = Endpoint::Tcp(stream.local_addr()?);
            listen::prepare(&stream, context.limits.keepalive)?;
            let refusal = context.is_protected_from(peer).then_some(PROTECTED);
            enter(Direct(stream), Endpoint::Tcp(peer), local, refusal, context, connections).await
        }
        Accepted::Tls(stream, peer) => {
            let local = Endpoint::Tcp(stream.local_addr()?);
            listen::prepare(&stream, context.limits.keepalive)?;
            // Its place among `maxclients` is taken before the handshake, which therefore cannot be had without end.
            let client =
                context.clients.admit(Endpoint::Tcp(peer), local, context.clock.mono(), context.limits.max_clients);
            let Some(client) = client else {
                // Without a handshake there is nothing that could be said.
                context.counters.rejection();
                return Ok(());
            };
            let refusal = context.is_protected_from(peer).then_some(PROTECTED);
            connections.spawn(shake_hands(stream, client, refusal, context.clone()));
            Ok(())
        }
        Accepted::Unix(stream) => {
            let path = context.facts.unix_socket.clone().unwrap_or_default();
            let end = Endpoint::Unix(path);
            enter(stream, end.clone(), end, None, context, connections).await
        }
    }
}

/// The handshake of TLS, and then the conversation, or the words with which it is refused.
async fn shake_hands(stream: TcpStream, client: Arc<Client>, refusal: Option<&'static [u8]>, context: Arc<Context>) {
    let Some(tls) = &context.tls else { return context.clients.forget(client.id) };
    match tls.accept(stream).await {
        Ok(mut stream) => match refusal {
            None => return conn::run(stream, client, context).await,
            Some(words) => {
                // Whoever hangs up has no use for it.
                let _ = stream.write_all(words).await;
                context.counters.rejection();
            }
        },
        Err(error) => tracing::warn!("Error accepting a client connection: {error}"),
    }
    context.clients.forget(client.id);
}

async fn enter<S>(
    mut stream: S,
    peer: Endpoint,
    local: Endpoint,
    refusal: Option<&'static [u8]>,
    context: &Arc<Context>,
    connections: &mut JoinSet<()>,
) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let admitted = if refusal.is_some() {
        None
    } else {
        context.clients.admit(peer, local, context.clock.mono(), context.limits.max_clients)
    };
    if let Some(client) = admitted {
        connections.spawn(conn::run(stream, client, context.clone()));
        return Ok(());
    }
    context.counters.rejection();
    // The socket's buffer is empty, so this does not wait.
    stream.write_all(refusal.unwrap_or(b"-ERR max number of clients reached\r\n")).await
}

const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. Connections are accepted from the loopback interface only. To accept others, set a password \
for the default user, or turn protected mode off with 'protected-mode no' in the configuration file and restart.\r\n";

impl Limits {
    /// How much may wait for this client.
    pub(crate) fn output_of(&self, client: &Client) -> OutputLimit {
        if client.is_subscriber() { self.subscriber } else { self.normal }
    }
}

impl Context {
    /// Judged by the peer's address, as in stock: 127.0.0.2 is refused.
    fn is_protected_from(&self, peer: SocketAddr) -> bool {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        let is_self = match peer.ip() {
            IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST,
            IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST,
        };
        self.limits.protected_mode && !is_self && self.acl.users().default_account().user.needs_no_password()
    }
}
