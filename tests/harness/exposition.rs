//! Reads the Prometheus text exposition format, strictly: what a scrape would refuse is an error here too.

use std::collections::BTreeMap;

/// Values by series, as written on the page: `name` or `name{label="value",...}`.
pub type Samples = BTreeMap<String, f64>;

/// Every sample of a page; an error names the first line that is not a sample, a comment or empty, or that repeats
/// a series.
pub fn parse(page: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = split(line).ok_or_else(|| format!("not a sample: {line}"))?;
        let value = value.parse().map_err(|_| format!("not a number: {line}"))?;
        if samples.insert(series.to_owned(), value).is_some() {
            return Err(format!("series twice: {series}"));
        }
    }
    Ok(samples)
}

/// One label of a series as [`parse`] returns it, escapes undone.
pub fn label(series: &str, name: &str) -> Option<String> {
    let mut rest = series.split_once('{')?.1;
    loop {
        let (key, after) = rest.split_once("=\"")?;
        let end = quote_end(after)?;
        if key == name {
            return Some(unescaped(&after[..end]));
        }
        rest = after[end + 1..].trim_start_matches(',');
    }
}

/// The text that was escaped, one escape after the other: a backslash that is escaped itself begins none.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next().map_or('\\', |escaped| if escaped == 'n' { '\n' } else { escaped }),
            other => other,
        });
    }
    plain
}

/// Series and value of a line; braces and spaces inside quotes belong to the label.
fn split(line: &str) -> Option<(&str, &str)> {
    let name_end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    if name_end == 0 || line.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut end = name_end;
    if line[end..].starts_with('{') {
        end += 1;
        while !line[end..].starts_with('}') {
            end += line[end..].find("=\"")? + 2;
            end += quote_end(&line[end..])? + 1;
            end += usize::from(line[end..].starts_with(','));
        }
        end += 1;
    }
    let mut fields = line[end..].strip_prefix(' ')?.split(' ');
    let value = fields.next()?;
    fields.next().is_none().then_some((&line[..end], value))
}

/// Where the quote that closes `text` stands, escaped ones aside.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}
