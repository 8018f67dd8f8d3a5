//! The rules as a file: a reader for the YAML that is in it, and the same rules in another time.

use std::fs;

use crate::board;

/// One recording or alerting rule.
#[derive(Debug, Default)]
pub struct Rule {
    /// What is recorded, or the name of the alert.
    pub name: String,
    pub is_alert: bool,
    pub expression: String,
    /// Labels it adds, with their values.
    pub labels: Vec<(String, String)>,
    /// Everything else that is written there: annotations.
    pub rest: String,
}

/// The file with all rules.
pub fn path() -> std::path::PathBuf {
    board::dir().join("gatemeter.rules.yml")
}

/// Every rule, in the order of the file.
pub fn all() -> Vec<Rule> {
    let text = fs::read_to_string(path()).unwrap();
    let mut rules: Vec<Rule> = Vec::new();
    let mut part = "";
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        for (kind, is_alert) in [("- record: ", false), ("- alert: ", true)] {
            if let Some(name) = line.strip_prefix(kind) {
                rules.push(Rule { name: name.to_owned(), is_alert, ..Rule::default() });
                part = "";
            }
        }
        let Some(rule) = rules.last_mut() else { continue };
        if indent == 8 {
            part = line.split(':').next().unwrap();
            if let Some(expression) = line.strip_prefix("expr: ").filter(|text| *text != "|") {
                rule.expression = expression.to_owned();
            }
        } else if indent > 8 {
            match part {
                "expr" => rule.expression += &format!(" {line}"),
                "labels" => {
                    rule.labels.extend(line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())))
                }
                _ => rule.rest += &format!(" {line}"),
            }
        }
    }
    rules
}

/// The rules with every length of time a sixtieth of what it is, so that days pass in minutes. Scraped once a second, the
/// same expressions see as many samples as they do at home.
pub fn sixty_times_as_fast() -> String {
    let text = fs::read_to_string(path()).unwrap();
    let mut fast = String::new();
    for line in text.lines() {
        let is_text = ["#", "- record:", "- alert:", "summary:", "description:"]
            .iter()
            .any(|start| line.trim_start().starts_with(start));
        let mut rest = line;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()).filter(|_| !is_text) {
            let inside = rest[..at].chars().next_back().is_some_and(|c| is_part_of_word(c) || c == '.');
            let digits = rest[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at);
            let unit = rest[at + digits..].chars().next();
            let ends = !rest[at + digits..].chars().nth(1).is_some_and(is_part_of_word);
            fast.push_str(&rest[..at]);
            let number = &rest[at..at + digits];
            let seconds = match unit {
                Some('m') if !inside && ends => Some(1),
                Some('h') if !inside && ends => Some(60),
                Some('d') if !inside && ends => Some(24 * 60),
                _ => None,
            };
            match seconds {
                Some(seconds) => {
                    fast.push_str(&format!("{}s", seconds * number.parse::<u32>().unwrap()));
                    rest = &rest[at + digits + 1..];
                }
                None => {
                    fast.push_str(number);
                    rest = &rest[at + digits..];
                }
            }
        }
        fast.push_str(rest);
        fast.push('\n');
    }
    fast
}

fn is_part_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn the_file_is_read_whole_and_only_lengths_of_time_are_shorter_in_the_fast_one() {
    let text = fs::read_to_string(path()).unwrap();
    let rules = all();
    assert_eq!(rules.len(), text.matches("expr:").count());
    assert!(rules.iter().all(|rule| !rule.expression.is_empty()), "{rules:#?}");
    let fast = sixty_times_as_fast();
    assert_eq!(fast.lines().count(), text.lines().count());
    for (slow, short) in [
        ("rate(icmp_probe_packets_sent_total[5m])", "rate(icmp_probe_packets_sent_total[5s])"),
        ("(client_info)[7d:30m] offset 1h", "(client_info)[10080s:30s] offset 60s"),
        ("path:gatemeter_probe_loss:ratio5m == 1", "path:gatemeter_probe_loss:ratio5m == 1"),
        ("for: 10m", "for: 10s"),
        ("quantile_over_time(0.5, path", "quantile_over_time(0.5, path"),
    ] {
        assert!(text.contains(slow) && fast.contains(short), "{slow} is not {short} in\n{fast}");
    }
}
