//! The binary: arguments, configuration, exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use sentineld::check::check;
use sentineld::cli::{self, Invocation, RunArgs, Stdin};
use sentineld::conf::daemon::DaemonSettings;
use sentineld::conf::error::ConfError;
use sentineld::daemon::{self, unit};
use sentineld::sentinel::event::Level;
use sentineld::start::Start;
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
        Invocation::Check(args) => match check(&args, cwd) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(text) => {
                eprint!("{text}");
                ExitCode::FAILURE
            }
        },
        Invocation::Run(args) => run(&args, cwd),
    }
}

fn run(args: &RunArgs, cwd: PathBuf) -> ExitCode {
    let defaults = DaemonSettings::new(&cwd);
    match Start::read(args, cwd) {
        Ok(start) => {
            daemon::open_log(&start.loaded.daemon);
            if args.stdin == Stdin::Read {
                log(Level::Warning, "Reading config from stdin");
            }
            if let Err(error) = start.check_writable() {
                return refuse(&error);
            }
            daemon::run(start)
        }
        Err(error) => {
            daemon::open_log(&defaults);
            refuse(&error)
        }
    }
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
