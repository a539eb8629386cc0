//! Thousands of servers that keep no data, in a few processes of this program: what Sentinels watch in `scale`.

mod server;

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) use server::run;

/// Servers of a group: a master, at first, and two replicas.
pub(crate) const GROUP: usize = 3;
/// Where each listens, on an address of its own.
pub(crate) const PORT: u16 = 7000;
/// Groups in one process: a process may have 20,000 descriptors on many machines, and these use some 11,000 with three
/// Sentinels.
const SHARE: usize = 500;

/// The address of a server.
pub(crate) fn address(number: usize) -> Ipv4Addr {
    // Never with 0 or 255 at its end, which look like networks.
    Ipv4Addr::new(127, 64 + (number / 62_500) as u8, (number / 250 % 250) as u8, 1 + (number % 250) as u8)
}

/// All processes of a farm, which end with it.
pub(crate) struct Farm {
    shares: Vec<Share>,
}

struct Share {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Farm {
    /// So many groups, all of whose servers run.
    pub(crate) fn start(groups: usize) -> Farm {
        let program = std::env::current_exe().expect("this very program");
        let mut shares = Vec::new();
        for first in (0..groups).step_by(SHARE) {
            let count = SHARE.min(groups - first);
            let mut command = Command::new(&program);
            command.arg("farm").arg((first * GROUP).to_string()).arg((count * GROUP).to_string());
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this very program");
            let commands = child.stdin.take().expect("a pipe");
            let answers = BufReader::new(child.stdout.take().expect("a pipe"));
            shares.push(Share { child, commands, answers });
        }
        shares.iter_mut().for_each(Share::wait);
        Farm { shares }
    }

    /// Kills these servers, all at once.
    pub(crate) fn kill(&mut self, servers: &[usize]) {
        let mut told = Vec::new();
        for (place, share) in self.shares.iter_mut().enumerate() {
            let own = |server: &&usize| *server / GROUP / SHARE == place;
            let words: Vec<String> = servers.iter().filter(own).map(usize::to_string).collect();
            if !words.is_empty() {
                writeln!(share.commands, "kill {}", words.join(" ")).expect("the farm runs");
                told.push(share);
            }
        }
        told.into_iter().for_each(Share::wait);
    }
}

impl Share {
    fn wait(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the farm runs");
        assert_eq!(line, "done\n", "the farm does what it is told");
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        for share in &mut self.shares {
            // It may have ended by itself.
            let _ = share.child.kill().and_then(|()| share.child.wait());
        }
    }
}
