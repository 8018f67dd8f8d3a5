//! The file of the name cache, text to records and back.
//!
//! Behind the line [`HEADER`] each line is one client, the one seen last first:
//!
//! ```text
//! 3C:22:FB:10:20:30 living%20room 192.168.1.20 fd12:3456::20
//! F4:F2:6D:01:02:03 printer dns 192.168.1.21
//! - nas 10.9.0.2
//! ```
//! its MAC address or `-`, its name, `dns` if reverse DNS gave it, and its addresses. In a name, white space, control
//! characters, `%` and `|` stand as percent signs with two hexadecimal digits for each byte. A line without an end is
//! one that was cut off, and not used. Nothing here changes with time alone, so what stays the same is not written
//! again.
//!
//! Without that header, the lines are those of network-metrics-exporter: `IP|name`, `MAC|name`, or
//! `MAC|name|source|time|IP`, and comments that start with `#`.

#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::names::mac::Mac;
use crate::names::table;
use crate::names::unread::Unread;

/// First line of our own format.
pub const HEADER: &str = "# gatemeter names 1";

/// Most bytes that are written, and read; the clients seen longest ago are left out.
pub const MAX_SIZE: usize = 256 * 1024;

/// Most addresses of one client.
pub const MAX_ADDRS: usize = 8;

/// What is kept of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its hardware address; without one it is known by its only address.
    pub mac: Option<Mac>,
    /// Its name, fit to be kept: see [`table::clean`].
    pub name: Cow<'a, str>,
    /// Whether the name comes from reverse DNS, which is asked again.
    pub from_dns: bool,
    /// Its addresses, [`MAX_ADDRS`] at most.
    pub addrs: Vec<IpAddr>,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Whose format it is in.
    pub format: Format,
    /// Lines that were left out.
    pub unread: Unread,
}

/// The formats of a cache file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Ours.
    Own,
    /// That of network-metrics-exporter, or remains in which nothing can be told.
    Other,
    /// Text, but no line of it is one of a name cache: somebody's file, given by mistake.
    Foreign,
}

/// Writes the records, in this order, as long as there is room.
pub fn encode<'a>(records: impl Iterator<Item = Record<'a>>) -> String {
    let mut out = format!("{HEADER}\n");
    for record in records {
        let start = out.len();
        match record.mac {
            Some(mac) => _ = write!(out, "{mac} "),
            None => out.push_str("- "),
        }
        escape(&record.name, &mut out);
        if record.from_dns {
            out.push_str(" dns");
        }
        for addr in record.addrs.iter().take(MAX_ADDRS) {
            _ = write!(out, " {addr}");
        }
        out.push('\n');
        if out.len() > MAX_SIZE {
            out.truncate(start);
            break;
        }
    }
    out
}

/// Calls `each` for every record in the text of a file.
pub fn parse<'a>(text: &'a str, mut each: impl FnMut(Record<'a>)) -> Reading {
    let own = text.lines().next() == Some(HEADER);
    let (mut unread, mut read) = (Unread::default(), 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let whole = line.ends_with('\n');
        let line = line.trim_ascii_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = match own {
            true if whole => own_line(line).map(Some),
            true => None,
            false => peer_line(line),
        };
        match parsed {
            Some(record) => {
                read += 1;
                record.into_iter().for_each(&mut each);
            }
            None => unread.add(number + 1),
        }
    }
    let is_text = !text.contains(|c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && !c.is_whitespace()));
    let format = match own {
        true => Format::Own,
        false if read == 0 && unread.lines > 0 && is_text => Format::Foreign,
        false => Format::Other,
    };
    Reading { format, unread }
}

fn own_line(line: &str) -> Option<Record<'_>> {
    let mut fields = line.split(' ');
    let mac = match fields.next()? {
        "-" => None,
        mac => Some(mac.parse().ok()?),
    };
    let name = fit(unescape(fields.next()?)?)?;
    let mut fields = fields.peekable();
    let from_dns = fields.next_if_eq(&"dns").is_some();
    let mut addrs = Vec::new();
    for field in fields {
        let addr = field.parse().ok()?;
        if addrs.len() < MAX_ADDRS {
            addrs.push(addr);
        }
    }
    // Without a MAC the address is all that tells whose name it is.
    (mac.is_some() || addrs.len() == 1).then_some(Record { mac, name, from_dns, addrs })
}

