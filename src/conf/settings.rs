//! `sentineld.toml`, the file of `--settings`: what stock does not have, and `sentinel.conf` therefore must not carry.
//!
//! ```toml
//! [defaults]                               # for every master
//! stale-replica-promotion = "relative"     # relative | never | always
//! election = "fast"                        # fast | stock
//! masterless = "heal"                      # heal | stock
//! failover-mode = "forced"                 # forced | coordinated: what SENTINEL FAILOVER alone means
//! coordinated-path = "pause"               # pause | failover: the other one serves where a master lacks this one
//! fast-demote = "yes"                      # yes | stock
//! reborn-master = "failover"               # failover | alert | stock
//! identity-guard = "evidence"              # evidence | strict | stock
//!
//! [master.mymaster]                        # for one, in place of the defaults above, key by key
//! election = "stock"
//!
//! [node]
//! tilt = "rearm"                           # rearm | stock
//! log-format = "conf"                      # conf (as sentinel.conf says) | json
//! state-file = "/var/lib/sentinel/state"   # absolute; sentinel.conf is never written then (see `conf/state.rs`)
//! ```
//!
//! Everything has a default; a file that says more than this, or other words, is refused as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::error::strerror;
use crate::sentinel::id::MasterName;
use crate::sentinel::policy::{
    CoordinatedPath, Election, FailoverMode, FastDemote, IdentityGuard, MasterPolicy, Masterless, Policies,
    RebornMaster, StaleReplicaPromotion, TiltMode,
};

/// Why `sentineld.toml` cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("Fatal error, can't open settings file '{}': {}", path.display(), strerror(cause))]
    Unreadable {
        /// As given.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It says something that is not known; the text names line, key and allowed values.
    #[error("Fatal error in settings file '{}': {cause}", path.display())]
    Unknown {
        /// As given.
        path: PathBuf,
        /// What and where.
        cause: Box<toml::de::Error>,
    },
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// For the core.
    pub policies: Policies,
    /// `[node] state-file`, absolute.
    pub state_file: Option<PathBuf>,
    /// `[node] log-format = "json"`: goes before the conf file's `log-format`.
    pub json_log: bool,
}

/// Reads the file.
pub fn load(path: &Path) -> Result<Settings, SettingsError> {
    let unreadable = |cause| SettingsError::Unreadable { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).map_err(|cause| SettingsError::Unknown { path: path.to_owned(), cause: Box::new(cause) })
}

/// Reads the text.
pub fn parse(text: &str) -> Result<Settings, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let defaults = file.defaults.over(MasterPolicy::default());
    let masters = file.master.iter().map(|(name, own)| (MasterName::from(name.as_str()), own.over(defaults)));
    let policies = Policies {
        defaults,
        masters: masters.collect(),
        tilt: file.node.tilt.map_or_else(TiltMode::default, Into::into),
        keeps_identity: file.node.state_file.is_some(),
    };
    let json_log = matches!(file.node.log_format, Some(LogFormatWord::Json));
    Ok(Settings { policies, state_file: file.node.state_file, json_log })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: MasterTable,
    #[serde(default)]
    master: BTreeMap<String, MasterTable>,
    #[serde(default)]
    node: NodeTable,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MasterTable {
    stale_replica_promotion: Option<StaleReplicaPromotionWord>,
    election: Option<ElectionWord>,
    masterless: Option<MasterlessWord>,
    failover_mode: Option<FailoverModeWord>,
    coordinated_path: Option<CoordinatedPathWord>,
    fast_demote: Option<FastDemoteWord>,
    reborn_master: Option<RebornMasterWord>,
    identity_guard: Option<IdentityGuardWord>,
}

