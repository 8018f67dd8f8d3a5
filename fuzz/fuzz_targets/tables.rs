//! Any bytes as keys and values of the kernel's tables: no panic, and keys come back as they were.

#![no_main]

use gatemeter::collectors::traffic::codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = codec::key(bytes) {
        let again = codec::key_bytes(&key);
        assert_eq!(codec::key(&again), Ok(key));
    }
    let _ = codec::counters(bytes);
    let _ = codec::amount(bytes);
    let _ = codec::may_be_torn(bytes);
});
