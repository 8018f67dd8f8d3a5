//! HTTP: pages for scrapers and people, on one thread and in bounded memory.
//!
//! Requests enter a [`Handler`], a [`Reply`] leaves. tiny_http's types read and print the protocol; its server is
//! not used, because it starts a thread for each connection, reads heads without limit or deadline, and stops
//! accepting for good at the first error. Here each connection is one task of an executor that lives inside
//! [`Server::serve`]: no thread, no timer without an open connection, and nothing that a client does takes more than
//! [`Limits`] allows or holds up another client.
//!
//! - `head`: bytes to a request, or to the status it is refused with. Pure.
//! - `negotiate`: Accept and Accept-Encoding. Pure.
//! - `origin`: whether a browser was sent by a stranger's page. Pure.
//! - `gzip`: a page to its compressed form. Pure.
//! - `reply`: a reply to bytes, gzip made once for each page.
//! - `table`: who is connected and who must go when there is no room. Pure.
//! - `connection`: reading, answering, writing and closing one connection.

mod connection;
mod gzip;
mod head;
mod negotiate;
mod origin;
mod reply;
mod table;

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::future::{self, FutureExt as _, yield_now};
use smol::lock::Mutex;
use smol::{Async, LocalExecutor, Task, Timer};
use tiny_http::HTTPVersion;

use crate::error::{Error, Result};
use crate::net::Cidr;
use crate::sys::tcp::{self, ListenOptions};

pub use head::{Head, MAX_HEAD, MAX_HEADERS, MAX_TARGET, Query, Reject, head_end, parse_head};
pub use negotiate::{Exposition, accepts_gzip};
pub use reply::{Body, Reply};
pub use tiny_http::Method;

use connection::Slot;
use reply::{Encoded, Wish};
use table::Table;

/// What the kernel holds back of a client's bytes, for each connection: a head and some pipelined ones.
const RECEIVE_BUFFER: u32 = 16 << 10;

/// What the kernel holds of a reply, for each connection. Fixed, because autotuning would let 64 slow readers pin
/// megabytes each on a router that has 64 in all.
const SEND_BUFFER: u32 = 64 << 10;

/// Finished handshakes that may wait: enough for a burst while a page is encoded. One more is dropped by the kernel,
/// and its client tries again after a second.
const BACKLOG: u16 = 256;

/// How many clients that are not allowed may at once be read their 403; more are closed without a word.
const MAX_REFUSED: usize = 4;

/// The longest pause after an error of accept that no closed connection can cure.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Errors of accept further apart than this are told in the log one by one.
const QUIET: Duration = Duration::from_secs(60);

/// How every reply of ours begins to name who it is from.
const OURS: &[u8] = b"Server: gatemeter/";

/// How long a server is waited for that listens where we would.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where to listen, for whom, and how much clients may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address and port. `[::]` takes IPv4, too, and falls back to `0.0.0.0` where the kernel has no IPv6.
    pub listen: SocketAddr,
    /// Who may connect; empty means everybody.
    pub allow: Vec<Cidr>,
    /// Public names that are ours: browsers are served under them, and under addresses and private names.
    pub hosts: Vec<String>,
    /// The bounds.
    pub limits: Limits,
}

/// What clients may take at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. One more closes the one that can best be done without.
    pub connections: usize,
    /// From the first byte of a request head to its last; then 408.
    pub head_time: Duration,
    /// Without a byte of a request; then the connection is closed. Longer than a minute, the usual scrape interval,
    /// so that a scraper does not find its connection closed just as it sends.
    pub idle_time: Duration,
    /// For the handler; then 503.
    pub handle_time: Duration,
    /// For a whole reply to be taken; then the connection is reset.
    pub write_time: Duration,
    /// Of all replies on their way together, each as it is sent, so that slow readers of large pages do not take a small
    /// router's memory. One that is larger may be on its way alone.
    pub bytes_under_way: usize,
    /// After this long a reply on its way no longer protects its connection from making room for another.
    pub slow_write: Duration,
    /// How long a client that still sends may take to read why it is refused.
    pub linger_time: Duration,
    /// How many bytes it may send in that time.
    pub linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 64,
            head_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(75),
            handle_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            bytes_under_way: 4 << 20,
            slow_write: Duration::from_secs(2),
            linger_time: Duration::from_secs(2),
            linger_bytes: 1 << 20,
        }
    }
}

