//! The story: start, acquaint, kill, watch, count, bring back.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::probe::{Finding, Findings, Probes};
use crate::screen::{Screen, Tone};
use crate::support::Kind;
use crate::support::cluster::{Cluster, Plan};
use crate::support::wait::{seconds, wait_until};

const MASTER: &str = "mymaster";
const DOWN_AFTER: u64 = 1000;

/// Long enough for an election that needs a second attempt.
const LIMIT: Duration = seconds(60);

/// What stock needs from its first `+sdown` until all three Sentinels give the new address, ms (failover.md 12.2).
const STOCK_MEDIAN: u64 = 1200;

/// Runs the demo with Sentinels of `kind`. Panics when the failover does not happen.
pub(crate) fn run(kind: Kind, folder: &Path) {
    let screen = Screen::new();
    screen.line(Tone::Plain, &format!("three {} watch one redis master with two replicas", kind.label()));
    let start = Instant::now();
    screen.status("starting: servers synchronise, Sentinels find each other");
    let mut cluster = Cluster::start_in(&Plan { down_after: DOWN_AFTER, ..Plan::three(kind) }, folder);
    let ports = cluster.groups[0].servers.iter().map(|server| server.port).collect::<Vec<_>>();
    let (old, replicas) = (ports[0], &ports[1..]);
    let sentinels = cluster.sentinels.iter().map(|sentinel| sentinel.port).collect::<Vec<_>>();
    screen.line(Tone::Quiet, &format!("  master    127.0.0.1:{old}"));
    screen.line(Tone::Quiet, &format!("  replicas  127.0.0.1:{} 127.0.0.1:{}", replicas[0], replicas[1]));
    let names = sentinels.iter().enumerate().map(|(place, port)| format!("S{}=127.0.0.1:{port}", place + 1));
    screen.line(Tone::Quiet, &format!("  Sentinels {}", names.collect::<Vec<_>>().join(" ")));
    screen.line(
        Tone::Quiet,
        "  quorum 2, down-after-milliseconds 1000; a client finds the master by Sentinel and writes",
    );
    screen.line(Tone::Quiet, &format!("  everybody knows everybody after {:.1} s", start.elapsed().as_secs_f64()));

    let findings = Findings::default();
    let written = Arc::new(AtomicU64::new(0));
    let mut probes = Probes::default();
    probes.write(sentinels.clone(), findings.clone(), Arc::clone(&written));
    // Not in the first second of a connection: a link that drops then is tried again only when that second is over.
    let acquainted = Instant::now();
    wait_until(seconds(10), "the client writes", || {
        written.load(Ordering::Relaxed) > 100 && acquainted.elapsed() > Duration::from_millis(1500)
    });
    for &port in replicas {
        probes.watch_server(port, findings.clone());
    }
    for (place, &port) in sentinels.iter().enumerate() {
        probes.watch_sentinel(place, port, old, findings.clone());
    }

    screen.gap();
    screen.line(Tone::Bad, &format!("kill -9 of the master 127.0.0.1:{old}"));
    screen.line(Tone::Quiet, "      ms  who");
    let mut timeline = Timeline { screen: &screen, findings: &findings, from: Instant::now(), shown: 0 };
    cluster.group().at_mut(old).process.kill();
    let mut phases = None;
    wait_until(LIMIT, "the failover is over for everybody", || {
        timeline.show(&cluster);
        phases = Phases::find(&cluster, &findings, timeline.from);
        phases.is_some()
    });
    let phases = phases.expect("just found");
    let end = Instant::now();
    wait_until(seconds(1), "the last events arrive", || {
        timeline.show(&cluster);
        end.elapsed() > Duration::from_millis(20)
    });
    phases.show(&screen, &cluster);

    bring_back(&screen, &mut cluster, &findings, old, phases.new);
    drop(probes);
    drop(cluster);
    screen.gap();
    screen.line(Tone::Quiet, "everything is stopped");
}

fn bring_back(screen: &Screen, cluster: &mut Cluster, findings: &Findings, old: u16, new: u16) {
    screen.gap();
    screen.line(Tone::Plain, &format!("the old master 127.0.0.1:{old} is started again, as a master"));
    screen.line(Tone::Quiet, "      ms  who");
    let mut timeline = Timeline { screen, findings, from: Instant::now(), shown: 0 };
    cluster.group().at_mut(old).start_again();
    let server = cluster.groups[0].at(old);
    wait_until(LIMIT, "the old master is a replica of the new one", || {
        timeline.show(cluster);
        server.follows(new)
    });
    let took = timeline.from.elapsed().as_secs_f64();
    timeline.show(cluster);
    screen.line(Tone::Good, &format!("127.0.0.1:{old} is a replica of 127.0.0.1:{new} after {took:.1} s"));
}

/// Prints what Sentinels published and probes found, merged by time, as it comes.
struct Timeline<'a> {
    screen: &'a Screen,
    findings: &'a Findings,
    from: Instant,
    shown: usize,
}

