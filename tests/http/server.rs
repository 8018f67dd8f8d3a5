//! The server under test: this very test program, started again with a configuration in its environment.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use gatemeter::outputs::http::{Body, Exposition, Handler, Limits, Options, Reply, Request, Server};

use crate::wait::{LIMIT, poll};

const ENVIRONMENT: &str = "GATEMETER_TEST_HTTP_SERVER";

/// A running server.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Option<JoinHandle<String>>,
    port: u16,
}

impl Running {
    /// Starts a server on all addresses with the default limits.
    pub fn new() -> Running {
        Running::with("")
    }

    /// Starts a server with `options`, words such as `allow=10.0.0.0/8` and `head_ms=100`.
    pub fn with(options: &str) -> Running {
        Running::within("exec \"$0\" \"$@\"", options)
    }

    /// Starts a server that may open only so many files.
    pub fn with_open_files(limit: usize) -> Running {
        Running::within(&format!("ulimit -n {limit}; exec \"$0\" \"$@\""), "")
    }

    fn within(shell: &str, options: &str) -> Running {
        let mut child = Command::new("sh")
            .args(["-c", shell])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "server::a_started_copy_serves_until_its_input_ends", "--nocapture"])
            .env(ENVIRONMENT, format!("- {options}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().split_once("listening on ")?.1.parse().ok()).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            // The pipe of stdout stays open as long as the server runs, for what the test harness prints at its end.
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            lines.for_each(drop);
            text
        });
        Running { child, stdin, log: Some(log), port }
    }

    pub fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn v6(&self) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.port).into()
    }

    /// How many sockets the server has open: its listener and connections.
    pub fn sockets(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// Waits until the server has this many sockets open.
    pub fn wait_for_sockets(&self, count: usize) {
        let open = poll(LIMIT, || (self.sockets() == count).then_some(()));
        assert!(open.is_some(), "{} sockets are open, and not {count}", self.sockets());
    }

    /// How many threads the server has.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }

    /// Resident memory in kB, now and at its highest.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// Stops the server and returns what it has logged.
    pub fn log(mut self) -> String {
        self.stop();
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}\n{log}");
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// About what 500 clients and 100 targets fill, in bytes: 50 kB, valid in the text format and in OpenMetrics.
pub fn page() -> String {
    let samples = (0..1000).map(|n| {
        let (net, host) = (n / 250, n % 250);
        format!("client_bytes_total{{ip=\"10.0.{net}.{host}\",dir=\"rx\"}} {}\n", n * n)
    });
    samples.chain(["# EOF\n".to_owned()]).collect()
}

pub const BIG: usize = 1 << 20;

/// Pages for the tests.
struct Pages {
    metrics: Body,
    big: Body,
    replies: RefCell<BTreeMap<(&'static str, u16), u32>>,
    /// Requests for `/wait` that are being answered.
    waiting: Cell<u32>,
}

impl Handler for Pages {
    async fn handle(&self, request: &Request) -> Reply {
        match request.path() {
            "/metrics" => {
                let format = Exposition::wanted_by(request);
                Reply::page("/metrics", format.content_type(), self.metrics.clone())
            }
            "/big" => Reply::page("/big", "text/plain", self.big.clone()),
            "/echo" => {
                let pairs: Vec<_> = request.query().pairs().map(|(key, value)| format!("{key}={value};")).collect();
                let agent = request.header("user-agent").unwrap_or("nobody");
                let text = format!("{} from {} by {agent}\n", pairs.concat(), request.peer);
                Reply::text(200, text).labelled("/echo")
            }
            "/wait" => {
                let ms = request.query().get("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
                self.waiting.set(self.waiting.get() + 1);
                smol::Timer::after(Duration::from_millis(ms)).await;
                self.waiting.set(self.waiting.get() - 1);
                Reply::text(200, "waited\n").labelled("/wait")
            }
            "/waiting" => Reply::text(200, format!("{}\n", self.waiting.get())),
            "/panic" => panic!("as asked"),
            "/replies" => {
                let replies = self.replies.borrow();
                let lines = replies.iter().map(|((label, status), count)| format!("{label} {status} {count}\n"));
                Reply::text(200, lines.collect::<String>()).labelled("/replies")
            }
            _ => Reply::text(404, "no such page\n"),
        }
    }

    fn on_reply(&self, label: &'static str, status: u16) {
        *self.replies.borrow_mut().entry((label, status)).or_default() += 1;
    }
}

/// Serves if started by [`Running`]; run by hand it finds no configuration and has nothing to show.
#[test]
fn a_started_copy_serves_until_its_input_ends() {
    let Ok(words) = std::env::var(ENVIRONMENT) else { return };
    simple_logger::init_with_level(log::Level::Info).unwrap();
    let mut options =
        Options { listen: "[::]:0".parse().unwrap(), allow: Vec::new(), hosts: Vec::new(), limits: Limits::default() };
    for (name, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        let time = || Duration::from_millis(value.parse().unwrap());
        match name {
            "allow" => options.allow.push(value.parse().unwrap()),
            "head_ms" => options.limits.head_time = time(),
            "idle_ms" => options.limits.idle_time = time(),
            "handle_ms" => options.limits.handle_time = time(),
            "write_ms" => options.limits.write_time = time(),
            _ => panic!("{name} is not an option of the test server"),
        }
    }
    let server = Server::bind(&options).unwrap();
    assert!(matches!(server.local_addr().ip(), IpAddr::V6(ip) if ip.is_unspecified()));
    println!("listening on {}", server.local_addr().port());
    let handler = Rc::new(Pages {
        metrics: page().into(),
        big: "0123456789abcdef".repeat(BIG / 16).into(),
        replies: RefCell::default(),
        waiting: Cell::new(0),
    });
    let stop = smol::unblock(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    });
    smol::block_on(server.serve(handler, stop, Duration::from_secs(5)));
}
