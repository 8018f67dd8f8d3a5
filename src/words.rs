//! Words of users and for users: what a misspelt word was meant to be, text that stays on its line, and text in quotes.

use std::fmt::Write as _;

/// ", did you mean 'x'?" for the nearest known word, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // One letter in three: of a word of two letters nothing could be told.
    let limit = (word.chars().count() / 3).min(3);
    known
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| format!(", did you mean '{candidate}'?"))
        .unwrap_or_default()
}

/// `text` with control characters escaped: an error that repeats what was typed stays one line, and a terminal or a
/// log does not obey it.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => out.extend(character.escape_default()),
            false => out.push(character),
        }
    }
    out
}

/// A JSON string, which logfmt readers take as well (RFC 8259 section 7).
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(text, &mut out);
    out
}

/// Appends a JSON string. Wherever it is put, it can neither begin a tag of HTML nor end a line of a script.
pub fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '<' | '\u{2028}' | '\u{2029}' => push_escape(character, out),
            control if control.is_control() => push_escape(control, out),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn push_escape(character: char, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

/// Text inside an HTML element or attribute.
pub struct Html<'a>(pub &'a str);

impl std::fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Levenshtein distance: how many letters differ.
fn edits(a: &str, b: &str) -> usize {
    // A word from a file may be megabytes long; one that long is near to nothing we know.
    if a.len() > 64 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_far_from_every_name_gets_no_suggestion() {
        assert_eq!(nearest("subnet", ["subnet4", "count"].into_iter()), ", did you mean 'subnet4'?");
        assert_eq!(nearest("-x", ["-c"].into_iter()), "");
        assert_eq!(nearest("colour", ["subnet4", "count"].into_iter()), "");
        assert_eq!(nearest(&"x".repeat(1 << 20), ["subnet4"].into_iter()), "");
    }

    #[test]
    fn text_with_line_ends_and_escapes_stays_one_harmless_line() {
        assert_eq!(one_line("a\nb\x1b[31m\té"), "a\\nb\\u{1b}[31m\\té");
    }
}
