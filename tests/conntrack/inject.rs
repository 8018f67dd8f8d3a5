//! Flows put into the kernel's table by netlink, as `conntrack -I` does, thousands in a second.

use std::net::{IpAddr, Ipv4Addr};

use gatemeter::netlink::build::Datagram;
use gatemeter::netlink::transport::Requests;

/// `IPCTNL_MSG_CT_NEW` and `IPCTNL_MSG_CT_DELETE` of conntrack.
const NEW: u16 = 0x0100;
const DELETE: u16 = 0x0102;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_STATUS`, `CTA_PROTOINFO`, `CTA_TIMEOUT`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const TIMEOUT: u16 = 7;
/// `IPS_SEEN_REPLY`, `IPS_ASSURED` and `IPS_CONFIRMED`.
const ANSWERED: u32 = 0xe;
const UNANSWERED: u32 = 0x8;
/// How many messages are sent at once.
const BATCH: u32 = 64;

/// One flow: a LAN host's source port to port 443 of a server on the internet.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    pub host: Ipv4Addr,
    pub server: Ipv4Addr,
    pub port: u16,
    /// TCP with this state, or else UDP.
    pub tcp: Option<u8>,
    pub answered: bool,
}

impl Flow {
    /// The `n`th of a sequence over `hosts` hosts 10.77.x.y: every fourth is UDP.
    pub fn nth(n: u32, hosts: u32) -> Flow {
        let host = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 2)) + n % hosts);
        let server = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 1)) + n / 50_000);
        let port = u16::try_from(n / hosts % 50_000 + 1024).unwrap();
        Flow { host, server, port, tcp: (!n.is_multiple_of(4)).then_some(3), answered: !n.is_multiple_of(8) }
    }
}

/// A socket that puts flows in and takes them out.
pub struct Injector(Requests);

impl Injector {
    /// Opened in the namespace of the calling thread.
    pub fn open() -> Self {
        Injector(Requests::open(libc::NETLINK_NETFILTER).unwrap())
    }

    /// Puts flows in.
    pub fn add(&mut self, flows: impl IntoIterator<Item = Flow>) {
        self.each(flows, |datagram, flow| {
            let flags = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
            head(datagram, NEW, flags, flow);
            put(datagram, flow);
        });
    }

    /// Changes flows that are there to what they are now.
    pub fn update(&mut self, flows: impl IntoIterator<Item = Flow>) {
        self.each(flows, |datagram, flow| {
            head(datagram, NEW, libc::NLM_F_REQUEST as u16, flow);
            put(datagram, flow);
        });
    }

    /// Takes flows out.
    pub fn remove(&mut self, flows: impl IntoIterator<Item = Flow>) {
        self.each(flows, |datagram, flow| head(datagram, DELETE, libc::NLM_F_REQUEST as u16, flow));
    }

    fn each(&mut self, flows: impl IntoIterator<Item = Flow>, write: impl Fn(&mut Datagram, Flow)) {
        let (mut datagram, mut count) = (Datagram::new(), 0);
        let mut send = |datagram: Datagram| {
            let refusals = self.0.change(&datagram.finish()).unwrap();
            assert!(refusals.is_empty(), "{}", refusals[0].error());
        };
        for flow in flows {
            write(&mut datagram, flow);
            count += 1;
            if u32::is_multiple_of(count, BATCH) {
                send(std::mem::take(&mut datagram));
            }
        }
        if !datagram.is_empty() {
            send(datagram);
        }
    }
}

fn head(datagram: &mut Datagram, kind: u16, flags: u16, flow: Flow) {
    datagram.message(kind, flags, 1, &[libc::AF_INET as u8, 0, 0, 0]);
    tuple(datagram, ORIGINAL, flow.tcp.is_some(), (flow.host, flow.port), (flow.server, 443));
    tuple(datagram, REPLY, flow.tcp.is_some(), (flow.server, 443), (flow.host, flow.port));
}

fn put(datagram: &mut Datagram, flow: Flow) {
    datagram.be32(STATUS, if flow.answered { ANSWERED } else { UNANSWERED }).be32(TIMEOUT, 600);
    if let Some(state) = flow.tcp {
        datagram.nested(PROTOINFO, |info| {
            info.nested(1, |tcp| {
                tcp.attribute(1, &[state]);
            });
        });
    }
}

fn tuple(datagram: &mut Datagram, kind: u16, tcp: bool, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
    datagram.nested(kind, |tuple| {
        tuple.nested(1, |ip| {
            ip.attribute(1, &from.0.octets()).attribute(2, &to.0.octets());
        });
        tuple.nested(2, |proto| {
            let number = if tcp { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP };
            proto.attribute(1, &[number as u8]);
            proto.attribute(2, &from.1.to_be_bytes()).attribute(3, &to.1.to_be_bytes());
        });
    });
}

/// Whether an address is one of the hosts that [`Flow::nth`] uses.
pub fn is_client(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V4(addr) if addr.octets()[..2] == [10, 77])
}
