//! Hosts with one address each, and the links between them.
//!
//! Owns the namespaces, and removes them when it is dropped. Must never touch the network outside of them.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A host, counted from 0.
pub(crate) type Host = usize;

/// The table at the bridge: links that are cut, links that lose one packet of five, and proxies to and from which one of
/// twenty is lost.
const TABLE: &str = "table bridge faults {
    set cut { type ipv4_addr . ipv4_addr; }
    set lossy { type ipv4_addr . ipv4_addr; }
    set bad { type ipv4_addr; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr . ip daddr @cut drop
        ip saddr . ip daddr @lossy numgen random mod 100 < 20 drop
    }
    chain input {
        type filter hook input priority 0; policy accept;
        ip daddr @bad numgen random mod 100 < 5 drop
    }
    chain output {
        type filter hook output priority 0; policy accept;
        ip saddr @bad numgen random mod 100 < 5 drop
    }
}
";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// How hosts are told apart.
#[derive(Debug)]
pub(crate) enum Net {
    /// A namespace each.
    Switched(Switch),
    /// An address of 127/8 each; links cannot be cut.
    Loopback {
        /// The second and third byte of the addresses.
        block: [u8; 2],
    },
}

impl Net {
    /// A network of `hosts` hosts; namespaces if they can be had.
    pub(crate) fn new(hosts: usize) -> Net {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        match available() {
            Ok(()) => Net::Switched(Switch::new(number, hosts)),
            Err(_) => Net::Loopback { block: [64 + (std::process::id() % 128) as u8, number as u8] },
        }
    }

    /// Whether links can be cut.
    pub(crate) fn is_switched(&self) -> bool {
        matches!(self, Net::Switched(_))
    }

    /// The address of a host.
    pub(crate) fn addr(&self, host: Host) -> Ipv4Addr {
        self.numbered(host as u8 + 1)
    }

    /// An address for a proxy to this host, where the test is. Nobody listens there by itself.
    pub(crate) fn proxy_addr(&self, host: Host) -> Ipv4Addr {
        let addr = self.numbered(host as u8 + 101);
        if let Net::Switched(switch) = self {
            switch.add_addr(addr);
        }
        addr
    }

    fn numbered(&self, last: u8) -> Ipv4Addr {
        match self {
            Net::Switched(_) => Ipv4Addr::new(10, 77, 0, last),
            Net::Loopback { block: [second, third] } => Ipv4Addr::new(127, *second, *third, last),
        }
    }

    /// What starts `program` with `args` on a host: the child is the program itself, with its own process id.
    pub(crate) fn command(&self, host: Host, program: &Path, args: &[&str]) -> (PathBuf, Vec<String>) {
        match self {
            Net::Switched(switch) => inside(&switch.hosts[host], program, args),
            Net::Loopback { .. } => (program.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect()),
        }
    }

    /// The same in a place from which nobody can be reached.
    pub(crate) fn command_nowhere(&self, program: &Path, args: &[&str]) -> (PathBuf, Vec<String>) {
        match self {
            Net::Switched(switch) => inside(&switch.nowhere, program, args),
            Net::Loopback { .. } => (program.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect()),
        }
    }
}

/// A bridge in a namespace, and the namespaces that hang on it.
#[derive(Debug)]
pub(crate) struct Switch {
    name: String,
    hosts: Vec<String>,
    nowhere: String,
    /// Where this thread was before it came to the bridge.
    outside: File,
}