/// One request, whole and well-formed.
#[derive(Debug, Clone)]
pub struct Request {
    /// What was asked.
    pub head: Head,
    /// Who asks; an IPv4 client of the IPv6 socket has its IPv4 address.
    pub peer: IpAddr,
}

impl Request {
    /// The decoded path, starting with `/`.
    pub fn path(&self) -> &str {
        &self.head.path
    }

    /// The query's pairs.
    pub fn query(&self) -> &Query {
        &self.head.query
    }

    /// The value of the first header line of this name; letter case does not matter.
    pub fn header<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.head.headers(name).next()
    }

    /// Whether this is a browser that came under a name which a stranger may have, and which is none of `names`.
    pub fn is_misled(&self, names: &[String]) -> bool {
        origin::is_misled(&self.head, names)
    }

    /// Whether a browser asks because another site's page told it to, as far as it says so.
    pub fn is_foreign(&self) -> bool {
        origin::is_foreign(&self.head)
    }

    /// The values of all header lines of this name.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.head.headers(name)
    }
}

/// Makes the pages.
pub trait Handler {
    /// Answers a GET or HEAD; for a HEAD, too, the reply holds the whole page. A panic is answered with 500.
    fn handle(&self, request: &Request) -> impl Future<Output = Reply>;

    /// Told of each reply when it is about to be sent: its [`Reply::label`] and status.
    fn on_reply(&self, label: &'static str, status: u16);
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: Async<TcpListener>,
    addr: SocketAddr,
    allow: Vec<Cidr>,
    hosts: Vec<String>,
    limits: Limits,
}

impl Server {
    /// Binds the listener.
    ///
    /// # Errors
    /// The address is taken, not ours, or not permitted.
    pub fn bind(options: &Options) -> Result<Server> {
        let mut listen = options.listen;
        let socket = ListenOptions { receive_buffer: RECEIVE_BUFFER, send_buffer: SEND_BUFFER, backlog: BACKLOG };
        let listener = match bind_with_fallback(&mut listen, |addr| tcp::listen(addr, socket)) {
            Ok(listener) => listener,
            Err(source) => return Err(bind_error(listen, source)),
        };
        let named = |source| Error::io(format!("listen on {listen}"), source);
        let addr = listener.local_addr().map_err(named)?;
        let listener = Async::new_nonblocking(listener).map_err(named)?;
        Ok(Server {
            listener,
            addr,
            allow: options.allow.clone(),
            hosts: options.hosts.clone(),
            limits: options.limits.clone(),
        })
    }

    /// The bound address, with the port the kernel chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` is ready, then closes the listener and all waiting connections at once and gives replies
    /// under way up to `grace`. Survives every error of accept. Dropping the future closes everything.
    pub async fn serve<H: Handler + 'static>(self, handler: Rc<H>, stop: impl Future<Output = ()>, grace: Duration) {
        let executor = LocalExecutor::new();
        let shared = Rc::new(Shared {
            handler,
            table: RefCell::new(Table::new(self.limits.connections, self.limits.slow_write)),
            limits: self.limits.clone(),
            hosts: self.hosts.clone(),
            gzip_turn: Mutex::new(()),
            stopping: Cell::new(false),
        });
        let work = async {
            future::or(stop, self.accept_all(&executor, &shared)).await;
            drop(self.listener);
            shared.finish(grace).await;
        };
        executor.run(work).await;
    }

