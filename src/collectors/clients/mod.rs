//! Every client of the LAN: its bytes, rates, connections, presence and names, read over netlink.

pub mod accounting;
pub mod flows;
pub mod presence;
pub mod roster;
pub mod settings;
pub mod subnets;
