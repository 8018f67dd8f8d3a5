//! A simulated Freebox: answers over HTTP as a box does, from the files beside this one, with faults when asked for.
//!
//! It checks what a real one checks: the keyed digest of its challenge, which changes with every attempt, the session in
//! each request, the version in each path. Its counters grow with every answer. Two models: `ftth-v8`, a Delta on fibre
//! with API 16, and `xdsl-v5`, a Revolution on ADSL with API 5; `edge` holds answers to put in place of theirs. A
//! file's name is the path behind `/api/vN/`, with underscores for slashes. All values are invented.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};

use super::Node;

/// Which box it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// `ftth-v8`.
    Fibre,
    /// `xdsl-v5`.
    Dsl,
}

/// What a box does instead of answering as it should.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The file of this name in `edge`, with the status its name begins with, else 200.
    Edge(&'static str),
    /// This body with this status.
    Body(u16, String),
    /// One byte of the answer at a time, with this pause between.
    Slow(Duration),
    /// The answer after this time.
    Late(Duration),
    /// Nothing, until the other end gives up.
    Silent,
    /// The connection is reset after this many bytes of the answer.
    Reset(usize),
    /// Ever more of a list, until the other end has enough.
    Endless,
    /// Like `auth_required`, and all sessions are gone.
    EndSessions,
}

/// The box; it ends with the test process.
#[derive(Clone)]
pub struct Freebox {
    model: Model,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    folder: PathBuf,
    major: u32,
    token: String,
    track_id: String,
    challenge: String,
    digest: Digest,
    sessions: Vec<String>,
    /// Answers of `pending` before the owner's.
    pending: usize,
    /// What the owner answers.
    verdict: &'static str,
    rights: BTreeMap<&'static str, bool>,
    /// By path, for ever or for so many answers.
    faults: Vec<(String, Fault, usize)>,
    requests: Vec<String>,
    /// Growth of its counters.
    ticks: u64,
    /// Whether it is on.
    on: bool,
}

/// What the box makes its password with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    Sha1,
    Sha256,
}

impl Freebox {
    /// A box at this address of a machine, port 80.
    pub fn start(node: &Node, model: Model) -> Self {
        Self::start_at(node, model, node.v4, 80)
    }

    /// A box at an address and port of a machine.
    pub fn start_at(node: &Node, model: Model, ip: impl Into<IpAddr>, port: u16) -> Self {
        let listener = node.tcp_listener(ip, port);
        Self::serve(listener, model)
    }