impl MasterTable {
    /// This table's choices, and for the rest those given.
    fn over(&self, rest: MasterPolicy) -> MasterPolicy {
        MasterPolicy {
            stale_replica_promotion: self.stale_replica_promotion.map_or(rest.stale_replica_promotion, Into::into),
            election: self.election.map_or(rest.election, Into::into),
            masterless: self.masterless.map_or(rest.masterless, Into::into),
            failover_mode: self.failover_mode.map_or(rest.failover_mode, Into::into),
            coordinated_path: self.coordinated_path.map_or(rest.coordinated_path, Into::into),
            fast_demote: self.fast_demote.map_or(rest.fast_demote, Into::into),
            reborn_master: self.reborn_master.map_or(rest.reborn_master, Into::into),
            identity_guard: self.identity_guard.map_or(rest.identity_guard, Into::into),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NodeTable {
    tilt: Option<TiltWord>,
    log_format: Option<LogFormatWord>,
    #[serde(default, deserialize_with = "absolute")]
    state_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogFormatWord {
    Conf,
    Json,
}

/// A relative path would depend on where the process is started.
fn absolute<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(value)?;
    if path.is_absolute() { Ok(Some(path)) } else { Err(D::Error::custom("expected an absolute path")) }
}

/// The words of the file for the values of a choice. They stand apart from the core's types, which know no files.
macro_rules! words {
    ($($word:ident for $choice:ident: $($value:ident)*;)*) => {
        $(
            #[derive(Clone, Copy, Deserialize)]
            #[serde(rename_all = "lowercase")]
            enum $word { $($value,)* }

            impl From<$word> for $choice {
                fn from(word: $word) -> $choice {
                    match word { $($word::$value => $choice::$value,)* }
                }
            }
        )*
    };
}

words! {
    StaleReplicaPromotionWord for StaleReplicaPromotion: Relative Never Always;
    ElectionWord for Election: Fast Stock;
    MasterlessWord for Masterless: Heal Stock;
    FailoverModeWord for FailoverMode: Forced Coordinated;
    CoordinatedPathWord for CoordinatedPath: Pause Failover;
    FastDemoteWord for FastDemote: Yes Stock;
    RebornMasterWord for RebornMaster: Failover Alert Stock;
    IdentityGuardWord for IdentityGuard: Evidence Strict Stock;
    TiltWord for TiltMode: Rearm Stock;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_chooses_the_defaults() {
        assert_eq!(parse("").expect("valid"), Settings::default());
    }

    #[test]
    fn a_master_s_own_table_goes_before_the_defaults_key_by_key() {
        let text = "[defaults]\nelection = 'stock'\nmasterless = 'stock'\n[master.m]\nelection = 'fast'\n[node]\ntilt = 'stock'\n";
        let policies = parse(text).expect("valid").policies;
        let m = policies.of(&MasterName::from("m"));
        assert_eq!((m.election, m.masterless), (Election::Fast, Masterless::Stock));
        assert_eq!(policies.of(&MasterName::from("other")).election, Election::Stock);
        assert_eq!(policies.tilt, TiltMode::Stock);
    }

    /// beyond.md B4
    #[test]
    fn planned_failovers_can_be_coordinated_throughout() {
        let text = "[defaults]\nfailover-mode = 'coordinated'\n[master.m]\ncoordinated-path = 'failover'";
        let policies = parse(text).expect("valid").policies;
        let m = policies.of(&MasterName::from("m"));
        assert_eq!((m.failover_mode, m.coordinated_path), (FailoverMode::Coordinated, CoordinatedPath::Failover));
        assert_eq!(policies.of(&MasterName::from("other")).coordinated_path, CoordinatedPath::Pause);
        assert_eq!(MasterPolicy::default().failover_mode, FailoverMode::Forced);
    }

    #[test]
    fn stock_can_be_had_throughout() {
        let text = include_str!("../../tests/support/stock-switches.toml");
        assert_eq!(parse(text).expect("valid").policies, Policies::stock());
        assert_eq!(parse("[node]\nstate-file = '/s'").expect("valid").state_file.as_deref(), Some(Path::new("/s")));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line_and_what_is_allowed() {
        for (text, hints) in [
            ("[defaults]\nelection = 'quick'", ["line 2", "`fast`"]),
            ("[defaults]\n\nelections = 'fast'", ["line 3", "`election`"]),
            ("[defaults]\nfailover-mode = 'planned'", ["line 2", "`coordinated`"]),
            ("[master.m]\ncoordinated-path = 'wait'", ["line 2", "`pause`"]),
            ("[node]\ntilt = 5", ["line 2", "tilt"]),
            ("[node]\nstate-file = 'state'", ["line 2", "absolute"]),
            ("[nodes]", ["line 1", "`node`"]),
            ("election = 'fast'", ["line 1", "`defaults`"]),
        ] {
            let told = parse(text).expect_err(text).to_string();
            assert!(hints.iter().all(|hint| told.contains(hint)), "{text}: {told}");
        }
    }
}
