//! The addresses of a host that somebody named in the configuration: a literal address, /etc/hosts, then DNS.
//!
//! The C library's resolver would hold up the one thread of the daemon; this one waits for sockets like everything else.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use async_io::Timer;
use smol::future::FutureExt as _;

use super::dns::{self, Addresses, Family};
use super::resolv_conf::ResolvConf;
use super::resolver::{ifindex, open, random};
use crate::error::{Error, Result};
use crate::files;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// Most of a file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Most datagrams that are looked at for one question: others may have sent some.
const MAX_DATAGRAMS: usize = 8;

/// The addresses of a host, IPv4 first, at least one.
///
/// # Errors
/// It has none, or no server tells.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(addr) = bare.parse() {
        return Ok(vec![addr]);
    }
    let read = |path: &str| match files::read_lines(Path::new(path), MAX_FILE) {
        Ok(Some(lines)) => String::from_utf8_lossy(&lines.bytes).into_owned(),
        _ => String::new(),
    };
    let found = in_hosts(&read("/etc/hosts"), host);
    if !found.is_empty() {
        return Ok(found);
    }
    let conf = ResolvConf::parse(&read("/etc/resolv.conf"), ifindex);
    // A name without a dot is one of the own network.
    let local = conf.domains.iter().filter(|_| !host.contains('.')).map(|domain| format!("{host}.{domain}"));
    let names: Vec<String> = local.chain([host.to_owned()]).collect();
    let tried = || format!("find the address of {host}");
    let mut silent = true;
    for name in &names {
        let mut found = Vec::new();
        for family in [Family::V4, Family::V6] {
            match ask(&conf, name, family).await {
                Some(Addresses::Found(addresses)) => found.extend(addresses),
                Some(_) => silent = false,
                None => {}
            }
            // The second question is for hosts without an IPv4 address.
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    let servers: Vec<_> = conf.servers.iter().map(|server| server.ip().to_string()).collect();
    let servers = servers.join(", ");
    Err(match silent {
        true => Error::failed(tried(), format!("no answer from the name server {servers}"))
            .remedy("give its address instead of its name, or see /etc/resolv.conf"),
        false => Error::failed(tried(), format!("the name server {servers} knows none"))
            .remedy("give its address instead of its name"),
    })
}

/// Addresses in a file as hosts(5) describes it.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(addr) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) {
            found.push(addr);
        }
    }
    if found.is_empty() && host.eq_ignore_ascii_case("localhost") {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// What the first server says that says anything.
async fn ask(conf: &ResolvConf, host: &str, family: Family) -> Option<Addresses> {
    for server in conf.servers.iter().cycle().take(conf.servers.len() * ROUNDS) {
        let id = random();
        let query = dns::forward_query(id, host, family)?;
        let Ok(socket) = open(*server, &query) else { continue };
        let answer = async {
            let mut buf = [0; dns::MAX_ANSWER];
            for _ in 0..MAX_DATAGRAMS {
                let len = socket.recv(&mut buf).await?;
                match dns::addresses(buf.get(..len).unwrap_or(&[]), id, host, family) {
                    Ok(Addresses::Unasked) | Err(_) => {}
                    Ok(said) => return io::Result::Ok(said),
                }
            }
            Err(io::ErrorKind::InvalidData.into())
        };
        let timeout = async {
            Timer::after(PATIENCE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match answer.or(timeout).await {
            Ok(Addresses::Failed(_)) | Err(_) => {}
            Ok(said) => return Some(said),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_comes_first_and_ipv4_before_ipv6() {
        let text = "127.0.0.1 localhost\nfd00::1 box box.lan # the box\n192.0.2.1\tBOX\n#192.0.2.9 box\nwhat box\n";
        let want: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(in_hosts(text, "box"), want);
        assert!(in_hosts(text, "other").is_empty());
        assert_eq!(in_hosts("", "localhost"), [IpAddr::from([127, 0, 0, 1])]);
    }

    #[test]
    fn an_address_is_its_own() {
        let of = |host| smol::future::block_on(addresses(host)).unwrap();
        assert_eq!(of("192.0.2.1"), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(of("[fd00::1]"), ["fd00::1".parse::<IpAddr>().unwrap()]);
    }

    /// A server that answers questions for IPv4 addresses with 192.0.2.1, and others with nothing found.
    fn server() -> std::net::SocketAddr {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buf = [0; 512];
            while let Ok((len, peer)) = socket.recv_from(&mut buf) {
                let mut answer = buf[..len].to_vec();
                answer[2] = 0x81;
                // A stranger's datagram, as far as its number tells.
                let mut other = answer.clone();
                other[0] ^= 1;
                socket.send_to(&other, peer).unwrap();
                if answer[len - 3] == 1 {
                    answer[7] = 1;
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
                }
                socket.send_to(&answer, peer).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_server_that_does_not_answer_gives_way_to_the_next() {
        let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = vec![deaf.local_addr().unwrap(), server()];
        let conf = ResolvConf { servers, domains: Vec::new() };
        let said = |family| smol::future::block_on(ask(&conf, "box.lan", family));
        assert_eq!(said(Family::V4), Some(Addresses::Found(vec!["192.0.2.1".parse().unwrap()])));
        assert_eq!(said(Family::V6), Some(Addresses::Nobody));
        let conf = ResolvConf { servers: Vec::new(), domains: Vec::new() };
        assert_eq!(smol::future::block_on(ask(&conf, "box.lan", Family::V4)), None);
    }
}
