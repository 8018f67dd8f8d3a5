//! Any bytes as the credentials file, in both its forms: no panic, what is taken fits into a request as it is, survives being
//! written, and is not printed.

#![no_main]

use gatemeter::collectors::freebox::credentials::{encode, parse};
use gatemeter::collectors::freebox::secret::{Digest, password};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(credentials) = parse(bytes.to_vec()) else { return };
    let token = credentials.app_token.expose();
    assert!((1..=256).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(credentials.app_id.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(credentials.track_id.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(token.starts_with(credentials.app_token.start()) && credentials.app_token.start().len() <= 4);
    assert_eq!(parse(encode(&credentials).into_bytes()).as_ref(), Some(&credentials));
    assert_eq!(format!("{:?}", credentials.app_token), "***");
    for (digest, length) in [(Digest::Sha1, 40), (Digest::Sha256, 64)] {
        let password = password(&credentials.app_token, "challenge", digest);
        assert!(password.expose().len() == length && password.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
});
