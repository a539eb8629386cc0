//! Writes down every event that a Sentinel publishes, with the time of its arrival.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::resp::Client;

/// One published event.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When it arrived here.
    pub(crate) at: Instant,
    /// Its channel: the name of the event.
    pub(crate) name: String,
    /// Its message.
    pub(crate) payload: String,
}

impl Seen {
    /// As in a log line: name and payload.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.name, self.payload)
    }
}

/// Everything one Sentinel published, across its restarts.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    socket: Option<TcpStream>,
}

impl Recorder {
    /// Subscribes to everything at `port`; nothing that is published after this call is missed.
    pub(crate) fn attach(&mut self, port: u16) {
        self.attach_to(Client::connect(port).expect("a started Sentinel accepts connections"));
    }

    /// The same over a connection that is there already.
    pub(crate) fn attach_to(&mut self, mut client: Client) {
        let confirmed = client.call(&["PSUBSCRIBE", "*"]).expect("a Sentinel answers");
        assert_eq!(confirmed.items().first().and_then(|kind| kind.text()), Some("psubscribe"));
        client.set_timeout(None).expect("the socket is open");
        self.detach();
        self.socket = client.socket().ok();
        let seen = Arc::clone(&self.seen);
        // Ends with its connection, at the latest when `self` is dropped.
        std::thread::spawn(move || {
            while let Ok(message) = client.read() {
                let at = Instant::now();
                if let [_, _, name, payload] = message.items() {
                    let text = |value: &super::resp::Value| value.text().unwrap_or_default().to_owned();
                    let event = Seen { at, name: text(name), payload: text(payload) };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(event);
                }
            }
        });
    }

    /// A copy of everything so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first event since `from` whose line starts with `prefix`.
    pub(crate) fn find(&self, from: Instant, prefix: &str) -> Option<Seen> {
        self.all().into_iter().find(|seen| seen.at >= from && seen.line().starts_with(prefix))
    }

    fn detach(&mut self) {
        if let Some(socket) = self.socket.take() {
            // A connection that is closed already is what we want.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.detach();
    }
}
