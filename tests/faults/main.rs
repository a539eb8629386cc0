//! Real Sentinels and servers under real faults: partitions, loss, stops, bad disks, kill -9 at any moment.
//!
//! Every process gets a host of its own: a network namespace with one address, joined to the others by a bridge in
//! one more namespace. The tests sit at the bridge, so they reach everybody at any time, and cut links there with one
//! nftables table of the bridge family: a pair of addresses in its set is one direction of one link. That needs no
//! rules inside the hosts, and one-way cuts cost no more than two-way ones. Loss is a random drop in the same table;
//! latency is a narrow line with a queue (tbf) or a
//! proxy at the bridge that takes its time, because many kernels come without netem. Nothing leaves the machine:
//! 10.77.0.0/24 exists in these namespaces only.
//!
//! Where namespaces or nftables are not to be had (no root, or the kernel refuses), hosts are addresses of 127/8, and
//! who would be cut off is stopped with SIGSTOP instead. The run says so on its standard error. `FAULTS_NO_NETNS=1`
//! forces it.
//!
//! Whatever a scenario does, [`world::World::finish`] ends it: everything is healed, one master must be agreed on,
//! every conf file must load in `sentineld` and in stock, and [`audit`] goes through all logs, events and files.

mod audit;
mod disk;
mod elections;
mod host;
mod kills;
mod load;
mod net;
mod partition;
mod proxy;
mod sampler;
mod saves;
mod stop;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other end-to-end tests use some more of it")]
mod support;
mod vote;
mod world;
