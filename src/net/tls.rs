//! TLS in both directions (config.md 4.4): certificates are loaded at start and again when their files change, and
//! connections that stand go on with what they began with.
//!
//! Built without the feature `tls`, a configuration that wants it is refused.

#[cfg(feature = "tls")]
mod openssl;
#[cfg(not(feature = "tls"))]
mod without;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::net::TcpStream;

use crate::conf::tls::TlsSettings;
#[cfg(feature = "tls")]
use openssl as backend;
#[cfg(not(feature = "tls"))]
use without as backend;

pub use backend::Stream;

/// How long a handshake may take, in either direction.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why TLS cannot be had, in stock's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(pub String);

/// Time of the last change, inode and size of each file: differs when one was written or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint([Option<(SystemTime, u64, u64)>; 7]);

/// Certificates and rules, as they are now. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    settings: Arc<TlsSettings>,
    contexts: Arc<RwLock<Arc<backend::Contexts>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.settings).finish()
    }
}

impl Tls {
    /// Loads everything that the settings name.
    pub fn load(settings: &TlsSettings) -> Result<Tls, TlsError> {
        check(settings)?;
        let contexts = backend::Contexts::load(settings)?;
        Ok(Tls { settings: Arc::new(settings.clone()), contexts: Arc::new(RwLock::new(Arc::new(contexts))) })
    }

    /// Loads everything again, for connections from now on. When that fails nothing changes. It reads files.
    pub fn reload(&self) -> Result<(), TlsError> {
        let contexts = backend::Contexts::load(&self.settings)?;
        *self.contexts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(contexts);
        Ok(())
    }

    /// How the files look now. It reads their folders.
    pub fn fingerprint(&self) -> Fingerprint {
        use std::os::unix::fs::MetadataExt;
        let TlsSettings { pair, client_pair, ca_file, ca_dir, dh_params_file, .. } = &*self.settings;
        let files = [&pair.cert, &pair.key, &client_pair.cert, &client_pair.key, ca_file, ca_dir, dh_params_file];
        let look = |path: &std::path::PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.ino(), file.len()))
        };
        Fingerprint(files.map(|path| path.as_ref().and_then(look)))
    }

    /// The server's side of a handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        in_time(backend::accept(&self.contexts(), stream)).await
    }

    /// The client's side of a handshake. The other side's certificate has to lead to our CA; whose name is in it does
    /// not matter, as in stock.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<Stream> {
        in_time(backend::connect(&self.contexts(), stream)).await
    }

    fn contexts(&self) -> Arc<backend::Contexts> {
        Arc::clone(&self.contexts.read().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn in_time(handshake: impl Future<Output = io::Result<Stream>>) -> io::Result<Stream> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "TLS handshake timed out");
    tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| late())?
}

/// What can be said without reading a file.
fn check(settings: &TlsSettings) -> Result<(), TlsError> {
    use crate::conf::tls::AuthClients;
    let error = |text: &str| Err(TlsError(text.to_owned()));
    if settings.pair.cert.is_none() {
        return error("No tls-cert-file configured!");
    }
    if settings.pair.key.is_none() {
        return error("No tls-key-file configured!");
    }
    let needs_ca = settings.auth_clients != AuthClients::No || settings.cluster || settings.replication;
    if needs_ca && settings.ca_file.is_none() && settings.ca_dir.is_none() {
        return error(
            "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
             tls-auth-clients are enabled!",
        );
    }
    Ok(())
}
