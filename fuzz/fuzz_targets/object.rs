//! Any bytes as the ELF object of the kernel programs: no panic, no more memory than the file warrants, and programs are
//! whole instructions.

#![no_main]

use gatemeter::collectors::traffic::object::Object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(object) = Object::parse(file) else { return };
    assert!(object.maps.len() <= file.len());
    for name in ["gatemeter_in", "gatemeter_out", "gatemeter_add"] {
        for count in [0, 1, 16] {
            let fds: Vec<i32> = (3..3 + count).collect();
            let Some(code) = object.instructions(name, &fds) else { continue };
            assert!(code.len() <= file.len() && code.len() % 8 == 0, "{}", code.len());
            // The same with other descriptors differs in nothing but them.
            assert_eq!(object.instructions(name, &fds).as_deref(), Some(&*code));
        }
    }
});
