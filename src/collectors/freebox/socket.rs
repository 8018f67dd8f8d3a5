//! One connection to the box: opened, written to and read from under a deadline, without ever holding up the daemon.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use async_io::{Async, Timer};
use smol::future::FutureExt as _;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::http::{Answer, Reader};
use super::tls::{self, Trust};
use crate::error::{Error, Result};
use crate::names::find;

/// Most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;
/// Bytes read at a time.
const CHUNK: usize = 4096;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name that the certificate must have; without it there is no TLS.
    pub name: Option<String>,
}

impl Target {
    /// As it stands in the head of a request and in messages.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(Async<TcpStream>),
    /// With TLS.
    Tls(Box<tls::Stream>),
}

/// Opens a connection to the first address that takes one.
///
/// # Errors
/// No address is known or takes one, or it does not prove to be the box.
pub async fn connect(target: &Target, trust: &Trust) -> Result<Stream> {
    let addresses = find::of_host(&target.host).await?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addresses.into_iter().take(MAX_ADDRESSES) {
        match Async::<TcpStream>::connect(SocketAddr::new(addr, target.port)).await {
            Ok(stream) => {
                // Requests are whole when they are written.
                let _ = stream.get_ref().set_nodelay(true);
                return Ok(match &target.name {
                    None => Stream::Plain(stream),
                    Some(name) => Stream::Tls(Box::new(tls::Stream::open(stream, name, trust).await?)),
                });
            }
            Err(error) => last = error,
        }
    }
    let remedy = match target.name {
        None => "is the box on, and is freebox.endpoint its address?",
        Some(_) => "is the box on, and does it speak HTTPS? freebox.tls=off speaks HTTP",
    };
    Err(Error::io(format!("connect to {}", target.authority()), last).remedy(remedy))
}

impl Stream {
    /// Sends a request and reads the answer. The flag says whether nothing at all came back, as over a connection that
    /// the other end has given up.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer, (bool, Error)> {
        let mut reader = Reader::default();
        let outcome = self.transfer(request, &mut reader).await;
        let untouched = reader.is_untouched();
        // The caller knows what was tried.
        match outcome {
            Ok(Ok(())) => reader.finish().map_err(|error| (untouched, Error::codec("", error))),
            Ok(Err(error)) => Err((false, Error::codec("", error))),
            Err(error) => Err((untouched, Error::io("", error))),
        }
    }

    async fn transfer(
        &mut self,
        request: &[u8],
        reader: &mut Reader,
    ) -> io::Result<Result<(), crate::error::Malformed>> {
        match self {
            Stream::Plain(stream) => stream.write_all(request).await?,
            Stream::Tls(stream) => stream.write_all(request).await?,
        }
        let mut buf = [0; CHUNK];
        loop {
            let len = match self {
                Stream::Plain(stream) => stream.read(&mut buf).await?,
                Stream::Tls(stream) => stream.read(&mut buf).await?,
            };
            match reader.push(buf.get(..len).unwrap_or(&[])) {
                _ if len == 0 => return Ok(Ok(())),
                Ok(true) => return Ok(Ok(())),
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

/// Work that ends at a deadline at the latest; nothing if it did not get done.
pub async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    let work = async { Some(work.await) };
    let timer = async {
        Timer::at(deadline).await;
        None
    };
    work.or(timer).await
}
