//! What the tests of those who ask have in common.

use super::*;

/// A DNS server on this machine, in the hands of the test.
pub struct Server(pub UdpSocket);

impl Server {
    pub fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Server(socket)
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next question: its bytes and where it comes from.
    pub fn question(&self) -> (Vec<u8>, SocketAddr) {
        let mut buf = [0; 512];
        let (len, from) = self.0.recv_from(&mut buf).unwrap();
        (buf[..len].to_vec(), from)
    }

    /// Whether no question has come.
    pub fn is_idle(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let nothing = self.0.recv(&mut [0; 512]).is_err();
        self.0.set_nonblocking(false).unwrap();
        nothing
    }
}
