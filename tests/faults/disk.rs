//! A Sentinel whose conf folder is full or read-only.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::net::{run, tell};
use crate::support::resp::Value;
use crate::support::wait::{seconds, wait_until};
use crate::world::{Plan, World};

/// What is logged when the file cannot be replaced.
const NOT_SAVED: &str = "WARNING: Sentinel was not able to save the new configuration on disk";

/// A folder that can be made full or read-only.
#[derive(Debug)]
pub(crate) enum SmallDisk {
    /// A small file system of its own (tmpfs).
    Mounted(PathBuf),
    /// Where nothing can be mounted: a folder without write permission, which is all that it can be broken by.
    Plain(PathBuf),
}

impl SmallDisk {
    /// Mounts it over the empty folder, or says that it cannot.
    pub(crate) fn new(folder: &Path) -> SmallDisk {
        let path = folder.display().to_string();
        match run("mount", &["-t", "tmpfs", "-o", "size=64k", "sentineld-faults", &path], "") {
            Ok(()) => SmallDisk::Mounted(folder.to_owned()),
            Err(why) => {
                assert!(!nix::unistd::geteuid().is_root(), "root writes where it has no permission: {why}");
                tell(&format!("nothing can be mounted ({why}): a full disk is a folder without permission instead"));
                SmallDisk::Plain(folder.to_owned())
            }
        }
    }

    /// Leaves not one byte.
    pub(crate) fn fill(&self) {
        match self {
            SmallDisk::Mounted(folder) => {
                let filled = std::fs::write(folder.join("ballast"), vec![0; 1 << 20]);
                assert!(filled.is_err(), "the disk is smaller");
            }
            SmallDisk::Plain(_) => self.make_read_only(),
        }
    }

    fn make_read_only(&self) {
        match self {
            SmallDisk::Mounted(folder) => remount(folder, "ro"),
            SmallDisk::Plain(folder) => permit(folder, 0o555),
        }
    }

    /// There is room, and it can be written again.
    pub(crate) fn repair(&self) {
        match self {
            SmallDisk::Mounted(folder) => {
                remount(folder, "rw");
                // It is only there if it was filled.
                let _ = std::fs::remove_file(folder.join("ballast"));
            }
            SmallDisk::Plain(folder) => permit(folder, 0o755),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        match self {
            SmallDisk::Mounted(folder) => {
                // Its users may still be ending.
                let _ = run("umount", &["-l", &folder.display().to_string()], "");
            }
            SmallDisk::Plain(folder) => permit(folder, 0o755),
        }
    }
}

fn remount(folder: &Path, mode: &str) {
    let path = folder.display().to_string();
    run("mount", &["-o", &format!("remount,{mode}"), &path], "").expect("who could mount may mount again");
}

fn permit(folder: &Path, mode: u32) {
    std::fs::set_permissions(folder, Permissions::from_mode(mode)).expect("it is our folder");
}

#[test]
fn a_full_disk_does_not_stop_the_others() {
    one_bad_disk(SmallDisk::fill, |_| {});
}

/// The same at its worst: the one with the full disk is first to ask for votes, and gets them.
#[test]
fn a_candidate_with_a_full_disk_gives_way() {
    one_bad_disk(SmallDisk::fill, |world| {
        let set = ["SENTINEL", "SET", "mymaster", "quorum", "1", "down-after-milliseconds", "500"];
        let reply = world.sentinels[0].call(&set).expect("it answers");
        assert_eq!(reply, Value::Simple("OK".to_owned()));
    });
}

#[test]
fn a_read_only_folder_does_not_stop_the_others() {
    one_bad_disk(SmallDisk::make_read_only, |_| {});
}

/// failover.md 128, 204, I18: who cannot save does not vote and does not lead; the two others fail over without it. When
/// it can save again, its file is as good as theirs.
fn one_bad_disk(break_it: fn(&SmallDisk), prepare: fn(&World)) {
    let mut world = World::start(&Plan { small_disks: 1, failover_timeout: 4000, ..Plan::ours(3) });
    prepare(&world);
    let old = world.servers[0].addr;
    let start = Instant::now();
    break_it(&world.disks[0]);
    world.servers[0].process.kill();
    let new = world.wait_for_new_master(&[0, 1, 2], old);
    let limping = &world.sentinels[0];
    wait_until(seconds(10), "it says that it cannot save", || limping.log().contains(NOT_SAVED));
    for never in ["+vote-for-leader", "+elected-leader"] {
        assert!(limping.events.find(start, never).is_none(), "{never} by who cannot save");
    }
    for other in &world.sentinels[1..] {
        assert!(!other.log().contains(&format!("{} voted for", limping.id)), "{} got its vote", other.id);
    }
    world.disks[0].repair();
    let saved = || std::fs::read_to_string(&world.sentinels[0].conf).unwrap_or_default();
    let line = format!("sentinel monitor mymaster {} ", new.ip());
    wait_until(seconds(20), "the new address is saved once there is room", || saved().contains(&line));
    world.finish();
}

/// failover.md 128, I18: two who cannot save are two votes less, so there is no majority until one can.
#[test]
fn two_bad_disks_leave_no_majority() {
    let mut world = World::start(&Plan { small_disks: 2, ..Plan::ours(3) });
    let old = world.servers[0].addr;
    let start = Instant::now();
    world.disks[0].fill();
    world.disks[1].make_read_only();
    world.servers[0].process.kill();
    world.wait_for_any(start, "+try-failover ");
    let tried = Instant::now();
    wait_until(seconds(10), "time passes", || tried.elapsed() >= seconds(3));
    for sentinel in &world.sentinels {
        assert!(sentinel.events.find(start, "+elected-leader").is_none(), "{} was elected", sentinel.id);
        assert_eq!(sentinel.master_addr(), Some(old));
    }
    for disk in &world.disks {
        disk.repair();
    }
    world.wait_for_new_master(&[0, 1, 2], old);
    world.finish();
}
