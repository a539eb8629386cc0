//! Clients for long replies, which take them in without looking at what is in them. redis-benchmark makes an object of each
//! element, which with a thousand masters takes longer than any Sentinel needs to answer.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::load::Load;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// Asks so many times; returns how many were answered in a second. Each client waits for its answer before it asks again.
pub(crate) fn run(load: &Load, port: u16, requests: u64) -> f64 {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a running Sentinel accepts connections");
    let clients: Vec<TcpStream> = std::iter::repeat_with(connect).take(load.clients as usize).collect();
    let request = load.words.join(" ") + "\r\n";
    let asked = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| {
                let mut replies = BufReader::with_capacity(CHUNK, client);
                while asked.fetch_add(1, Ordering::Relaxed) < requests {
                    replies.get_mut().write_all(request.as_bytes()).expect("it still runs");
                    skip_reply(&mut replies).expect("it answers in RESP");
                }
            });
        }
    });
    requests as f64 / start.elapsed().as_secs_f64()
}

/// Reads to the end of one reply. A byte at a time but for strings, which costs far less than the answer did.
fn skip_reply(replies: &mut impl BufRead) -> io::Result<()> {
    let (mut elements, mut string) = (1, 0);
    let (mut kind, mut number) = (None, 0);
    while elements > 0 || string > 0 {
        let there = replies.fill_buf()?;
        if there.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = 0;
        while at < there.len() && (elements > 0 || string > 0) {
            if string > 0 {
                let skipped = string.min(there.len() - at);
                (at, string) = (at + skipped, string - skipped);
                continue;
            }
            match (there[at], kind) {
                (b'*' | b'$' | b'+' | b':', None) => (kind, number) = (Some(there[at]), 0),
                (digit @ b'0'..=b'9', Some(b'*' | b'$')) => number = 10 * number + usize::from(digit - b'0'),
                (b'\n', Some(_)) => {
                    elements -= 1;
                    match kind.take() {
                        Some(b'*') => elements += number,
                        Some(b'$') => string = number + "\r\n".len(),
                        _ => {}
                    }
                }
                (b'\r', Some(_)) | (_, Some(b'+' | b':')) => {}
                (byte, _) => return Err(io::Error::other(format!("{:?} in a reply", char::from(byte)))),
            }
            at += 1;
        }
        replies.consume(at);
    }
    Ok(())
}
