//! The file itself: read, and replaced as a whole or not at all (config.md 5.7).
//!
//! A new file takes the place of the old one. Where that cannot be, because the file itself is mounted, the new text is
//! first on disk beside it, as `<file>.journal`, and then written over the old one. Whoever dies in between leaves the
//! journal, and [`recover`] finishes the work at the next start.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use thiserror::Error;

use crate::conf::error::strerror;

/// Where the store keeps its file. Calls block; the store makes them off its task.
pub trait Disk: Send + Sync + 'static {
    /// The text that is there now; `None` when there is no file.
    fn read(&self) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the text. On success it survives a crash; on failure the old text is there, whole.
    fn replace(&self, text: &[u8]) -> Result<(), SaveError>;
    /// Takes comments that the next save is to have besides the text. A conf file has none.
    fn annex(&self, _comments: Vec<u8>) {}
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
    /// The new text would be refused at the next start: a defect, which must not cost the old file.
    #[error("Could not load the configuration that was to be saved, the old file stays: {0}")]
    Unloadable(String),
}

impl SaveError {
    /// What the system said, if it was the system.
    pub fn cause(&self) -> Option<&io::Error> {
        Some(match self {
            SaveError::Unloadable(_) => return None,
            SaveError::Write { cause, .. }
            | SaveError::Create(cause)
            | SaveError::Sync(cause)
            | SaveError::Chmod(cause)
            | SaveError::Rename(cause)
            | SaveError::SyncDir(cause)
            | SaveError::Read(cause) => cause,
        })
    }
}

/// The real file. A link is followed, so that its target changes and it stays a link. Deviates: stock replaces it.
#[derive(Debug)]
pub struct ConfFile {
    path: PathBuf,
    /// That it cannot be replaced is said once.
    told: AtomicBool,
}

impl ConfFile {
    /// The file at this absolute path.
    pub fn new(path: PathBuf) -> ConfFile {
        ConfFile { path, told: AtomicBool::new(false) }
    }

    fn target(&self) -> PathBuf {
        target_of(&self.path)
    }
}

fn target_of(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What [`recover`] found.
#[derive(Debug)]
pub enum Recovery {
    /// No save was cut short.
    Nothing,
    /// One was, and is finished now.
    Finished,
    /// One was and cannot be finished, as on a full disk: [`pending`] tells what holds. The next save tries again.
    Pending(io::Error),
}

/// Finishes a save that was written over the file and cut short by the death of its process. Must come before the file
/// is read. Fails when the journal cannot be read.
pub fn recover(path: &Path) -> io::Result<Recovery> {
    let target = target_of(path);
    let journal = journal_path(&target);
    let text = match fs::read(&journal) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovery::Nothing),
        Err(error) => return Err(error),
    };
    let finished = write_over(&text, &target).and_then(|()| remove_journal(&journal));
    Ok(finished.map_or_else(Recovery::Pending, |()| Recovery::Finished))
}

/// The text of a save that is not finished. It is whole, where the file may be half written, and holds in its place.
pub fn pending(path: &Path) -> Option<Vec<u8>> {
    fs::read(journal_path(&target_of(path))).ok()
}

impl Disk for ConfFile {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match pending(&self.path).map_or_else(|| fs::read(&self.path), Ok) {
            Ok(text) => Ok(Some(text)),
            // A directory in its place cannot be replaced either, and that failure has the telling text.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, text: &[u8]) -> Result<(), SaveError> {
        let target = self.target();
        let temporary = temporary_path(&target);
        let replaced = match write_and_rename(text, &temporary, &target) {
            Err(SaveError::Rename(error)) if is_mounted(&error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let (path, journal) = (target.display(), journal_path(&target));
                    let journal = journal.display();
                    tracing::warn!("{path} is a mount point: saves are written over it, with {journal} beside it");
                }
                write_in_place(text, &temporary, &target)
            }
            replaced => replaced,
        };
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

/// Nothing can be renamed over a file that is a mount point, as single files are in containers.
fn is_mounted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ResourceBusy
}

/// `temporary` holds the new text and is on disk. It becomes the journal.
fn write_in_place(text: &[u8], temporary: &Path, target: &Path) -> Result<(), SaveError> {
    let journal = journal_path(target);
    crash_point("before the journal");
    fs::rename(temporary, &journal).map_err(SaveError::Rename)?;
    crash_point("after the journal");
    sync_dir(target).map_err(SaveError::SyncDir)?;
    write_over(text, target).map_err(|cause| SaveError::Write { written: 0, cause })?;
    crash_point("after the file");
    remove_journal(&journal).map_err(SaveError::SyncDir)
}

