//! Names of hosts as people write them, checked.

#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::sync::Arc;

/// Longest name, without a dot at its end (RFC 1035, 2.3.4: 255 bytes on the wire).
const MAX_NAME: usize = 253;
/// Longest part between dots.
const MAX_LABEL: usize = 63;

/// The name of a host, in lower case. A copy costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName {
    /// With its final dot, if it was written with one.
    text: Arc<str>,
}

impl HostName {
    /// Takes labels of letters, digits, `-` and `_` with dots between; a dot at the end says that the name is complete
    /// as it is. IPv4 addresses are names, too, and have themselves as address; those of IPv6 are none.
    ///
    /// # Errors
    /// What is wrong with it, as it reads behind the name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return Err("is not a host name: it is empty".into());
        }
        if !text.is_ascii() {
            return Err("has letters beyond ASCII, which are not supported: write it as DNS does, with xn--".into());
        }
        if bare.len() > MAX_NAME {
            return Err(format!("is longer than the {MAX_NAME} characters of a host name"));
        }
        for label in bare.split('.') {
            if label.is_empty() {
                return Err("is not a host name: there is nothing between two of its dots, or before the first".into());
            }
            if label.len() > MAX_LABEL {
                return Err(format!("is not a host name: a part between dots has more than {MAX_LABEL} characters"));
            }
            if let Some(odd) = label.chars().find(|&c| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')) {
                return Err(format!("is not a host name: {odd:?} is no letter, digit, '-', '_' or dot"));
            }
        }
        Ok(HostName { text: text.to_ascii_lowercase().into() })
    }

    /// The name as it was written, but in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name without a dot at its end.
    pub fn bare(&self) -> &str {
        self.text.strip_suffix('.').unwrap_or(&self.text)
    }

    /// Its parts between dots; there is at least one, and each has 1 to 63 bytes.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.bare().split('.')
    }

    /// Whether it ends in a dot: no search domain is put behind it.
    pub fn is_absolute(&self) -> bool {
        self.text.ends_with('.')
    }

    /// Whether it is this machine's own by definition: `localhost` and what is below it (RFC 6761, 6.3).
    pub fn is_localhost(&self) -> bool {
        self.labels().last() == Some("localhost")
    }

    /// The names to ask for in turn, each one complete: with the search domains behind it, and as it is. What has a dot
    /// is asked for as it is first.
    pub fn candidates(&self, search: &[String]) -> Vec<HostName> {
        let mut candidates: Vec<HostName> = Vec::with_capacity(search.len() + 1);
        if !self.is_absolute() {
            // What gets too long by it, and what is no domain in the first place, leads to no host.
            candidates.extend(search.iter().filter_map(|domain| Self::parse(&format!("{}.{domain}", self.text)).ok()));
        }
        let has_dot = self.is_absolute() || self.text.contains('.');
        candidates.insert(if has_dot { 0 } else { candidates.len() }, self.clone());
        candidates
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_keeps_its_final_dot() {
        assert_eq!(host("Www.Example.ORG"), host("www.example.org"));
        assert_ne!(host("www."), host("www"));
        assert_eq!((host("NAS.").as_str(), host("NAS.").bare(), host("NAS.").is_absolute()), ("nas.", "nas", true));
        assert_eq!(host("_dns.a-1").labels().collect::<Vec<_>>(), ["_dns", "a-1"]);
        assert!(
            host("localhost").is_localhost() && host("LocalHost.").is_localhost() && host("a.localhost").is_localhost()
        );
        assert!(!host("localhost.lan").is_localhost());
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_the_reason() {
        let error = |text: &str| HostName::parse(text).unwrap_err();
        assert_eq!(error("."), "is not a host name: it is empty");
        assert_eq!(error(""), "is not a host name: it is empty");
        assert_eq!(error("a b"), "is not a host name: ' ' is no letter, digit, '-', '_' or dot");
        assert_eq!(error("a\n"), "is not a host name: '\\n' is no letter, digit, '-', '_' or dot");
        assert!(error("fe80::1%eth0").contains("':'"));
        assert!(error("bücher.example").contains("xn--"));
        for text in [".a", "a..b", "a.."] {
            assert!(error(text).contains("nothing between"), "{text}");
        }
        assert!(error(&"a".repeat(64)).contains("63"));
    }

    #[test]
    fn the_longest_name_is_allowed_and_no_longer_one() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(host(&longest).bare().len(), MAX_NAME);
        assert_eq!(host(&format!("{longest}.")).bare().len(), MAX_NAME);
        assert!(HostName::parse(&format!("{longest}a")).unwrap_err().contains("253"));
        assert_eq!(host(&longest).candidates(&["lan".into()]), [host(&longest)]);
    }

    #[test]
    fn names_with_a_dot_are_asked_for_as_they_are_first() {
        let search = ["lan".to_owned(), "fritz.box".to_owned(), "no domain".to_owned()];
        let candidates = |text| host(text).candidates(&search).iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(candidates("nas"), ["nas.lan", "nas.fritz.box", "nas"]);
        assert_eq!(candidates("a.b"), ["a.b", "a.b.lan", "a.b.fritz.box"]);
        assert_eq!(candidates("nas."), ["nas."]);
        assert_eq!(host("nas").candidates(&[]), [host("nas")]);
    }
}