/// `None` for a line in no known format, `Some(None)` for one that names nobody.
fn peer_line(line: &str) -> Option<Option<Record<'_>>> {
    let (first, rest) = line.split_once('|')?;
    if let Ok(addr) = first.parse() {
        // The name may have the separator in it.
        return Some(named(None, rest, "", vec![addr]));
    }
    let mac = first.parse().ok()?;
    let mut fields = rest.rsplitn(4, '|');
    let whole = match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(addr), Some(time), Some(source), Some(name)) if time.starts_with(|c: char| c.is_ascii_digit()) => {
            Some((name, source, addr))
        }
        _ => None,
    };
    match whole {
        Some((name, source, addr)) => Some(named(Some(mac), name, source, addr.parse().into_iter().collect())),
        None => Some(named(Some(mac), rest, "", Vec::new())),
    }
}

fn named<'a>(mac: Option<Mac>, name: &'a str, source: &str, addrs: Vec<IpAddr>) -> Option<Record<'a>> {
    // Both are that program's own words for a client without a name.
    if name == "unknown" || source == "fallback" {
        return None;
    }
    Some(Record { mac, name: fit(Cow::Borrowed(name))?, from_dns: source == "dns", addrs })
}

/// The name as it may be kept; a file may have been changed by anyone.
fn fit(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let clean = table::clean(&name)?;
    if *clean == *name { Some(name) } else { Some(Cow::Owned(clean.as_ref().to_owned())) }
}

fn escape(name: &str, out: &mut String) {
    let mut bytes = [0; 4];
    for c in name.chars() {
        if !(c.is_whitespace() || c.is_control() || matches!(c, '%' | '|')) {
            out.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut bytes).bytes() {
            _ = write!(out, "%{byte:02X}");
        }
    }
}