/// The file keeps its inode, its mode and its owner.
fn write_over(text: &[u8], target: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(target)?;
    let (first, second) = text.split_at(text.len() / 2);
    file.write_all(first)?;
    crash_point("in the middle of the file");
    file.write_all(second)?;
    crash_point("before the end of the file");
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

fn remove_journal(journal: &Path) -> io::Result<()> {
    fs::remove_file(journal)?;
    crash_point("without the journal");
    sync_dir(journal)
}

/// Puts names of files on disk.
fn sync_dir(file: &Path) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    File::open(dir)?.sync_all()
}

fn journal_path(target: &Path) -> PathBuf {
    with_suffix(target, "journal")
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    PathBuf::from(path)
}

/// Where a test may let the process die.
#[cfg(not(test))]
fn crash_point(_where: &'static str) {}

#[cfg(test)]
use tests::crash_point;

fn write_and_rename(text: &[u8], temporary: &Path, target: &Path) -> Result<(), SaveError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary).map_err(SaveError::Create)?;
    crash_point("with an empty temporary file");
    let mut written = 0;
    while written < text.len() {
        match file.write(&text[written..]) {
            Ok(0) => return Err(SaveError::Write { written, cause: io::ErrorKind::WriteZero.into() }),
            Ok(more) => written += more,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(SaveError::Write { written, cause }),
        }
    }
    crash_point("with a temporary file");
    file.sync_all().map_err(SaveError::Sync)?;
    file.set_permissions(Permissions::from_mode(mode_for(target))).map_err(SaveError::Chmod)?;
    crash_point("before the rename");
    rename(temporary, target).map_err(SaveError::Rename)?;
    crash_point("after the rename");
    sync_dir(target).map_err(SaveError::SyncDir)
}

#[cfg(not(test))]
use fs::rename;
#[cfg(test)]
use tests::rename;

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

/// Where a file is written until it is whole: the target's name with a point and six random letters or digits behind it,
/// as stock names it.
fn temporary_path(target: &Path) -> PathBuf {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let suffix: String = (0..6).map(|_| char::from(LETTERS[rng.random_range(0..LETTERS.len())])).collect();
    with_suffix(target, &suffix)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    thread_local! {
        /// Where this thread's process dies.
        static DIES: Cell<Option<&'static str>> = const { Cell::new(None) };
        /// Whether files are mount points.
        static MOUNTED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn crash_point(here: &'static str) {
        assert!(DIES.get() != Some(here), "killed {here}");
    }

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        if MOUNTED.get() { Err(io::ErrorKind::ResourceBusy.into()) } else { fs::rename(from, to) }
    }

    /// Every place in a save where it makes a difference, in order; the second list is for files that are mount points.
    const PLACES: [&str; 4] =
        ["with an empty temporary file", "with a temporary file", "before the rename", "after the rename"];
    const PLACES_IN_PLACE: [&str; 9] = [
        "with an empty temporary file",
        "with a temporary file",
        "before the rename",
        "before the journal",
        "after the journal",
        "in the middle of the file",
        "before the end of the file",
        "after the file",
        "without the journal",
    ];

    /// config.md 134: whoever dies in the middle of a save finds the old text or the new one, whole, and whoever is told
    /// that it is saved finds that.
    #[test]
    fn a_crash_at_any_step_leaves_the_old_text_or_the_new_one() {
        let (old, new) = (b"the old text, which is longer\n".as_slice(), b"the new text\n".as_slice());
        for (mounted, places) in [(false, &PLACES[..]), (true, &PLACES_IN_PLACE[..])] {
            MOUNTED.set(mounted);
            for place in places {
                let dir = tempfile::tempdir().expect("temp dir");
                let path = dir.path().join("s.conf");
                fs::write(&path, old).expect("written");
                let file = ConfFile::new(path.clone());
                DIES.set(Some(place));
                assert!(catch_unwind(AssertUnwindSafe(|| file.replace(new))).is_err(), "nothing happens {place}");
                // A start that dies as well, and one that does not.
                let _ = catch_unwind(|| recover(&path));
                DIES.set(None);
                recover(&path).expect("there is nothing in the way");
                let text = fs::read(&path).expect("readable");
                assert!(text == old || text == new, "{place}: {}", String::from_utf8_lossy(&text));
                file.replace(new).expect("saved");
                assert_eq!(fs::read(&path).expect("readable"), new, "{place}");
                assert!(!journal_path(&path).exists(), "{place}");
            }
        }
        MOUNTED.set(false);
    }

    /// A file that is half written is not what people wrote into it.
    #[test]
    fn a_save_after_one_that_failed_in_the_middle_reads_the_journal() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s.conf");
        fs::write(&path, b"half").expect("written");
        fs::write(journal_path(&path), b"half and half\n").expect("written");
        let read = ConfFile::new(path).read().expect("readable");
        assert_eq!(read.as_deref(), Some(b"half and half\n".as_slice()));
    }

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
