//! Running real programs under a hard time limit. A program that overruns is killed by its own pid, never by name.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::sys;

#[path = "../support/wait.rs"]
mod wait;

pub use wait::{LIMIT, StopOnDrop, once_free, poll};

/// What a finished program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// Runs `command` to its end with `input` on its standard input; an error when it cannot start or overruns `limit`.
pub fn run(mut command: Command, input: &str, limit: Duration) -> Result<Output, String> {
    let what = shown(&command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {what}: {e}; .ci/setup installs what the lab needs"))?;
    let stdout = child.stdout.take().map(reader);
    let stderr = child.stderr.take().map(reader);
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not want its input closes the pipe; its exit status tells the rest.
        let _ = pipe.write_all(input.as_bytes());
    }
    let status = wait(&mut child, limit).map_err(|e| format!("{what}: {e}"))?;
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

/// Like [`run`], and an error too when the program does not end with 0; returns its standard output.
pub fn must(command: Command, input: &str) -> Result<String, String> {
    let what = shown(&command);
    let output = run(command, input, LIMIT)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{what}: {}\n{}{}{input}", output.status, output.stderr, output.stdout))
}

/// Waits for `child`; past `limit` it is killed, reaped, and reported.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                end(child);
                return Err(format!("still running after {} s, killed", limit.as_secs()));
            }
            Err(e) => return Err(format!("cannot wait for it: {e}")),
        }
    }
}

/// A program that runs until it is told to stop; killed and reaped on drop.
pub struct Background {
    child: Child,
    what: String,
}

impl Background {
    /// Starts `command` with both outputs appended to the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self, String> {
        let what = shown(&command);
        let failed = |e: io::Error| format!("cannot start {what}: {e}");
        let log = File::options().create(true).append(true).open(log).map_err(failed)?;
        let copy = log.try_clone().map_err(failed)?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(copy).spawn().map_err(failed)?;
        Ok(Self { child, what })
    }

    /// Takes charge of a child that is already running; `what` names it in messages.
    pub fn adopt(child: Child, what: impl Into<String>) -> Self {
        Self { child, what: what.into() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `libc::SIGTERM`.
    pub fn signal(&self, number: i32) {
        if let Err(e) = sys::signal(&self.child, number) {
            panic!("cannot send signal {number} to {}: {e}", self.what);
        }
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for it to end by itself; past `limit` it is killed and the test fails.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match wait(&mut self.child, limit) {
            Ok(status) => status,
            Err(e) => panic!("{}: {e}", self.what),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn end(child: &mut Child) {
    // Both fail only when the child has ended and been reaped already.
    let _ = child.kill();
    let _ = child.wait();
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn text(reader: Option<thread::JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|thread| thread.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
