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

/// Reads to the end of one reply.
fn skip_reply(replies: &mut impl BufRead) -> io::Result<()> {
    let mut elements = 1;
    let mut header = Vec::new();
    while elements > 0 {
        elements -= 1;
        header.clear();
        replies.read_until(b'\n', &mut header)?;
        let text = str::from_utf8(&header).map_err(io::Error::other)?.trim_end();
        let number = || text[1..].parse::<usize>().map_err(io::Error::other);
        match text.as_bytes().first() {
            Some(b'*') => elements += number()?,
            Some(b'$') => skip(replies, number()? + "\r\n".len())?,
            Some(b'+' | b':') => {}
            _ => return Err(io::Error::other(format!("no reply but {text:?}"))),
        }
    }
    Ok(())
}

fn skip(replies: &mut impl BufRead, mut bytes: usize) -> io::Result<()> {
    while bytes > 0 {
        let there = replies.fill_buf()?.len().min(bytes);
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        replies.consume(there);
        bytes -= there;
    }
    Ok(())
}
