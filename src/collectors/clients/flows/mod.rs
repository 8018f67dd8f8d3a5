//! Connections of LAN clients, as conntrack knows them.

/// How many connections a client has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered and not closing.
    pub active: u32,
    /// Not answered so far.
    pub unreplied: u32,
}
