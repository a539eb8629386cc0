//! redis-rs, in a thread of the test.

use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Commands, ErrorKind, RedisResult};

use crate::Client;
use crate::support::wait::seconds;

const NAME: &str = "redis-rs";

/// Starts it; it speaks as a script does.
pub(crate) fn start(ports: &[u16]) -> Client {
    let (say, lines) = mpsc::channel();
    let urls = ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect::<Vec<_>>();
    std::thread::spawn(move || {
        if let Err(error) = run(&urls, &say) {
            // Nobody listens any more when the test is over.
            let _ = say.send(error.to_string());
        }
    });
    Client { name: NAME.to_owned(), lines, _child: None }
}

fn run(urls: &[String], say: &Sender<String>) -> RedisResult<()> {
    let say = |line: &str| say.send(line.to_owned()).expect("the test listens until it is done");
    let library = |name: &str| SentinelClient::build(urls.to_vec(), name.to_owned(), None, SentinelServerType::Master);
    match library("nobody")?.get_connection() {
        Err(error) if error.kind() == ErrorKind::MasterNameNotFoundBySentinel => say("unknown"),
        other => say(&format!("not what is expected: {:?}", other.err())),
    }
    let mut library = library("mymaster")?;
    let mut write = |value: &str| library.get_connection()?.set::<_, _, ()>(NAME, value);
    write("before")?;

    let mut first = redis::Client::open(urls[0].as_str())?.get_connection()?;
    let mut events = first.as_pubsub();
    events.subscribe("+switch-master")?;
    say("ready");

    let message = events.get_message()?;
    say(&format!("switch {} {}", message.get_channel_name(), message.get_payload::<String>()?));
    let start = Instant::now();
    // The other Sentinels may name the old master for a moment.
    while let Err(error) = write("after") {
        if start.elapsed() > seconds(20) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    say("done");
    Ok(())
}
