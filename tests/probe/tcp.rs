//! Ports, as SYNs find them.
