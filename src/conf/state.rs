//! `[node] state-file` of `sentineld.toml`: what is learned goes to a file of its own, in the form of `sentinel.conf`, and
//! the conf file is never written. Here is how the two meet at a start.
//!
//! What was learned always comes from the state file: this Sentinel's id, epochs, addresses, replicas and other
//! Sentinels. Settings come from it, too (`SENTINEL SET` has put them there), as long as the `sentinel` lines of the conf
//! file are those that it was written under. Once somebody has edited these, the conf file's settings count again; masters
//! that are new there are monitored, and those that were taken out of it are not. Who came or went by `SENTINEL MONITOR`
//! and `SENTINEL REMOVE` stays so. All other directives are the conf file's.

use super::lexer;
use super::load::Loaded;
use crate::acl::digest::Digest;
use crate::sentinel::NodeSettings;
use crate::sentinel::id::MasterName;
use crate::sentinel::monitor::record::MasterRecord;

/// The first line of a state file, up to the digest. A comment, so that stock can start on the file.
const HEADER: &str = "# State of sentineld under the sentinel lines with digest ";

/// The second line of a state file, up to the names of the masters that the conf file had, in quotes.
const MASTERS: &str = "# Masters of that configuration:";

/// How a state file begins that is written under this configuration, which has these masters.
pub fn header(conf: &[u8], masters: &[MasterRecord]) -> Vec<u8> {
    let names = masters.iter().flat_map(|record| [b" ".to_vec(), lexer::quoted(record.spec.name.as_str().as_bytes())]);
    let names = names.collect::<Vec<_>>().concat();
    [first_line(conf).as_slice(), MASTERS.as_bytes(), &names, b"\n"].concat()
}

fn first_line(conf: &[u8]) -> Vec<u8> {
    let lines = conf.split(|byte| *byte == b'\n').map(lexer::trim);
    let of_sentinels = |line: &&[u8]| line.get(..9).is_some_and(|word| word.eq_ignore_ascii_case(b"sentinel "));
    let lines: Vec<&[u8]> = lines.filter(of_sentinels).collect();
    format!("{HEADER}{}\n", Digest::of(&lines.join(&b'\n'))).into_bytes()
}

/// The masters of the configuration that a state file was written under.
pub fn masters_then(state: &[u8]) -> Vec<MasterName> {
    let second = state.split(|byte| *byte == b'\n').nth(1);
    let names = second.and_then(|line| line.strip_prefix(MASTERS.as_bytes()));
    let words = names.and_then(|names| lexer::split(names).ok()).unwrap_or_default();
    words.iter().map(|word| MasterName::from(&*String::from_utf8_lossy(word))).collect()
}

/// Whether a state file was written under this configuration.
pub fn is_of(state: &[u8], conf: &[u8]) -> bool {
    state.starts_with(&first_line(conf))
}

/// What a start has to go by. `edited` is there when the conf file is not the one that the state was written under, and
/// names the masters that it had then.
pub fn merge(mut conf: Loaded, state: &Loaded, edited: Option<&[MasterName]>) -> Loaded {
    let was_in_conf = |name: &MasterName| edited.is_some_and(|names| names.contains(name));
    let settings = if edited.is_some() { conf.node.clone() } else { with_settings(&conf, state) };
    conf.node = NodeSettings { myid: state.node.myid.clone(), ..settings };
    conf.myid = state.myid;
    conf.current_epoch = conf.current_epoch.max(state.current_epoch);
    let mut masters = Vec::new();
    for mut record in std::mem::take(&mut conf.masters) {
        match state.masters.iter().find(|known| known.spec.name == record.spec.name) {
            Some(known) if edited.is_some() => masters.push(MasterRecord { spec: record.spec, ..known.clone() }),
            Some(known) => masters.push(known.clone()),
            // It may have been monitored before: no vote of then is given again.
            None if edited.is_some() && !was_in_conf(&record.spec.name) => {
                record.leader_epoch = record.leader_epoch.max(conf.current_epoch);
                masters.push(record);
            }
            // SENTINEL REMOVE
            None => conf.image.remove_master(&record.spec.name),
        }
    }
    // SENTINEL MONITOR, unless somebody has taken it out of the conf file.
    let is_new = |record: &&MasterRecord| {
        let name = &record.spec.name;
        !was_in_conf(name) && !masters.iter().any(|known| known.spec.name == *name)
    };
    let added: Vec<MasterRecord> = state.masters.iter().filter(is_new).cloned().collect();
    masters.extend(added);
    for record in &masters {
        conf.image.set_master(record.clone());
    }
    conf.image.set_node(&conf.node);
    conf.masters = masters;
    conf
}

