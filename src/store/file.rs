//! The file itself: read, and replaced as a whole or not at all (config.md 5.7).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::RngExt;
use thiserror::Error;

use crate::conf::error::strerror;

/// Where the store keeps its file. Calls block; the store makes them off its task.
pub trait Disk: Send + Sync + 'static {
    /// The text that is there now; `None` when there is no file.
    fn read(&self) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the text. On success it survives a crash; on failure the old text is there, whole.
    fn replace(&self, text: &[u8]) -> Result<(), SaveError>;
}

/// The step of a save that failed. The text is stock's cause line.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The temporary file.
    #[error("Could not create tmp config file ({})", strerror(.0))]
    Create(io::Error),
    /// Its content.
    #[error("Failed after writing ({written}) bytes to tmp config file ({})", strerror(.cause))]
    Write {
        /// Bytes that were written.
        written: usize,
        /// Why no more were.
        cause: io::Error,
    },
    /// Its content, on the way to the disk.
    #[error("Could not sync tmp config file to disk ({})", strerror(.0))]
    Sync(io::Error),
    /// Its mode.
    #[error("Could not chmod config file ({})", strerror(.0))]
    Chmod(io::Error),
    /// Its name.
    #[error("Could not rename tmp config file ({})", strerror(.0))]
    Rename(io::Error),
    /// Its name, on the way to the disk.
    #[error("Could not sync config file dir ({})", strerror(.0))]
    SyncDir(io::Error),
    /// The old text cannot be read, so what people wrote into it would be lost.
    #[error("Could not read the config file before replacing it ({})", strerror(.0))]
    Read(io::Error),
}

impl SaveError {
    /// What the system said.
    pub fn cause(&self) -> &io::Error {
        match self {
            SaveError::Write { cause, .. }
            | SaveError::Create(cause)
            | SaveError::Sync(cause)
            | SaveError::Chmod(cause)
            | SaveError::Rename(cause)
            | SaveError::SyncDir(cause)
            | SaveError::Read(cause) => cause,
        }
    }
}

/// The real file. A link is followed, so that its target changes and it stays a link. Deviates: stock replaces it.
#[derive(Clone, Debug)]
pub struct ConfFile {
    path: PathBuf,
}

impl ConfFile {
    /// The file at this absolute path.
    pub fn new(path: PathBuf) -> ConfFile {
        ConfFile { path }
    }

    fn target(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.clone())
    }
}

impl Disk for ConfFile {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(text) => Ok(Some(text)),
            // A directory in its place cannot be replaced either, and that failure has the telling text.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, text: &[u8]) -> Result<(), SaveError> {
        let target = self.target();
        let temporary = temporary_path(&target);
        let replaced = write_and_rename(text, &temporary, &target);
        match &replaced {
            Ok(()) => tracing::trace!("Rewritten config file ({}) successfully", self.path.display()),
            Err(_) => {
                // It may not exist, or exist under its new name by now; there is nothing else to do about it.
                let _ = fs::remove_file(&temporary);
            }
        }
        replaced
    }
}

fn write_and_rename(text: &[u8], temporary: &Path, target: &Path) -> Result<(), SaveError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary).map_err(SaveError::Create)?;
    let mut written = 0;
    while written < text.len() {
        match file.write(&text[written..]) {
            Ok(0) => return Err(SaveError::Write { written, cause: io::ErrorKind::WriteZero.into() }),
            Ok(more) => written += more,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(SaveError::Write { written, cause }),
        }
    }
    file.sync_all().map_err(SaveError::Sync)?;
    file.set_permissions(Permissions::from_mode(mode_for(target))).map_err(SaveError::Chmod)?;
    fs::rename(temporary, target).map_err(SaveError::Rename)?;
    let dir = target.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(SaveError::SyncDir)
}

/// 0644 less the umask, and never wider than the old file. Deviates: stock opens a file that was closed to others.
fn mode_for(target: &Path) -> u32 {
    let old = fs::metadata(target).map_or(0o644, |metadata| metadata.permissions().mode());
    0o644 & !umask() & (old | 0o600)
}

/// The process's umask, read without touching it; the tightest one when the system does not tell.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    umask.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok()).unwrap_or(0o077)
}

/// `<target>.XXXXXX`
fn temporary_path(target: &Path) -> PathBuf {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let suffix: String = (0..6).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect();
    let mut path = target.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    /// config.md 133
    #[test]
    fn a_replaced_file_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s.conf");
        let file = ConfFile::new(path.clone());
        assert_eq!(file.read().expect("readable"), None);
        file.replace(b"one\n").expect("saved");
        file.replace(b"two\n").expect("saved");
        assert_eq!(file.read().expect("readable").as_deref(), Some(b"two\n".as_slice()));
        assert_eq!(names(dir.path()), ["s.conf"]);
    }

    /// config.md 130, 131, 133
    #[test]
    fn failures_say_which_step_and_clean_up() {
        let dir = tempfile::tempdir().expect("temp dir");
        let gone = ConfFile::new(dir.path().join("no/s.conf"));
        let error = gone.replace(b"x").expect_err("no such directory");
        assert_eq!(error.to_string(), "Could not create tmp config file (No such file or directory)");

        let path = dir.path().join("d");
        fs::create_dir(&path).expect("created");
        let error = ConfFile::new(path).replace(b"x").expect_err("a directory");
        assert_eq!(error.to_string(), "Could not rename tmp config file (Is a directory)");
        assert_eq!(names(dir.path()), ["d"]);
    }

    /// config.md 136
    #[test]
    fn the_mode_is_never_wider_than_it_was() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s.conf");
        for (old, new) in [(0o600, 0o600), (0o640, 0o640 & !umask()), (0o666, 0o644 & !umask())] {
            fs::write(&path, b"old").expect("written");
            fs::set_permissions(&path, Permissions::from_mode(old)).expect("chmod");
            ConfFile::new(path.clone()).replace(b"new").expect("saved");
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, new, "{old:o}");
        }
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (target, link) = (dir.path().join("real.conf"), dir.path().join("s.conf"));
        fs::write(&target, b"old").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        ConfFile::new(link.clone()).replace(b"new").expect("saved");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&target).expect("readable"), b"new");
    }
}
