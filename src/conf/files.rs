//! What loading asks of the file system, behind a trait, so that a simulated node loads without one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::MatchOptions;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::error::ConfError;

/// The file system as [`super::load::load`] sees it. All paths are absolute.
pub trait Files {
    /// Content of an included file. A directory reads as empty, as in stock.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Paths that match a pattern with `*`, `?` or `[`, sorted.
    fn expand(&self, pattern: &Path) -> Vec<PathBuf>;
    /// Whether `dir` can be made the current directory; its name without links if so.
    fn enter(&self, dir: &Path) -> io::Result<PathBuf>;
    /// Whether the file can be opened for appending. Creates it, as stock does.
    fn try_append(&self, path: &Path) -> io::Result<()>;
    /// Whether `access(X_OK)` succeeds.
    fn is_executable(&self, path: &Path) -> bool;
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug)]
pub struct RealFiles;

impl Files for RealFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_or_empty(path)
    }

    fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
        let options =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
        let matches = pattern.to_str().and_then(|pattern| glob::glob_with(pattern, options).ok());
        // What cannot be listed does not match, as with glob(3).
        matches.into_iter().flatten().filter_map(Result::ok).collect()
    }

    fn enter(&self, dir: &Path) -> io::Result<PathBuf> {
        let dir = dir.canonicalize()?;
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        access(&dir, AccessFlags::X_OK)?;
        Ok(dir)
    }

    fn try_append(&self, path: &Path) -> io::Result<()> {
        fs::OpenOptions::new().append(true).create(true).open(path).map(drop)
    }

    fn is_executable(&self, path: &Path) -> bool {
        access(path, AccessFlags::X_OK).is_ok()
    }
}

/// No file system: nothing can be included, every directory exists and every script can run.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
        Err(Errno::ENOENT.into())
    }

    fn expand(&self, _pattern: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    fn enter(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }

    fn try_append(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_executable(&self, _path: &Path) -> bool {
        true
    }
}

/// No file system, and nothing to complain about: every file can be included and is empty. For a text that is only
/// checked.
#[derive(Clone, Copy, Debug)]
pub struct AnyFiles;

impl Files for AnyFiles {
    fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn expand(&self, _pattern: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    fn enter(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }

    fn try_append(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_executable(&self, _path: &Path) -> bool {
        true
    }
}

/// Reads the main file, for [`super::load::SourceSet::main`]. A directory reads as empty, as in stock.
pub fn read_main(path: &Path) -> Result<Vec<u8>, ConfError> {
    read_or_empty(path).map_err(|cause| ConfError::Unreadable { path: path.to_owned(), cause })
}

fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).or_else(|error| match error.kind() {
        io::ErrorKind::IsADirectory => Ok(Vec::new()),
        _ => Err(error),
    })
}

/// Whether the main file may be written. Stock checks this after a successful load and before its banner.
pub fn check_writable(path: &Path) -> Result<(), ConfError> {
    access(path, AccessFlags::W_OK)
        .map_err(|errno| ConfError::NotWritable { path: path.to_owned(), cause: errno.into() })
}