/// `None` if a percent sign is not followed by two hexadecimal digits; bytes that are not UTF-8 are replaced.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(left.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit()?, digit()?);
        bytes.push(high << 4 | low);
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(mac: &str, name: &'a str, from_dns: bool, addrs: &[&str]) -> Record<'a> {
        let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        Record { mac: mac.parse().ok(), name: name.into(), from_dns, addrs }
    }

    fn read(text: &str) -> (Vec<Record<'_>>, Reading) {
        let mut records = Vec::new();
        let reading = parse(text, |record| records.push(record));
        (records, reading)
    }

    fn unread(first: usize, lines: usize) -> Unread {
        Unread { lines, first }
    }

    const MAC: &str = "3c:22:fb:10:20:30";

    #[test]
    fn clients_are_written_as_the_documentation_shows_them() {
        let records = [
            record(MAC, "living room", false, &["192.168.1.20", "fd12:3456::20"]),
            record("f4:f2:6d:01:02:03", "printer", true, &["192.168.1.21"]),
            record("-", "nas", false, &["10.9.0.2"]),
            record("00:00:00:00:00:01", "nowhere", false, &[]),
        ];
        let text = "# gatemeter names 1\n\
                    3C:22:FB:10:20:30 living%20room 192.168.1.20 fd12:3456::20\n\
                    F4:F2:6D:01:02:03 printer dns 192.168.1.21\n\
                    - nas 10.9.0.2\n\
                    00:00:00:00:00:01 nowhere\n";
        assert_eq!(encode(records.iter().cloned()), text);
        assert_eq!(read(text), (records.to_vec(), Reading { format: Format::Own, unread: unread(0, 0) }));
    }

    #[test]
    fn any_name_survives_the_file() {
        let cut = "x".repeat(table::MAX_NAME);
        for name in [
            "a b",
            " ",
            "%",
            "%20",
            "a|b",
            "|",
            "\u{2028}",
            "\u{a0}x",
            "dns",
            "- ",
            "#1",
            "é\u{fffd}",
            "a\\n",
            "..",
            "\"{}\"",
            "192.168.1.1",
            &cut,
            "日本 語",
        ] {
            let records = [record(MAC, name, false, &["192.168.1.20"]), record("-", name, true, &["::1"])];
            let text = encode(records.iter().cloned());
            assert_eq!(text.lines().count(), 3, "{text}");
            assert_eq!(read(&text).0, records, "{text}");
        }
    }

    #[test]
    fn an_unfit_name_in_the_file_is_made_fit() {
        let text = format!("{HEADER}\n{MAC} a%0Ab%1B%FF 10.0.0.1\n{MAC} {}\n", "x".repeat(300));
        let names: Vec<_> = read(&text).0.iter().map(|record| record.name.to_string()).collect();
        assert_eq!(names, ["a\u{fffd}b\u{fffd}\u{fffd}", &"x".repeat(table::MAX_NAME)]);
    }

    #[test]
    fn a_line_that_was_cut_off_is_not_used() {
        let text = encode([record(MAC, "tv", false, &["10.0.0.12"])].into_iter());
        for end in HEADER.len()..text.len() - 1 {
            let (records, reading) = read(&text[..end]);
            assert_eq!(records, []);
            assert_eq!(reading.unread.lines, usize::from(end > HEADER.len() + 1), "{end}");
        }
    }

    #[test]
    fn malformed_lines_are_counted_and_the_rest_is_used() {
        let text = format!(
            "{HEADER}\n\n# comment\nfoo bar\n{MAC} tv 10.0.0.1\n{MAC}\n{MAC} - 10.0.0.1\n{MAC} tv 10.0.0\n- tv\n\
             - tv 10.0.0.1 10.0.0.2\n{MAC} %2\n{MAC} %zz\n{MAC}  10.0.0.1\n10.0.0.1|peer\n- radio 10.0.0.2\n"
        );
        let (records, reading) = read(&text);
        let expected = [record(MAC, "tv", false, &["10.0.0.1"]), record("-", "radio", false, &["10.0.0.2"])];
        assert_eq!(records, expected);
        assert_eq!(reading, Reading { format: Format::Own, unread: unread(4, 10) });
    }

    #[test]
    fn the_first_peers_cache_is_read_names_with_bars_included() {
        let text = "192.168.10.20|nas\n192.168.10.21|a|b\n192.168.10.22|unknown\n192.168.10.23|\n192.168.10.24|tv";
        let (records, reading) = read(text);
        let expected = [
            record("-", "nas", false, &["192.168.10.20"]),
            record("-", "a|b", false, &["192.168.10.21"]),
            record("-", "tv", false, &["192.168.10.24"]),
        ];
        assert_eq!(records, expected);
        assert_eq!(reading, Reading { format: Format::Other, unread: unread(0, 0) });
    }

    #[test]
    fn the_later_peers_cache_is_read_without_the_names_it_made_up() {
        let text = "# Client name cache\n# Format: MAC|Hostname|Source|Timestamp|LastSeenIP\n\
                    3c:22:fb:10:20:30|laptop|kea-leases|2025-10-01T12:00:00Z|10.1.1.20\n\
                    3c:22:fb:10:20:31|hall|way|dns|2025-10-01T12:00:00+02:00|10.1.1.21\n\
                    3c:22:fb:10:20:32|device-2032|fallback|2025-10-01T12:00:00Z|10.1.1.22\n\
                    3c:22:fb:10:20:33|tv|ssdp|1759320000|\n\
                    3c:22:fb:10:20:34|plain\nnonsense\n";
        let (records, reading) = read(text);
        let expected = [
            record("3c:22:fb:10:20:30", "laptop", false, &["10.1.1.20"]),
            record("3c:22:fb:10:20:31", "hall|way", true, &["10.1.1.21"]),
            record("3c:22:fb:10:20:33", "tv", false, &[]),
            record("3c:22:fb:10:20:34", "plain", false, &[]),
        ];
        assert_eq!(records, expected);
        assert_eq!(reading, Reading { format: Format::Other, unread: unread(8, 1) });
    }

    #[test]
    fn somebodys_text_file_is_told_from_remains_of_a_cache() {
        let format = |text: &str| read(text).1.format;
        assert_eq!(format("127.0.0.1\tlocalhost\n"), Format::Foreign);
        assert_eq!(format("3c:22:fb:10:20:30 printer\n"), Format::Foreign);
        assert_eq!(format("\0\0\0\0"), Format::Other);
        assert_eq!(format("\u{fffd}\u{fffd} |\n"), Format::Other);
        assert_eq!(format(""), Format::Other);
        assert_eq!(format("# gatemeter na"), Format::Other);
    }

    #[test]
    fn what_does_not_fit_is_left_out_by_whole_lines() {
        let name = "x".repeat(table::MAX_NAME);
        let records = (0..2000).map(|_| record(MAC, &name, false, &["10.0.0.1"]));
        let text = encode(records);
        assert!(text.len() <= MAX_SIZE && text.len() > MAX_SIZE - 300);
        assert_eq!(read(&text).1.unread, unread(0, 0));
    }
}
