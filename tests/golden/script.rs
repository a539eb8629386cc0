//! The language of the transcripts. An input is a line `> word arguments`; times are in ms, servers are called by their
//! ports, peers by one letter.
//!
//! | input | meaning |
//! |---|---|
//! | `node KEY VALUE` | a setting of the process, before `watch`: see [`set_node`] |
//! | `name HOST IP\|none\|silent` | what the resolver says of a host name |
//! | `server PORT WORDS` | makes or changes a server: see [`set_server`] |
//! | `watch NAME [HOST:]PORT KEY VALUE ...` | begins to watch a master: see [`record`]; inputs below are about the last one |
//! | `about NAME` | inputs below are about this master |
//! | `show KINDS`, `hide KINDS` | which outputs are printed: see [`crate::print::Shown`] |
//! | `wait MS`, `stall MS`, `wall MS` | time passes; it passes while this process stands still; the wall clock jumps |
//! | `kill\|hang\|wake\|start PORT` | a server dies, stops answering, answers again, starts again |
//! | `break PORT commands\|pub/sub` | one connection breaks |
//! | `peer NAME down\|up\|silent\|garbled` | what a peer says from now on when it is asked about the master |
//! | `peer NAME voted WHOM EPOCH` | it has voted already |
//! | `says NAME DOWN WHOM EPOCH` | its answer to a question comes now, late |
//! | `peer NAME dies\|returns` | its PINGs stay unanswered; it is back |
//! | `hello NAME KEY VALUE ...` | a peer's hello: see [`hello`] |
//! | `hear PORT PAYLOAD` | a message on the hello channel, heard at a server |
//! | `vote-request NAME EPOCH [PORT]` | a peer wants our vote for the master at this address |
//! | `failover [COORDINATED] [TO PORT] [TIMEOUT MS]`, `reset`, `adopt [HOST:]PORT`, `set OPTION VALUE` | an operator's commands |
//! | `disk works\|fails\|hangs` | what becomes of saves |
//! | `reboot` | this process is killed and starts again from its file |
//! | `view`, `file`, `record` | prints what readers see, what is on disk, what would be saved now |

use std::collections::BTreeMap;

use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::{Epoch, MasterName, ReplyToken, Secret};
use sentineld::sentinel::io::{AdminRequest, Channel, FailoverOrder, Input, Reply, SetOption, SpecChange, Tag};
use sentineld::sentinel::monitor::hello::Hello;
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use sentineld::sentinel::node::NodeNotice;
use sentineld::sentinel::policy::{CoordinatedPath, FailoverMode, Policies};

use crate::print::{run_id, saved};
use crate::server::{Server, State};
use crate::world::{Disk, Opinion, World};

