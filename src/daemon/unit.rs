//! The systemd unit that `sentineld --print-systemd-unit` prints: Debian's for redis-sentinel, shut in some more.

use std::path::Path;

const TEMPLATE: &str = include_str!("sentineld.service");

/// Where `make install` puts the program.
const USUAL_PROGRAM: &str = "/usr/local/bin/sentineld";

/// The unit that runs this very program on this conf file, which is absolute.
pub fn for_this_program(conf: &Path) -> String {
    // Unknown only where there is no /proc.
    let program = std::env::current_exe().unwrap_or_else(|_| USUAL_PROGRAM.into());
    systemd_unit(&program, conf)
}

fn systemd_unit(program: &Path, conf: &Path) -> String {
    let folder = conf.parent().unwrap_or(conf);
    let values = [("{program}", program), ("{conf}", conf), ("{folder}", folder)];
    values.iter().fold(TEMPLATE.to_owned(), |text, (name, path)| text.replace(name, &quoted(path)))
}

/// A path as a word of a unit file: `%` begins a specifier there, and `$` a variable.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_alphanumeric() || "/._-%$".contains(c);
    if text.chars().all(plain) { text } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_program_and_the_file() {
        let unit = systemd_unit(Path::new("/opt/a b/sentineld"), Path::new("/etc/redis/sentinel%1.conf"));
        let start =
            "ExecStart=\"/opt/a b/sentineld\" /etc/redis/sentinel%%1.conf --supervised systemd --daemonize no\n";
        assert!(unit.contains(start), "{unit}");
        assert!(unit.contains("ReadWritePaths=/etc/redis\n"), "{unit}");
        assert!(!unit.contains('{'), "{unit}");
    }
}
