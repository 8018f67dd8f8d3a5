//! The ELF object of the kernel program, bytes to programs and maps. No I/O.
//!
//! A reader of exactly what `bpf/build.sh` makes, and strict about it: a 64-bit relocatable file of either byte order
//! (elf(5)); classifiers as functions in the section `classifier`; maps as a table of `struct bpf_map_def` in `maps`;
//! zeroed global data in `.bss`, which is an array map of one entry; and of relocations the one kind that loads a map
//! or an address in global data. Whatever else a program refers to is an error, so nothing is left out in silence.
//! Type information is not read: the kernel needs none to run a classifier.

#![deny(clippy::indexing_slicing)]

use std::ffi::CStr;

use crate::bytes::{slice, take};
use crate::error::Malformed;

const PROGRAMS: &str = "classifier";
const MAPS: &str = "maps";
const DATA: &str = ".bss";
const LICENSE: &str = "license";

/// Machine of a file for the kernel's virtual machine (EM_BPF).
const MACHINE: u16 = 247;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
const RELOCATION_BYTES: usize = 16;
/// Types of sections: symbols, and relocations with and without an addend of their own.
const SYMTAB: u32 = 2;
const RELA: u32 = 4;
const REL: u32 = 9;
/// Types of symbols: a variable, a function.
const VARIABLE: u8 = 1;
const FUNCTION: u8 = 2;
/// Relocation of an instruction that loads 64 bits (R_BPF_64_64).
const LOAD: u32 = 1;

/// `struct bpf_map_def`: seven 32-bit words, of which the last two, id and pinning, are of no use here.
const MAP_BYTES: usize = 28;
const ARRAY: u32 = 2;

/// An instruction is 8 bytes: code, registers, offset (2), immediate (4). One that loads 64 bits takes two of them.
const INSTRUCTION_BYTES: usize = 8;
const LOAD_BYTES: usize = 16;
const LOAD_CODE: u8 = 0x18;
const REGISTERS: usize = 1;
const IMMEDIATE: usize = 4;
const SECOND_IMMEDIATE: usize = 12;
/// What the source register of a load says of its immediates: the descriptor of a map, or that and a place in the
/// map's first value.
const MAP_ITSELF: u8 = 1;
const MAP_VALUE: u8 = 2;

/// What an object holds.
#[derive(Debug)]
pub struct Object<'a> {
    /// The licence that the programs tell the kernel.
    pub license: &'a CStr,
    /// The maps that the programs share.
    pub maps: Vec<MapDef<'a>>,
    programs: Vec<Program<'a>>,
    big: bool,
}

/// A map, as the programs need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapDef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Map type (linux/bpf.h).
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries it takes.
    pub max_entries: u32,
    /// Creation flags.
    pub flags: u32,
}

#[derive(Debug)]
struct Program<'a> {
    name: &'a str,
    code: &'a [u8],
    loads: Vec<Load>,
}

/// An instruction that loads a map, or an address in a map's value.
#[derive(Debug)]
struct Load {
    /// Where in the program it starts, in bytes.
    at: usize,
    /// Which of the object's maps.
    map: usize,
    /// The byte of its registers: what is loaded, and where to.
    registers: u8,
    /// The place in the value.
    place: u32,
}

