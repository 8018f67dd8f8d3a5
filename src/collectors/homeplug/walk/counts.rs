//! What is counted in a walk: questions, answers, and what was not used.

/// Why something that came is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is cut off, over-counted, or names an impossible station. What can be read of it is used.
    Malformed,
    /// It answers nothing that was asked in this walk, or comes too late.
    Unasked,
    /// Another answer to the same question.
    Duplicate,
    /// It has another maker's identifier.
    Oui,
    /// It is of another version than asked for.
    Version,
    /// It comes from an address that no adapter can have.
    Source,
    /// An adapter does not know the message it was sent.
    Refused,
    /// There are more adapters, networks or stations than are kept.
    Limit,
}

impl Reason {
    /// Each reason with its name.
    pub const ALL: [(Reason, &'static str); 8] = [
        (Reason::Malformed, "malformed"),
        (Reason::Unasked, "unasked"),
        (Reason::Duplicate, "duplicate"),
        (Reason::Oui, "oui"),
        (Reason::Version, "version"),
        (Reason::Source, "source"),
        (Reason::Refused, "refused"),
        (Reason::Limit, "limit"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Reason::ALL.iter().find(|(reason, _)| *reason == self).map_or("", |(_, name)| name)
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Questions asked.
    pub requests: u64,
    /// Answers used.
    pub answers: u64,
    /// What came and was not used, in the order of [`Reason::ALL`].
    pub rejected: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Counts something that is not used.
    pub(super) fn reject(&mut self, reason: Reason) {
        if let Some(count) = self.rejected.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
