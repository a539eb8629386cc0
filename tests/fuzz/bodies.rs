//! What is done with the bytes of a fuzzer: each function takes any bytes at all, and panics if what must hold of them
//! does not. Shared by the fuzz targets beside this file and by `tests/fuzz_replay`, which every test run plays.

use std::path::PathBuf;

use bytes::BytesMut;
use sentineld::conf::files::NoFiles;
use sentineld::conf::load::{SourceSet, load};
use sentineld::resp::node::NodeDecoder;
use sentineld::resp::request::{Scanner, Trust};
use sentineld::sentinel::id::RunId;
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::info::InfoReport;

/// A body.
pub(crate) type Body = fn(&[u8]);

/// Each with the name of its target and of its folder in `corpus`.
pub(crate) const BODIES: &[(&str, Body)] = &[
    ("request", request),
    ("commands", super::commands::run),
    ("reply", reply),
    ("conf", conf),
    ("info", info),
    ("hello", hello),
    ("monitor_ops", super::monitor_ops::run),
];

/// Requests of clients: the same ones come out wherever the bytes are cut, and memory stays in bounds.
pub(crate) fn request(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    for trust in [Trust::Stranger, Trust::Known] {
        let decode = |pieces: &[&[u8]]| {
            let (mut scanner, mut buffer, mut found) = (Scanner::new(1 << 20), BytesMut::new(), Vec::new());
            for piece in pieces {
                buffer.extend_from_slice(piece);
                loop {
                    match scanner.next(&mut buffer, trust) {
                        Ok(Some(words)) => found.push(Ok(words)),
                        Ok(None) => break,
                        Err(error) => {
                            found.push(Err(error.to_string()));
                            return found;
                        }
                    }
                }
                assert!(scanner.held() <= data.len(), "what is held was received");
            }
            found
        };
        let (front, back) = data.split_at(usize::from(*cut).min(data.len()));
        assert_eq!(decode(&[front, back]), decode(&[data]));
    }
}

/// Replies of servers and peers: likewise.
pub(crate) fn reply(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let decode = |pieces: &[&[u8]]| {
        let (mut decoder, mut buffer, mut found) = (NodeDecoder::new(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.next(&mut buffer) {
                    Ok(Some(reply)) => found.push(Ok(reply)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(Err(error.to_string()));
                        return found;
                    }
                }
            }
        }
        found
    };
    let (front, back) = data.split_at(usize::from(*cut).min(data.len()));
    assert_eq!(decode(&[front, back]), decode(&[data]));
}

/// A conf file: what loads is saved as something that loads again, with the same masters and epochs.
pub(crate) fn conf(data: &[u8]) {
    let sources =
        |text: &[u8]| SourceSet { main: text.to_vec(), stdin: None, options: Vec::new(), cwd: PathBuf::from("/tmp") };
    let id = || RunId::from("0123456789abcdef0123456789abcdef01234567");
    let Ok(first) = load(&sources(data), id(), &NoFiles) else { return };
    let saved = first.image.render(first.current_epoch);
    match load(&sources(&saved), id(), &NoFiles) {
        Ok(second) => {
            assert_eq!(second.masters, first.masters);
            assert_eq!(second.current_epoch, first.current_epoch);
        }
        Err(error) => panic!("saved and not readable: {error}\n{}", String::from_utf8_lossy(&saved)),
    }
}

/// INFO text.
pub(crate) fn info(data: &[u8]) {
    let report = InfoReport::parse(data);
    assert!(report.run_id.is_none_or(|id| id.len() == 40));
    assert!(report.replicas.iter().all(|(host, port)| !host.is_empty() && *port != 0));
}

/// A hello: what is understood is printed as something that means the same.
pub(crate) fn hello(data: &[u8]) {
    if let Some(hello) = Hello::parse(data) {
        assert_eq!(Hello::parse(hello.to_string().as_bytes()), Some(hello));
    }
}
