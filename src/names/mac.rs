//! Ethernet addresses, compared as six bytes: programs write them in upper case, in lower case, unpadded, with
//! colons, hyphens, dots or nothing in between, and a comparison of text would miss most of them.

use std::fmt;
use std::str::FromStr;

/// A 48-bit MAC address, first byte on the wire first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text that is no MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAMac;

impl Mac {
    /// Whether the address was made up by its owner (bit 1 of the first byte), as phones do for privacy: its first
    /// three bytes then name no vendor.
    pub const fn is_locally_administered(&self) -> bool {
        self.0[0] & 2 != 0
    }

    /// Whether the address stands for many stations (bit 0 of the first byte), broadcast included.
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    /// Takes `aa:bb:cc:dd:ee:ff` and `aa-bb-cc-dd-ee-ff`, zeroes in front left out or not, `aabb.ccdd.eeff` and
    /// `aabbccddeeff`, in any case.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        if let Some(separator) = text.chars().find(|c| matches!(c, ':' | '-')) {
            let mut groups = text.split(separator);
            for byte in &mut bytes {
                let group = groups.next().filter(|group| is_hex(group, 1, 2)).ok_or(NotAMac)?;
                *byte = u8::from_str_radix(group, 16).map_err(|_| NotAMac)?;
            }
            return if groups.next().is_none() { Ok(Mac(bytes)) } else { Err(NotAMac) };
        }
        let mut digits = [""; 3];
        if text.contains('.') {
            let mut groups = text.split('.');
            for group in &mut digits {
                *group = groups.next().filter(|group| is_hex(group, 4, 4)).ok_or(NotAMac)?;
            }
            if groups.next().is_some() {
                return Err(NotAMac);
            }
        } else if is_hex(text, 12, 12) {
            digits[0] = text;
        } else {
            return Err(NotAMac);
        }
        let mut digits = digits.iter().flat_map(|group| group.chars()).filter_map(|c| c.to_digit(16));
        for byte in &mut bytes {
            let (Some(high), Some(low)) = (digits.next(), digits.next()) else { return Err(NotAMac) };
            *byte = u8::try_from(high << 4 | low).map_err(|_| NotAMac)?;
        }
        Ok(Mac(bytes))
    }
}

/// Whether the text is `least` to `most` hexadecimal digits; a sign, which number parsing would take, is none.
pub(super) fn is_hex(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for Mac {
    /// Upper case with colons, as OpenWrt's own exporters write it: `AA:BB:CC:DD:EE:FF`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Display for NotAMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address, expected six bytes such as AA:BB:CC:DD:EE:FF")
    }
}

impl std::error::Error for NotAMac {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_is_the_same_address() {
        let mac = Mac([0x0a, 0x0b, 0x0c, 0x01, 0x02, 0xff]);
        for text in [
            "0A:0B:0C:01:02:FF",
            "0a:0b:0c:01:02:ff",
            "a:b:c:1:2:fF",
            "0a-0b-0c-01-02-ff",
            "0a0b.0c01.02ff",
            "0A0b0c0102fF",
        ] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "0A:0B:0C:01:02:FF");
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in [
            "",
            ":",
            "0a:0b:0c:01:02",
            "0a:0b:0c:01:02:ff:00",
            "20-0a:0b:0c:01:02:ff",
            "0a:0b-0c:01:02:ff",
            "0a:0b:0c:01:02:",
            "+a:0b:0c:01:02:ff",
            "0a:0b:0c:01:02:fff",
            "0a:0b:0c:01:02:fg",
            "a0b.0c01.02ff",
            "0a0b.0c01.02ff.",
            "0a0b0c0102f",
            "0a0b0c0102ff0",
            "*:0b:0c:01:02:ff",
            "0a0b0c0102é",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }

    #[test]
    fn a_made_up_address_and_a_group_are_told_apart_by_their_bits() {
        let made_up: Mac = "da:a1:19:00:00:01".parse().unwrap();
        assert!(made_up.is_locally_administered() && !made_up.is_multicast());
        let group: Mac = "01:00:5e:00:00:fb".parse().unwrap();
        assert!(group.is_multicast() && !group.is_locally_administered());
    }
}
