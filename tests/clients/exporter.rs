//! `redis_exporter` beside a Sentinel: it reads INFO, MASTERS, SENTINELS, SLAVES and CKQUORUM, and what it makes of ours is
//! what it makes of stock's.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::LIMIT;
use crate::script::installed;
use crate::support::cluster::{Cluster, Plan};
use crate::support::process::KilledAtEnd;
use crate::support::wait::wait_until;
use crate::support::{Kind, ports};

/// commands.md 164, 225
#[test]
fn redis_exporter_reads_ours_as_it_reads_stock() {
    if !Path::new("/usr/bin/apt-get").exists() {
        println!("redis_exporter comes from Debian's package: left out here");
        return;
    }
    let (ours, stock) = (watched(Kind::under_test()), watched(Kind::Stock));
    assert_eq!(ours, stock, "the figures that it finds");
}

/// The names of all figures that it finds, having seen it follow a failover.
fn watched(kind: Kind) -> BTreeSet<String> {
    let mut cluster = Cluster::start(&Plan::three(kind));
    let (sentinel, port) = (cluster.sentinels[0].port, ports::free());
    let mut command = Command::new(installed("redis_exporter"));
    command
        .args([format!("-redis.addr=redis://127.0.0.1:{sentinel}"), format!("-web.listen-address=127.0.0.1:{port}")]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was installed");
    let _exporter = KilledAtEnd(child);

    let old = cluster.first_master();
    wait_until(LIMIT, "the exporter shows the master", || shows(port, old));
    cluster.group().at_mut(old).process.kill();
    let new = cluster.wait_for_new_master("mymaster", old, LIMIT);
    wait_until(LIMIT, "the exporter shows the new master", || shows(port, new));

    let figures = scrape(port);
    assert!(figures.contains("redis_exporter_last_scrape_error{err=\"\"} 0"), "{figures}");
    let names = figures.lines().filter(|line| line.starts_with("redis_"));
    names.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned()).collect()
}

fn shows(port: u16, master: u16) -> bool {
    let figures = scrape(port);
    let address = format!("master_address=\"127.0.0.1:{master}\",master_name=\"mymaster\"");
    ["status", "slaves", "sentinels", "ok_sentinels", "ckquorum_status"].iter().all(|what| {
        let name = format!("redis_sentinel_master_{what}{{");
        figures.lines().any(|line| line.starts_with(&name) && (*what == "ckquorum_status" || line.contains(&address)))
    }) && figures.contains("redis_sentinel_masters 1")
}

/// What it says of the Sentinel now; nothing while it starts.
fn scrape(port: u16) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let mut figures = String::new();
    let asked = stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").and_then(|()| stream.read_to_string(&mut figures));
    if asked.is_ok() { figures } else { String::new() }
}
