//! The state file: what a save would make of the conf file, written to another place, and comments that the conf file must
//! not have.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::file::{ConfFile, Disk, SaveError};

/// A file that begins with a header and goes on like the conf file.
#[derive(Debug)]
pub struct StateFile {
    file: ConfFile,
    header: Vec<u8>,
    /// Comments that follow the header.
    annex: Mutex<Vec<u8>>,
    /// What the next save goes by: the conf file, and then what was saved last. Nobody else writes here.
    text: Mutex<Vec<u8>>,
}

impl StateFile {
    /// Saves to `file`, beginning with `header`, what is made out of `conf`.
    pub fn new(file: ConfFile, header: Vec<u8>, conf: Vec<u8>) -> StateFile {
        StateFile { file, header, annex: Mutex::default(), text: Mutex::new(conf) }
    }
}

impl Disk for StateFile {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn replace(&self, text: &[u8]) -> Result<(), SaveError> {
        let annex = self.annex.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.file.replace(&[&self.header, &*annex, text].concat())?;
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text.to_vec();
        Ok(())
    }

    fn annex(&self, comments: Vec<u8>) {
        *self.annex.lock().unwrap_or_else(PoisonError::into_inner) = comments;
    }
}
