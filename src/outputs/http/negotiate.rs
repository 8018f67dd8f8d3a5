//! What the client wants: the exposition format by `Accept`, gzip by `Accept-Encoding` (RFC 9110 section 12.5).
//!
//! Weights count in thousandths. A list that does not parse is read as far as it does: a scrape is better answered
//! in plain text than refused.

use super::Request;

/// An exposition format of Prometheus, as negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// The text format 0.0.4, which every scraper reads.
    Text,
    /// OpenMetrics 0.0.1, or a client that named no version.
    OpenMetrics0,
    /// OpenMetrics 1.0.0.
    OpenMetrics1,
}

impl Exposition {
    /// The format this request weighs highest of those spoken here; [`Exposition::Text`] if it names none.
    pub fn wanted_by(request: &Request) -> Exposition {
        exposition(request.headers("Accept"))
    }

    /// Whether the page is to be written in OpenMetrics.
    pub fn is_openmetrics(self) -> bool {
        self != Exposition::Text
    }

    /// The Content-Type of a page in this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Text => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics0 => "application/openmetrics-text; version=0.0.1; charset=utf-8",
            Exposition::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether gzip is welcome, and not less so than no encoding at all.
pub fn accepts_gzip(request: &Request) -> bool {
    gzip(request.headers("Accept-Encoding"))
}

fn exposition<'a>(accept: impl Iterator<Item = &'a str>) -> Exposition {
    let (mut best, mut weight, mut text) = (Exposition::Text, 0, 0);
    for entry in accept.flat_map(entries) {
        let version = entry.param("version");
        let offer = match (entry.name, version) {
            (name, None) if name.eq_ignore_ascii_case("application/openmetrics-text") => Exposition::OpenMetrics0,
            (name, Some("0.0.1")) if name.eq_ignore_ascii_case("application/openmetrics-text") => {
                Exposition::OpenMetrics0
            }
            (name, Some("1.0.0")) if name.eq_ignore_ascii_case("application/openmetrics-text") => {
                Exposition::OpenMetrics1
            }
            (name, None | Some("0.0.4")) if name.eq_ignore_ascii_case("text/plain") => Exposition::Text,
            ("text/*" | "*/*", _) => Exposition::Text,
            _ => continue,
        };
        match offer {
            Exposition::Text => text = text.max(entry.weight),
            // Of two versions with the same weight the first named one counts.
            _ if entry.weight > weight => (best, weight) = (offer, entry.weight),
            _ => {}
        }
    }
    if weight >= text { best } else { Exposition::Text }
}

fn gzip<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for entry in accept.flat_map(entries) {
        let slot = match entry.name {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
            name if name.eq_ignore_ascii_case("identity") => &mut identity,
            "*" => &mut any,
            _ => continue,
        };
        *slot = Some(slot.unwrap_or(0).max(entry.weight));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// One entry of a list: `name;param=value;q=0.5`.
struct Entry<'a> {
    name: &'a str,
    params: &'a str,
    /// 0 to 1000; 0 means "not acceptable".
    weight: u16,
}

impl<'a> Entry<'a> {
    fn param(&self, name: &str) -> Option<&'a str> {
        param(self.params, name)
    }
}

fn entries(list: &str) -> impl Iterator<Item = Entry<'_>> {
    list.split(',').map(|entry| {
        let (name, params) = entry.split_once(';').unwrap_or((entry, ""));
        // A weight that cannot be read is no weight.
        let weight = param(params, "q").map_or(1000, |q| weight(q).unwrap_or(1000));
        Entry { name: name.trim(), params, weight }
    })
}

fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    params
        .split(';')
        .filter_map(|param| param.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"'))
}

/// A weight in thousandths: `1`, `0.5`, `0.123` (RFC 9110 section 12.4.2).
fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let fraction = thousandths.fold(0, |sum, digit| sum * 10 + u16::from(digit.saturating_sub(b'0')));
    match whole {
        "0" | "" => Some(fraction),
        "1" => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(accept: &str) -> Exposition {
        exposition([accept].into_iter())
    }

    fn gzips(accept: &str) -> bool {
        gzip([accept].into_iter())
    }

    #[test]
    fn each_generation_of_prometheus_gets_what_it_prefers() {
        // Accept headers as scrapers send them: 2.5 to 2.42, 2.43 to 2.55, 3.x, 3.x with native histograms, 1.x.
        let openmetrics0 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;\
                     q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        let histograms = format!(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,{three}"
        );
        let one = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
                   text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(format(openmetrics0), Exposition::OpenMetrics0);
        assert_eq!(format(two), Exposition::OpenMetrics1);
        assert_eq!(format(three), Exposition::OpenMetrics1);
        assert_eq!(format(&histograms), Exposition::OpenMetrics1);
        assert_eq!(format(one), Exposition::Text);
    }

    #[test]
    fn browsers_and_curl_get_text() {
        assert_eq!(format("*/*"), Exposition::Text);
        assert_eq!(format("text/html,application/xhtml+xml,*/*;q=0.8"), Exposition::Text);
        assert_eq!(exposition(std::iter::empty()), Exposition::Text);
        assert_eq!(format(",;=;q=,,"), Exposition::Text);
    }

    #[test]
    fn weights_decide_and_zero_means_no() {
        assert_eq!(format("application/openmetrics-text;q=0.2,text/plain;q=0.8"), Exposition::Text);
        assert_eq!(format("application/openmetrics-text;q=0"), Exposition::Text);
        assert_eq!(format("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.9"), Exposition::OpenMetrics1);
        assert_eq!(format("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"), Exposition::Text);
    }

    #[test]
    fn gzip_is_sent_to_those_who_want_it() {
        assert!(gzips("gzip"));
        assert!(gzips("deflate, GZIP;q=0.5, br"));
        assert!(gzips("*"));
        assert!(gzips("identity;q=0.5, gzip"));
        assert!(gzips("identity;q=0, *;q=0.1"));
        assert!(!gzips("gzip;q=0"));
        assert!(!gzips("gzip;q=0.000, *"));
        assert!(!gzips("identity, gzip;q=0.5"));
        assert!(!gzips("br, deflate"));
        assert!(!gzips(""));
        assert!(!gzip(std::iter::empty()));
    }

    #[test]
    fn weights_have_three_decimals_at_most() {
        assert_eq!(weight("0.5"), Some(500));
        assert_eq!(weight("0.1239"), Some(123));
        assert_eq!(weight("1"), Some(1000));
        assert_eq!(weight("1.5"), Some(1000));
        assert_eq!(weight("-1"), None);
        assert_eq!(weight("0.x"), None);
    }
}
