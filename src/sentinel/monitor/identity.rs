//! Who a server is: what its INFO says of the process and of its data.

use super::Monitor;
use super::info::InfoReport;
use super::instance::Role;
use crate::sentinel::id::LinkId;

/// What a server's last INFO says of who it is. Unlike its role and its ages this stays when it is seen in a new part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Papers {
    /// The connection on which it said so. Behind any other there may be another process.
    pub link: Option<LinkId>,
    /// `run_id`
    pub run_id: Option<String>,
    /// `role`
    pub role: Option<Role>,
    /// `master_replid` and `master_replid2`; none if the server is too old to have them.
    pub replids: Vec<String>,
    /// It has keys.
    pub has_data: bool,
    /// It takes no commands yet.
    pub is_loading: bool,
}

impl Papers {
    /// What `report`, which came on `link`, says.
    pub fn of(report: &InfoReport, link: Option<LinkId>) -> Papers {
        Papers {
            link,
            run_id: report.run_id.clone(),
            role: report.role,
            replids: report.replids.clone(),
            has_data: report.has_data,
            is_loading: report.is_loading,
        }
    }
}

impl Monitor {
    /// Whether a server's data is known to be this group's, or there is none that could be somebody else's.
    pub(super) fn is_ours(&self, papers: &Papers) -> bool {
        !papers.has_data || papers.replids.iter().any(|id| self.history.contains(id))
    }
}
