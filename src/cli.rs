//! Arguments, in the forms that redis-sentinel takes (config.md 1): a file, `-` for standard input, and directives
//! spelled as options, which become text that is read after the file.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::conf::lexer;

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Print [`version_line`] on stdout; exit code 0.
    Version,
    /// Print [`usage`] on stderr; exit code 1.
    Help,
    /// `--test-memory` without a size: print [`MEMORY_TEST_HINT`] on stderr; exit code 1.
    MemoryTestHint,
    /// Print a systemd unit for this conf file on stdout; exit code 0.
    SystemdUnit(PathBuf),
    /// Say whether these arguments can be run; exit code 0 or 1.
    Check(RunArgs),
    /// Run.
    Run(RunArgs),
}

/// Where the configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// Absolute path of the file. Without one there is nowhere to save: `ConfError::NoFile`, after standard input was
    /// read and everything was parsed.
    pub file: Option<PathBuf>,
    /// Whether to read standard input between file and options. Stock logs `Reading config from stdin` then.
    pub stdin: Stdin,
    /// Text to read last.
    pub options: Vec<u8>,
    /// `--settings FILE`: absolute path of `sentineld.toml`. The only option that is no directive, and never saved.
    pub settings: Option<PathBuf>,
}

/// Whether standard input is part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// It is.
    Read,
    /// It is not.
    Unused,
}

/// What stock says when `--test-memory` comes without a size.
pub const MEMORY_TEST_HINT: &str = "Please specify the amount of memory to test in megabytes.\n\
                                    Example: ./redis-server --test-memory 4096\n\n";

/// Where distributions put the conf file.
const USUAL_CONF: &str = "/etc/redis/sentinel.conf";

/// The line for `--version`. Tools look for ` v=`.
pub fn version_line() -> String {
    format!("sentineld server v={} bits={}", env!("CARGO_PKG_VERSION"), usize::BITS)
}

/// The text for `--help`.
pub fn usage() -> String {
    command().render_long_help().to_string()
}

fn command() -> Command {
    Command::new("sentineld")
        .about("Watches Redis masters, agrees with other Sentinels that one is down, and promotes a replica.")
        .override_usage(
            "sentineld /path/to/sentinel.conf [options] [-]\n       sentineld --check-config /path/to/sentinel.conf [options]\n       sentineld --print-systemd-unit [/path/to/sentinel.conf]\n       sentineld -v | --version\n       \
             sentineld -h | --help",
        )
        .after_help(
            "The file has to be writable: what is learned is saved there. `--settings FILE` reads what redis-sentinel\n\
             does not have from another file, sentineld.toml. `-` as the last argument reads more\n\
             configuration from standard input. Options are directives of the file: `--port 5000` is the line\n\
             `port 5000`, read after everything else, and saved.\n\n\
             Examples:\n  sentineld /etc/redis/sentinel.conf\n  sentineld /etc/redis/sentinel.conf --port 5000 --loglevel debug\n  \
             echo 'sentinel monitor mymaster 10.0.0.1 6379 2' | sentineld /etc/redis/sentinel.conf -",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").action(ArgAction::SetTrue).help("Prints the version"))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).help("Prints this text"))
        .arg(
            Arg::new("check-config")
                .long("check-config")
                .action(ArgAction::SetTrue)
                .help("Says whether the file and options behind it can be used, and what would be monitored"),
        )
        .arg(
            Arg::new("print-systemd-unit")
                .long("print-systemd-unit")
                .action(ArgAction::SetTrue)
                .help("Prints a systemd unit that runs this program on a conf file"),
        )
        .arg(
            Arg::new("rest")
                .value_name("FILE")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString))
                .help("The configuration file, and options"),
        )
}