    async fn accept_all<H: Handler + 'static>(&self, executor: &LocalExecutor<'static>, shared: &Rc<Shared<H>>) {
        let mut trouble = Trouble::default();
        loop {
            match self.listener.read_with(TcpListener::accept).await {
                Ok((stream, peer)) => {
                    trouble.passed(self.addr);
                    self.admit(executor, shared, stream, peer.ip().to_canonical());
                }
                Err(error) if concerns_only_the_peer(&error) => log::debug!("http: a connection is lost: {error}"),
                Err(error) => {
                    trouble.happened(self.addr, &error);
                    // Without a free descriptor accept fails even if nobody waits, and then nobody must go.
                    let _ = self.listener.readable().await;
                    // Descriptors are what runs out; a connection that only waits gives its own.
                    let spare = shared.table.borrow_mut().evict_spare(Instant::now());
                    if spare.is_none() {
                        Timer::after(trouble.pause()).await;
                    }
                }
            }
            // A flood of connections must not keep the rest of the daemon from its turn, and whoever was ended
            // gives back its descriptor in its own turn.
            yield_now().await;
        }
    }

    /// Gives a fresh connection its task, if there is room or room can be made.
    fn admit<H: Handler + 'static>(
        &self,
        executor: &LocalExecutor<'static>,
        shared: &Rc<Shared<H>>,
        stream: TcpStream,
        peer: IpAddr,
    ) {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|prefix| prefix.contains(peer));
        let full = shared.table.borrow().is_full();
        if !allowed && (full || shared.table.borrow().refused() >= MAX_REFUSED) {
            return;
        }
        if full {
            let evicted = shared.table.borrow_mut().evict(peer, Instant::now());
            if evicted.is_none() {
                return shared.turn_away(stream);
            }
        }
        // Each reply is written in one piece, so there is nothing to gain from waiting for more.
        let stream = match stream.set_nodelay(true).and_then(|()| Async::new(stream)) {
            Ok(stream) => stream,
            Err(error) => return log::debug!("http: a connection of {peer} is lost: {error}"),
        };
        let slot = Slot::new(shared.clone(), peer, !allowed);
        let id = slot.id();
        let work = if allowed {
            connection::serve(slot, stream, peer).boxed_local()
        } else {
            connection::forbid(slot, stream).boxed_local()
        };
        let task = executor.spawn(work);
        if let Some(task) = shared.table.borrow_mut().attach(id, task) {
            task.detach();
        }
    }
}

/// What all connections of one server share.
struct Shared<H> {
    handler: Rc<H>,
    limits: Limits,
    hosts: Vec<String>,
    /// Dropping a task ends its connection.
    table: RefCell<Table<Task<()>>>,
    /// Held by the one task that compresses.
    gzip_turn: Mutex<()>,
    /// No connection is kept after its reply.
    stopping: Cell<bool>,
}

impl<H: Handler> Shared<H> {
    /// Closes a connection for which there is no room. The reply fits in the empty send buffer.
    fn turn_away(&self, mut stream: TcpStream) {
        let reply = Reply::text(503, "too many connections from this address\n").header("Retry-After", "1");
        self.handler.on_reply(reply.label, reply.status);
        let encoded = Encoded::plain(reply, &LAST_WORDS);
        let sent = stream.set_nonblocking(true).and_then(|()| stream.write_all(&encoded.head));
        let _ = sent.and_then(|()| stream.write_all(encoded.body()));
    }

    async fn finish(&self, grace: Duration) {
        const STEP: Duration = Duration::from_millis(10);
        self.stopping.set(true);
        let waiting = self.table.borrow_mut().remove_waiting();
        drop(waiting);
        let deadline = Instant::now() + grace;
        while !self.table.borrow().is_empty() && Instant::now() < deadline {
            Timer::after(STEP).await;
        }
    }
}

/// How a refusal is sent when nothing is known of the request.
const LAST_WORDS: Wish = Wish { version: HTTPVersion(1, 1), head_only: false, gzip: false, keep_alive: false };

/// Tells the log of a spell of accept errors once, and of its end once.
#[derive(Debug, Default)]
struct Trouble {
    last: Option<Instant>,
    /// Errors in a row.
    count: u32,
}

impl Trouble {
    fn happened(&mut self, addr: SocketAddr, error: &io::Error) {
        if self.last.is_none() {
            log::warn!(
                "http: cannot accept a connection on {addr}: {error}; waiting connections are closed to make room, \
                 raise the limit of open files if this lasts"
            );
        }
        self.last = Some(Instant::now());
        self.count = self.count.saturating_add(1);
    }