impl Timeline<'_> {
    /// Prints what is new, and the status.
    fn show(&mut self, cluster: &Cluster) {
        // An entry may arrive a moment after a later one of another thread. Those that are this young wait.
        let until = Instant::now().checked_sub(Duration::from_millis(3)).unwrap_or(self.from);
        let mut entries = Vec::new();
        for (place, sentinel) in cluster.sentinels.iter().enumerate() {
            let new = sentinel.events.all().into_iter().filter(|seen| (self.from..until).contains(&seen.at));
            entries.extend(new.map(|seen| (seen.at, format!("S{}", place + 1), tone(&seen.name), seen.line())));
        }
        let found = self.findings.all().into_iter().filter(|(at, _)| (self.from..until).contains(at));
        entries.extend(found.map(|(at, finding)| {
            let (who, tone, text) = describe(&finding);
            (at, who, tone, text)
        }));
        entries.sort_by_key(|entry| entry.0);
        for (at, who, tone, text) in entries.iter().skip(self.shown) {
            self.screen.line(*tone, &format!("{:>8.1}  {who:<6}  {text}", millis(*at - self.from)));
        }
        self.shown = self.shown.max(entries.len());
        self.screen.status(&format!("{:>8.0}", millis(self.from.elapsed())));
    }
}

fn tone(event: &str) -> Tone {
    match event {
        "+sdown" | "+odown" => Tone::Bad,
        "+elected-leader" | "+selected-slave" | "+promoted-slave" => Tone::Notable,
        "+switch-master" => Tone::Good,
        name if name.starts_with("-failover-abort") => Tone::Bad,
        "+slave" | "+role-change" | "-role-change" | "+new-epoch" => Tone::Quiet,
        _ => Tone::Plain,
    }
}

fn describe(finding: &Finding) -> (String, Tone, String) {
    match finding {
        Finding::WriteFailed => ("writer".to_owned(), Tone::Bad, "a write failed; asking the Sentinels".to_owned()),
        Finding::WriteWorks { port, .. } => {
            ("writer".to_owned(), Tone::Good, format!("writes again, to 127.0.0.1:{port}"))
        }
        Finding::Writable { port } => ("probe".to_owned(), Tone::Notable, format!("127.0.0.1:{port} accepts writes")),
        Finding::Names { place, port } => {
            (format!("S{}", place + 1), Tone::Notable, format!("answers clients with 127.0.0.1:{port}"))
        }
    }
}

/// When the steps of a failover were reached.
struct Phases {
    kill: Instant,
    sdown: Instant,
    odown: Instant,
    elected: Instant,
    writable: Instant,
    named: Instant,
    switched: Instant,
    outage: Duration,
    leader: usize,
    new: u16,
}

impl Phases {
    /// `None` until the last step is reached.
    fn find(cluster: &Cluster, findings: &Findings, kill: Instant) -> Option<Phases> {
        let first = |event: &str| {
            let seen = cluster.sentinels.iter().filter_map(|sentinel| sentinel.events.find(kill, event));
            seen.map(|seen| seen.at).min()
        };
        let leader = cluster.leader(kill, MASTER)?;
        let switch = cluster.sentinels[leader].events.find(kill, "+switch-master ")?;
        let new = switch.payload.rsplit(' ').next()?.parse().ok()?;
        let found = findings.all();
        let when =
            |wanted: Finding| found.iter().find(|(at, finding)| *at >= kill && *finding == wanted).map(|(at, _)| *at);
        let named = (0..cluster.sentinels.len()).map(|place| when(Finding::Names { place, port: new }));
        let outage = found.iter().find_map(|(_, finding)| match finding {
            Finding::WriteWorks { outage, .. } => Some(*outage),
            _ => None,
        })?;
        Some(Phases {
            kill,
            sdown: first("+sdown master ")?,
            odown: first("+odown master ")?,
            elected: first("+elected-leader ")?,
            writable: when(Finding::Writable { port: new })?,
            named: named.collect::<Option<Vec<_>>>()?.into_iter().max()?,
            switched: switch.at,
            outage,
            leader,
            new,
        })
    }

    fn show(&self, screen: &Screen, cluster: &Cluster) {
        let label = cluster.sentinels[self.leader].kind.label();
        let rows = [
            ("master killed", self.kill),
            ("first +sdown (down-after is 1000)", self.sdown),
            ("first +odown", self.odown),
            ("leader elected", self.elected),
            ("new master accepts writes", self.writable),
            ("all three Sentinels give its address", self.named),
            ("leader's +switch-master (replicas moved)", self.switched),
        ];
        screen.gap();
        screen.line(Tone::Plain, &format!("{:<42}{:>10}{:>12}", "phase, ms", "at", "after"));
        let mut before = self.kill;
        for (name, at) in rows {
            // Steps of different Sentinels may overtake each other by a moment.
            let after = if at >= before { millis(at - before) } else { -millis(before - at) };
            screen.line(Tone::Plain, &format!("{name:<42}{:>10.1}{after:>12.1}", millis(at - self.kill)));
            before = at;
        }
        screen.gap();
        screen.line(Tone::Plain, &format!("the client could not write for {:.0} ms", millis(self.outage)));
        let told = millis(self.named - self.sdown);
        let text = format!("{told:.0} ms (stock: about {STOCK_MEDIAN} ms; here: {label})");
        screen.line(Tone::Good, &format!("first +sdown to the new address at all three Sentinels: {text}"));
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