/// Reads the arguments after the program's name. `cwd` is where a relative file is.
pub fn parse(args: &[OsString], cwd: &Path) -> Invocation {
    match args {
        // Only the first argument can be a flag of ours; all others belong to the configuration.
        [first, ..] if first.as_bytes().starts_with(b"-") => {
            let flags = command().try_get_matches_from([OsStr::new("sentineld"), first]);
            let is_set = |flag| flags.as_ref().is_ok_and(|flags| flags.get_flag(flag));
            if is_set("version") {
                return Invocation::Version;
            }
            if is_set("help") {
                return Invocation::Help;
            }
            if is_set("check-config") {
                let rest = args.get(1..).unwrap_or_default();
                return match parse(rest, cwd) {
                    Invocation::Run(run) => Invocation::Check(run),
                    other => other,
                };
            }
            if is_set("print-systemd-unit") {
                let conf = args.get(1).map_or(Path::new(USUAL_CONF), Path::new);
                return Invocation::SystemdUnit(absolute(conf, cwd));
            }
            if first == "--test-memory" && args.len() != 2 {
                return Invocation::MemoryTestHint;
            }
            Invocation::Run(run_args(None, args, cwd))
        }
        [file, options @ ..] => Invocation::Run(run_args(Some(absolute(Path::new(file), cwd)), options, cwd)),
        [] => Invocation::Run(run_args(None, args, cwd)),
    }
}

fn run_args(file: Option<PathBuf>, words: &[OsString], cwd: &Path) -> RunArgs {
    let first_word_is_first_argument = file.is_none();
    let mut args = RunArgs { file, stdin: Stdin::Unused, options: Vec::new(), settings: None };
    // Whether the option at the end of the text still waits for a value, which may then begin with dashes itself.
    let mut waits_for_value = false;
    let mut words_left = words.iter().enumerate();
    while let Some((at, word)) = words_left.next() {
        let next = words.get(at + 1).map(|next| next.as_bytes());
        let word = word.as_bytes();
        let at_either_end = next.is_none() || (at == 0 && first_word_is_first_argument);
        match word.strip_prefix(b"--") {
            _ if word == b"-" && at_either_end => args.stdin = Stdin::Read,
            Some(b"settings") if !waits_for_value && next.is_some() => {
                args.settings = words_left.next().map(|(_, path)| absolute(Path::new(path), cwd));
            }
            Some(option) if !waits_for_value => {
                waits_for_value = push_option(&mut args.options, option, next);
            }
            _ => {
                args.options.extend(lexer::quoted(word));
                args.options.push(b' ');
                waits_for_value = false;
            }
        }
    }
    args
}

/// Begins a line with an option, which may bring its values along. Returns whether it waits for one.
fn push_option(text: &mut Vec<u8>, option: &[u8], next: Option<&[u8]>) -> bool {
    if !text.is_empty() {
        text.push(b'\n');
    }
    text.extend_from_slice(option);
    text.push(b' ');
    if lexer::split(option).is_ok_and(|tokens| tokens.len() > 1) {
        return false;
    }
    let followed_by_option = next.is_none_or(|next| next.starts_with(b"--"));
    let takes_none = option.eq_ignore_ascii_case(b"sentinel");
    let may_be_empty = option.eq_ignore_ascii_case(b"save");
    if followed_by_option && may_be_empty {
        text.extend_from_slice(b"\"\"");
    }
    !(followed_by_option && (takes_none || may_be_empty))
}

