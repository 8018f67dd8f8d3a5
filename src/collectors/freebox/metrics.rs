//! Families about the API and the reading of it, and the list of all families; those of the groups stand with them.

use super::groups;
use crate::metrics::{Desc, Kind};

/// Where the API is.
pub static API_INFO: Desc = Desc {
    name: "freebox_api_info",
    kind: Kind::Info,
    labels: &["version", "endpoint"],
    help: "Version of the box's API that is spoken, and where.",
};
/// Groups that can be read.
pub static UP: Desc = Desc {
    name: "freebox_up",
    kind: Kind::Gauge,
    labels: &["section"],
    help: "Whether a part of the box's API could be read last time (1) or not (0).",
};
/// How long that took.
pub static DURATION: Desc = Desc {
    name: "freebox_scrape_duration_seconds",
    kind: Kind::Gauge,
    labels: &["section"],
    help: "How long it took to read a part of the box's API, in seconds.",
};
/// Requests that failed.
pub static ERRORS: Desc = Desc {
    name: "freebox_request_errors_total",
    kind: Kind::Counter,
    labels: &["error_code"],
    help: "Requests that failed, by the code the box gave; no_answer and malformed are ours.",
};
/// Sessions opened.
pub static LOGINS: Desc =
    Desc { name: "freebox_logins_total", kind: Kind::Counter, labels: &[], help: "Sessions opened." };
/// Rights that gatemeter has.
pub static PERMISSION: Desc = Desc {
    name: "freebox_permission",
    kind: Kind::Gauge,
    labels: &["right"],
    help: "Whether gatemeter has a right on the box (1) or not (0).",
};

const OWN: [&Desc; 6] = [&API_INFO, &UP, &DURATION, &ERRORS, &LOGINS, &PERMISSION];

const COUNT: usize = {
    let (mut count, mut group) = (OWN.len(), 0);
    while group < groups::ALL.len() {
        count += groups::ALL[group].families.len();
        group += 1;
    }
    count
};

/// All of them, in the order of output.
pub static ALL: [&Desc; COUNT] = {
    let mut all = [OWN[0]; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < groups::ALL.len() {
        let families = groups::ALL[group].families;
        let mut family = 0;
        while family < families.len() {
            all[at] = &families[family].desc;
            (at, family) = (at + 1, family + 1);
        }
        group += 1;
    }
    let mut own = 0;
    while own < OWN.len() {
        all[at] = OWN[own];
        (at, own) = (at + 1, own + 1);
    }
    all
};
