//! The object itself: both byte orders hold the same program, and the strictest verifiers take it.

use std::collections::HashSet;
use std::os::fd::AsRawFd as _;

use aya_obj::Object;
use gatemeter::collectors::traffic::codec::layout::*;
use gatemeter::collectors::traffic::loader::{Attach, Direction};
use gatemeter::collectors::traffic::object::Object as Ours;

use crate::lab::*;
use crate::{bpf, net};

const PROGRAMS: [&str; 3] = [PROGRAM_IN, PROGRAM_OUT, PROGRAM_ADD];
const LITTLE: &[u8] = include_bytes!(concat!(env!("GATEMETER_BPF_DIR"), "/gatemeter.bpfel.o"));
const BIG: &[u8] = include_bytes!(concat!(env!("GATEMETER_BPF_DIR"), "/gatemeter.bpfeb.o"));

/// One instruction, as linux/bpf.h has it: code, registers, offset, immediate.
type Instruction = (u8, u8, u8, i16, i32);

/// The instructions of a program as its file holds them.
fn instructions(object: &[u8], name: &str, big: bool) -> Vec<Instruction> {
    let object = Object::parse(object).unwrap();
    let program = &object.programs[name];
    let function = &object.functions[&program.function_key()];
    bytes_of(&function.instructions)
        .chunks_exact(8)
        .map(|raw| {
            let (off, imm) = ([raw[2], raw[3]], [raw[4], raw[5], raw[6], raw[7]]);
            // In memory the low nibble is the destination on little-endian machines, the high one on big-endian ones.
            if big {
                (raw[0], raw[1] >> 4, raw[1] & 15, i16::from_be_bytes(off), i32::from_be_bytes(imm))
            } else {
                (raw[0], raw[1] & 15, raw[1] >> 4, i16::from_le_bytes(off), i32::from_le_bytes(imm))
            }
        })
        .collect()
}

#[allow(unsafe_code, reason = "aya-obj has instructions as structs only")]
fn bytes_of(instructions: &[aya_obj::generated::bpf_insn]) -> &[u8] {
    // SAFETY: an instruction is 8 bytes without padding.
    unsafe { std::slice::from_raw_parts(instructions.as_ptr().cast(), size_of_val(instructions)) }
}

#[test]
fn both_byte_orders_hold_the_same_maps() {
    let (little, big) = (Object::parse(LITTLE).unwrap(), Object::parse(BIG).unwrap());
    for name in [HOSTS4_NAME, HOSTS6_NAME, UNCOUNTED_NAME] {
        let shape = |object: &Object| {
            let map = &object.maps[name];
            [map.map_type(), map.key_size(), map.value_size(), map.max_entries(), map.map_flags()]
        };
        // Definitions are in the byte order of their object.
        let (little, big) = (shape(&little).map(u32::from_le), shape(&big).map(u32::from_be));
        assert_eq!(little, big, "{name}");
    }
    for object in [little, big] {
        assert_eq!(object.maps[CONFIG_NAME].value_size() as usize, CONFIG);
    }
}

#[test]
fn our_reader_finds_what_ayas_finds() {
    for (file, order) in [(LITTLE, u32::from_le as fn(u32) -> u32), (BIG, u32::from_be)] {
        let (ours, other) = (Ours::parse(file).unwrap(), Object::parse(file).unwrap());
        assert_eq!(ours.maps.len(), other.maps.len());
        for map in &ours.maps {
            let found = &other.maps[map.name];
            let sizes =
                [found.map_type(), found.key_size(), found.value_size(), found.max_entries(), found.map_flags()];
            // Definitions are in the byte order of their object; that of global data is made by the reader.
            let sizes = if map.name == CONFIG_NAME { sizes } else { sizes.map(order) };
            assert_eq!([map.kind, map.key_size, map.value_size, map.max_entries, map.flags], sizes, "{}", map.name);
        }
        for name in PROGRAMS {
            let program = &other.programs[name];
            assert_eq!(program.license.as_c_str(), ours.license);
            // Descriptors are not known yet: only the loads of maps differ.
            let raw = bytes_of(&other.functions[&program.function_key()].instructions).to_vec();
            let linked = ours.instructions(name, &[0; 4]).unwrap();
            assert_eq!(raw.len(), linked.len(), "{name}");
            let differ = raw.chunks(8).zip(linked.chunks(8)).filter(|(raw, linked)| raw != linked);
            assert!(differ.clone().count() > 0 && differ.clone().all(|(raw, _)| raw[0] == 0x18), "{name}");
        }
    }
}

#[test]
fn our_reader_links_programs_and_maps_as_ayas_does() {
    let file = if cfg!(target_endian = "big") { BIG } else { LITTLE };
    let (ours, mut other) = (Ours::parse(file).unwrap(), Object::parse(file).unwrap());
    let fds: Vec<i32> = (101..).take(ours.maps.len()).collect();
    let maps = other.maps.clone();
    let maps = ours.maps.iter().zip(&fds).map(|(map, fd)| (map.name, *fd, &maps[map.name]));
    let sections: HashSet<usize> = other.functions.keys().map(|(section, _)| *section).collect();
    other.relocate_maps(maps, &sections).unwrap();
    for name in PROGRAMS {
        let function = &other.functions[&other.programs[name].function_key()];
        assert!(ours.instructions(name, &fds).unwrap() == bytes_of(&function.instructions), "{name}");
    }
}

