//! From arguments to a configuration that is ready to run: files are recovered, read, checked and brought together.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::{RunArgs, Stdin};
use crate::conf::error::{ConfError, strerror};
use crate::conf::files::{self, Files, RealFiles};
use crate::conf::identity;
use crate::conf::load::{self, Loaded, SourceSet};
use crate::conf::settings::{self, Settings};
use crate::conf::state;
use crate::daemon;
use crate::store::file::{self, ConfFile, Disk, Recovery};
use crate::store::state::StateFile;

/// Everything that a daemon starts with.
pub struct Start {
    /// What the files say.
    pub loaded: Loaded,
    /// Absolute.
    pub conf_file: PathBuf,
    /// Where changes go.
    pub disk: Arc<dyn Disk>,
    /// Saved to, and checked before anything is said: the conf file, or the state file.
    saved_to: SavedTo,
}

enum SavedTo {
    Conf,
    State(PathBuf),
}

impl Start {
    /// Finishes saves that were cut short, and reads everything there is to read. The file must exist, since state is
    /// saved there.
    pub fn read(args: &RunArgs, cwd: PathBuf) -> Result<Start, ConfError> {
        let settings = read_settings(args)?;
        let mut warnings = Vec::new();
        for path in args.file.iter().chain(&settings.state_file) {
            recover(path, &mut warnings)?;
        }
        let mut start = Start::bring_together(args, cwd, settings, &RealFiles)?;
        start.loaded.warnings.splice(0..0, warnings);
        Ok(start)
    }

    /// The same, and changes nothing.
    pub fn look_at(args: &RunArgs, cwd: PathBuf, files: &dyn Files) -> Result<Start, ConfError> {
        Start::bring_together(args, cwd, read_settings(args)?, files)
    }

    fn bring_together(args: &RunArgs, cwd: PathBuf, settings: Settings, files: &dyn Files) -> Result<Start, ConfError> {
        let main = args.file.as_deref().map(read_conf).transpose()?.unwrap_or_default();
        let stdin = (args.stdin == Stdin::Read).then(read_stdin);
        let sources = SourceSet { main, stdin, options: args.options.clone(), cwd };
        let mut loaded = load::load(&sources, daemon::random_id(), files)?;
        loaded.node.policies = settings.policies;
        if settings.json_log {
            loaded.daemon.log_format = "json";
        }
        let conf_file = args.file.as_deref().map(Path::to_owned).ok_or(ConfError::NoFile)?;
        let Some(path) = settings.state_file else {
            let disk = Arc::new(ConfFile::new(conf_file.clone()));
            return Ok(Start { loaded, conf_file, disk, saved_to: SavedTo::Conf });
        };
        let conf =
            [&*sources.main, b"\n", sources.stdin.as_deref().unwrap_or_default(), b"\n", &sources.options].concat();
        let header = state::header(&conf, &loaded.masters);
        if let Some(text) = read_state(&path)? {
            let identities = identity::parse(&text);
            let edited = (!state::is_of(&text, &conf)).then(|| state::masters_then(&text));
            let sources = SourceSet { main: text, stdin: None, options: Vec::new(), cwd: sources.cwd.clone() };
            let mut state = load::load(&sources, daemon::random_id(), files)
                .map_err(|error| ConfError::State { path: path.clone(), cause: Box::new(error) })?;
            match identities {
                Ok(mut identities) => {
                    for master in &mut state.masters {
                        master.identity = identities.remove(&master.spec.name).unwrap_or_default();
                    }
                }
                Err(identity::Damaged) => loaded
                    .warnings
                    .push(format!("{} is damaged: who the servers of the masters are is learnt anew.", path.display())),
            }
            loaded = state::merge(loaded, &state, edited.as_deref());
        }
        let disk = Arc::new(StateFile::new(ConfFile::new(path.clone()), header, sources.main));
        Ok(Start { loaded, conf_file, disk, saved_to: SavedTo::State(path) })
    }

    /// Whether what is learned can be saved. Stock looks after a successful load and before its banner.
    pub fn check_writable(&self) -> Result<(), ConfError> {
        match &self.saved_to {
            SavedTo::Conf => files::check_writable(&self.conf_file),
            SavedTo::State(path) if path.exists() => files::check_writable(path),
            SavedTo::State(path) => files::check_writable(path.parent().unwrap_or(Path::new("/"))),
        }
    }
}

fn read_settings(args: &RunArgs) -> Result<Settings, ConfError> {
    Ok(args.settings.as_deref().map(settings::load).transpose()?.unwrap_or_default())
}

fn read_conf(path: &Path) -> Result<Vec<u8>, ConfError> {
    file::pending(path).map_or_else(|| files::read_main(path), Ok)
}

/// `None` at the first start.
fn read_state(path: &Path) -> Result<Option<Vec<u8>>, ConfError> {
    match file::pending(path).map_or_else(|| fs::read(path), Ok) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ConfError::Unreadable { path: path.to_owned(), cause }),
    }
}

/// Finishes a save that was cut short. The log is not open yet: what it has to be told is kept in `warnings`.
fn recover(path: &Path, warnings: &mut Vec<String>) -> Result<(), ConfError> {
    let recovery = file::recover(path).map_err(|cause| ConfError::NotWritable { path: path.to_owned(), cause })?;
    let path = path.display();
    match recovery {
        Recovery::Nothing => {}
        Recovery::Finished => warnings.push(format!("A save of {path} had been cut short and was finished.")),
        Recovery::Pending(cause) => {
            let why = strerror(&cause);
            warnings.push(format!("A save of {path} had been cut short and cannot be finished yet ({why})."));
        }
    }
    Ok(())
}

fn read_stdin() -> Vec<u8> {
    let mut text = Vec::new();
    // What could be read counts, as in stock.
    let _ = io::stdin().lock().read_to_end(&mut text);
    text
}
