//! The only folder where unsafe code compiles: system calls that the standard library does not offer.
//!
//! | file | system call | why |
//! |---|---|---|
//! | `tcp` | socket, setsockopt, bind, listen | a listener whose IPV6_V6ONLY and buffer sizes are set before it is bound; SO_LINGER to drop unsent bytes |

#![allow(unsafe_code)]

pub mod tcp;
