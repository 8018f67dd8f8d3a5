//! The boards as files: their panels, queries and variables.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// A board.
pub struct Board {
    /// File name.
    pub name: String,
    pub json: Value,
}

/// A query of a board.
pub struct Query {
    /// File, panel and query, for messages.
    pub whence: String,
    /// As it stands there, variables included.
    pub expression: String,
    /// What names the lines of its panel, with labels in double braces.
    pub legend: String,
}

/// Where boards and rules are.
pub fn dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards"))
}

/// Every board, by file name.
pub fn all() -> Vec<Board> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Board { name: path.file_name().unwrap().to_str().unwrap().to_owned(), json }
    };
    paths.iter().map(read).collect()
}

impl Board {
    /// Panels that show something; rows do not.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row")
    }

    /// The queries of all panels.
    pub fn queries(&self) -> Vec<Query> {
        let of_panel = |panel: &Value| -> Vec<Query> {
            let query = |target: &Value| Query {
                whence: format!("{}: {} {}", self.name, text(&panel["title"]), text(&target["refId"])),
                expression: text(&target["expr"]).to_owned(),
                legend: target["legendFormat"].as_str().unwrap_or_default().to_owned(),
            };
            panel["targets"].as_array().unwrap().iter().map(query).collect()
        };
        self.panels().flat_map(of_panel).collect()
    }

    /// Variables that are asked of Prometheus: name, selector of series, label.
    pub fn variables(&self) -> Vec<(String, String, String)> {
        let variables = self.json["templating"]["list"].as_array().unwrap().iter();
        let asked = variables.filter(|variable| variable["type"] == "query");
        let taken_apart = |variable: &Value| {
            let query = text(&variable["query"]["query"]);
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let (selector, label) = inside.rsplit_once(", ").unwrap();
            (text(&variable["name"]).to_owned(), selector.to_owned(), label.to_owned())
        };
        asked.map(taken_apart).collect()
    }
}

/// A query as Grafana would send it, with `All` chosen everywhere and these lengths of time.
pub fn filled_in(expression: &str, rate_interval: &str, range: &str) -> String {
    let mut filled = expression.replace("$__rate_interval", rate_interval).replace("$__range", range);
    while let Some((before, rest)) = filled.split_once("\"$") {
        let (_, after) = rest.split_once('"').unwrap();
        filled = format!("{before}\".*\"{after}");
    }
    assert!(!filled.contains('$'), "a variable is left in {filled}");
    filled
}

/// A string of a board that must be one.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}