    /// A box that answers on this listener.
    pub fn serve(listener: TcpListener, model: Model) -> Self {
        let (folder, major, track_id, end) = match model {
            Model::Fibre => ("ftth-v8", 16, "42", "/8"),
            Model::Dsl => ("xdsl-v5", 5, "7", "/5"),
        };
        let state = State {
            folder: fixtures().join(folder),
            major,
            token: format!("dOcUmEnTaTiOnToKeN+{}{end}", "0".repeat(43)),
            track_id: track_id.into(),
            challenge: random_text(),
            digest: Digest::Sha1,
            sessions: Vec::new(),
            pending: 0,
            verdict: "granted",
            rights: BTreeMap::new(),
            faults: Vec::new(),
            requests: Vec::new(),
            ticks: 0,
            on: true,
        };
        let address = listener.local_addr().unwrap();
        let this = Self { model, address, state: Arc::new(Mutex::new(state)) };
        let server = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.talk(stream));
            }
        });
        this
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token that it gives to those who ask and whose owner agrees.
    pub fn token(&self) -> String {
        self.lock().token.clone()
    }

    /// Credentials as `gatemeter freebox register` writes them.
    pub fn credentials(&self) -> String {
        let state = self.lock();
        json!({"app_id": "fr.gatemeter", "app_token": state.token, "track_id": state.track_id}).to_string()
    }

    /// The sessions that are open.
    pub fn sessions(&self) -> Vec<String> {
        self.lock().sessions.clone()
    }

    /// Every request so far: method and path.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// How many requests for this path, as in `connection`, there were.
    pub fn count(&self, path: &str) -> usize {
        let ends = |request: &&String| request.trim_end_matches('/').ends_with(&format!("/{path}"));
        self.lock().requests.iter().filter(ends).count()
    }

    /// From now on answers to this path go wrong, or with `*` to all that take a session.
    pub fn fault(&self, path: &str, fault: Fault) {
        self.fault_times(path, fault, usize::MAX);
    }

    /// So many answers to this path go wrong.
    pub fn fault_times(&self, path: &str, fault: Fault, times: usize) {
        self.lock().faults.insert(0, (path.to_owned(), fault, times));
    }

    /// All goes well again.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Gives or takes a right.
    pub fn right(&self, name: &'static str, granted: bool) {
        self.lock().rights.insert(name, granted);
    }

    /// How long its owner takes to answer, in looks at the request, and what the answer is.
    pub fn owner(&self, pending: usize, verdict: &'static str) {
        let mut state = self.lock();
        (state.pending, state.verdict) = (pending, verdict);
    }

    /// Revokes the token for another one.
    pub fn revoke(&self) {
        let mut state = self.lock();
        state.token = random_text();
        state.sessions.clear();
    }

    /// Asks for another digest.
    pub fn digest(&self, digest: Digest) {
        self.lock().digest = digest;
    }

    /// Says that it has API version `major`.
    pub fn major(&self, major: u32) {
        self.lock().major = major;
    }

    /// Turns it off, with all sessions lost, or on again. While it is off requests end in a reset.
    pub fn power(&self, on: bool) {
        let mut state = self.lock();
        state.on = on;
        state.sessions.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One connection, request after request.
    fn talk(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let Some(request) = read_request(&mut reader) else { return };
            if !self.lock().on {
                return reset(&stream);
            }
            let (status, mut body, fault) = self.answer(&request);
            if matches!(fault, Some(Fault::Endless)) {
                return endless(&stream);
            }
            let phrase = if status == 200 { "OK" } else { "Error" };
            // Half of them in chunks, as a box may do for what it makes up as it goes.
            let chunked = self.lock().requests.len().is_multiple_of(2);
            let mut answer = format!("HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json; charset=utf-8\r\n");
            if chunked {
                let half = body.len() / 2;
                answer.push_str("Transfer-Encoding: chunked\r\n\r\n");
                let mut bytes = answer.into_bytes();
                for part in [&body[..half], &body[half..]] {
                    if !part.is_empty() {
                        bytes.extend(
                            format!("{:x}\r\n", part.len()).bytes().chain(part.iter().copied()).chain(*b"\r\n"),
                        );
                    }
                }
                bytes.extend(b"0\r\n\r\n");
                body = bytes;
            } else {
                let _ = write!(answer, "Content-Length: {}\r\n\r\n", body.len());
                body = [answer.into_bytes(), body].concat();
            }
            let sent = match fault {
                Some(Fault::Slow(pause)) => body.iter().all(|byte| {
                    thread::sleep(pause);
                    (&stream).write_all(&[*byte]).is_ok()
                }),
                Some(Fault::Late(pause)) => {
                    thread::sleep(pause);
                    (&stream).write_all(&body).is_ok()
                }
                Some(Fault::Silent) => {
                    // Ends when the other end closes.
                    let _ = (&stream).read(&mut [0]);
                    return;
                }
                Some(Fault::Reset(after)) => {
                    let _ = (&stream).write_all(&body[..after.min(body.len())]);
                    return reset(&stream);
                }
                _ => (&stream).write_all(&body).is_ok(),
            };
            if !sent {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> (u16, Vec<u8>, Option<Fault>) {
        let mut state = self.lock();
        state.requests.push(format!("{} {}", request.method, request.path));
        state.ticks += 1;
        if request.path.trim_end_matches('/') == "/api_version" {
            let mut told: Value = serde_json::from_slice(&state.file("api_version").unwrap()).unwrap();
            told["api_version"] = json!(format!("{}.0", state.major));
            let fault = state.take_fault("api_version");
            return with_fault(200, told.to_string().into_bytes(), fault);
        }
        let Some(path) = state.api_path(&request.path) else { return edge("404_invalid_request") };
        let fault = state.take_fault(&path);
        if let Some(Fault::EndSessions) = fault {
            state.sessions.clear();
        }
        if let Some(Fault::Edge(_) | Fault::Body(..)) = fault {
            return with_fault(200, Vec::new(), fault);
        }
        let (status, body) = state.respond(request, &path);
        with_fault(status, body, fault)
    }
}

impl State {
    fn file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(format!("{name}.json"))).ok()
    }

    /// What stands behind `/api/vN/`, if there is such a version.
    fn api_path(&self, path: &str) -> Option<String> {
        let (version, rest) = path.strip_prefix("/api/v")?.split_once('/')?;
        let version: u32 = version.parse().ok()?;
        (1..=self.major).contains(&version).then(|| rest.trim_end_matches('/').to_owned())
    }

    fn take_fault(&mut self, path: &str) -> Option<Fault> {
        // An asterisk stands for all that takes a session.
        let any = path != "api_version" && !path.starts_with("login");
        let at = self.faults.iter().position(|(at, _, times)| (at == path || at == "*" && any) && *times > 0)?;
        let (_, fault, times) = &mut self.faults[at];
        *times -= usize::from(*times != usize::MAX);
        Some(fault.clone())
    }

    fn respond(&mut self, request: &Request, path: &str) -> (u16, Vec<u8>) {
        let ok = |value: Value| (200, value.to_string().into_bytes());
        let refuse = |name| {
            let (status, body, _) = edge(name);
            (status, body)
        };
        match (request.method.as_str(), path) {
            ("POST", "login/authorize") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let is_whole =
                    ["app_id", "app_name", "app_version", "device_name"].iter().all(|key| asked[key].is_string());
                if !is_whole {
                    return refuse("404_invalid_request");
                }
                ok(
                    json!({"success": true, "result": {"app_token": self.token, "track_id": self.track_id.parse::<u32>().unwrap()}}),
                )
            }
            ("GET", _) if path == format!("login/authorize/{}", self.track_id) => {
                let status = if self.pending > 0 { "pending" } else { self.verdict };
                self.pending = self.pending.saturating_sub(1);
                ok(json!({"success": true, "result": {"status": status, "challenge": self.challenge}}))
            }
            ("GET", "login") => ok(
                json!({"success": true, "result": {"logged_in": false, "challenge": self.challenge, "password_set": true}}),
            ),
            ("POST", "login/session") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let is_right = asked["password"] == json!(self.password()) && asked["app_id"].is_string();
                self.challenge = random_text();
                if !is_right {
                    return refuse("403_invalid_token");
                }
                if self.verdict != "granted" || self.pending > 0 {
                    return refuse("403_pending_token");
                }
                let mut told: Value = serde_json::from_slice(&self.file("login_session").unwrap()).unwrap();
                let session = format!("sEsSiOn+{}", random_text());
                told["result"]["session_token"] = json!(session);
                told["result"]["challenge"] = json!(self.challenge);
                for (right, granted) in &self.rights {
                    told["result"]["permissions"][right] = json!(granted);
                }
                self.sessions.push(session);
                ok(told)
            }
            _ if !request.session.as_ref().is_some_and(|session| self.sessions.contains(session)) => {
                refuse("403_auth_required")
            }
            ("POST", "login/logout") => {
                self.sessions.retain(|session| Some(session) != request.session.as_ref());
                ok(json!({"success": true}))
            }
            ("GET", _) => match self.file(&path.replace('/', "_")) {
                Some(body) if path == "connection" => (200, self.grown(&body)),
                Some(body) => (200, body),
                None => refuse("404_invalid_request"),
            },
            _ => refuse("404_invalid_request"),
        }
    }

    /// The answer with counters that have grown since the last one: by 1,000 bytes down and 100 up with each request.
    fn grown(&self, body: &[u8]) -> Vec<u8> {
        let mut told: Value = serde_json::from_slice(body).unwrap();
        for (field, step) in [("bytes_down", 1000), ("bytes_up", 100)] {
            let value = &mut told["result"][field];
            *value = json!(value.as_u64().unwrap() + step * GROWTH.load(Ordering::Relaxed) * self.ticks);
        }
        told.to_string().into_bytes()
    }

    fn password(&self) -> String {
        let (key, message) = (self.token.as_bytes(), self.challenge.as_bytes());
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.digest {
            Digest::Sha1 => {
                digits(&Hmac::<sha1::Sha1>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes())
            }
            Digest::Sha256 => digits(
                &Hmac::<sha2::Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes(),
            ),
        }
    }
}

