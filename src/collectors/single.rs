//! One process of each kind in a network namespace: two that count would count everything twice, or take the other's
//! rules away.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::error::{Error, Result};

/// Held by whoever is the one. It ends with the process, whatever happens to that.
#[derive(Debug)]
pub struct Single(#[expect(dead_code, reason = "held for its end")] UnixListener);

impl Single {
    /// Claims the place of a collector, by the name of its section. `tried` reads on from "cannot", `does` from "another
    /// gatemeter".
    ///
    /// # Errors
    /// Another process has it, or the kernel refuses the socket that stands for it.
    pub fn claim(collector: &str, tried: &str, does: &str) -> Result<Single> {
        let name = SocketAddr::from_abstract_name(format!("gatemeter/{collector}"));
        match name.and_then(|name| UnixListener::bind_addr(&name)) {
            Ok(listener) => Ok(Single(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(Error::failed(tried, format!("another gatemeter {does} in this network namespace"))
                    .remedy("stop that one first"))
            }
            Err(error) => Err(Error::io(tried, error)),
        }
    }
}
