//! `tls-*` directives (config.md 4.4), in OpenSSL's own terms.

use std::path::PathBuf;

use super::daemon::as_path;
use super::plain::Value;

/// `tls-auth-clients`: whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthClients {
    /// They need not.
    No,
    /// If they do, it has to be a good one.
    Optional,
    /// They have to.
    Yes,
}

/// Everything about TLS. Paths are relative to `dir`, where the daemon is when it opens them.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes/no directive")]
pub struct TlsSettings {
    /// `tls-port`; 0 is off.
    pub port: u16,
    /// `tls-replication`: connections to masters, replicas and other Sentinels.
    pub replication: bool,
    /// `tls-cluster`: only asks for a configuration that works.
    pub cluster: bool,
    /// `tls-cert-file` and `tls-key-file`
    pub pair: PairFiles,
    /// `tls-client-cert-file` and `tls-client-key-file`: for connections that we open, if both are set.
    pub client_pair: PairFiles,
    /// `tls-ca-cert-file`
    pub ca_file: Option<PathBuf>,
    /// `tls-ca-cert-dir`
    pub ca_dir: Option<PathBuf>,
    /// `tls-dh-params-file`
    pub dh_params_file: Option<PathBuf>,
    /// `tls-auth-clients`
    pub auth_clients: AuthClients,
    /// `tls-protocols`; `None` is TLS 1.2 and 1.3.
    pub protocols: Option<String>,
    /// `tls-ciphers`: up to TLS 1.2.
    pub ciphers: Option<String>,
    /// `tls-ciphersuites`: TLS 1.3.
    pub ciphersuites: Option<String>,
    /// `tls-prefer-server-ciphers`
    pub prefer_server_ciphers: bool,
    /// `tls-session-caching`
    pub session_caching: bool,
    /// `tls-session-cache-size`, sessions.
    pub session_cache_size: i32,
    /// `tls-session-cache-timeout`, seconds.
    pub session_cache_timeout: i64,
}

/// A certificate and its key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate, and those that sign it, in PEM.
    pub cert: Option<PathBuf>,
    /// The key, in PEM.
    pub key: Option<PathBuf>,
    /// Its passphrase.
    pub key_pass: Option<Vec<u8>>,
}

impl std::fmt::Debug for PairFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairFiles").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files = (&self.pair, &self.client_pair, &self.ca_file, &self.ca_dir);
        f.debug_struct("TlsSettings").field("port", &self.port).field("files", &files).finish_non_exhaustive()
    }
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            port: 0,
            replication: false,
            cluster: false,
            pair: PairFiles::default(),
            client_pair: PairFiles::default(),
            ca_file: None,
            ca_dir: None,
            dh_params_file: None,
            auth_clients: AuthClients::Yes,
            protocols: None,
            ciphers: None,
            ciphersuites: None,
            prefer_server_ciphers: false,
            session_caching: true,
            session_cache_size: 20 * 1024,
            session_cache_timeout: 300,
        }
    }
}

impl TlsSettings {
    /// Whether any of it is looked at: otherwise not even the files have to exist.
    pub fn is_wanted(&self) -> bool {
        self.port != 0 || self.replication || self.cluster
    }

    /// Applies a checked directive.
    pub(super) fn apply(&mut self, name: &str, value: &Value) {
        let bytes = || match value {
            Value::Text(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let path = || bytes().map(|text| as_path(&text));
        let words = || bytes().map(|text| String::from_utf8_lossy(&text).into_owned());
        match (name, value) {
            ("tls-port", Value::Int(port)) => self.port = *port as u16,
            ("tls-replication", Value::Bool(yes)) => self.replication = *yes,
            ("tls-cluster", Value::Bool(yes)) => self.cluster = *yes,
            ("tls-cert-file", _) => self.pair.cert = path(),
            ("tls-key-file", _) => self.pair.key = path(),
            ("tls-key-file-pass", _) => self.pair.key_pass = bytes(),
            ("tls-client-cert-file", _) => self.client_pair.cert = path(),
            ("tls-client-key-file", _) => self.client_pair.key = path(),
            ("tls-client-key-file-pass", _) => self.client_pair.key_pass = bytes(),
            ("tls-ca-cert-file", _) => self.ca_file = path(),
            ("tls-ca-cert-dir", _) => self.ca_dir = path(),
            ("tls-dh-params-file", _) => self.dh_params_file = path(),
            ("tls-auth-clients", Value::Word(word)) => {
                self.auth_clients = match *word {
                    "no" => AuthClients::No,
                    "optional" => AuthClients::Optional,
                    _ => AuthClients::Yes,
                }
            }
            ("tls-protocols", _) => self.protocols = words(),
            ("tls-ciphers", _) => self.ciphers = words(),
            ("tls-ciphersuites", _) => self.ciphersuites = words(),
            ("tls-prefer-server-ciphers", Value::Bool(yes)) => self.prefer_server_ciphers = *yes,
            ("tls-session-caching", Value::Bool(yes)) => self.session_caching = *yes,
            ("tls-session-cache-size", Value::Int(size)) => self.session_cache_size = *size as i32,
            ("tls-session-cache-timeout", Value::Int(seconds)) => self.session_cache_timeout = *seconds,
            _ => {}
        }
    }
}
