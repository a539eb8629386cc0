//! INFO in full, for `SENTINEL INFO-CACHE`.
//!
//! Servers that take several sections (7.0 on) are asked for those that matter, which is a third of the whole, in bytes to
//! read and to keep. Whoever wants to see INFO gets all of it: it is asked for then.

use super::Monitor;
use super::instance::{InfoForm, Server, ServerId};
use crate::sentinel::Env;
use crate::sentinel::command::Command;
use crate::sentinel::id::ReplyToken;
use crate::sentinel::io::{Answer, Outbox, Output, Tag};
use crate::sentinel::link::is_due;
use crate::sentinel::time::Millis;

/// How long a server is waited for, ms. After that the last INFO has to do, as it does in stock.
const PATIENCE: u64 = 500;

impl Monitor {
    /// Asks every server of which less than the whole INFO is known, and answers when all of them have.
    pub(super) fn fetch_whole_info(&mut self, from: ReplyToken, env: &Env<'_>, out: &mut Outbox) {
        let lacks = |server: &Server| {
            server.info_form == InfoForm::Sections && !server.owes_whole_info && server.link.has_room()
        };
        let lacking: Vec<ServerId> = self.seats().filter(|seat| lacks(seat.server)).map(|seat| seat.id()).collect();
        for who in lacking {
            let asked = self.send(&who, Tag::WholeInfo, Command::Info, out);
            if let Some(server) = self.server_mut(&who) {
                server.owes_whole_info = asked;
            }
        }
        self.info_askers.push((from, env.now.mono + PATIENCE));
    }

    /// Answers whoever waits, once nobody owes anything or it takes too long.
    pub(super) fn answer_info_askers(&mut self, now: Millis, out: &mut Outbox) {
        if self.info_askers.is_empty() {
            return;
        }
        let owing = self.servers().any(|server| server.owes_whole_info);
        self.info_askers.retain(|(asker, until)| {
            let waits = owing && !is_due(Some(*until), now);
            if !waits {
                out.push(Output::Answer { to: *asker, with: Answer::Ok });
            }
            waits
        });
    }

    /// When somebody has waited long enough.
    pub(super) fn info_askers_at(&self) -> Option<Millis> {
        self.info_askers.first().map(|(_, until)| *until)
    }
}
