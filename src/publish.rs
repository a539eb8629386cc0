//! The only read path out of monitors: snapshots that are replaced, never changed.
//!
//! Monitors write, on the control thread. Client connections read, on theirs, and neither waits for the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use rpds::HashTrieMapSync;
use tokio::sync::watch;

use crate::driver::post::Letterbox;
use crate::sentinel::id::MasterName;
use crate::sentinel::monitor::view::{InstanceView, MasterView};
use crate::sentinel::scripts::PendingScript;

/// Answers to the hottest question and the route to the master behind an address. A new book shares with the one before
/// it all that has not changed, so that an address costs the same among thousands as among a few.
#[derive(Debug, Default, Clone)]
pub struct AddressBook {
    /// Ready RESP reply of GET-MASTER-ADDR-BY-NAME: an array of two bulk strings, the same in RESP2 and RESP3.
    pub replies: HashTrieMapSync<MasterName, Bytes>,
    /// Configured address (not the promoted one) to name, for IS-MASTER-DOWN-BY-ADDR: the host as shown, in lower case,
    /// and for a host name also the address that it means. Several masters may have one address.
    by_addr: HashTrieMapSync<(String, u16), BTreeSet<MasterName>>,
}

impl AddressBook {
    /// The master at an address; the first by name, if there are several.
    pub fn master_at(&self, addr: &(String, u16)) -> Option<&MasterName> {
        self.by_addr.get(addr)?.first()
    }

    fn enter(&mut self, name: MasterName, entry: &Entered) {
        for addr in entry.addrs() {
            let mut owners = self.by_addr.get(&addr).cloned().unwrap_or_default();
            owners.insert(name.clone());
            self.by_addr.insert_mut(addr, owners);
        }
        let (host, port) = &entry.current;
        self.replies.insert_mut(name, address_reply(host, *port));
    }

    fn forget(&mut self, name: &MasterName, entry: &Entered) {
        for addr in entry.addrs() {
            if let Some(owners) = self.by_addr.get_mut(&addr) {
                owners.remove(name);
                if owners.is_empty() {
                    self.by_addr.remove_mut(&addr);
                }
            }
        }
        self.replies.remove_mut(name);
    }
}

/// One master, as readers reach it.
#[derive(Clone, Debug)]
pub struct MasterEntry {
    /// Its newest view.
    pub view: watch::Receiver<Arc<MasterView>>,
    /// Its mailbox.
    pub mailbox: Letterbox,
}

/// All masters, by name. Replaced whole when one is added or removed.
pub type Directory = BTreeMap<MasterName, MasterEntry>;

/// Reading side of everything, one clone a connection.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Changes with every address.
    pub book: watch::Receiver<Arc<AddressBook>>,
    /// Changes with MONITOR and REMOVE.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Scripts that wait or run, oldest first.
    pub scripts: watch::Receiver<Arc<[PendingScript]>>,
}

/// Writing side. One a process.
#[derive(Debug)]
pub struct Publisher {
    book: watch::Sender<Arc<AddressBook>>,
    /// What of each master is in the book.
    entered: RefCell<BTreeMap<MasterName, Entered>>,
    directory: watch::Sender<Arc<Directory>>,
    scripts: watch::Sender<Arc<[PendingScript]>>,
}

/// What of one master is in the [`AddressBook`].
#[derive(Debug, PartialEq, Eq)]
struct Entered {
    /// What clients are told.
    current: (Arc<str>, u16),
    /// Where it is: as shown, and what that means.
    at: (Arc<str>, Option<IpAddr>, u16),
}

impl Entered {
    fn of(view: &MasterView) -> Entered {
        let InstanceView { host, port, ip, .. } = &view.instance;
        let current = (Arc::clone(&view.current_host), view.current_port);
        Entered { current, at: (Arc::clone(host), *ip, *port) }
    }

    /// The addresses by which it is found.
    fn addrs(&self) -> impl Iterator<Item = (String, u16)> {
        let (host, ip, port) = &self.at;
        let shown = host.to_ascii_lowercase();
        let meant = ip.map(|ip| ip.to_string()).filter(|ip| *ip != shown);
        [Some(shown), meant].into_iter().flatten().map(|host| (host, *port))
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Publisher {
            book: watch::channel(Arc::default()).0,
            entered: RefCell::default(),
            directory: watch::channel(Arc::default()).0,
            scripts: watch::channel(Arc::default()).0,
        }
    }
}

impl Publisher {
    /// A reading side.
    pub fn reader(&self) -> Reader {
        Reader { book: self.book.subscribe(), directory: self.directory.subscribe(), scripts: self.scripts.subscribe() }
    }

    /// Adds a master, or replaces it.
    pub fn add(&self, name: MasterName, entry: MasterEntry) {
        let view = entry.view.borrow().clone();
        self.readdress(&view);
        self.directory.send_modify(|directory| {
            Arc::make_mut(directory).insert(name, entry);
        });
    }

    /// Removes a master.
    pub fn remove(&self, name: &MasterName) {
        self.directory.send_modify(|directory| {
            Arc::make_mut(directory).remove(name);
        });
        let Some(entered) = self.entered.borrow_mut().remove(name) else { return };
        self.book.send_modify(|book| {
            Arc::make_mut(book).forget(name, &entered);
        });
    }

    /// Shows the scripts that wait or run.
    pub fn show_scripts(&self, jobs: &[PendingScript]) {
        self.scripts.send_replace(Arc::from(jobs));
    }

    /// Enters the addresses of a view into the book, if they changed.
    pub fn readdress(&self, view: &MasterView) {
        let name = view.name();
        let entry = Entered::of(view);
        let mut entered = self.entered.borrow_mut();
        // Nearly always nothing has changed, and then no reader has to wait for us, who may be interrupted at any moment.
        if entered.get(&name) == Some(&entry) {
            return;
        }
        self.book.send_modify(|book| {
            let book = Arc::make_mut(book);
            if let Some(before) = entered.get(&name) {
                book.forget(&name, before);
            }
            book.enter(name.clone(), &entry);
        });
        entered.insert(name, entry);
    }
}

fn address_reply(host: &str, port: u16) -> Bytes {
    let port = port.to_string();
    Bytes::from(format!("*2\r\n${}\r\n{host}\r\n${}\r\n{port}\r\n", host.len(), port.len()))
}
