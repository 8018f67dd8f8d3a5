//! Connections of LAN clients, as conntrack knows them.