impl<'a> Object<'a> {
    /// Reads an object.
    pub fn parse(file: &'a [u8]) -> Result<Object<'a>, Malformed> {
        let elf = Elf::parse(file)?;
        let license = CStr::from_bytes_until_nul(elf.section(LICENSE)?.contents.bytes);
        let license = license.map_err(|_| Malformed::Value { what: "license", offset: 0 })?;
        Ok(Object { license, maps: elf.maps()?, programs: elf.programs()?, big: elf.big })
    }

    /// The instructions of a program, ready for a kernel that has made [`Object::maps`] under the descriptors `fds`;
    /// `None` if there is no such program, or too few descriptors.
    pub fn instructions(&self, name: &str, fds: &[i32]) -> Option<Vec<u8>> {
        let program = self.programs.iter().find(|program| program.name == name)?;
        let number = |number: u32| if self.big { number.to_be_bytes() } else { number.to_le_bytes() };
        let mut code = program.code.to_vec();
        for load in &program.loads {
            put(&mut code, load.at + REGISTERS, &[load.registers])?;
            put(&mut code, load.at + IMMEDIATE, &number(*fds.get(load.map)? as u32))?;
            put(&mut code, load.at + SECOND_IMMEDIATE, &number(load.place))?;
        }
        Some(code)
    }
}

fn put(code: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    code.get_mut(at..at + bytes.len()).map(|room| room.copy_from_slice(bytes))
}

/// Bytes with numbers in the file's order.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl<'a> Fields<'a> {
    fn u16(self, offset: usize, what: &'static str) -> Result<u16, Malformed> {
        let bytes = take(self.bytes, offset, what)?;
        Ok(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(self, offset: usize, what: &'static str) -> Result<u32, Malformed> {
        let bytes = take(self.bytes, offset, what)?;
        Ok(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A 64-bit size or offset.
    fn size(self, offset: usize, what: &'static str) -> Result<usize, Malformed> {
        let bytes = take(self.bytes, offset, what)?;
        let number = if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
        usize::try_from(number).map_err(|_| Malformed::Value { what, offset })
    }

    fn part(self, offset: usize, len: usize, what: &'static str) -> Result<Fields<'a>, Malformed> {
        slice(self.bytes, offset, len, what).map(|bytes| Fields { bytes, ..self })
    }

    /// The name that starts at `offset` and ends at the next NUL.
    fn name(self, offset: u32) -> Result<&'a str, Malformed> {
        let offset = offset as usize;
        let name = self.bytes.get(offset..).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
        name.and_then(|name| name.to_str().ok()).ok_or(Malformed::Value { what: "ELF name", offset })
    }

    fn records(self, size: usize) -> impl Iterator<Item = Fields<'a>> {
        self.bytes.chunks_exact(size).map(move |bytes| Fields { bytes, ..self })
    }
}

struct Section<'a> {
    /// Its number, by which symbols name it.
    number: usize,
    name: &'a str,
    kind: u32,
    /// What the file holds of it: nothing of zeroed data.
    contents: Fields<'a>,
    size: usize,
    /// For symbols the number of the section with their names.
    link: u32,
    /// For relocations the number of the section they change.
    info: u32,
}

/// A name for a place in a section.
struct Symbol<'a> {
    name: &'a str,
    kind: u8,
    section: usize,
    value: usize,
    size: usize,
}

/// The tables of a file.
struct Elf<'a> {
    big: bool,
    sections: Vec<Section<'a>>,
    symbols: Vec<Symbol<'a>>,
}

impl<'a> Elf<'a> {
    fn parse(file: &'a [u8]) -> Result<Elf<'a>, Malformed> {
        let big = match take(file, 0, "ELF identification")? {
            [0x7f, b'E', b'L', b'F', 2, 1, 1] => false,
            [0x7f, b'E', b'L', b'F', 2, 2, 1] => true,
            _ => return Err(Malformed::Value { what: "ELF identification", offset: 0 }),
        };
        let file = Fields { bytes: file, big };
        if file.u16(18, "ELF machine")? != MACHINE {
            return Err(Malformed::Value { what: "ELF machine", offset: 18 });
        }
        let count = usize::from(file.u16(60, "number of ELF sections")?);
        let headers = file.part(file.size(40, "ELF sections")?, count * SECTION_BYTES, "ELF sections")?;
        let names = usize::from(file.u16(62, "ELF section of names")?);
        let names = contents(file, headers.part(names * SECTION_BYTES, SECTION_BYTES, "ELF section of names")?)?;
        let mut elf = Elf { big, sections: Vec::with_capacity(count), symbols: Vec::new() };
        for (number, header) in headers.records(SECTION_BYTES).enumerate() {
            elf.sections.push(Section {
                number,
                name: names.name(header.u32(0, "name of an ELF section")?)?,
                kind: header.u32(4, "type of an ELF section")?,
                contents: contents(file, header)?,
                size: header.size(32, "size of an ELF section")?,
                link: header.u32(40, "link of an ELF section")?,
                info: header.u32(44, "link of an ELF section")?,
            });
        }
        elf.symbols = elf.symbols()?;
        Ok(elf)
    }

    fn symbols(&self) -> Result<Vec<Symbol<'a>>, Malformed> {
        let mut symbols = Vec::new();
        let table = self.sections.iter().find(|section| section.kind == SYMTAB);
        let names = table.and_then(|table| self.sections.get(table.link as usize));
        let (Some(table), Some(names)) = (table, names) else {
            return Err(Malformed::Value { what: "ELF symbols", offset: 0 });
        };
        for symbol in table.contents.records(SYMBOL_BYTES) {
            let [info] = take(symbol.bytes, 4, "type of an ELF symbol")?;
            symbols.push(Symbol {
                name: names.contents.name(symbol.u32(0, "name of an ELF symbol")?)?,
                kind: info & 15,
                section: symbol.u16(6, "section of an ELF symbol")?.into(),
                value: symbol.size(8, "value of an ELF symbol")?,
                size: symbol.size(16, "size of an ELF symbol")?,
            });
        }
        Ok(symbols)
    }

    fn find(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }

