//! Why a configuration cannot be used, in stock's words.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::settings::SettingsError;

/// A mistake in the configuration: the block on stderr (config.md 2.6), which starts with an empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Number and trimmed text of the line, unless the mistake belongs to none.
    pub line: Option<(usize, Vec<u8>)>,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\n")?;
        if let Some((number, text)) = &self.line {
            writeln!(f, "Reading the configuration file, at line {number}")?;
            writeln!(f, ">>> '{}'", String::from_utf8_lossy(text))?;
        }
        writeln!(f, "{}", self.message)
    }
}

/// Why loading failed. The process then ends with code 1.
#[derive(Debug, Error)]
pub enum ConfError {
    /// A bad line. The text goes to stderr, never to the log.
    #[error("{0}")]
    Fatal(Fatal),
    /// A host name where only addresses are allowed: one line in the log, then the block on stderr.
    #[error("{fatal}")]
    UnresolvedHost {
        /// The name.
        host: String,
        /// The line.
        fatal: Fatal,
    },
    /// The file, or one that it includes, cannot be read. A line in the log, level warning.
    #[error("Fatal error, can't open config file '{}': {}", path.display(), strerror(cause))]
    Unreadable {
        /// Absolute for the main file, as written for an included one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file can be read and not written. A line in the log, level warning.
    #[error("Sentinel config file {} is not writable: {}. Exiting...", path.display(), strerror(cause))]
    NotWritable {
        /// Absolute.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// `sentineld.toml` cannot be used. On stderr.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The state file cannot be used. A line in the log, then the block on stderr.
    #[error("Fatal error, can't use state file '{}':{cause}", path.display())]
    State {
        /// As given.
        path: PathBuf,
        /// Its text is loaded like a conf file.
        cause: Box<ConfError>,
    },
    /// No file was named. A line in the log, level warning.
    #[error("Sentinel needs config file on disk to save state. Exiting...")]
    NoFile,
}

impl ConfError {
    /// The line for the log, level warning, where there is one.
    pub fn log_line(&self) -> Option<String> {
        match self {
            ConfError::Fatal(_) | ConfError::Settings(_) => None,
            ConfError::State { path, .. } => Some(format!("Fatal error, can't use state file '{}'", path.display())),
            ConfError::UnresolvedHost { host, .. } => Some(format!("Failed to resolve hostname '{host}'")),
            ConfError::Unreadable { .. } | ConfError::NotWritable { .. } | ConfError::NoFile => Some(self.to_string()),
        }
    }

    /// The block for stderr, where there is one; ends with a line feed.
    pub fn block(&self) -> Option<String> {
        match self {
            ConfError::Fatal(fatal) | ConfError::UnresolvedHost { fatal, .. } => Some(fatal.to_string()),
            ConfError::State { cause, .. } => cause.block(),
            ConfError::Settings(error) => Some(format!("{error}\n")),
            _ => None,
        }
    }
}

/// The text of an operating system error as C's `strerror` has it.
pub fn strerror(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => text.strip_suffix(&format!(" (os error {code})")).map_or(text.clone(), str::to_owned),
        None => text,
    }
}