/// The process's settings with those that `SENTINEL CONFIG SET` changes from the state.
fn with_settings(conf: &Loaded, state: &Loaded) -> NodeSettings {
    let said = &state.node;
    NodeSettings {
        announce_ip: said.announce_ip.clone(),
        announce_port: said.announce_port,
        resolve_hostnames: said.resolve_hostnames,
        announce_hostnames: said.announce_hostnames,
        sentinel_user: said.sentinel_user.clone(),
        sentinel_pass: said.sentinel_pass.clone(),
        ..conf.node.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::files::NoFiles;
    use crate::conf::load::{SourceSet, load};
    use crate::sentinel::id::{Epoch, RunId};

    fn loaded(text: &str) -> Loaded {
        let sources = SourceSet { main: text.into(), stdin: None, options: Vec::new(), cwd: Path::new("/").to_owned() };
        load(&sources, RunId::from(&*"f".repeat(40)), &NoFiles).expect("the text is right")
    }

    const CONF: &str = "port 5\nsentinel monitor a 1.1.1.1 1 2\nsentinel monitor gone 3.3.3.3 3 2\n";

    fn state() -> String {
        let learned = "sentinel known-replica a 1.1.1.1 1\nsentinel config-epoch a 7\nsentinel leader-epoch a 8\n";
        format!(
            "port 6\nsentinel myid {}\nsentinel monitor a 1.1.1.2 2 3\n{learned}sentinel monitor added 4.4.4.4 4 1\n\
             sentinel announce-port 9\nsentinel current-epoch 8\n",
            "a".repeat(40)
        )
    }

    fn names(loaded: &Loaded) -> Vec<String> {
        loaded.masters.iter().map(|record| record.spec.name.to_string()).collect()
    }

    #[test]
    fn the_state_counts_while_nobody_has_edited_the_conf_file() {
        let merged = merge(loaded(CONF), &loaded(&state()), None);
        assert_eq!(names(&merged), ["a", "added"]);
        let a = &merged.masters[0];
        assert_eq!((a.addr.port, a.spec.quorum, a.config_epoch), (2, 3, Epoch(7)));
        assert_eq!((merged.node.port, merged.node.announce_port), (5, 9), "port is not a setting of Sentinels");
        assert_eq!(merged.node.myid.as_str(), "a".repeat(40));
        assert_eq!(merged.current_epoch, Epoch(8));
        let text = String::from_utf8(merged.image.render(Epoch(8))).expect("text");
        assert!(text.contains("sentinel monitor a 1.1.1.2 2 3\n") && !text.contains("gone"), "{text}");
        assert!(text.contains(&format!("sentinel myid {}\n", "a".repeat(40))) && text.contains("port 5\n"), "{text}");
    }

    #[test]
    fn an_edited_conf_file_has_its_settings_and_the_state_what_was_learned() {
        let merged = merge(loaded(CONF), &loaded(&state()), Some(&[]));
        assert_eq!(names(&merged), ["a", "gone", "added"]);
        let a = &merged.masters[0];
        assert_eq!((a.addr.port, a.spec.quorum, a.config_epoch, a.replicas.len()), (2, 2, Epoch(7), 1));
        assert_eq!(merged.masters[1].leader_epoch, Epoch(8), "as after SENTINEL MONITOR");
        assert_eq!(merged.node.announce_port, 0);
        assert_eq!(merged.node.myid.as_str(), "a".repeat(40));
    }

    /// What came and went by command stays so, and what came and went by an editor, too.
    #[test]
    fn masters_come_and_go_with_an_edit() {
        let written = header(CONF.as_bytes(), &loaded(CONF).masters);
        let then = masters_then(&[&written, state().as_bytes()].concat());
        assert_eq!(then, ["a", "gone"].map(MasterName::from));
        let edited = CONF.replace("monitor a", "monitor new");
        let merged = merge(loaded(&edited), &loaded(&state()), Some(&then));
        assert_eq!(names(&merged), ["new", "added"]);
        assert_eq!(merged.masters[0].leader_epoch, Epoch(8), "as after SENTINEL MONITOR");
        let text = String::from_utf8(merged.image.render(Epoch(8))).expect("text");
        assert!(!text.contains("gone") && !text.contains("monitor a ") && text.contains("monitor added "), "{text}");
        let odd = "sentinel monitor \"a \\\"b\" 1.1.1.1 1 2\nsentinel monitor \"\" 1.1.1.1 1 2\n";
        assert_eq!(masters_then(&header(b"", &loaded(odd).masters)), ["a \"b", ""].map(MasterName::from));
    }

    #[test]
    fn only_sentinel_lines_make_a_difference() {
        let written = header(CONF.as_bytes(), &[]);
        assert!(is_of(&written, format!("# a comment\n{}", CONF.replace("port 5", "port 6")).as_bytes()));
        assert!(!is_of(&written, CONF.replace("1.1.1.1 1 2", "1.1.1.1 1 3").as_bytes()));
    }
}
