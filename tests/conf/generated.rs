//! Files of many made-up masters: stock starts on what we save, and we on what stock makes of it (config.md 142).
//!
//! A start costs, a master in the file does not: each file has dozens. Nobody lives at any of these addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use sentineld::acl::{PubsubDefault, Users};
use sentineld::conf::files::RealFiles;
use sentineld::conf::image::ConfImage;
use sentineld::conf::load::{Loaded, SourceSet, load};
use sentineld::sentinel::NodeSettings;
use sentineld::sentinel::addr::Addr;
use sentineld::sentinel::id::{Epoch, MasterName, RunId, Secret};
use sentineld::sentinel::monitor::record::{IdentityRecord, MasterRecord, MasterSpec};
use sentineld::sentinel::time::Periods;

use crate::corpus::entries;
use crate::stock::{Running, Stock};

/// How odd the words of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// Everything that a line can carry when it is quoted. Stock writes most of it without quotes, so it can read these
    /// and not write them.
    Odd,
    /// What needs no quotes.
    Plain,
}

impl Words {
    /// A line feed would end a line of redis-cli's output.
    fn word(self) -> BoxedStrategy<String> {
        match self {
            Words::Odd => prop_oneof!["[a-zA-Z0-9._-]{1,12}", "[^\0\r\n]{0,8}", "[ \"'\\\\#x\t\u{1}]{0,6}"].boxed(),
            Words::Plain => "[a-zA-Z0-9._-]{1,12}".boxed(),
        }
    }

    fn secret(self) -> BoxedStrategy<Secret> {
        match self {
            Words::Odd => prop::collection::vec(1u8..=255, 1..12).prop_map(|bytes| Secret::from(&bytes[..])).boxed(),
            Words::Plain => {
                "[a-zA-Z0-9!#$%&()*+,./:;<=>?@^_{|}~-]{1,12}".prop_map(|text| Secret::from(text.as_bytes())).boxed()
            }
        }
    }

    fn addr(self) -> BoxedStrategy<Addr> {
        // Addresses for documentation. Names are looked up at the start, so there is one, at ports that nobody uses.
        let v4 = (0..3usize, any::<u8>()).prop_map(|(net, host)| {
            let [a, b, c] = [[192, 0, 2], [198, 51, 100], [203, 0, 113]][net];
            Ipv4Addr::new(a, b, c, host).to_string()
        });
        let v6 =
            any::<[u16; 6]>().prop_map(|[c, d, e, f, g, h]| Ipv6Addr::new(0x2001, 0xdb8, c, d, e, f, g, h).to_string());
        let ip = (prop_oneof![v4, v6], 1..=u16::MAX).prop_map(|(host, port)| Addr::new(&host, port));
        match self {
            Words::Odd => prop_oneof![8 => ip, 1 => (1..10u16).prop_map(|port| Addr::new("localhost", port))].boxed(),
            Words::Plain => ip.boxed(),
        }
    }
}

/// Milliseconds; some are defaults, which are not written.
fn period() -> impl Strategy<Value = u64> {
    prop_oneof![Just(30_000), Just(180_000), 1..=i32::MAX as u64]
}

prop_compose! {
    fn spec(words: Words)(
        name in words.word(),
        quorum in 1..=i32::MAX as u32,
        (down_after, failover_timeout) in (period(), period()),
        reboot_down_after in prop_oneof![Just(0), period()],
        parallel_syncs in 0..5u32,
        auth_user in prop::option::of(words.word()),
        auth_pass in prop::option::of(words.secret()),
        notification_script in prop::option::of(Just("/bin/true".to_owned())),
        renames in prop::collection::btree_map("[A-Z|]{1,6}", words.word(), 0..3),
    ) -> MasterSpec {
        MasterSpec {
            down_after, failover_timeout, reboot_down_after, parallel_syncs, auth_user, auth_pass, notification_script,
            renames,
            ..MasterSpec::new(MasterName::from(name.as_str()), quorum, &Periods::default())
        }
    }
}

prop_compose! {
    fn record(words: Words)(
        spec in spec(words),
        addr in words.addr(),
        (config_epoch, leader_epoch) in (0..1u64 << 62, 0..1u64 << 62),
        replicas in prop::collection::vec(words.addr(), 0..4),
        sentinels in prop::collection::btree_map("[0-9a-f]{40}", words.addr(), 0..4),
    ) -> MasterRecord {
        let mut distinct: Vec<Addr> = Vec::new();
        for replica in replicas {
            if !distinct.iter().any(|known| known.same_as(&replica)) && !replica.same_as(&addr) {
                distinct.push(replica);
            }
        }
        MasterRecord {
            spec, addr, config_epoch: Epoch(config_epoch), leader_epoch: Epoch(leader_epoch), replicas: distinct,
            sentinels: sentinels.into_iter().map(|(id, addr)| (RunId::from(id.as_str()), addr)).collect(),
            identity: IdentityRecord::default(),
        }
    }
}

fn masters(words: Words) -> impl Strategy<Value = Vec<MasterRecord>> {
    prop::collection::vec(record(words), 30..60).prop_map(|records| {
        let mut names = BTreeSet::new();
        records.into_iter().filter(|record| names.insert(record.spec.name.clone())).collect()
    })
}