    fn section(&self, name: &'static str) -> Result<&Section<'a>, Malformed> {
        self.find(name).ok_or(Malformed::Value { what: name, offset: 0 })
    }

    fn symbols_in(&self, section: &Section<'_>, kind: u8) -> impl Iterator<Item = &Symbol<'a>> {
        let number = section.number;
        self.symbols.iter().filter(move |symbol| symbol.kind == kind && symbol.section == number)
    }

    /// The maps in the order of their table, and global data as the last one.
    fn maps(&self) -> Result<Vec<MapDef<'a>>, Malformed> {
        let mut maps = Vec::new();
        let table = self.section(MAPS)?;
        if table.contents.bytes.len() % MAP_BYTES != 0 {
            return Err(Malformed::Value { what: "definitions of maps", offset: table.contents.bytes.len() });
        }
        for (index, map) in table.contents.records(MAP_BYTES).enumerate() {
            let at = index * MAP_BYTES;
            let symbol = self.symbols_in(table, VARIABLE).find(|symbol| symbol.value == at);
            let symbol = symbol.ok_or(Malformed::Value { what: "name of a map", offset: at })?;
            maps.push(MapDef {
                name: symbol.name,
                kind: map.u32(0, "type of a map")?,
                key_size: map.u32(4, "key size of a map")?,
                value_size: map.u32(8, "value size of a map")?,
                max_entries: map.u32(12, "entries of a map")?,
                flags: map.u32(16, "flags of a map")?,
            });
        }
        if let Some(data) = self.find(DATA) {
            let value_size = data.size as u32;
            maps.push(MapDef { name: DATA, kind: ARRAY, key_size: 4, value_size, max_entries: 1, flags: 0 });
        }
        Ok(maps)
    }

    fn programs(&self) -> Result<Vec<Program<'a>>, Malformed> {
        let mut programs = Vec::new();
        let section = self.section(PROGRAMS)?;
        let changes = |kind| {
            let about = move |other: &&Section<'_>| other.kind == kind && other.info as usize == section.number;
            self.sections.iter().find(about)
        };
        if changes(RELA).is_some() {
            return Err(Malformed::Value { what: "type of relocations", offset: 0 });
        }
        for symbol in self.symbols_in(section, FUNCTION) {
            let code = section.contents.part(symbol.value, symbol.size, "program")?;
            if code.bytes.len() % INSTRUCTION_BYTES != 0 {
                return Err(Malformed::Value { what: "length of a program", offset: symbol.value });
            }
            let mut program = Program { name: symbol.name, code: code.bytes, loads: Vec::new() };
            for relocation in changes(REL).iter().flat_map(|section| section.contents.records(RELOCATION_BYTES)) {
                let at = relocation.size(0, "offset of a relocation")?;
                if let Some(at) = at.checked_sub(symbol.value).filter(|at| *at < symbol.size) {
                    program.loads.push(self.load(relocation, code, at)?);
                }
            }
            programs.push(program);
        }
        Ok(programs)
    }

    /// What the instruction at `at` of a program loads.
    fn load(&self, relocation: Fields<'_>, code: Fields<'_>, at: usize) -> Result<Load, Malformed> {
        let bad = |what| Malformed::Value { what, offset: at };
        // 64 bits: the number of the symbol above the type.
        let (kind, symbol) = if self.big { (12, 8) } else { (8, 12) };
        if !at.is_multiple_of(INSTRUCTION_BYTES) {
            return Err(bad("offset of a relocation"));
        }
        let instruction = code.part(at, LOAD_BYTES, "instruction to relocate")?;
        let [op, registers] = take(instruction.bytes, 0, "instruction to relocate")?;
        if relocation.u32(kind, "type of a relocation")? != LOAD || op != LOAD_CODE {
            return Err(bad("type of a relocation"));
        }
        let addend = instruction.u32(IMMEDIATE, "addend of a relocation")?;
        let symbol = relocation.u32(symbol, "symbol of a relocation")?;
        let symbol = self.symbols.get(symbol as usize).ok_or(bad("symbol of a relocation"))?;
        let table = self.section(MAPS)?;
        let count = table.size / MAP_BYTES;
        let (map, place, source) = if symbol.section == table.number && symbol.value % MAP_BYTES == 0 && addend == 0 {
            (symbol.value / MAP_BYTES, 0, MAP_ITSELF)
        } else if self.find(DATA).is_some_and(|data| data.number == symbol.section) {
            let place = addend.checked_add(symbol.value as u32).ok_or(bad("addend of a relocation"))?;
            (count, place, MAP_VALUE)
        } else {
            return Err(bad("target of a relocation"));
        };
        let registers = if self.big { registers & 0xf0 | source } else { registers & 0x0f | source << 4 };
        Ok(Load { at, map, registers, place })
    }
}