impl Switch {
    /// Builds it, and moves this thread to the bridge: what it connects to and starts is there.
    fn new(number: u32, hosts: usize) -> Switch {
        let switch = Switch::named(&number.to_string(), hosts);
        switch.build().unwrap_or_else(|error| panic!("namespaces worked a moment ago: {error}"));
        let inside = File::open(Path::new("/run/netns").join(&switch.name)).expect("it was just made");
        setns(inside, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
        switch
    }

    /// Names for its namespaces, of which none is there yet.
    fn named(name: &str, hosts: usize) -> Switch {
        let prefix = format!("{PREFIX}{}-{name}-", std::process::id());
        let outside = File::open("/proc/thread-self/ns/net").expect("a thread knows its namespace");
        let hosts = (1..=hosts).map(|host| format!("{prefix}{host}")).collect();
        Switch { name: format!("{prefix}s"), hosts, nowhere: format!("{prefix}n"), outside }
    }

    fn build(&self) -> Result<(), String> {
        for name in self.all() {
            run("ip", &["netns", "add", name], "")?;
            run("ip", &["-n", name, "link", "set", "lo", "up"], "")?;
        }
        let bridge = "link add br0 type bridge forward_delay 0\nlink set br0 up\naddr add 10.77.0.254/24 dev br0\n";
        let port = |(host, name)| {
            format!(
                "link add p{host} type veth peer name eth0 netns {name}\n\
                 link set p{host} master br0\nlink set p{host} up\n"
            )
        };
        let ports = self.hosts.iter().enumerate().map(port).collect::<String>();
        let at_switch = format!("{bridge}{ports}");
        run("ip", &["-n", &self.name, "-batch", "-"], &at_switch)?;
        for (host, name) in self.hosts.iter().enumerate() {
            let batch = format!("addr add 10.77.0.{}/24 dev eth0\nlink set eth0 up\n", host + 1);
            run("ip", &["-n", name, "-batch", "-"], &batch)?;
        }
        self.nft(TABLE)
    }

    /// Drops everything that `from` sends to `to` on each of these links, until [`Switch::heal`].
    pub(crate) fn cut(&self, links: &[(Host, Host)]) {
        self.add("cut", links);
    }

    /// Drops one packet of five on these links, until [`Switch::heal`].
    pub(crate) fn make_lossy(&self, links: &[(Host, Host)]) {
        self.add("lossy", links);
    }

    /// The bridge has this address, too.
    fn add_addr(&self, addr: Ipv4Addr) {
        let added = run("ip", &["-n", &self.name, "addr", "add", &format!("{addr}/32"), "dev", "br0"], "");
        added.expect("an address that is not there yet");
    }

    /// Loses one packet of twenty to and from these proxies, until [`Switch::heal`].
    pub(crate) fn make_bad(&self, proxies: &[Ipv4Addr]) {
        let proxies = proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.nft(&format!("add element bridge faults bad {{ {proxies} }}\n")).expect("the table is there");
    }

    /// All links work again.
    pub(crate) fn heal(&self) {
        let sets = ["cut", "lossy", "bad"].map(|set| format!("flush set bridge faults {set}\n"));
        let flushed = self.nft(&sets.concat());
        flushed.expect("the table is there");
    }

    /// Makes the line of a host so narrow that packets queue up: some 100 ms whenever it says much at a time.
    pub(crate) fn narrow(&self, host: Host) {
        let line = ["dev", "eth0", "root", "tbf", "rate", "128kbit", "burst", "1600", "latency", "400ms"];
        let args = ["-n", &self.hosts[host], "qdisc", "replace"].into_iter().chain(line).collect::<Vec<_>>();
        if let Err(why) = run("tc", &args, "") {
            tell(&format!("lines are not slow, only lossy: {why}"));
        }
    }

    fn add(&self, set: &str, links: &[(Host, Host)]) {
        let pairs = links.iter().map(|(from, to)| format!("10.77.0.{} . 10.77.0.{}", from + 1, to + 1));
        let pairs = pairs.collect::<Vec<_>>().join(", ");
        self.nft(&format!("add element bridge faults {set} {{ {pairs} }}\n")).expect("the table is there");
    }

    fn nft(&self, script: &str) -> Result<(), String> {
        run("ip", &["netns", "exec", &self.name, "nft", "-f", "-"], script)
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.hosts.iter().chain([&self.name, &self.nowhere])
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // A thread of a finished test may stay where it is; the next one would only be confused.
        let _ = setns(&self.outside, CloneFlags::CLONE_NEWNET);
        for name in self.all() {
            // What cannot be removed now goes at the start of the next run.
            let _ = run("ip", &["netns", "del", name], "");
        }
    }
}

/// Names of our namespaces begin with this and the process that made them.
const PREFIX: &str = "sdf-";

/// Whether there are namespaces; why not, else. The reason is told once.
fn available() -> &'static Result<(), String> {
    static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
    AVAILABLE.get_or_init(|| {
        let found = probe();
        if let Err(why) = &found {
            tell(&format!(
                "no network namespaces ({why}): no link is cut, lossy or slow; who would be cut off is stopped with \
                 SIGSTOP instead"
            ));
        }
        found
    })
}

/// Says something about this machine, past the capture of test output.
pub(crate) fn tell(text: &str) {
    // A standard error that is closed has no reader.
    let _ = writeln!(std::io::stderr(), "faults: {text}");
}

fn probe() -> Result<(), String> {
    if std::env::var_os("FAULTS_NO_NETNS").is_some() {
        return Err("FAULTS_NO_NETNS is set".to_owned());
    }
    remove_leftovers();
    Switch::named("probe", 1).build()
}

/// Removes the namespaces of runs that were killed.
fn remove_leftovers() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            // Somebody else may be faster.
            let _ = run("ip", &["netns", "del", &name], "");
        }
    }
}

fn inside(name: &str, program: &Path, args: &[&str]) -> (PathBuf, Vec<String>) {
    let program = program.display().to_string();
    let words = ["netns", "exec", name, &program].into_iter().chain(args.iter().copied());
    ("ip".into(), words.map(str::to_owned).collect())
}

/// Runs a command to its end; an error is what it printed.
pub(crate) fn run(program: &str, args: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    let written = child.stdin.take().expect("it is a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() && written.is_ok() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