prop_compose! {
    fn node(words: Words)(
        id in "[0-9a-f]{40}",
        announce_port in any::<u16>(),
        announce_hostnames in any::<bool>(),
        deny_scripts_reconfig in any::<bool>(),
        sentinel_user in prop::option::of(words.word().prop_filter("not empty", |word| !word.is_empty())),
        sentinel_pass in prop::option::of(words.secret()),
    ) -> NodeSettings {
        NodeSettings {
            announce_port, announce_hostnames, deny_scripts_reconfig, sentinel_user, sentinel_pass,
            resolve_hostnames: true,
            ..NodeSettings::new(RunId::from(id.as_str()))
        }
    }
}

fn saved(node: &NodeSettings, masters: &[MasterRecord]) -> Vec<u8> {
    let mut image = ConfImage::new(b"# made up\n", node.clone());
    image.set_users(&Users::new(PubsubDefault::ResetChannels));
    for master in masters {
        image.set_master(master.clone());
    }
    image.render(Epoch(0))
}

fn load_file(path: &Path) -> Loaded {
    let text = fs::read(path).expect("readable");
    let cwd = path.parent().expect("absolute").to_owned();
    let sources = SourceSet { main: text.clone(), stdin: None, options: Vec::new(), cwd };
    load(&sources, RunId::from("new"), &RealFiles)
        .unwrap_or_else(|error| panic!("{error} in\n{}", String::from_utf8_lossy(&text)))
}

/// Stock has read everything that was written.
fn knows(running: &Running, node: &NodeSettings, masters: &[MasterRecord]) -> TestCaseResult {
    prop_assert_eq!(running.ask(&["sentinel", "myid"]), [node.myid.as_str()]);
    let mut found: BTreeMap<String, BTreeMap<String, String>> = entries(&running.ask(&["sentinel", "masters"]))
        .into_iter()
        .map(|entry| (entry["name"].clone(), entry))
        .collect();
    for MasterRecord { spec, addr, config_epoch, replicas, sentinels, .. } in masters {
        let name = spec.name.as_str();
        let Some(entry) = found.remove(name) else { return Err(TestCaseError::fail(format!("no {name:?}"))) };
        let numbers: [(&str, u64); 8] = [
            ("port", addr.port.into()),
            ("quorum", spec.quorum.into()),
            ("down-after-milliseconds", spec.down_after),
            ("failover-timeout", spec.failover_timeout),
            ("parallel-syncs", spec.parallel_syncs.into()),
            ("config-epoch", config_epoch.0),
            ("num-slaves", replicas.len() as u64),
            ("num-other-sentinels", sentinels.len() as u64),
        ];
        for (field, value) in numbers {
            prop_assert_eq!(&entry[field], &value.to_string(), "{} of {:?}", field, name);
        }
        let host = &*entry["ip"];
        let is_there = match &*addr.shown_host(node) {
            "localhost" if !node.announce_hostnames => ["127.0.0.1", "::1"].contains(&host),
            wanted => host == wanted,
        };
        prop_assert!(is_there, "{host} in place of {addr:?}");
        prop_assert_eq!(entry.get("notification-script"), spec.notification_script.as_ref());
    }
    prop_assert!(found.is_empty(), "{found:?}");
    Ok(())
}

/// In an order that does not depend on who wrote it.
fn sorted(masters: &[MasterRecord]) -> Vec<MasterRecord> {
    let mut masters = masters.to_vec();
    for master in &mut masters {
        master.replicas.sort_by_key(|addr| (addr.port, format!("{addr:?}")));
        master.sentinels.sort_by(|one, other| one.0.cmp(&other.0));
    }
    masters.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    masters
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 100, ..ProptestConfig::with_cases(4) })]

    /// config.md 121, 125, 142
    #[test]
    fn stock_starts_on_whatever_we_save(node in node(Words::Odd), masters in masters(Words::Odd)) {
        let stock = Stock::find();
        let conf = stock.path("ours.conf");
        fs::write(&conf, saved(&node, &masters)).expect("written");
        match stock.try_start(&conf) {
            Ok(running) => knows(&running, &node, &masters)?,
            Err(log) => return Err(TestCaseError::fail(log)),
        }
    }

    /// config.md 142
    #[test]
    fn whatever_stock_saves_is_what_we_had_saved(node in node(Words::Plain), masters in masters(Words::Plain)) {
        let stock = Stock::find();
        let conf = stock.path("theirs.conf");
        fs::write(&conf, saved(&node, &masters)).expect("written");
        let running = stock.start(&conf);
        prop_assert_eq!(running.ask(&["sentinel", "flushconfig"]), ["OK"]);
        drop(running);
        let loaded = load_file(&conf);
        prop_assert_eq!(sorted(&loaded.masters), sorted(&masters));
        let settings = |node: &NodeSettings| NodeSettings { port: 0, ..node.clone() };
        prop_assert_eq!(settings(&loaded.node), settings(&node));
        // And back again.
        fs::write(&conf, loaded.image.render(loaded.current_epoch)).expect("written");
        knows(&stock.start(&conf), &node, &masters)?;
    }
}
