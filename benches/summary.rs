//! The end of `make bench`: one table over all budgets, from the rows that the benchmarks have left in target/bench.
#![allow(missing_docs, clippy::unwrap_used, reason = "a failed assumption must stop the benchmark")]

#[path = "../tests/support/report.rs"]
mod report;

use std::fs;

/// In the order of the contract.
const BENCHMARKS: [&str; 9] =
    ["sizes", "memory", "packet_cost", "clients", "probe", "scrape", "homeplug", "freebox", "idle"];

fn main() {
    report::head(&["what", "budget", "measured", "peers", "ratio", "met"]);
    for benchmark in BENCHMARKS {
        let rows = fs::read_to_string(report::directory().join(format!("{benchmark}.tsv"))).unwrap_or_default();
        if rows.is_empty() {
            report::line(&[&format!("`{benchmark}` did not run to its end"), "", "", "", "", ""]);
        }
        rows.lines().for_each(|row| report::line(&row.split('\t').collect::<Vec<_>>()));
    }
}
