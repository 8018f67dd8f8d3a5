//! A door from this machine into the lab: a port on loopback whose connections go on inside a namespace, so that a browser
//! that knows nothing of namespaces sees what a machine of the lab serves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::Node;

/// Connections at a time; one more is closed at once.
const MOST: usize = 32;

/// The door; closed when this is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Opens `port` of this machine's loopback, or another one if that is taken, to `to` as `node` sees it.
    pub fn open(node: &Node, to: SocketAddr, port: u16) -> io::Result<Self> {
        let loopback = Ipv4Addr::LOCALHOST;
        let listener = TcpListener::bind((loopback, port)).or_else(|_| TcpListener::bind((loopback, 0)))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (node, stopped) = (node.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let open = Arc::new(AtomicUsize::new(0));
            for near in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(near) = near else { continue };
                if open.load(Ordering::Relaxed) < MOST
                    && let Ok(far) = node.tcp_connect(to)
                {
                    carry(near, far, &open);
                }
            }
        });
        Ok(Relay { address, stop, thread: Some(thread) })
    }

    /// Where it is open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let woken = TcpStream::connect(self.address).is_ok();
        if let (true, Some(thread)) = (woken, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// Carries bytes both ways until both ends are done.
fn carry(near: TcpStream, far: TcpStream, open: &Arc<AtomicUsize>) {
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
    open.fetch_add(1, Ordering::Relaxed);
    let (back, open) = (thread::spawn(move || pass(far_again, near_again)), open.clone());
    thread::spawn(move || {
        pass(near, far);
        let _ = back.join();
        open.fetch_sub(1, Ordering::Relaxed);
    });
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // The other end hears that no more comes; whoever has gone already hears nothing.
    let _ = (to.shutdown(Shutdown::Write), from.shutdown(Shutdown::Read));
}
