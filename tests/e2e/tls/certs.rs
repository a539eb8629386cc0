//! Certificates for one test, made on the spot.

use std::fs;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Name, X509NameBuilder};

/// An authority, with its certificate in a file.
pub(crate) struct Authority {
    cert: X509,
    key: PKey<Private>,
    pub(crate) file: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// X.509 versions as they are written.
const V1: i32 = 0;
const V3: i32 = 2;

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Authority {
        let key = new_key();
        let cert = certificate(name, &key, None, V3);
        let file = folder.join(format!("{name}.crt"));
        fs::write(&file, cert.to_pem().expect("PEM")).expect("the test folder is writable");
        Authority { cert, key, file }
    }

    /// Files `<file>.crt` and `<file>.key`, for somebody called `name`. Replaces what is there in one go.
    pub(crate) fn issue(&self, folder: &Path, file: &str, name: &str) -> Pair {
        self.write(folder, file, name, V3, None)
    }

    /// The same with a certificate as `openssl x509 -req` makes it without extensions.
    pub(crate) fn issue_v1(&self, folder: &Path, file: &str, name: &str) -> Pair {
        self.write(folder, file, name, V1, None)
    }

    /// The same with a passphrase on the key.
    pub(crate) fn issue_locked(&self, folder: &Path, file: &str, name: &str, passphrase: &str) -> Pair {
        self.write(folder, file, name, V3, Some(passphrase))
    }

    fn write(&self, folder: &Path, file: &str, name: &str, version: i32, passphrase: Option<&str>) -> Pair {
        let key = new_key();
        let cert = certificate(name, &key, Some(self), version);
        let key = match passphrase {
            Some(text) => key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), text.as_bytes()),
            None => key.private_key_to_pem_pkcs8(),
        };
        let pair = Pair { cert: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
        replace(&pair.cert, &cert.to_pem().expect("PEM"));
        replace(&pair.key, &key.expect("PEM"));
        pair
    }
}

impl Pair {
    /// The lines of a conf file for it.
    pub(crate) fn lines(&self) -> String {
        format!("tls-cert-file {}\ntls-key-file {}\n", self.cert.display(), self.key.display())
    }
}

fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("the test folder is writable");
    fs::rename(&new, path).expect("the test folder is writable");
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve that everybody has");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn name_of(common: &str) -> X509Name {
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_nid(Nid::COMMONNAME, common).expect("a name");
    name.build()
}

fn certificate(common: &str, key: &PKey<Private>, issuer: Option<&Authority>, version: i32) -> X509 {
    let mut builder = X509::builder().expect("a certificate");
    builder.set_version(version).expect("a version");
    let mut serial = BigNum::new().expect("a number");
    serial.rand(120, MsbOption::MAYBE_ZERO, false).expect("a number");
    builder.set_serial_number(&serial.to_asn1_integer().expect("a number")).expect("a number");
    let name = name_of(common);
    builder.set_subject_name(&name).expect("a name");
    builder.set_issuer_name(issuer.map_or(&*name, |issuer| issuer.cert.subject_name())).expect("a name");
    builder.set_pubkey(key).expect("a key");
    builder.set_not_before(&Asn1Time::days_from_now(0).expect("a time")).expect("a time");
    builder.set_not_after(&Asn1Time::days_from_now(2).expect("a time")).expect("a time");
    if issuer.is_none() {
        let ca = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(ca).expect("an extension");
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256()).expect("signed");
    builder.build()
}
