//! A network namespace of one's own, to try in what would change this system elsewhere.

use std::io;

/// Runs `work` on a thread in a new network namespace, which has nothing but a loopback interface with the index 1 and is
/// gone afterwards. Sockets that `work` opens are of that namespace.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL from a kernel without network namespaces.
pub fn in_private_network<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let thread = std::thread::Builder::new().spawn(|| {
        // SAFETY: the call takes one integer; CLONE_NEWNET changes the calling thread's namespace only.
        match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
            0 => Ok(work()),
            _ => Err(io::Error::last_os_error()),
        }
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic in a network namespace of its own")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::interfaces::interfaces;

    #[test]
    fn the_private_network_has_a_loopback_interface_and_nothing_else() {
        let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = own();
        let look = move || (interfaces().unwrap(), own());
        let (inside, its) = in_private_network(look).unwrap_or_else(|e| panic!("{e}; run the tests as root"));
        assert_eq!(inside, [(1, "lo".to_owned())]);
        assert!(its != before && own() == before);
    }

    #[test]
    fn a_panic_inside_is_an_error_outside() {
        assert!(in_private_network(|| panic!("as asked for")).is_err());
    }
}
