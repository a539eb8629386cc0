//! What `ps` shows (config.md 4.1, `set-proc-title` and `proc-title-template`).
//!
//! The kernel shows the memory in which it has put the arguments. It is written through `/proc/self/mem`, and never
//! beyond its end: a title that is longer than the command line was is cut, where stock has moved its environment away to
//! make room.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::conf::daemon::BindAddr;
use crate::conf::load::Loaded;

/// What a template can name.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// `title`: the name by which the program was started.
    pub title: &'a str,
    /// `config-file`
    pub conf_file: &'a Path,
}

/// The title that the template makes.
pub fn compose(loaded: &Loaded, variables: &Variables<'_>) -> String {
    let (settings, port) = (&loaded.daemon, loaded.node.port);
    let unix = settings.unix_socket.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let shown = if port == 0 { settings.tls.port } else { port };
    let host = settings.bind.first().map_or_else(|| "*".to_owned(), BindAddr::as_written);
    let listen_addr = if shown == 0 { format!("unixsocket:{unix}") } else { format!("{host}:{shown}") };
    let values = [
        ("{title}", variables.title.to_owned()),
        ("{listen-addr}", listen_addr),
        ("{server-mode}", "[sentinel]".to_owned()),
        ("{port}", port.to_string()),
        ("{tls-port}", settings.tls.port.to_string()),
        ("{unixsocket}", unix),
        ("{config-file}", variables.conf_file.display().to_string()),
    ];
    let title = values.iter().fold(settings.title_template.clone(), |text, (name, value)| text.replace(name, value));
    title.trim_end().to_owned()
}

/// Shows the title in place of the arguments, which nobody may want to read any more.
pub fn show(title: &str) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::InvalidData);
    let (start, end) = arguments(&fs::read_to_string("/proc/self/stat")?).ok_or_else(missing)?;
    let room = (end - start) as usize;
    let mut shown = vec![0; room];
    // The last byte stays 0: the kernel shows what comes after it otherwise.
    let length = title.floor_char_boundary(room.saturating_sub(1));
    shown[..length].copy_from_slice(&title.as_bytes()[..length]);
    OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&shown, start)
}

/// Where the arguments are: fields 48 and 49 of /proc/self/stat.
fn arguments(stat: &str) -> Option<(u64, u64)> {
    // The second field is the name of the program, which may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(45);
    let (first, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (0 < first && first < end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::files::NoFiles;
    use crate::conf::load::{SourceSet, load};
    use crate::sentinel::id::RunId;

    /// config.md 184
    #[test]
    fn a_template_names_what_there_is() {
        let title = |conf: &str| {
            let sources = SourceSet { main: conf.into(), stdin: None, options: Vec::new(), cwd: "/".into() };
            let loaded = load(&sources, RunId::from(&*"f".repeat(40)), &NoFiles).expect("the text is right");
            compose(&loaded, &Variables { title: "redis-sentinel", conf_file: Path::new("/s.conf") })
        };
        assert_eq!(title("port 5"), "redis-sentinel *:5 [sentinel]");
        assert_eq!(title("port 5\nbind -::1"), "redis-sentinel -::1:5 [sentinel]");
        assert_eq!(title("port 5\nproc-title-template \"{port} \""), "5");
        assert_eq!(title("port 0\ntls-port 6\nbind 127.0.0.1"), "redis-sentinel 127.0.0.1:6 [sentinel]");
        assert_eq!(title("port 0\nunixsocket x.sock"), "redis-sentinel unixsocket:x.sock [sentinel]");
        assert_eq!(title("port 5\nproc-title-template \"{port} {config-file} {tls-port}\""), "5 /s.conf 0");
    }

    #[test]
    fn finds_the_arguments_whatever_the_program_is_called() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        assert_eq!(arguments(&format!("1 (a) b) S {}", numbers.join(" "))), Some((48, 49)));
        assert_eq!(arguments("1 (a) S 4 5"), None);
    }
}
