//! One connection: read a head, answer it, write the reply, and again until one side has enough.
//!
//! Every wait has a deadline, and the task may be dropped at any of them: that is how it makes room for another.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

use smol::future::{self, FutureExt, yield_now};
use smol::{Async, Timer};
use tiny_http::Method;

use super::head::{MAX_HEAD, Reject, head_end, is_token_byte, parse_head};
use super::reply::{Encoded, Reply, Wish};
use super::table::State;
use super::{Handler, LAST_WORDS, Request, Shared, accepts_gzip};
use crate::sys::tcp;

/// How many bytes of empty lines may come before a request; some clients send one line too many after the last.
const MAX_BLANK: usize = 64;

/// What a browser is told that asks under a name which may be a stranger's.
const MISLED: &str = "this name may be a stranger's who wants to read here: use the router's address, or its name in the home \
    network; if the name is yours, set it as main.host\n";

/// A place in the table, given back when dropped.
pub(super) struct Slot<H> {
    shared: Rc<Shared<H>>,
    id: u64,
}

impl<H> Slot<H> {
    pub(super) fn new(shared: Rc<Shared<H>>, peer: IpAddr, refused: bool) -> Slot<H> {
        let id = shared.table.borrow_mut().insert(peer, refused, Instant::now());
        Slot { shared, id }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn set(&self, state: State) {
        self.shared.table.borrow_mut().set(self.id, state, Instant::now());
    }

    /// A reply of so many bytes is on its way, for which others may have to make room.
    fn write(&self, bytes: usize) {
        let most = self.shared.limits.bytes_under_way;
        let ended = self.shared.table.borrow_mut().write(self.id, bytes, most, Instant::now());
        // Once the table is free: those that end give back their place.
        drop(ended);
    }
}

impl<H> Drop for Slot<H> {
    fn drop(&mut self) {
        let task = self.shared.table.borrow_mut().remove(self.id);
        // This runs inside the task itself, which is ending on its own.
        if let Some(task) = task {
            task.detach();
        }
    }
}

/// Answers one request after the other.
pub(super) async fn serve<H: Handler>(slot: Slot<H>, stream: Async<TcpStream>, peer: IpAddr) {
    let mut input = Vec::new();
    loop {
        let end = match read_head(&slot, &stream, &mut input).await {
            Ok(end) => end,
            Err(End::Gone) => return,
            Err(End::Refused(reject)) => {
                let wish = Wish { head_only: input.starts_with(b"HEAD "), ..LAST_WORDS };
                return refuse(&slot, &stream, reject.into(), &wish).await;
            }
        };
        let head_only = input.starts_with(b"HEAD ");
        let parsed = parse_head(input.get(..end).unwrap_or_default());
        input.drain(..end.min(input.len()));
        if input.is_empty() {
            // An idle connection holds no buffer.
            input = Vec::new();
        }
        let head = match parsed {
            Ok(head) => head,
            Err(reject) => {
                let wish = Wish { head_only, ..LAST_WORDS };
                return refuse(&slot, &stream, reject.into(), &wish).await;
            }
        };
        let request = Request { head, peer };
        if request.is_misled(&slot.shared.hosts) {
            let wish = Wish { head_only, ..LAST_WORDS };
            return refuse(&slot, &stream, Reply::text(421, MISLED), &wish).await;
        }
        let keep_alive = request.head.keep_alive;
        if !answer(&slot, &stream, request).await {
            return;
        }
        if !keep_alive || slot.shared.stopping.get() {
            // Closing with bytes unread resets the connection, and the reply with it.
            if !input.is_empty() {
                linger(&slot, &stream).await;
            }
            return;
        }
        slot.set(if input.is_empty() { State::Idle } else { State::Reading });
        // A client that sends requests as fast as they are answered gives others their turn.
        yield_now().await;
    }
}

/// Tells a client that is not on the allow list so.
pub(super) async fn forbid<H: Handler>(slot: Slot<H>, stream: Async<TcpStream>) {
    let reply = Reply::text(403, "this address is not on the allow list\n");
    refuse(&slot, &stream, reply, &LAST_WORDS).await;
}

/// Why there is no next request.
enum End {
    /// The client has closed, or kept silent for too long.
    Gone,
    /// The client is told why.
    Refused(Reject),
}

/// Reads until `input` starts with a whole head, and returns where it ends.
async fn read_head<H>(slot: &Slot<H>, stream: &Async<TcpStream>, input: &mut Vec<u8>) -> Result<usize, End> {
    let limits = &slot.shared.limits;
    let refused = |status, why| Err(End::Refused(Reject { status, why }));
    let mut started = !input.is_empty();
    let mut deadline = Instant::now() + if started { limits.head_time } else { limits.idle_time };
    let (mut seen, mut blank) = (0, 0usize);
    loop {
        if seen == 0 {
            // Empty lines before a request are passed over (RFC 9112 section 2.2).
            let count = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            input.drain(..count);
            blank = blank.saturating_add(count);
            if blank > MAX_BLANK {
                return refused(400, "there is no request after many empty lines");
            }
        }
        if let Some(end) = head_end(input, seen) {
            return Ok(end);
        }
        if input.first().is_some_and(|byte| !is_token_byte(*byte)) {
            // A TLS client waits for an answer, and would do so until the deadline.
            return refused(400, "this is not an HTTP request (TLS is not spoken here)");
        }
        if input.len() >= MAX_HEAD {
            return if input.contains(&b'\n') {
                refused(431, "the request head is longer than 8 KiB")
            } else {
                refused(414, "the request line is longer than 8 KiB")
            };
        }
        if seen > 0 || blank > 0 {
            // A client that sends as fast as this reads gives others their turn.
            yield_now().await;
        }
        seen = input.len();
        match before(deadline, read_some(stream, input)).await {
            Some(Ok(0) | Err(_)) => return Err(End::Gone),
            Some(Ok(_)) if started => {}
            Some(Ok(_)) => {
                started = true;
                slot.set(State::Reading);
                deadline = Instant::now() + limits.head_time;
            }
            None if started => return refused(408, "the request took too long to arrive"),
            None => return Err(End::Gone),
        }
    }
}

/// Appends what has come, up to [`MAX_HEAD`] bytes in all; 0 means that the client has closed its side.
async fn read_some(stream: &Async<TcpStream>, input: &mut Vec<u8>) -> io::Result<usize> {
    let room = MAX_HEAD.saturating_sub(input.len());
    stream
        .read_with(|mut socket| {
            // On the stack during the call only: waiting takes no buffer.
            let mut chunk = [0; 2048];
            let chunk = chunk.get_mut(..room.min(2048)).unwrap_or_default();
            let count = socket.read(chunk)?;
            input.extend_from_slice(chunk.get(..count).unwrap_or_default());
            Ok(count)
        })
        .await
}

/// Lets the handler answer and sends the reply; false if it did not get through.
async fn answer<H: Handler>(slot: &Slot<H>, stream: &Async<TcpStream>, request: Request) -> bool {
    let shared = &slot.shared;
    slot.set(State::Handling);
    let wish = Wish {
        version: request.head.version.clone(),
        head_only: request.head.method == Method::Head,
        gzip: accepts_gzip(&request),
        keep_alive: request.head.keep_alive && !shared.stopping.get(),
    };
    let work = async {
        let reply = shared.handler.handle(&request).await;
        let counted = (reply.label, reply.status);
        (Encoded::new(reply, &wish, &shared.gzip_turn).await, counted)
    };
    let deadline = Instant::now() + shared.limits.handle_time;
    let failure = match before(deadline, AssertUnwindSafe(work).catch_unwind()).await {
        Some(Ok((encoded, (label, status)))) => {
            shared.handler.on_reply(label, status);
            return write(slot, stream, &encoded).await;
        }
        Some(Err(_panic)) => {
            log::error!("http: the page {:?} could not be made, its code panicked; this is a bug", request.path());
            Reply::text(500, "this page could not be made; the log says more\n")
        }
        None => Reply::text(503, "this page took too long to make\n"),
    };
    shared.handler.on_reply(failure.label, failure.status);
    write(slot, stream, &Encoded::plain(failure, &wish)).await
}

/// Sends a reply that ends the connection, and gives the client time to read it.
async fn refuse<H: Handler>(slot: &Slot<H>, stream: &Async<TcpStream>, reply: Reply, wish: &Wish) {
    slot.shared.handler.on_reply(reply.label, reply.status);
    if write(slot, stream, &Encoded::plain(reply, wish)).await {
        linger(slot, stream).await;
    }
}

/// Sends head and body; false if the client did not take them in time.
async fn write<H>(slot: &Slot<H>, stream: &Async<TcpStream>, encoded: &Encoded) -> bool {
    slot.write(encoded.head.len().saturating_add(encoded.body().len()));
    let deadline = Instant::now() + slot.shared.limits.write_time;
    let unsent = Unsent(Some(stream.get_ref()));
    let mut done = 0usize;
    loop {
        let head = encoded.head.get(done..).unwrap_or_default();
        let body = encoded.body().get(done.saturating_sub(encoded.head.len())..).unwrap_or_default();
        if head.is_empty() && body.is_empty() {
            unsent.nothing();
            return true;
        }
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        match before(deadline, stream.write_with(|mut socket| socket.write_vectored(&slices))).await {
            Some(Ok(count)) if count > 0 => done = done.saturating_add(count),
            _ => return false,
        }
        if done < encoded.head.len().saturating_add(encoded.body().len()) {
            // A client that reads as fast as this writes gives others their turn.
            yield_now().await;
        }
    }
}

/// Part of a reply is not in the kernel's hands. Dropped like this, the connection is reset when it closes, or the
/// kernel would go on holding a slow reader's bytes for minutes.
struct Unsent<'a>(Option<&'a TcpStream>);

