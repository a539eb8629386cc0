//! OpenSSL: every directive is written in its vocabulary, and it takes the certificates and keys that stock takes.

use std::io;
use std::path::Path;
use std::pin::Pin;

use openssl::dh::Dh;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode,
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::TlsError;
use crate::conf::error::strerror;
use crate::conf::tls::{AuthClients, PairFiles, TlsSettings};

/// A connection under TLS.
pub type Stream = SslStream<TcpStream>;

/// Sessions are resumed only where they were made.
const SESSION_ID_CONTEXT: &[u8] = b"sentineld";

/// Names of `tls-protocols`, and how each is switched off.
const PROTOCOLS: [(&str, SslOptions); 4] = [
    ("TLSv1", SslOptions::NO_TLSV1),
    ("TLSv1.1", SslOptions::NO_TLSV1_1),
    ("TLSv1.2", SslOptions::NO_TLSV1_2),
    ("TLSv1.3", SslOptions::NO_TLSV1_3),
];

/// One for each direction.
pub(super) struct Contexts {
    server: SslContext,
    client: SslContext,
}

impl Contexts {
    /// Reads and checks everything.
    pub(super) fn load(settings: &TlsSettings) -> Result<Contexts, TlsError> {
        let disabled = disabled_protocols(settings.protocols.as_deref())?;
        let mut server = context(settings, &settings.pair, disabled)?;
        server.set_verify(match settings.auth_clients {
            AuthClients::No => SslVerifyMode::NONE,
            AuthClients::Optional => SslVerifyMode::PEER,
            AuthClients::Yes => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        });
        cache_sessions(&mut server, settings).map_err(|error| of_library(&error))?;
        set_dh_params(&mut server, settings.dh_params_file.as_deref())?;
        let own = &settings.client_pair;
        let pair = if own.cert.is_some() && own.key.is_some() { own } else { &settings.pair };
        let mut client = context(settings, pair, disabled)?;
        client.set_verify(SslVerifyMode::PEER);
        Ok(Contexts { server: server.build(), client: client.build() })
    }
}

/// See [`super::Tls::accept`].
pub(super) async fn accept(contexts: &Contexts, stream: TcpStream) -> io::Result<Stream> {
    let mut stream = SslStream::new(Ssl::new(&contexts.server)?, stream)?;
    Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
    Ok(stream)
}

/// See [`super::Tls::connect`].
pub(super) async fn connect(contexts: &Contexts, stream: TcpStream) -> io::Result<Stream> {
    let mut stream = SslStream::new(Ssl::new(&contexts.client)?, stream)?;
    Pin::new(&mut stream).connect().await.map_err(io::Error::other)?;
    Ok(stream)
}

/// What both directions have in common.
fn context(settings: &TlsSettings, pair: &PairFiles, disabled: SslOptions) -> Result<SslContextBuilder, TlsError> {
    let mut builder = SslContextBuilder::new(SslMethod::tls()).map_err(|error| of_library(&error))?;
    let mut options = SslOptions::NO_SSLV2
        | SslOptions::NO_SSLV3
        | SslOptions::NO_COMPRESSION
        | SslOptions::NO_RENEGOTIATION
        | SslOptions::SINGLE_DH_USE
        | SslOptions::SINGLE_ECDH_USE
        | disabled;
    if settings.prefer_server_ciphers {
        options |= SslOptions::CIPHER_SERVER_PREFERENCE;
    }
    builder.set_options(options);
    builder.set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS);
    load_pair(&mut builder, pair)?;
    if settings.ca_file.is_some() || settings.ca_dir.is_some() {
        builder
            .load_verify_locations(settings.ca_file.as_deref(), settings.ca_dir.as_deref())
            .map_err(|error| TlsError(format!("Failed to configure CA certificate(s) file/directory: {error}")))?;
    }
    if let Some(ciphers) = &settings.ciphers {
        let failed = |_| TlsError(format!("Failed to configure ciphers: {ciphers}"));
        builder.set_cipher_list(ciphers).map_err(failed)?;
    }
    if let Some(suites) = &settings.ciphersuites {
        let failed = |_| TlsError(format!("Failed to configure ciphersuites: {suites}"));
        builder.set_ciphersuites(suites).map_err(failed)?;
    }
    Ok(builder)
}

fn load_pair(builder: &mut SslContextBuilder, pair: &PairFiles) -> Result<(), TlsError> {
    // Checked before.
    let (Some(cert), Some(key)) = (&pair.cert, &pair.key) else { return Ok(()) };
    builder
        .set_certificate_chain_file(cert)
        .map_err(|error| TlsError(format!("Failed to load certificate: {}: {error}", cert.display())))?;
    let failed = |why: String| TlsError(format!("Failed to load private key: {}: {why}", key.display()));
    let pem = std::fs::read(key).map_err(|error| failed(strerror(&error)))?;
    let loaded = private_key(&pem, pair.key_pass.as_deref());
    let loaded = loaded.and_then(|key| builder.set_private_key(&key).and_then(|()| builder.check_private_key()));
    loaded.map_err(|error| failed(error.to_string()))
}

/// Without a passphrase nobody is asked for one.
fn private_key(pem: &[u8], passphrase: Option<&[u8]>) -> Result<PKey<Private>, ErrorStack> {
    let passphrase = passphrase.unwrap_or_default();
    PKey::private_key_from_pem_callback(pem, |buffer| {
        let length = passphrase.len().min(buffer.len());
        buffer[..length].copy_from_slice(&passphrase[..length]);
        Ok(length)
    })
}

fn cache_sessions(builder: &mut SslContextBuilder, settings: &TlsSettings) -> Result<(), ErrorStack> {
    if !settings.session_caching {
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        return Ok(());
    }
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    builder.set_session_cache_size(settings.session_cache_size);
    builder.set_session_id_context(SESSION_ID_CONTEXT)
}

fn set_dh_params(builder: &mut SslContextBuilder, file: Option<&Path>) -> Result<(), TlsError> {
    let Some(path) = file else {
        // A group of RFC 5114. Stock lets OpenSSL choose one by the size of the key.
        let chosen = Dh::get_2048_256().and_then(|params| builder.set_tmp_dh(&params));
        return chosen.map_err(|error| of_library(&error));
    };
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| TlsError(format!("Failed to load {shown}: {}", strerror(&error))))?;
    let unreadable = |_| TlsError(format!("{shown}: failed to read DH params."));
    let params = Dh::params_from_pem(&pem).map_err(unreadable)?;
    let failed = |error| TlsError(format!("Failed to load DH params file: {shown}: {error}"));
    builder.set_tmp_dh(&params).map_err(failed)
}

/// The options that leave only what `tls-protocols` names; TLS 1.2 and 1.3 when it names nothing.
fn disabled_protocols(wanted: Option<&str>) -> Result<SslOptions, TlsError> {
    let mut disabled = PROTOCOLS.iter().fold(SslOptions::empty(), |all, (_, option)| all | *option);
    for word in wanted.unwrap_or("TLSv1.2 TLSv1.3").split_whitespace() {
        let Some((_, option)) = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) else {
            return Err(TlsError(
                "Invalid tls-protocols specified. Use a combination of 'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'."
                    .to_owned(),
            ));
        };
        disabled.remove(*option);
    }
    Ok(disabled)
}

fn of_library(error: &ErrorStack) -> TlsError {
    TlsError(format!("Failed to create SSL_CTX: {error}"))
}
