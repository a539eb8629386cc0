//! A real redis-server.

use std::io;
use std::path::Path;

use nix::sys::signal::Signal;

use super::process::Process;
use super::resp::{Client, Value};
use super::wait::{seconds, wait_until};
use super::{ports, stock};

/// One server with a conf file of its own, so that `CONFIG REWRITE` works on it.
#[derive(Debug)]
pub(crate) struct Server {
    /// On 127.0.0.1.
    pub(crate) port: u16,
    /// The child.
    pub(crate) process: Process,
    password: Option<&'static str>,
}

impl Server {
    /// Starts a master, or a replica of the server at port `replica_of`, in `folder`, and waits until it answers.
    pub(crate) fn start(folder: &Path, password: Option<&'static str>, replica_of: Option<u16>) -> Server {
        Server::start_as(&stock::program("redis-server"), folder, password, replica_of)
    }

    /// The same with this program.
    pub(crate) fn start_as(
        program: &Path,
        folder: &Path,
        password: Option<&'static str>,
        replica_of: Option<u16>,
    ) -> Server {
        Server::start_at(program, folder, ports::free(), password, replica_of)
    }

    /// The same at this port, with a home of its own if another server was there before.
    pub(crate) fn start_at(
        program: &Path,
        folder: &Path,
        port: u16,
        password: Option<&'static str>,
        replica_of: Option<u16>,
    ) -> Server {
        let homes = (1..).map(|number| folder.join(format!("server-{port}.{number}")));
        let home = homes.into_iter().find(|home| !home.exists()).expect("there are many names");
        std::fs::create_dir(&home).expect("the test folder is writable");
        let auth = password.map(|password| format!("requirepass {password}\nmasterauth {password}\n"));
        let role = replica_of.map(|master| format!("replicaof 127.0.0.1 {master}\n"));
        let conf = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsave \"\"\nrepl-diskless-sync-delay 0\nrepl-timeout 10\n{}{}",
            home.display(),
            auth.unwrap_or_default(),
            role.unwrap_or_default()
        );
        std::fs::write(home.join("redis.conf"), conf).expect("the test folder is writable");
        let name = format!("server-{port}");
        let process = Process::start(&name, program, &["redis.conf"], &home);
        let server = Server { port, process, password };
        server.wait_until_ready();
        server
    }

    /// Starts it again after its end.
    pub(crate) fn start_again(&mut self) {
        self.process.start_again();
        self.wait_until_ready();
    }

    /// SIGSTOP: it accepts connections, and answers nothing.
    pub(crate) fn hang(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// `SHUTDOWN NOSAVE`; returns when it is gone.
    pub(crate) fn shut_down(&mut self) {
        // The connection is closed without a reply.
        let _ = self.call(&["SHUTDOWN", "NOSAVE"]);
        self.process.wait(seconds(10));
    }

    /// An authenticated connection.
    pub(crate) fn client(&self) -> io::Result<Client> {
        let mut client = Client::connect(self.port)?;
        if let Some(password) = self.password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    /// One command on a connection of its own.
    pub(crate) fn call(&self, words: &[&str]) -> io::Result<Value> {
        self.client()?.call(words)
    }

    /// A field of `INFO replication`.
    pub(crate) fn replication(&self, key: &str) -> Option<String> {
        let info = self.call(&["INFO", "replication"]).ok()?;
        let line = info.text()?.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.to_owned();
        Some(line)
    }

    /// Whether it is a master.
    pub(crate) fn is_master(&self) -> bool {
        self.replication("role").as_deref() == Some("master")
    }

    /// Whether it is a replica of the server at `port`, with its link up.
    pub(crate) fn follows(&self, port: u16) -> bool {
        self.replication("master_port").as_deref() == Some(port.to_string().as_str())
            && self.replication("master_link_status").as_deref() == Some("up")
    }

    fn wait_until_ready(&self) {
        wait_until(seconds(10), "redis-server answers", || {
            self.call(&["PING"]).is_ok_and(|reply| reply == Value::Simple("PONG".to_owned()))
        });
    }
}