impl Unsent<'_> {
    fn nothing(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.0
            && let Err(error) = tcp::reset_on_close(stream)
        {
            log::debug!("http: cannot reset a connection: {error}");
        }
    }
}

/// Ends our side and reads on for a bounded while: bytes that are never read would reset the connection, and the
/// client might lose the reply it has not read yet (RFC 9112 section 9.6).
async fn linger<H>(slot: &Slot<H>, stream: &Async<TcpStream>) {
    slot.set(State::Closing);
    let limits = &slot.shared.limits;
    let deadline = Instant::now() + limits.linger_time;
    let mut left = limits.linger_bytes;
    if stream.get_ref().shutdown(Shutdown::Write).is_err() {
        return;
    }
    while left > 0 {
        match before(deadline, stream.read_with(|mut socket| socket.read(&mut [0; 4096]))).await {
            Some(Ok(count)) if count > 0 => left = left.saturating_sub(count),
            _ => return,
        }
        yield_now().await;
    }
}

/// What `work` returns, or `None` if it is not ready at `deadline`. No timer is set for what is ready at once, but
/// work that is always ready has its deadline, too.
async fn before<T>(deadline: Instant, work: impl Future<Output = T>) -> Option<T> {
    if Instant::now() >= deadline {
        return None;
    }
    let late = async {
        Timer::at(deadline).await;
        None
    };
    future::or(async { Some(work.await) }, late).await
}
