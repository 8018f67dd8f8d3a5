//! The addresses of a host, waited for: for those who need them once in a while.

use std::future::poll_fn;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use async_io::Timer;
use smol::future::FutureExt as _;

use super::host_name::HostName;
use super::lookup::{Families, Lookup, Sources};
use crate::error::{Error, Result};

/// Longest wait for name servers; each is given up earlier.
const PATIENCE: Duration = Duration::from_secs(9);

/// The addresses of a name, at least one.
///
/// # Errors
/// It has none, or no server tells.
pub async fn addresses(lookup: &mut Lookup, name: &HostName, families: Families) -> Result<Vec<IpAddr>> {
    all(lookup, &[(name, families)]).await;
    let tried = || format!("find the address of {name}");
    match lookup.get(name, families) {
        Some(known) if !known.addrs.is_empty() => Ok(known.addrs.clone()),
        Some(known) => {
            let why = known.trouble.as_ref().map(ToString::to_string).unwrap_or_default();
            Err(Error::failed(tried(), why))
        }
        None => Err(Error::failed(tried(), "no DNS server answers")),
    }
}

/// Has names looked up together until something is known of each, or for as long as is reasonable.
pub async fn all(lookup: &mut Lookup, names: &[(&HostName, Families)]) {
    for (name, families) in names {
        lookup.want(name, *families, Instant::now());
    }
    let answered = async {
        while names.iter().any(|(name, families)| lookup.get(name, *families).is_none()) {
            poll_fn(|cx| lookup.poll_work(cx, Instant::now())).await;
        }
    };
    let too_late = async { _ = Timer::after(PATIENCE).await };
    answered.or(too_late).await;
}

/// The addresses of a host as it is written, IPv4 first, at least one: an address, with or without brackets, or a name
/// that the system's files and servers know.
///
/// # Errors
/// It is neither, it has no address, or no server tells.
pub async fn of_host(host: &str) -> Result<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse() {
        return Ok(vec![ip]);
    }
    let name = HostName::parse(host)
        .map_err(|why| Error::failed(format!("find the address of {host}"), format!("it {why}")))?;
    addresses(&mut Lookup::new(Sources::default()), &name, Families::Both).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_and_what_is_no_name_is_refused() {
        let found = |host| smol::block_on(of_host(host)).map_err(|error| error.to_string());
        assert_eq!(found("192.0.2.1"), Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(found("[fd00::1]"), Ok(vec!["fd00::1".parse().unwrap()]));
        assert!(found("localhost").unwrap().contains(&"127.0.0.1".parse().unwrap()));
        assert!(found("a b").unwrap_err().starts_with("cannot find the address of a b: it is not a host name"));
    }
}
