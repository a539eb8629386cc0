//! How long it takes from the start of the program to its first answer.

use std::path::Path;
use std::time::Instant;

use crate::support::ports;
use crate::support::process::Process;
use crate::support::resp::ask;
use crate::{KINDS, Kind, Length, Spread, folder};

pub(crate) fn run(length: Length) {
    let rounds = if length == Length::Full { 41 } else { 11 };
    let folder = folder();
    println!(
        "\nStart: ms from the start of the program to the first PONG, asked without pause, median of {rounds} starts \
         (lowest-highest)\n"
    );
    println!("| | ms | |");
    println!("|---|---|---|");
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (kind, times) in KINDS.into_iter().zip(&mut times) {
            times.push(start(kind, folder.path()));
        }
    }
    let [stock, ours] = times.map(|times| Spread::of(&times));
    for (kind, Spread { low, median, high }) in [(Kind::Stock, &stock), (Kind::Ours, &ours)] {
        println!("| {} | {median:.1} | ({low:.1}-{high:.1}) |", kind.label());
    }
    println!("| ours/stock | {:.2} | |", ours.median / stock.median);
}

/// Ten masters that do not answer, and an id that is known: nothing has to be saved.
fn start(kind: Kind, folder: &Path) -> f64 {
    let (port, id) = (ports::free(), "5".repeat(40));
    let masters = (0..10).map(|master| format!("sentinel monitor m{master} 127.0.0.1 {} 2\n", ports::free()));
    let text = format!("port {port}\nbind 127.0.0.1\nsentinel myid {id}\n{}", masters.collect::<String>());
    let conf = folder.join(format!("start-{port}.conf"));
    std::fs::write(&conf, text).expect("the folder is writable");
    let began = Instant::now();
    let name = format!("start-{port}");
    let mut process = Process::start(&name, &kind.program(), &[&conf.display().to_string()], folder);
    while ask(port, &["PING"]).is_err() {
        std::thread::yield_now();
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    process.kill();
    took
}
