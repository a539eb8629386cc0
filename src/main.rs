//! The binary: arguments, configuration, exit codes.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sentineld::cli::{self, Invocation, RunArgs, Stdin};
use sentineld::conf::daemon::DaemonSettings;
use sentineld::conf::error::ConfError;
use sentineld::conf::files::{self, RealFiles};
use sentineld::conf::load::{self, Loaded, SourceSet};
use sentineld::conf::settings;
use sentineld::daemon::{self, unit};
use sentineld::sentinel::event::Level;
use sentineld::telemetry::log::log;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let cwd = match std::env::current_dir() {
        Ok(cwd) => cwd,
        Err(error) => {
            eprintln!("There is no current directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    match cli::parse(&args, &cwd) {
        Invocation::Version => {
            println!("{}", cli::version_line());
            ExitCode::SUCCESS
        }
        Invocation::Help => {
            eprintln!("{}", cli::usage());
            ExitCode::FAILURE
        }
        Invocation::MemoryTestHint => {
            eprint!("{}", cli::MEMORY_TEST_HINT);
            ExitCode::FAILURE
        }
        Invocation::SystemdUnit(conf) => {
            print!("{}", unit::for_this_program(&conf));
            ExitCode::SUCCESS
        }
        Invocation::Run(args) => run(&args, cwd),
    }
}

fn run(args: &RunArgs, cwd: PathBuf) -> ExitCode {
    let defaults = DaemonSettings::new(&cwd);
    match load(args, cwd) {
        Ok((loaded, conf_file)) => {
            daemon::open_log(&loaded.daemon);
            if args.stdin == Stdin::Read {
                log(Level::Warning, "Reading config from stdin");
            }
            if let Err(error) = files::check_writable(&conf_file) {
                return refuse(&error);
            }
            daemon::run(loaded, &conf_file)
        }
        Err(error) => {
            daemon::open_log(&defaults);
            refuse(&error)
        }
    }
}

/// Reads everything there is to read. The file must exist, since state is saved there.
fn load(args: &RunArgs, cwd: PathBuf) -> Result<(Loaded, PathBuf), ConfError> {
    let main = args.file.as_deref().map(files::read_main).transpose()?.unwrap_or_default();
    let stdin = (args.stdin == Stdin::Read).then(read_stdin);
    let sources = SourceSet { main, stdin, options: args.options.clone(), cwd };
    let mut loaded = load::load(&sources, daemon::random_id(), &RealFiles)?;
    if let Some(settings) = &args.settings {
        loaded.node.policies = settings::load(settings).map_err(ConfError::from)?;
    }
    let conf_file = args.file.as_deref().map(Path::to_owned).ok_or(ConfError::NoFile)?;
    Ok((loaded, conf_file))
}

fn read_stdin() -> Vec<u8> {
    let mut text = Vec::new();
    // What could be read counts, as in stock.
    let _ = std::io::stdin().lock().read_to_end(&mut text);
    text
}

fn refuse(error: &ConfError) -> ExitCode {
    if let Some(line) = error.log_line() {
        log(Level::Warning, &line);
    }
    if let Some(block) = error.block() {
        eprint!("{block}");
    }
    ExitCode::FAILURE
}
