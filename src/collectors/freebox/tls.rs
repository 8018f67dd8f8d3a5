//! TLS to the box, which only the feature `tls` has; without it everything here says so.

use std::io;
use std::net::TcpStream;
use std::path::Path;

use async_io::Async;

use crate::error::{Error, Result};

/// Whether this program has TLS.
pub const IS_THERE: bool = false;

/// Whose certificates are taken.
#[derive(Debug, Default, Clone)]
pub struct Trust;

impl Trust {
    /// Nothing is ever checked.
    pub fn new(_: Option<&Path>, _: bool) -> Result<Trust> {
        Ok(Trust)
    }
}

/// There is no such connection.
pub enum Stream {}

impl Stream {
    /// Never opens one.
    ///
    /// # Errors
    /// Always.
    pub async fn open(_: Async<TcpStream>, _: &str, _: &Trust) -> Result<Stream> {
        Err(missing())
    }

    /// Never called.
    pub async fn write_all(&mut self, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// Never called.
    pub async fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

/// Why HTTPS cannot be had.
pub fn missing() -> Error {
    Error::failed("speak HTTPS", "this gatemeter was built without TLS")
        .remedy("build it with --features tls, or set freebox.tls to off")
}