#[test]
fn both_byte_orders_hold_the_same_program_apart_from_the_byte_order() {
    const SWAP_OR_SHIFT: i32 = 16;
    for name in PROGRAMS {
        let (little, big) = (instructions(LITTLE, name, false), instructions(BIG, name, true));
        assert!(little.len() > 50 && big.len() > 50, "{name}");
        // What they do to the world outside of registers: helpers called, in this order; where the byte order shows is
        // in constants, swaps and shifts between them.
        let calls = |all: &[Instruction]| all.iter().filter(|i| i.0 == 0x85).map(|i| i.4).collect::<Vec<_>>();
        let mut called = [calls(&little), calls(&big)];
        called.iter_mut().for_each(|calls| calls.sort_unstable());
        assert_eq!(called[0], called[1], "{name}");
        let differ = little.len().abs_diff(big.len());
        assert!(differ <= little.len() / SWAP_OR_SHIFT as usize, "{name}: {} and {}", little.len(), big.len());
    }
}

#[test]
fn no_program_calls_another_function_because_32_bit_jits_cannot() {
    const CALL: u8 = 0x85;
    const PSEUDO_CALL: u8 = 1;
    const ATOMIC: u8 = 0xc3;
    const ATOMIC64: u8 = 0xdb;
    for (object, big) in [(LITTLE, false), (BIG, true)] {
        for name in PROGRAMS {
            for (code, _, source, _, _) in instructions(object, name, big) {
                assert!(!(code == CALL && source == PSEUDO_CALL), "{name} calls a function");
                assert!(code != ATOMIC && code != ATOMIC64, "{name} uses an atomic, which the 32-bit ARM JIT lacks");
            }
        }
    }
}

#[test]
fn a_verifier_that_refuses_unaligned_access_takes_the_programs() {
    net::enter_namespaces();
    let object = if cfg!(target_endian = "big") { BIG } else { LITTLE };
    let mut object = Object::parse(object).unwrap();
    let fds: Vec<_> = object
        .maps
        .iter()
        .map(|(name, map)| {
            let fd = bpf::map(map.map_type(), map.key_size(), map.value_size(), map.max_entries(), map.map_flags());
            (name.clone(), fd, map.clone())
        })
        .collect();
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(fds.iter().map(|(name, fd, map)| (name.as_str(), fd.as_raw_fd(), map)), &sections).unwrap();
    object.relocate_calls(&sections).unwrap();
    for name in PROGRAMS {
        let function = &object.functions[&object.programs[name].function_key()];
        if let Err(error) = bpf::load(bytes_of(&function.instructions), bpf::STRICT_ALIGNMENT) {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn the_verifier_is_done_after_a_few_ten_thousand_instructions() {
    net::enter_namespaces();
    let accounting = open(16, None, Attach::Auto);
    for direction in Direction::BOTH {
        let fd = accounting.program(direction).as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let verified = text.lines().find_map(|line| line.strip_prefix("verified_insns:")).expect("Linux 5.16");
        // Kernels before 5.2 stop at 131,072; and a 600 MHz router pays for each of them at start.
        assert!(verified.trim().parse::<u32>().unwrap() < 30_000, "{verified}");
    }
}

#[test]
fn the_verifier_says_what_it_refuses() {
    // exit without an answer in r0 (linux/bpf.h).
    let program = [0x95, 0, 0, 0, 0, 0, 0, 0];
    let mut log = vec![0; 4096];
    let refused = gatemeter::sys::bpf::load_classifier("wrong", c"Dual MIT/GPL", &program, &mut log).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "{refused}");
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("R0 !read_ok"), "{log}");
}

#[test]
fn maps_and_programs_go_by_their_names_in_the_kernel() {
    net::enter_namespaces();
    let accounting = open(16, None, Attach::Auto);
    for (direction, name) in [(Direction::In, PROGRAM_IN), (Direction::Out, PROGRAM_OUT)] {
        let fd = accounting.program(direction).as_raw_fd();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")).unwrap().trim().to_owned();
        let shown = net::run(&format!("bpftool prog show id {id}"));
        assert!(shown.contains(&format!("sched_cls  name {name}")), "{shown}");
        for map in shown.split_once("map_ids ").unwrap().1.split([',', ' ', '\n']).take_while(|id| !id.is_empty()) {
            let map = net::run(&format!("bpftool map show id {map}"));
            let named = [HOSTS4_NAME, HOSTS6_NAME, UNCOUNTED_NAME, CONFIG_NAME].iter().any(|name| map.contains(name));
            assert!(named, "{map}");
        }
    }
}