    fn passed(&mut self, addr: SocketAddr) {
        self.count = 0;
        // Under a shortage successes and errors alternate; only a quiet while is an end.
        if self.last.is_some_and(|last| last.elapsed() > QUIET) {
            self.last = None;
            log::info!("http: connections on {addr} are accepted again");
        }
    }

    /// 100 ms after the first error in a row, doubled up to [`MAX_PAUSE`].
    fn pause(&self) -> Duration {
        let doublings = self.count.saturating_sub(1).min(4);
        Duration::from_millis(100 << doublings).min(MAX_PAUSE)
    }
}

/// Whether a gatemeter answers where one would listen, by the name that it gives itself in its replies.
pub fn is_served(listen: SocketAddr) -> bool {
    // [::] takes IPv4, too.
    let ip = if listen.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    asked((ip, listen.port()).into()).is_ok_and(|head| head.windows(OURS.len()).any(|part| part == OURS))
}

/// The first bytes of a reply.
fn asked(addr: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"HEAD /healthz HTTP/1.0\r\n\r\n")?;
    let mut head = vec![0; 1024];
    let got = stream.read(&mut head)?;
    head.truncate(got);
    Ok(head)
}

/// Errors that accept(2) passes on from the connection it would have returned.
fn concerns_only_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    ) || matches!(error.raw_os_error(), Some(libc::EPROTO | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::EOPNOTSUPP))
}

/// Binds `addr`; where that is `[::]` and the kernel has no IPv6, binds and notes `0.0.0.0` instead.
fn bind_with_fallback<T>(addr: &mut SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(*addr) {
        Err(error)
            if addr.is_ipv6()
                && addr.ip().is_unspecified()
                && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) =>
        {
            log::info!("http: this kernel has no IPv6, so IPv4 alone is served");
            addr.set_ip(Ipv4Addr::UNSPECIFIED.into());
            bind(*addr)
        }
        done => done,
    }
}

fn bind_error(listen: SocketAddr, source: io::Error) -> Error {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => "another program has this port: stop it or choose another with -p",
        io::ErrorKind::AddrNotAvailable => "no interface has this address: give one of ours with -l, or [::] for all",
        io::ErrorKind::PermissionDenied => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        _ if source.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "the kernel has no IPv6: give an IPv4 address with -l"
        }
        _ => return Error::io(format!("listen on {listen}"), source),
    };
    Error::io(format!("listen on {listen}"), source).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_is_served_over_ipv4() {
        let refuse = |addr: SocketAddr| match addr {
            SocketAddr::V6(_) => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
            SocketAddr::V4(_) => Ok(()),
        };
        let mut wildcard = "[::]:9999".parse().unwrap();
        bind_with_fallback(&mut wildcard, refuse).unwrap();
        assert_eq!(wildcard.to_string(), "0.0.0.0:9999");
        let mut one_address = "[fd00::1]:9999".parse().unwrap();
        let error = bind_error(one_address, bind_with_fallback(&mut one_address, refuse).unwrap_err());
        assert!(error.to_string().ends_with("; the kernel has no IPv6: give an IPv4 address with -l"), "{error}");
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_it_and_the_way_out() {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            allow: Vec::new(),
            hosts: Vec::new(),
            limits: Limits::default(),
        };
        let first = Server::bind(&options).unwrap();
        let taken = Options { listen: first.local_addr(), ..options };
        let error = Server::bind(&taken).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {}: Address", first.local_addr())), "{error}");
        assert!(error.ends_with("; another program has this port: stop it or choose another with -p"), "{error}");
    }

    #[test]
    fn the_pause_after_an_accept_error_grows_to_a_second() {
        let mut trouble = Trouble::default();
        let addr = "127.0.0.1:1".parse().unwrap();
        let pauses: Vec<u128> = (0..6)
            .map(|_| {
                trouble.happened(addr, &io::Error::from_raw_os_error(libc::EMFILE));
                trouble.pause().as_millis()
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        trouble.passed(addr);
        trouble.happened(addr, &io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(trouble.pause().as_millis(), 100);
    }
}
