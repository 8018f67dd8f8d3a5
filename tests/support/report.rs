//! What benchmarks print: tables in markdown, and rows of the summary, which go to target/bench/NAME.tsv and which
//! `benches/summary.rs` puts together at the end of `make bench`.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by benchmarks that each use a part of it")]

use std::fs;
use std::path::PathBuf;

/// Where the rows are.
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench"))
}

/// The head of a table.
pub fn head(columns: &[&str]) {
    println!("\n| {} |\n|{}", columns.join(" | "), " --- |".repeat(columns.len()));
}

/// A line of it.
pub fn line(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}

/// A figure with three digits, or with all of them and commas from 1,000 on.
pub fn shown(value: f64) -> String {
    let size = value.abs();
    if size < 1000.0 {
        let decimals = if size >= 100.0 || value == value.trunc() { 0 } else { if size >= 10.0 { 1 } else { 2 } };
        return format!("{value:.decimals$}");
    }
    let digits = format!("{size:.0}");
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The figures of all rounds of one thing.
#[derive(Debug, Clone, Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    /// The median.
    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// The lowest and the highest.
    pub fn ends(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }

    /// Median, lowest and highest; the median alone if there was one round.
    pub fn text(&self) -> String {
        let (lowest, highest) = self.ends();
        let median = shown(self.median());
        if self.0.len() == 1 { median } else { format!("{median} ({} to {})", shown(lowest), shown(highest)) }
    }
}

impl FromIterator<f64> for Rounds {
    fn from_iter<T: IntoIterator<Item = f64>>(rounds: T) -> Self {
        let mut rounds: Vec<f64> = rounds.into_iter().collect();
        rounds.sort_by(f64::total_cmp);
        Rounds(rounds)
    }
}

impl From<f64> for Rounds {
    fn from(figure: f64) -> Self {
        Rounds(vec![figure])
    }
}

/// A budget of the contract.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
    /// Shown beside the peer's and judged by nobody.
    None,
}

/// Somebody else's figure for the same thing, in the same unit.
#[derive(Debug, Clone)]
pub struct Peer(String, f64);

impl Peer {
    /// Measured in this run.
    pub fn new(name: &str, figure: f64) -> Self {
        Peer(name.to_owned(), figure)
    }

    /// Measured elsewhere, of a program that is not at hand.
    pub fn quoted(name: &str, figure: f64) -> Self {
        Peer(format!("{name} (quoted)"), figure)
    }
}

/// The rows of one benchmark.
pub struct Summary(PathBuf);

impl Summary {
    /// None yet.
    pub fn new(benchmark: &str) -> Self {
        fs::create_dir_all(directory()).unwrap();
        let file = directory().join(format!("{benchmark}.tsv"));
        fs::write(&file, "").unwrap();
        Summary(file)
    }

    /// Adds what was measured, in a unit, with its budget and the peers' figures.
    pub fn row(&self, what: &str, budget: Budget, unit: &str, measured: &Rounds, peers: &[Peer]) {
        let (limit, met) = judge(budget, measured.median());
        let with_unit =
            |text: String| if text.is_empty() { text } else { format!("{text} {unit}").trim_end().to_owned() };
        let limit = with_unit(limit);
        let join = |cells: Vec<String>| cells.join("; ");
        let figures = join(peers.iter().map(|Peer(name, figure)| format!("{name} {}", shown(*figure))).collect());
        let ratio = |Peer(_, figure): &Peer| shown(figure / measured.median());
        let ratios = join(peers.iter().map(ratio).collect());
        let cells = [what, &limit, &with_unit(measured.text()), &figures, &ratios, &met].join("\t");
        let before = fs::read_to_string(&self.0).unwrap();
        fs::write(&self.0, format!("{before}{cells}\n")).unwrap();
    }
}

/// The budget in words, and whether it is met.
fn judge(budget: Budget, measured: f64) -> (String, String) {
    let (sign, limit, over) = match budget {
        Budget::AtMost(limit) => ("at most", limit, measured / limit - 1.0),
        Budget::AtLeast(limit) => ("at least", limit, 1.0 - measured / limit),
        Budget::None => return Default::default(),
    };
    let met = if over <= 0.0 { "yes".to_owned() } else { format!("missed by {} %", shown(over * 100.0)) };
    (format!("{sign} {}", shown(limit)), met)
}
