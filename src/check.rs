//! `--check-config`: whether a daemon would start on these arguments, and what it would monitor. Nothing is written,
//! connected to or listened on.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::cli::RunArgs;
use crate::conf::files::{Files, RealFiles};
use crate::conf::load::{IdOrigin, Loaded};
use crate::net::tls::Tls;
use crate::start::Start;

/// What would be monitored, a line each; or why nothing would be.
pub fn check(args: &RunArgs, cwd: PathBuf) -> Result<String, String> {
    let told = |error: crate::conf::error::ConfError| {
        let lines = [error.log_line().map(|line| line + "\n"), error.block()];
        lines.into_iter().flatten().collect::<String>()
    };
    let start = Start::look_at(args, cwd, &Unchanged).map_err(told)?;
    start.check_writable().map_err(told)?;
    let tls = &start.loaded.daemon.tls;
    if tls.is_wanted() {
        // Relative to `dir`, as at a start.
        std::env::set_current_dir(&start.loaded.daemon.dir).map_err(|error| format!("{error}\n"))?;
        Tls::load(tls).map_err(|error| format!("{error}\n"))?;
    }
    Ok(describe(&start.conf_file, &start.loaded))
}

fn describe(conf_file: &Path, loaded: &Loaded) -> String {
    let mut text = String::new();
    let (file, port, tls) = (conf_file.display(), loaded.node.port, loaded.daemon.tls.port);
    let id = if loaded.myid == IdOrigin::File { loaded.node.myid.as_str() } else { "a new one" };
    // A string takes everything.
    let _ =
        writeln!(text, "{file} can be used: port {port}, tls-port {tls}, id {id}, {} masters", loaded.masters.len());
    for record in &loaded.masters {
        let (spec, addr) = (&record.spec, &record.addr);
        let _ = writeln!(
            text,
            "{} at {addr}, quorum {}, down after {} ms, {} replicas and {} other Sentinels known",
            spec.name,
            spec.quorum,
            spec.down_after,
            record.replicas.len(),
            record.sentinels.len()
        );
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "{warning}");
    }
    text
}

/// The machine's files, none of which is made or changed.
struct Unchanged;

impl Files for Unchanged {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealFiles.read(path)
    }

    fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
        RealFiles.expand(pattern)
    }

    fn enter(&self, dir: &Path) -> io::Result<PathBuf> {
        RealFiles.enter(dir)
    }

    fn try_append(&self, path: &Path) -> io::Result<()> {
        let looked_at = if path.exists() { path } else { path.parent().unwrap_or(Path::new("/")) };
        access(looked_at, AccessFlags::W_OK).map_err(io::Error::from)
    }

    fn is_executable(&self, path: &Path) -> bool {
        RealFiles.is_executable(path)
    }
}