/// How fast counters grow; 0 leaves them as the files have them.
static GROWTH: AtomicU64 = AtomicU64::new(0);

/// Makes the counters of all boxes grow, or stand still.
pub fn grow(on: bool) {
    GROWTH.store(on.into(), Ordering::Relaxed);
}

/// Where the answers are.
pub fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/freebox"))
}

struct Request {
    method: String,
    path: String,
    session: Option<String>,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    assert_eq!(words.next(), Some("HTTP/1.1"), "{line}");
    let (mut session, mut length, mut host) = (None, 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "x-fbx-app-auth" => session = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            "host" => host = true,
            _ => {}
        }
    }
    // RFC 9112, 3.2.
    assert!(host, "a request without Host: {method} {path}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, session, body })
}

fn with_fault(status: u16, body: Vec<u8>, fault: Option<Fault>) -> (u16, Vec<u8>, Option<Fault>) {
    match fault {
        Some(Fault::Edge(name)) => edge(name),
        Some(Fault::Body(status, body)) => (status, body.into_bytes(), None),
        other => (status, body, other),
    }
}

fn edge(name: &str) -> (u16, Vec<u8>, Option<Fault>) {
    let body = fs::read(fixtures().join(format!("edge/{name}.json"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    (name.split('_').next().and_then(|status| status.parse().ok()).unwrap_or(200), body, None)
}

fn endless(mut stream: &TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"success\":true,\"result\":[";
    let _ = stream.write_all(head.as_bytes());
    while stream.write_all("{\"id\":1},".repeat(1000).as_bytes()).is_ok() {}
}

fn reset(stream: &TcpStream) {
    let _ = gatemeter::sys::tcp::reset_on_close(stream);
}

/// 32 characters, of those that challenges and tokens have.
fn random_text() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let word = || format!("{:016x}", RandomState::new().build_hasher().finish());
    format!("{}{}", word(), word())
}
