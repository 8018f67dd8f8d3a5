//! Programs to compare ours with, by hand, in the instructions of linux/bpf.h: the least that can be called accounting, and
//! one that looks up what mezoura looks up, in maps of the types it has. Both know IPv4 only.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use gatemeter::sys::bpf::{Map, possible_cpus};

use crate::bpf;

const HASH: u32 = 1;
const PERCPU_HASH: u32 = 5;
const LPM_TRIE: u32 = 11;
const NO_PREALLOC: u32 = 1;
/// Offsets in a frame and in struct __sk_buff.
const SOURCE: i16 = 26;
const DESTINATION: i16 = 30;
const ETHERTYPE: i16 = 12;
const LEN: i16 = 0;
const DATA: i16 = 76;
const DATA_END: i16 = 80;

/// Instructions; jumps name the label they go to.
#[derive(Default)]
struct Code {
    instructions: Vec<(u8, u8, u8, i16, i32)>,
    jumps: Vec<(usize, &'static str)>,
    labels: Vec<(usize, &'static str)>,
}

impl Code {
    fn put(&mut self, op: u8, to: u8, from: u8, offset: i16, value: i32) {
        self.instructions.push((op, to, from, offset, value));
    }

    fn jump(&mut self, op: u8, to: u8, from: u8, value: i32, label: &'static str) {
        self.jumps.push((self.instructions.len(), label));
        self.put(op, to, from, 0, value);
    }

    fn label(&mut self, label: &'static str) {
        self.labels.push((self.instructions.len(), label));
    }

    /// r6 = the packet, r9 = its data, of which 34 bytes are there and are IPv4; else it goes to `out`.
    fn begin(&mut self) {
        self.put(0xbf, 6, 1, 0, 0); //          r6 = r1
        self.put(0x61, 9, 1, DATA, 0); //       r9 = data
        self.put(0x61, 3, 1, DATA_END, 0); //   r3 = data_end
        self.put(0xbf, 4, 9, 0, 0); //          r4 = r9
        self.put(0x07, 4, 0, 0, 34); //         r4 += 34
        self.jump(0x2d, 4, 3, 0, "out"); //     if r4 > r3
        self.put(0x69, 4, 9, ETHERTYPE, 0); //  r4 = EtherType
        let ipv4 = i32::from(u16::from_ne_bytes([8, 0]));
        self.jump(0x55, 4, 0, ipv4, "out"); //  if r4 != IPv4
    }

    /// r0 = what `map` has for the key at `offset` of the stack, or 0.
    fn look_up(&mut self, map: i32, offset: i32) {
        self.put(0xbf, 2, 10, 0, 0); //         r2 = r10
        self.put(0x07, 2, 0, 0, offset); //     r2 += offset
        self.put(0x18, 1, 1, 0, map); //        r1 = map
        self.put(0, 0, 0, 0, 0);
        self.put(0x85, 0, 0, 0, 1); //          call bpf_map_lookup_elem
    }

    /// r0 = the answer of a trie for the address in a register.
    fn look_up_prefix(&mut self, map: i32, address: u8) {
        self.put(0x62, 10, 0, -8, 32); //       prefix length
        self.put(0x63, 10, address, -4, 0); //  address
        self.look_up(map, -8);
    }

    fn end(mut self) -> OwnedFd {
        self.label("out");
        self.put(0xb7, 0, 0, 0, -1); //         r0 = TC_ACT_UNSPEC
        self.put(0x95, 0, 0, 0, 0); //          exit
        for (at, name) in self.jumps {
            let (target, _) = self.labels.iter().find(|(_, label)| *label == name).unwrap();
            self.instructions[at].3 = (target - at - 1) as i16;
        }
        let mut bytes = Vec::new();
        for (op, to, from, offset, value) in self.instructions {
            bytes.push(op);
            bytes.push(if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to });
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
        }
        bpf::load(&bytes, 0).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// One constant subnet (the first frame's /8), one look-up by address in a per-CPU table that holds all hosts of `frames`,
/// two adds. The LAN host is the source of what goes up.
pub fn sketch(up: bool, frames: &[Vec<u8>]) -> (OwnedFd, Map) {
    let at = if up { SOURCE } else { DESTINATION };
    let table = bpf::map(PERCPU_HASH, 4, 32, 1024, 0);
    let fd = table.as_raw_fd();
    let cpus = possible_cpus().unwrap();
    let map = Map::new(table, cpus).unwrap();
    let offset = at as usize;
    for frame in frames {
        let _ = map.update(&frame[offset..offset + 4], &vec![0; 32 * cpus], 0);
    }
    let mask = u32::from_ne_bytes([255, 0, 0, 0]);
    let subnet = u32::from_ne_bytes([frames[0][offset], 0, 0, 0]);
    let mut code = Code::default();
    code.begin();
    code.put(0x61, 5, 9, at, 0); //             r5 = address
    code.put(0xbf, 4, 5, 0, 0); //              r4 = r5
    code.put(0x54, 4, 0, 0, mask as i32); //    w4 &= mask
    code.jump(0x56, 4, 0, subnet as i32, "out"); // if w4 != subnet
    code.put(0x63, 10, 5, -4, 0); //            key = r5
    code.look_up(fd, -4);
    code.jump(0x15, 0, 0, 0, "out"); //         if r0 == 0
    code.put(0x61, 1, 6, LEN, 0); //            r1 = len
    code.put(0x79, 2, 0, 0, 0); //              r2 = bytes
    code.put(0x0f, 2, 1, 0, 0); //              r2 += r1
    code.put(0x7b, 0, 2, 0, 0); //              bytes = r2
    code.put(0x79, 2, 0, 8, 0); //              r2 = packets
    code.put(0x07, 2, 0, 0, 1); //              r2 += 1
    code.put(0x7b, 0, 2, 8, 0); //              packets = r2
    (code.end(), map)
}

/// Mezoura's way: is the destination in the LAN's trie and the source in none of the private ranges'? Else, is it the other
/// way round? Then one look-up in a table that all cores share, the hardware address written, two adds. The same program
/// for both directions, as it is there.
pub fn mezoura(up: bool, frames: &[Vec<u8>]) -> (OwnedFd, [Map; 3]) {
    let trie = |prefixes: &[(Ipv4Addr, u32)]| {
        let map = Map::new(bpf::map(LPM_TRIE, 8, 4, 16, NO_PREALLOC), 1).unwrap();
        for (ip, length) in prefixes {
            let key = [length.to_ne_bytes(), ip.octets()].concat();
            map.update(&key, &[1, 0, 0, 0], 0).unwrap();
        }
        map
    };
    let private = trie(&[([10, 0, 0, 0].into(), 8), ([172, 16, 0, 0].into(), 12), ([192, 168, 0, 0].into(), 16)]);
    let valid = trie(&[([192, 168, 1, 0].into(), 24), ([10, 0, 0, 0].into(), 8)]);
    let stats = Map::new(bpf::map(HASH, 4, 40, 1024, 0), 1).unwrap();
    let at = if up { SOURCE } else { DESTINATION } as usize;
    for frame in frames {
        let _ = stats.update(&frame[at..at + 4], &[0; 40], 0);
    }
    let fds = [&private, &valid, &stats].map(|map| map.fd().as_raw_fd());
    let mut code = Code::default();
    code.begin();
    code.put(0x61, 7, 9, SOURCE, 0); //         r7 = source
    code.put(0x61, 8, 9, DESTINATION, 0); //    r8 = destination
    code.look_up_prefix(fds[1], 8);
    code.jump(0x15, 0, 0, 0, "up"); //          if r0 == 0
    code.look_up_prefix(fds[0], 7);
    code.jump(0x55, 0, 0, 0, "up"); //          if r0 != 0
    code.put(0x63, 10, 8, -4, 0); //            key = destination
    code.look_up(fds[2], -4);
    code.jump(0x15, 0, 0, 0, "out"); //         if r0 == 0
    count(&mut code, 0, [8, 24]);
    code.jump(0x05, 0, 0, 0, "out"); //         goto
    code.label("up");
    code.look_up_prefix(fds[1], 7);
    code.jump(0x15, 0, 0, 0, "out"); //         if r0 == 0
    code.look_up_prefix(fds[0], 8);
    code.jump(0x55, 0, 0, 0, "out"); //         if r0 != 0
    code.put(0x63, 10, 7, -4, 0); //            key = source
    code.look_up(fds[2], -4);
    code.jump(0x15, 0, 0, 0, "out"); //         if r0 == 0
    count(&mut code, 6, [16, 32]);
    (code.end(), [private, valid, stats])
}

/// Writes the hardware address that is at `mac` of the frame to the entry r0, and adds to its counters.
fn count(code: &mut Code, mac: i16, [bytes, packets]: [i16; 2]) {
    for (op, store, at) in [(0x61, 0x63, 0), (0x69, 0x6b, 4)] {
        code.put(op, 1, 9, mac + at, 0);
        code.put(store, 0, 1, at, 0);
    }
    code.put(0x61, 1, 6, LEN, 0); //            r1 = len
    code.put(0xdb, 0, 1, bytes, 0); //          lock *(r0 + bytes) += r1
    code.put(0xb7, 1, 0, 0, 1); //              r1 = 1
    code.put(0xdb, 0, 1, packets, 0); //        lock *(r0 + packets) += r1
}
