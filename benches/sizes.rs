//! What the program weighs on flash: the static builds that are in dist/ (`make cross` makes them), the one for this
//! machine, and the peers' programs as Debian packages them. Also `make sizes`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption must stop the benchmark")]

#[path = "../tests/support/report.rs"]
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use report::{Budget, Peer, Rounds, Summary, shown};

/// Builds, with the bytes they may take.
const BUILDS: [(&str, Option<f64>); 7] = [
    ("mips-unknown-linux-musl", Some(1_200_000.0)),
    ("mipsel-unknown-linux-musl", Some(1_200_000.0)),
    ("aarch64-unknown-linux-musl", Some(1_000_000.0)),
    ("x86_64-unknown-linux-musl", None),
    ("tls-mips-unknown-linux-musl", Some(2_000_000.0)),
    ("tls-mipsel-unknown-linux-musl", Some(2_000_000.0)),
    ("tls-aarch64-unknown-linux-musl", Some(2_000_000.0)),
];
/// Each does a part of the work.
const PEERS: [&str; 4] = ["homeplug-exporter", "smokeping-prober", "node-exporter", "blackbox-exporter"];

fn main() {
    let summary = Summary::new("sizes");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let peers: Vec<(String, f64)> = PEERS
        .iter()
        .map(|name| format!("prometheus-{name}"))
        .filter_map(|name| Some((name.clone(), size(Path::new("/usr/bin").join(name))?)))
        .collect();
    let smallest = peers.iter().min_by(|one, other| one.1.total_cmp(&other.1));
    println!("sizes: stripped");
    report::head(&["program", "bytes", "budget", "gap, %"]);
    for (build, budget) in BUILDS {
        let Some(bytes) = size(root.join(format!("dist/gatemeter-{build}"))) else {
            report::line(&[build, "not built", "", ""]);
            continue;
        };
        let (limit, gap) = match budget {
            Some(limit) => (shown(limit), format!("{:+.1}", (bytes / limit - 1.0) * 100.0)),
            None => Default::default(),
        };
        report::line(&[build, &shown(bytes), &limit, &gap]);
        let budget = budget.map_or(Budget::None, Budget::AtMost);
        let peer = smallest.map(|(name, bytes)| Peer::new(name, *bytes));
        let what = format!("size, stripped and static: {build}");
        summary.row(&what, budget, "bytes", &Rounds::from(bytes), peer.as_slice());
    }
    let here = PathBuf::from(env!("CARGO_BIN_EXE_gatemeter"));
    report::line(&["this machine's, glibc, dynamic", &size(here).map(shown).unwrap_or_default(), "", ""]);
    for (name, bytes) in &peers {
        report::line(&[name, &shown(*bytes), "", ""]);
    }
    println!();
}

fn size(path: PathBuf) -> Option<f64> {
    Some(fs::metadata(path).ok()?.len() as f64)
}