fn contents<'a>(file: Fields<'a>, header: Fields<'_>) -> Result<Fields<'a>, Malformed> {
    /// Type of a section that is all zeroes, of which the file holds nothing.
    const NOBITS: u32 = 8;
    let size = match header.u32(4, "type of an ELF section")? {
        NOBITS => 0,
        _ => header.size(32, "size of an ELF section")?,
    };
    file.part(header.size(24, "offset of an ELF section")?, size, "ELF section")
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
mod tests {
    use super::*;

    const LITTLE: &[u8] = include_bytes!("../../../bpf/gatemeter.bpfel.o");
    const BIG: &[u8] = include_bytes!("../../../bpf/gatemeter.bpfeb.o");

    #[test]
    fn both_byte_orders_hold_the_same_maps() {
        let (little, big) = (Object::parse(LITTLE).unwrap(), Object::parse(BIG).unwrap());
        assert_eq!(little.license, c"Dual MIT/GPL");
        assert_eq!(little.license, big.license);
        assert_eq!(little.maps, big.maps);
        let names: Vec<_> = little.maps.iter().map(|map| map.name).collect();
        assert_eq!(names, ["gm_hosts4", "gm_hosts6", "gm_uncounted", ".bss"]);
    }

    #[test]
    fn a_load_gets_the_descriptor_of_its_map_and_keeps_its_register() {
        for (file, big) in [(LITTLE, false), (BIG, true)] {
            let object = Object::parse(file).unwrap();
            let linked = object.instructions("gatemeter_add", &[101, 102, 103, 104]).unwrap();
            let raw = object.programs.iter().find(|program| program.name == "gatemeter_add").unwrap().code;
            let changed: Vec<_> = raw.chunks(8).zip(linked.chunks(8)).filter(|(raw, linked)| raw != linked).collect();
            assert!(!changed.is_empty());
            for (raw, linked) in changed {
                let number = linked[4..].try_into().unwrap();
                let fd = if big { i32::from_be_bytes(number) } else { i32::from_le_bytes(number) };
                let (to, from) = if big { (0xf0, 0x01) } else { (0x0f, 0x10) };
                assert!(linked[0] == LOAD_CODE && (101..=103).contains(&fd), "{raw:?} {linked:?}");
                assert_eq!((linked[1] & to, linked[1] & !to), (raw[1] & to, from), "{raw:?} {linked:?}");
            }
        }
    }

    #[test]
    fn a_program_or_a_descriptor_that_is_not_there_is_told() {
        let object = Object::parse(LITTLE).unwrap();
        assert_eq!(object.instructions("gatemeter_none", &[1, 2, 3, 4]), None);
        assert_eq!(object.instructions("gatemeter_in", &[1, 2, 3]), None);
    }

    #[test]
    fn a_file_cut_short_anywhere_is_an_error() {
        for len in 0..LITTLE.len() {
            assert!(Object::parse(&LITTLE[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_broken_byte_anywhere_is_no_panic() {
        let mut file = LITTLE.to_vec();
        let code = Elf::parse(LITTLE).unwrap().section(PROGRAMS).unwrap().contents.bytes.as_ptr_range();
        // The instructions in between are for the kernel to judge.
        for at in (0..file.len()).filter(|at| !code.contains(&LITTLE.as_ptr().wrapping_add(*at))) {
            file[at] ^= 0xff;
            if let Ok(object) = Object::parse(&file) {
                let _ = object.instructions("gatemeter_in", &[1, 2, 3, 4]);
            }
            file[at] ^= 0xff;
        }
    }

    #[test]
    fn a_program_is_whole_instructions() {
        let file = include_bytes!("../../../fuzz/corpus/object/half-an-instruction");
        let error = Object::parse(file).unwrap_err().to_string();
        assert!(error.starts_with("length of a program"), "{error}");
    }

    #[test]
    fn what_no_program_of_ours_refers_to_is_refused() {
        // The first relocation of the programs, moved to another symbol: `memcpy`, a function.
        let mut file = LITTLE.to_vec();
        let elf = Elf::parse(LITTLE).unwrap();
        let relocations = elf.section(".relclassifier").unwrap().contents.bytes;
        let at = LITTLE.windows(relocations.len()).position(|window| window == relocations).unwrap();
        let memcpy = elf.symbols.iter().position(|symbol| symbol.name == "memcpy").unwrap();
        file[at + 12] = memcpy as u8;
        let error = Object::parse(&file).unwrap_err().to_string();
        assert!(error.starts_with("target of a relocation"), "{error}");
        // And of another kind: a call.
        file[at + 8] = 10;
        let error = Object::parse(&file).unwrap_err().to_string();
        assert!(error.starts_with("type of a relocation"), "{error}");
    }
}
