//! A wall clock for Sentinels that a test can set (see `wall_clock.c`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// The clock of all processes that were started with [`WallClock::environment`].
#[derive(Debug)]
pub(crate) struct WallClock {
    file: File,
    folder: TempDir,
}

impl WallClock {
    /// A clock that is right. `None` without a C compiler, which cargo needs to link with, under whatever name.
    pub(crate) fn new() -> Option<WallClock> {
        let folder = tempfile::Builder::new().prefix("sentineld-clock-").tempdir().expect("a temporary folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/beyond/wall_clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("clock.so")).arg(source);
        let built = compiler.status().ok()?;
        assert!(built.success(), "wall_clock.c is C");
        let path = folder.path().join("offset");
        let file = File::options().create(true).truncate(true).write(true).open(path);
        let clock = WallClock { file: file.expect("a temporary folder is writable"), folder };
        clock.set_seconds(0);
        Some(clock)
    }

    /// By how much it is wrong from now on, s.
    pub(crate) fn set_seconds(&self, offset: i64) {
        self.file.write_all_at(&offset.to_ne_bytes(), 0).expect("a temporary folder is writable");
    }

    /// What makes a process see it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![("LD_PRELOAD".to_owned(), path("clock.so")), ("WALL_CLOCK_FILE".to_owned(), path("offset"))]
    }
}
