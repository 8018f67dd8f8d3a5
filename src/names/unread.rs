//! Lines of a file that are in no known format: counted, and the first one remembered, so that one warning tells all.

use std::path::Path;

/// The lines that were left out of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many there are.
    pub lines: usize,
    /// Number of the first, counted from 1; 0 if there is none.
    pub first: usize,
}

impl Unread {
    /// Takes note of a line by its number, counted from 1.
    pub fn add(&mut self, line: usize) {
        if self.lines == 0 {
            self.first = line;
        }
        self.lines += 1;
    }

    /// What to tell of the file at `path`; nothing if all was understood.
    pub fn trouble(&self, path: &Path) -> Option<String> {
        let (path, first) = (path.display(), self.first);
        match self.lines {
            0 => None,
            1 => Some(format!("{path}:{first}: this line is in no known format and left out")),
            2 => Some(format!("{path}:{first}: this line and another one are in no known format and left out")),
            lines => {
                Some(format!("{path}:{first}: this line and {} others are in no known format and left out", lines - 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_named_and_the_others_are_counted() {
        let mut unread = Unread::default();
        let mut told = || {
            unread.add(unread.lines + 7);
            unread.trouble(Path::new("/tmp/f")).unwrap()
        };
        assert_eq!(told(), "/tmp/f:7: this line is in no known format and left out");
        assert_eq!(told(), "/tmp/f:7: this line and another one are in no known format and left out");
        assert_eq!(told(), "/tmp/f:7: this line and 2 others are in no known format and left out");
        assert_eq!(Unread::default().trouble(Path::new("/tmp/f")), None);
    }
}
