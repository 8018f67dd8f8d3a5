//! As much of PromQL as it takes to find the names in a query: metrics with their matchers, and labels.

/// The names in a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Metrics, each with the labels it is chosen by.
    pub metrics: Vec<(String, Vec<String>)>,
    /// Labels in `by`, `without`, `on`, `ignoring` and `group_left`.
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// What stands in `query`. Prometheus itself says whether it is one.
pub fn names(query: &str) -> Names {
    let tokens = tokens(query);
    let mut names = Names::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        at += 1;
        let Token::Word(word) = token else { continue };
        if LISTS.contains(&word.as_str()) {
            let list = tokens[at..].iter().take_while(|token| **token != Token::Mark(')'));
            let labels: Vec<String> = list.filter_map(Token::word).collect();
            at += 2 * labels.len();
            names.labels.extend(labels);
        } else if OPERATORS.contains(&word.as_str()) || word.starts_with(|c: char| c.is_ascii_digit()) {
            // The number behind `offset` is a word of its own.
        } else if next == Some(&Token::Mark('('))
            || next.and_then(Token::word).is_some_and(|next| LISTS[..2].contains(&&*next))
        {
            // A function, or an aggregation with its labels in front.
        } else {
            let mut labels = Vec::new();
            if next == Some(&Token::Mark('{')) {
                let inside: Vec<_> = tokens[at..].iter().take_while(|token| **token != Token::Mark('}')).collect();
                labels.extend(inside.iter().filter_map(|token| token.word()));
                at += inside.len();
            }
            names.metrics.push((word.clone(), labels));
        }
    }
    names
}

impl Token {
    fn word(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.clone()),
            _ => None,
        }
    }
}

/// Words, strings and marks; lengths of time in brackets hold no names and are left out.
fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        let length = match first {
            '[' => rest.find(']').unwrap() + 1,
            '"' => {
                let is_end = |(at, _): &(usize, char)| !rest[..at + 1].ends_with('\\');
                let end = rest[1..].char_indices().filter(|(_, c)| *c == '"').find(is_end).unwrap().0;
                tokens.push(Token::Text(rest[1..=end].to_owned()));
                end + 2
            }
            c if is_word(c) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            mark => {
                tokens.push(Token::Mark(mark));
                mark.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn names_are_told_from_functions_labels_numbers_and_strings() {
    let query = "8 * sum by (hostname, mac) (rate(down{instance=~\"a, up{b=\\\"c\", ip!=\"x\"}[5m:1m] offset 1h)) > 0.5 \
                 and on (ip) job:up:rate5m unless group without (le) (left_total) / ignoring (a) group_left () right";
    let found = names(query);
    let metric =
        |name: &str, labels: &[&str]| (name.to_owned(), labels.iter().map(|&label| label.to_owned()).collect());
    assert_eq!(found.metrics[0].0, "down");
    let rest: Vec<(String, Vec<String>)> =
        vec![metric("job:up:rate5m", &[]), metric("left_total", &[]), metric("right", &[])];
    assert_eq!(found.metrics[found.metrics.len() - 3..], rest);
    assert_eq!(found.labels, ["hostname", "mac", "ip", "le", "a"]);
    assert_eq!(names("a{b=\"c\", d=~\"e\"} or vector(0)").metrics, [metric("a", &["b", "d"])]);
}