/// An absolute path without `.` and `..`, whether or not the file exists.
fn absolute(path: &Path, cwd: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in cwd.join(path).components() {
        match component {
            Component::ParentDir => {
                absolute.pop();
            }
            Component::CurDir => {}
            component => absolute.push(component),
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Invocation {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        parse(&args, Path::new("/srv/dir"))
    }

    fn run(args: &[&str]) -> (Option<String>, Stdin, String) {
        match parsed(args) {
            Invocation::Run(run) => (
                run.file.map(|file| file.to_str().expect("text").to_owned()),
                run.stdin,
                String::from_utf8(run.options).expect("text"),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn options(args: &[&str]) -> String {
        run(args).2
    }

    /// config.md 1-3
    #[test]
    fn flags_count_only_as_the_first_argument() {
        assert_eq!(parsed(&["-v"]), Invocation::Version);
        assert_eq!(parsed(&["--version", "--port", "1"]), Invocation::Version);
        assert_eq!(parsed(&["-h"]), Invocation::Help);
        assert_eq!(parsed(&["--help"]), Invocation::Help);
        assert_eq!(parsed(&["--test-memory"]), Invocation::MemoryTestHint);
        assert_eq!(options(&["s.conf", "--version"]), "version ");
        assert!(version_line().contains(" v="));
        assert!(usage().contains("sentinel.conf"));
    }

    /// config.md 4, 5, 8
    #[test]
    fn the_file_is_made_absolute() {
        assert_eq!(run(&["../s.conf"]).0.as_deref(), Some("/srv/s.conf"));
        assert_eq!(run(&["/a/./b/../s.conf"]).0.as_deref(), Some("/a/s.conf"));
        assert_eq!(run(&[]).0, None);
        assert_eq!(run(&["--port", "1"]), (None, Stdin::Unused, "port \"1\" ".to_owned()));
    }

    /// config.md 12-28
    #[test]
    fn options_become_lines() {
        for (args, text) in [
            (&["f", "--port", "5000"][..], "port \"5000\" "),
            (&["f", "--port 22004"], "port 22004 "),
            (&["f", "--sentinel monitor x 1.2.3.4 5 1", "--port", "1"], "sentinel monitor x 1.2.3.4 5 1 \nport \"1\" "),
            (
                &["f", "--sentinel", "down-after-milliseconds", "m", "5"],
                "sentinel \"down-after-milliseconds\" \"m\" \"5\" ",
            ),
            (&["f", "--sentinel"], "sentinel "),
            (&["f", "--sentinel", "--port", "5"], "sentinel \nport \"5\" "),
            (&["f", "--save", "--port", "5"], "save \"\"\nport \"5\" "),
            (&["f", "--save"], "save \"\""),
            (&["f", "--requirepass", "--abc", "--port", "1"], "requirepass \"--abc\" \nport \"1\" "),
            (&["f", "--port"], "port "),
            (&["f", "-p", "5"], "\"-p\" \"5\" "),
            (&["f", "extra"], "\"extra\" "),
            (&["f", "--user", "default on >a\"b"], "user \"default on >a\\\"b\" "),
            (&["--sentinel", "FILE"], "sentinel \"FILE\" "),
        ] {
            assert_eq!(options(args), text, "{args:?}");
        }
    }

    #[test]
    fn what_comes_after_check_config_is_not_run() {
        let Invocation::Check(run) = parsed(&["--check-config", "s.conf", "--port", "1"]) else { panic!("checks") };
        assert_eq!(run.file.as_deref(), Some(Path::new("/srv/dir/s.conf")));
        assert_eq!(run.options, b"port \"1\" ");
    }

    #[test]
    fn a_unit_is_for_the_file_that_is_named() {
        let unit = |args: &[&str]| match parsed(args) {
            Invocation::SystemdUnit(conf) => conf.display().to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(unit(&["--print-systemd-unit"]), "/etc/redis/sentinel.conf");
        assert_eq!(unit(&["--print-systemd-unit", "s.conf"]), "/srv/dir/s.conf");
    }

    #[test]
    fn settings_are_taken_out_of_the_options() {
        let Invocation::Run(run) = parsed(&["f", "--port", "1", "--settings", "s.toml", "--loglevel", "debug"]) else {
            panic!("runs")
        };
        assert_eq!(run.settings.as_deref(), Some(Path::new("/srv/dir/s.toml")));
        assert_eq!(run.options, b"port \"1\" \nloglevel \"debug\" ");
        assert_eq!(options(&["f", "--requirepass", "--settings"]), "requirepass \"--settings\" ");
    }

    /// config.md 6, 25-27
    #[test]
    fn a_dash_at_either_end_is_standard_input() {
        assert_eq!(run(&["-"]), (None, Stdin::Read, String::new()));
        assert_eq!(run(&["f", "-"]).1, Stdin::Read);
        assert_eq!(run(&["f", "--port", "1", "-"]), (Some("/srv/dir/f".into()), Stdin::Read, "port \"1\" ".into()));
        assert_eq!(run(&["f", "-", "--port", "1"]).1, Stdin::Unused);
        assert_eq!(options(&["f", "-", "--port", "1"]), "\"-\" \nport \"1\" ");
        assert_eq!(run(&["-", "--port", "1"]).1, Stdin::Read);
    }
}
