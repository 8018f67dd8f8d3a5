//! The known faults
