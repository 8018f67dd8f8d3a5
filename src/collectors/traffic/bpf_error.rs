//! Errors of bpf(2) as ours: with the end of the verifier's log, and what to do.

use std::io;

use crate::error::Error;

/// Bytes of the verifier's log kept in an error; its end says what was refused.
const LOG: usize = 2000;

/// A program the kernel does not take, and what its verifier said of it.
pub fn verifier(tried: &str, error: &io::Error, log: &str) -> Error {
    let log = log.trim();
    let from = (log.len().saturating_sub(LOG)..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
    match log.get(from..).unwrap_or_default() {
        "" => remedied(Error::failed(tried, error.to_string()), error.raw_os_error()),
        end => {
            let refused = Error::failed(tried, format!("{error}; the verifier says: {end}"));
            match error.raw_os_error() {
                // Without CAP_PERFMON the verifier refuses what it lets others do.
                Some(libc::EACCES) => refused.remedy("if CAP_PERFMON is missing, run as root or grant it"),
                _ => refused,
            }
        }
    }
}

/// Adds what can be done about a refused system call.
pub fn with_remedy(error: Error) -> Error {
    let code = error.os_error();
    remedied(error, code)
}

fn remedied(error: Error, code: Option<i32>) -> Error {
    match code {
        Some(libc::ENOSYS) => error.remedy("this kernel has no bpf(): it must be built with CONFIG_BPF_SYSCALL"),
        Some(libc::EPERM | libc::EACCES) => error.remedy(
            "run as root or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (CAP_SYS_ADMIN before Linux 5.8); before \
             Linux 5.11 the limit of locked memory counts too: ulimit -l unlimited",
        ),
        Some(libc::ENOMEM) => {
            error.remedy("lower traffic.max_hosts, or raise the limit of locked memory: ulimit -l unlimited")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_bpf_is_told_with_its_remedy() {
        let error = with_remedy(Error::io("load the program", io::Error::from_raw_os_error(libc::ENOSYS)));
        assert!(error.to_string().contains("CONFIG_BPF_SYSCALL"), "{error}");
    }

    #[test]
    fn missing_privileges_are_told_with_what_to_grant() {
        let error = verifier("load the program", &io::Error::from_raw_os_error(libc::EPERM), "").to_string();
        assert!(error.contains("CAP_BPF") && error.contains("Operation not permitted"), "{error}");
    }

    #[test]
    fn only_the_end_of_a_long_verifier_log_is_kept() {
        let log = format!("{}the last line", "é".repeat(5000));
        let error = verifier("load the program", &io::Error::from_raw_os_error(libc::EINVAL), &log).to_string();
        assert!(error.ends_with("the last line") && error.len() < LOG + 200, "{error}");
    }
}
