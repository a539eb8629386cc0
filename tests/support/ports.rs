//! Ports that no other test run and no outgoing connection takes.
//!
//! A port that the kernel names as free may be gone a moment later, also while a killed server waits to be started
//! again. So ports come from below the kernel's ephemeral range, in blocks, and a block belongs to whoever holds the
//! lock of its file.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

const FIRST: u16 = 20_000;
const BLOCK: u16 = 100;
const BLOCKS: u16 = 120;

/// The block in use, and what is left of it. The lock is released when the process ends.
struct Lease {
    _lock: File,
    left: Range<u16>,
}

static LEASES: Mutex<Vec<Lease>> = Mutex::new(Vec::new());

/// A free port on 127.0.0.1, never handed out twice by this process.
pub(crate) fn free() -> u16 {
    let mut leases = LEASES.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left = leases.last_mut().map_or(0..0, |lease| std::mem::replace(&mut lease.left, 0..0));
        for port in left.clone() {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                leases.last_mut().expect("the range came from it").left = port + 1..left.end;
                return port;
            }
        }
        leases.push(claim_block());
    }
}

fn claim_block() -> Lease {
    let folder = std::env::temp_dir().join("sentineld-test-ports");
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    for block in 0..BLOCKS {
        // A file of another user cannot be opened; its block is simply not ours.
        let Ok(lock) = File::options().create(true).append(true).open(folder.join(block.to_string())) else { continue };
        if lock.try_lock().is_ok() {
            let start = FIRST + block * BLOCK;
            return Lease { _lock: lock, left: start..start + BLOCK };
        }
    }
    panic!("all {BLOCKS} blocks of ports are in use");
}