/// Plays a transcript: its prose and inputs, each input followed by what the core says now.
pub(crate) fn play(text: &str) -> String {
    let mut teller = Teller { world: World::new(), about: MasterName::from(""), ports: BTreeMap::new() };
    let mut played = String::new();
    for line in text.lines() {
        let kept = line.is_empty() || line.starts_with('#') || line.starts_with('>');
        if !kept {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if let Some(input) = line.strip_prefix("> ") {
            let words: Vec<&str> = input.split_whitespace().collect();
            teller.take(words[0], &words[1..]);
            for line in teller.world.printer.take() {
                played.push_str(&line);
                played.push('\n');
            }
        }
    }
    played
}

struct Teller {
    world: World,
    /// The master that inputs are about.
    about: MasterName,
    /// Where peers were last said to be.
    ports: BTreeMap<String, u16>,
}

impl Teller {
    fn take(&mut self, what: &str, args: &[&str]) {
        let world = &mut self.world;
        let from = ReplyToken(1);
        match (what, args) {
            ("node", [key, rest @ ..]) => {
                set_node(world, key, rest);
                if !self.about.as_str().is_empty() {
                    world.feed(&self.about, vec![Input::Notice(NodeNotice::SettingsChanged)]);
                }
            }
            ("name", [host, "silent"]) => drop(world.names.remove(*host)),
            ("name", [host, ip]) => drop(world.names.insert((*host).to_owned(), ip.parse().ok())),
            ("server", [port, words @ ..]) => {
                let port = number(port);
                set_server(world.servers.entry(port).or_insert_with(|| Server::new(port)), words);
            }
            ("watch", [name, at, pairs @ ..]) => {
                self.about = MasterName::from(*name);
                world.watch(record(name, at, pairs, world));
            }
            ("about", [name]) => self.about = MasterName::from(*name),
            ("show", kinds) => kinds.iter().for_each(|kind| world.printer.shown.show(kind)),
            ("hide", kinds) => kinds.iter().for_each(|kind| world.printer.shown.hide(kind)),
            ("wait", [ms]) => world.wait(number(ms)),
            ("stall", [ms]) => world.stall(number(ms)),
            ("wall", [ms]) => world.step_wall(ms.parse().expect("ms")),
            ("kill", [port]) => world.kill(number(port)),
            ("hang", [port]) => world.servers.get_mut(&number(port)).expect("a known server").state = State::Hangs,
            ("wake", [port]) => world.wake(number(port)),
            ("start", [port]) => world.servers.get_mut(&number(port)).expect("a known server").state = State::Runs,
            ("break", [port, "commands"]) => world.break_link(number(port), Channel::Command),
            ("break", [port, "pub/sub"]) => world.break_link(number(port), Channel::PubSub),
            ("peer", [name, words @ ..]) => peer(world, name, words),
            ("says", [name, down, whom, epoch]) => {
                let whom = run_id(whom);
                let fields = vec![
                    Reply::Integer(number(down)),
                    Reply::Bulk(whom.as_str().as_bytes().into()),
                    Reply::Integer(number(epoch)),
                ];
                let (peer, value) = (run_id(name), Reply::Array(fields));
                world.feed(&self.about, vec![Input::PeerReply { peer, tag: Tag::Ask, value }]);
            }
            ("hello", [name, pairs @ ..]) => {
                let hello = hello(name, pairs, &self.about, world, &mut self.ports);
                world.feed(&self.about, vec![Input::Hello(Box::new(hello))]);
            }
            ("hear", [port, payload]) => world.hear(&self.about, number(port), payload),
            ("vote-request", [name, epoch, at @ ..]) => {
                let addr = at.first().map_or_else(|| world.record(&self.about).addr, |at| addr(at));
                let (epoch, candidate) = (Epoch(number(epoch)), run_id(name));
                world.feed(&self.about, vec![Input::VoteRequest { from, addr, epoch, candidate }]);
            }
            ("failover", words) => self.order(AdminRequest::Failover(failover_order(words))),
            ("adopt", [at]) => self.order(AdminRequest::Adopt(addr(at))),
            ("reset", []) => self.order(AdminRequest::Reset),
            ("set", [option, value]) => {
                let change = change(option, value);
                let shown = if *option == "auth-pass" { "******" } else { value };
                self.order(AdminRequest::Set(vec![SetOption { shown: format!("{option} {shown}"), change }]));
            }
            ("disk", [state]) => world.set_disk(match *state {
                "works" => Disk::Works,
                "fails" => Disk::Fails,
                "hangs" => Disk::Hangs,
                other => panic!("no such disk: {other}"),
            }),
            ("reboot", []) => world.reboot(),
            ("view", []) => world.view(&self.about),
            ("file", []) => {
                let (record, epoch) = world.file(&self.about).clone();
                world.printer.note(&format!("current-epoch {epoch}  {}", saved(&record)));
            }
            ("record", []) => {
                let text = saved(&world.record(&self.about));
                world.printer.note(&text);
            }
            _ => panic!("no such input: {what} {args:?}"),
        }
    }

    fn order(&mut self, request: AdminRequest) {
        self.world.feed(&self.about, vec![Input::Admin { from: ReplyToken(1), request }]);
    }
}

/// `COORDINATED`, `TO [HOST:]PORT`, `TIMEOUT MS`.
fn failover_order(words: &[&str]) -> FailoverOrder {
    match words {
        [] => FailoverOrder::default(),
        ["COORDINATED", rest @ ..] => FailoverOrder { mode: Some(FailoverMode::Coordinated), ..failover_order(rest) },
        ["TO", at, rest @ ..] => FailoverOrder { to: Some(addr(at)), ..failover_order(rest) },
        ["TIMEOUT", ms, rest @ ..] => FailoverOrder { timeout: Some(number(ms)), ..failover_order(rest) },
        _ => panic!("no such options: {words:?}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

/// `PORT` at 127.0.0.1, or `HOST:PORT`.
fn addr(text: &str) -> Addr {
    match text.rsplit_once(':') {
        Some((host, port)) => Addr::new(host, number(port)),
        None => Addr::new("127.0.0.1", number(text)),
    }
}

fn pairs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    assert!(words.len().is_multiple_of(2), "keys and values: {words:?}");
    words.chunks(2).map(|pair| (pair[0], pair[1]))
}

/// `announce-ip`, `announce-port`, `port`, `resolve-hostnames yes`, `announce-hostnames yes`, `crash-after-election`,
/// `crash-after-promotion`, `policies stock` for none of what beyond.md adds, `policies coordinated`, `policies path
/// failover`, and `period NAME MS` as `SENTINEL DEBUG` changes it.
fn set_node(world: &mut World, key: &str, rest: &[&str]) {
    let node = &mut world.node;
    let yes = rest.first() == Some(&"yes");
    match (key, rest) {
        ("announce-ip", ["none"]) => node.announce_ip = None,
        ("announce-ip", [ip]) => node.announce_ip = Some((*ip).to_owned()),
        ("announce-port", [port]) => node.announce_port = number(port),
        ("port", [port]) => node.port = number(port),
        ("resolve-hostnames", _) => node.resolve_hostnames = yes,
        ("announce-hostnames", _) => node.announce_hostnames = yes,
        ("policies", ["stock"]) => node.policies = Policies::stock(),
        ("policies", ["coordinated"]) => node.policies.defaults.failover_mode = FailoverMode::Coordinated,
        ("policies", ["path", "failover"]) => node.policies.defaults.coordinated_path = CoordinatedPath::Failover,
        ("crash-after-election", []) => node.crash_after_election = true,
        ("crash-after-promotion", []) => node.crash_after_promotion = true,
        ("period", [name, ms]) => {
            let periods = &mut node.periods;
            let period = match *name {
                "info" => &mut periods.info,
                "ping" => &mut periods.ping,
                "ask" => &mut periods.ask,
                "publish" => &mut periods.publish,
                "slave-reconf-timeout" => &mut periods.slave_reconf_timeout,
                "election-timeout" => &mut periods.election_timeout,
                "min-link-reconnect" => &mut periods.min_link_reconnect,
                "tilt" => &mut periods.tilt,
                "tilt-trigger" => &mut periods.tilt_trigger,
                other => panic!("no such period: {other}"),
            };
            *period = number(ms);
        }
        _ => panic!("no such setting: {key} {rest:?}"),
    }
}

/// `master`, `slave`, `of PORT`, `run-id X`, `obeys yes|no`, `priority|offset|link|link-down|announced|keys VALUE` for what
/// INFO says, `replid X` and `left X:OFFSET` likewise, `replicas PORT ...` or `lists LINE ...` for its `slaveN` lines,
/// `answers COMMAND REPLY ...` for a reply that is not the usual one (`usual` takes it back); `COMMAND` may be
/// `word|subword`.
fn set_server(server: &mut Server, words: &[&str]) {
    match words {
        [] => {}
        ["master" | "slave", rest @ ..] => {
            words[0].clone_into(&mut server.role);
            set_server(server, rest);
        }
        ["of", at, rest @ ..] => {
            let at = addr(at);
            server.follows = (at.host.to_string(), at.port);
            set_server(server, rest);
        }
        ["replicas", ports @ ..] => {
            let line = |port: &&str| format!("ip=127.0.0.1,port={port},state=online,offset=1,lag=0");
            server.replicas = ports.iter().map(line).collect();
        }
        ["lists", lines @ ..] => server.replicas = lines.iter().map(|line| (*line).to_owned()).collect(),
        ["answers", command, "usual"] => drop(server.answers.remove(*command)),
        ["answers", command, reply @ ..] => drop(server.answers.insert((*command).to_owned(), reply.join(" "))),
        ["run-id", letter, rest @ ..] => {
            server.run_id = format!("{letter:0>40}");
            set_server(server, rest);
        }
        ["obeys", word, rest @ ..] => {
            server.obeys = *word == "yes";
            set_server(server, rest);
        }
        [key @ ("replid" | "replid2"), letter, rest @ ..] => {
            server.says.insert((*key).to_owned(), format!("{letter:0>40}"));
            set_server(server, rest);
        }
        [key, value, rest @ ..] => {
            server.says.insert((*key).to_owned(), (*value).to_owned());
            set_server(server, rest);
        }
        [word] => panic!("what about {word}?"),
    }
}

/// `quorum`, `down-after`, `failover-timeout`, `parallel-syncs`, `reboot-down-after`, `auth-user`, `auth-pass`,
/// `rename FROM=TO`, `config-epoch`, `leader-epoch`, `replica PORT`, `sentinel NAME=PORT`.
fn record(name: &str, at: &str, words: &[&str], world: &World) -> MasterRecord {
    let mut spec = MasterSpec::new(MasterName::from(name), 2, &world.node.periods);
    let (mut replicas, mut sentinels) = (Vec::new(), Vec::new());
    let (mut config_epoch, mut leader_epoch) = (Epoch(0), Epoch(0));
    for (key, value) in pairs(words) {
        match key {
            "quorum" => spec.quorum = number(value),
            "down-after" => spec.down_after = number(value),
            "failover-timeout" => spec.failover_timeout = number(value),
            "parallel-syncs" => spec.parallel_syncs = number(value),
            "reboot-down-after" => spec.reboot_down_after = number(value),
            "auth-user" => spec.auth_user = Some(value.to_owned()),
            "auth-pass" => spec.auth_pass = Some(Secret::from(value.as_bytes())),
            "rename" => {
                let (from, to) = value.split_once('=').expect("FROM=TO");
                spec.renames.insert(from.to_owned(), to.to_owned());
            }
            "config-epoch" => config_epoch = Epoch(number(value)),
            "leader-epoch" => leader_epoch = Epoch(number(value)),
            "replica" => replicas.push(addr(value)),
            "sentinel" => {
                let (peer, port) = value.split_once('=').expect("NAME=PORT");
                sentinels.push((run_id(peer), addr(port)));
            }
            other => panic!("no such setting: {other}"),
        }
    }
    MasterRecord {
        spec,
        addr: addr(at),
        config_epoch,
        leader_epoch,
        replicas,
        sentinels,
        identity: IdentityRecord::default(),
    }
}

fn peer(world: &mut World, name: &str, words: &[&str]) {
    let id = run_id(name);
    match words {
        ["voted", whom, epoch] => world.meet(&id).vote = (Some(run_id(whom)), Epoch(number(epoch))),
        ["dies"] => world.silence(&id),
        ["returns"] => {
            let known = world.meet(&id);
            (known.silent_since, known.opinion) = (None, Opinion::Down);
            world.tell_health(&id);
        }
        [opinion] => {
            world.meet(&id).opinion = match *opinion {
                "down" => Opinion::Down,
                "up" => Opinion::Up,
                "silent" => Opinion::Silent,
                "garbled" => Opinion::Garbled,
                other => panic!("no such opinion: {other}"),
            };
        }
        _ => panic!("what about peer {name}: {words:?}?"),
    }
}

/// `host`, `port`, `epoch`, `master [HOST:]PORT`, `config-epoch`, `of NAME`; what is left out is what we think ourselves.
fn hello(name: &str, words: &[&str], about: &MasterName, world: &World, ports: &mut BTreeMap<String, u16>) -> Hello {
    let record = world.record(about);
    let next_port = 26380 + u16::try_from(ports.len()).expect("few peers");
    let port = *ports.entry(name.to_owned()).or_insert(next_port);
    let mut hello = Hello {
        addr: Addr::new("127.0.0.1", port),
        id: run_id(name),
        current_epoch: Epoch(0),
        master: about.clone(),
        master_addr: record.addr.clone(),
        config_epoch: record.config_epoch,
    };
    for (key, value) in pairs(words) {
        match key {
            "host" => hello.addr = Addr::new(value, hello.addr.port),
            "port" => {
                hello.addr.port = number(value);
                ports.insert(name.to_owned(), hello.addr.port);
            }
            "epoch" => hello.current_epoch = Epoch(number(value)),
            "config-epoch" => hello.config_epoch = Epoch(number(value)),
            "of" => hello.master = MasterName::from(value),
            "master" => hello.master_addr = addr(value),
            other => panic!("no such field: {other}"),
        }
    }
    hello
}

fn change(option: &str, value: &str) -> SpecChange {
    match option {
        "quorum" => SpecChange::Quorum(number(value)),
        "down-after-milliseconds" => SpecChange::DownAfter(number(value)),
        "failover-timeout" => SpecChange::FailoverTimeout(number(value)),
        "parallel-syncs" => SpecChange::ParallelSyncs(number(value)),
        "auth-pass" => SpecChange::AuthPass(Some(Secret::from(value.as_bytes()))),
        other => panic!("no such option: {other}"),
    }
}
