//! Detection while clients ask without end for what is long: every master, and INFO.

use crate::detection::{DOWN_AFTER, Kills, Scene, table};
use crate::farm::Farm;
use crate::load::Load;
use crate::support::wait::{seconds, wait_until};
use crate::watcher::{Monitor, PATIENCE};
use crate::{KINDS, Length, folder};

/// Of the farm, besides the one that dies.
const MASTERS: usize = 100;

const LOADS: &[Load] = &[
    Load { words: &["SENTINEL", "MASTERS"], clients: 1000, pipeline: 16 },
    Load { words: &["INFO"], clients: 1000, pipeline: 16 },
];

pub(crate) fn run(length: Length) {
    let kills = Kills { at_least: if length == Length::Full { 11 } else { 3 }, lasting: seconds(0) };
    let folder = folder();
    println!(
        "\nHammer: ms from kill -9 of one master until a subscriber hears of +sdown, down-after {DOWN_AFTER}, of a Sentinel that \
         watches\n{MASTERS} more; median of {} kills (lowest-highest). Logged: its time in the log.\n",
        kills.at_least
    );
    let _farm = Farm::start(MASTERS);
    // More than there are: nobody acts when a busy Sentinel takes a server for dead.
    let mut scenes = KINDS.map(|kind| Scene::start(kind, folder.path(), Monitor::farm(MASTERS, KINDS.len() + 1)));
    // They watch the same farm, and know of each other.
    wait_until(PATIENCE, "everybody is known", || {
        scenes.iter().all(|scene| scene.sentinel.knows_all(MASTERS, KINDS.len()) && scene.is_up())
    });
    table(&mut scenes, LOADS, kills);
}
