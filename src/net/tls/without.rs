//! What a build without the feature `tls` has in its place: nothing that could be made.

use std::convert::Infallible;
use std::future::Ready;
use std::io;

use tokio::net::TcpStream;

use super::TlsError;
use crate::conf::tls::TlsSettings;

/// There is none.
pub(super) struct Contexts(Infallible);

/// There is none; the type is that of connections without TLS.
pub type Stream = TcpStream;

impl Contexts {
    pub(super) fn load(_settings: &TlsSettings) -> Result<Contexts, TlsError> {
        Err(TlsError("This program was built without TLS (cargo feature `tls`).".to_owned()))
    }
}

pub(super) fn accept(contexts: &Contexts, _stream: TcpStream) -> Ready<io::Result<Stream>> {
    match contexts.0 {}
}

pub(super) fn connect(contexts: &Contexts, _stream: TcpStream) -> Ready<io::Result<Stream>> {
    match contexts.0 {}
}
