//! The live page for people: the document itself, the state that it draws, and the same as tables for a browser
//! without scripts. Everything is made when it is asked for; between requests nothing is kept.

use std::fmt::Write as _;

use super::pages::{Pages, word};
use crate::outputs::http::{Reply, Request, accepts_gzip};
use crate::outputs::tables::{self, Wanted};
use crate::packed;
use crate::sys::clock;
use crate::words::push_quoted;

/// The document, compressed by `page/pack.rs`: a gzip head of 10 bytes, deflated, a tail of 8.
static DOCUMENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/page.html.gz"));
/// What the document may do. Nothing but its own script, its own style and requests to us.
const POLICY: &str = env!("GATEMETER_PAGE_POLICY");

/// The families that the page shows, and what its tables call them.
pub(super) const WANTED: &[Wanted] = &[
    ("node_nat_traffic_download", "bytes down"),
    ("node_nat_traffic_upload", "bytes up"),
    ("gatemeter_traffic_uncounted_packets_total", "packets not counted"),
    ("gatemeter_traffic_interface_attached", "attached"),
    ("gatemeter_traffic_pinned", "pinned"),
    ("client_traffic_bytes", "bytes"),
    ("client_traffic_rate_bps", "bit/s"),
    ("client_active_connections", "connections"),
    ("client_status", "online"),
    ("client_info", ""),
    ("client_last_seen_timestamp_seconds", "last seen"),
    ("gatemeter_clients_accounting_info", ""),
    ("icmp_probe_packets_sent_total", "sent"),
    ("icmp_probe_packets_recv_total", "answered"),
    ("icmp_probe_latency_seconds_total", "seconds in all"),
    ("icmp_probe_latency_seconds", "seconds"),
    ("icmp_probe_loss_ratio", "loss"),
    ("icmp_probe_jitter_seconds", "jitter in seconds"),
    ("icmp_probe_target_info", ""),
    ("tcp_probe_packets_sent_total", "sent"),
    ("tcp_probe_packets_recv_total", "answered"),
    ("tcp_probe_latency_seconds_total", "seconds in all"),
    ("tcp_probe_latency_seconds", "seconds"),
    ("tcp_probe_loss_ratio", "loss"),
    ("tcp_probe_jitter_seconds", "jitter in seconds"),
    ("tcp_probe_target_info", ""),
    ("gatemeter_probe_unresolved_targets", "names without an address"),
    ("homeplug_network_info", ""),
    ("homeplug_link_phy_rate_bytes_per_second", "bytes/s"),
    ("homeplug_station_info", ""),
    ("homeplug_device_info", ""),
    ("homeplug_device_up", "answers"),
    ("homeplug_up", "adapters answer"),
    ("freebox_connection_bytes_total", "bytes"),
    ("freebox_connection_rate_bytes_per_second", "bytes/s"),
    ("freebox_connection_bandwidth_bytes_per_second", "bytes/s possible"),
    ("freebox_connection_up", "connected"),
    ("freebox_connection_info", ""),
    ("freebox_connection_ftth_sfp_power_dbm", "light in dBm"),
    ("freebox_connection_ftth_link", "fibre has a link"),
    ("freebox_connection_xdsl_info", ""),
    ("freebox_connection_xdsl_uptime_seconds", "DSL up for seconds"),
    ("freebox_connection_xdsl_attenuation_db", "attenuation in dB"),
    ("freebox_connection_xdsl_snr_db", "signal to noise in dB"),
    ("freebox_connection_xdsl_rate_bytes_per_second", "bytes/s synchronised"),
    ("freebox_connection_xdsl_max_rate_bytes_per_second", "bytes/s possible"),
    ("freebox_connection_xdsl_errors_total", "errors"),
    ("freebox_system_info", ""),
    ("freebox_system_uptime_seconds", "box up for seconds"),
    ("freebox_system_temp_celsius", "degrees"),
    ("freebox_up", "read"),
];

/// Answers a request for one of the paths of the live page.
pub(super) fn answer(pages: &Pages, request: &Request) -> Reply {
    match request.path() {
        "/api/v1/state" => state(pages),
        "/plain" => pages.front("/plain", |out| plain(pages, out)),
        _ => document(accepts_gzip(request)),
    }
}

/// docs/api.md describes it. What is added later does not change what is there; what changes gets another number.
fn state(pages: &Pages) -> Reply {
    let mut out = String::from("{\"version\":1,\"gatemeter\":");
    push_quoted(env!("CARGO_PKG_VERSION"), &mut out);
    // Writing to a String cannot fail.
    let _ = write!(out, ",\"time\":{:.3},\"collectors\":[", clock::unix_now());
    for (at, status) in pages.statuses.iter().enumerate() {
        let _ = write!(
            out,
            "{}{{\"name\":\"{}\",\"state\":\"{}\",\"errors\":{},\"last_success\":{:.3},\"trouble\":",
            if at == 0 { "" } else { "," },
            status.name,
            word(status),
            status.errors.get(),
            status.last_success.get(),
        );
        match &*status.trouble.borrow() {
            Some(trouble) => push_quoted(trouble, &mut out),
            None => out.push_str("null"),
        }
        out.push_str(",\"tables\":");
        let before = out.len();
        pages.shared.store.each(|name, page| {
            if name == status.name {
                tables::json(page, WANTED, &mut out);
            }
        });
        if out.len() == before {
            out.push_str("[]");
        }
        out.push('}');
    }
    out.push_str("]}\n");
    Reply::page("/api/v1/state", "application/json", out).header("Cache-Control", "no-store")
}

fn plain(pages: &Pages, out: &mut String) {
    pages.shared.store.each(|name, page| {
        let _ = writeln!(out, "<h2>{name}</h2>");
        tables::html(page, WANTED, out);
    });
    out.push_str("<p><a href=\"/plain\">Read again</a></p>\n");
}

fn document(gzip: bool) -> Reply {
    let (body, encoding) = if gzip { (DOCUMENT.to_vec(), Some("gzip")) } else { (inflated(), None) };
    let mut reply = Reply::page("/", "text/html; charset=utf-8", body)
        .header("Content-Security-Policy", POLICY)
        .header("Referrer-Policy", "no-referrer")
        .header("Cache-Control", "no-cache");
    // It is in the form that was asked for already.
    reply.negotiated = false;
    reply.headers.push(("Vary", "Accept-Encoding".into()));
    reply.headers.extend(encoding.map(|encoding| ("Content-Encoding", encoding.to_owned())));
    reply
}

/// The document for a client that does not take gzip.
fn inflated() -> Vec<u8> {
    packed::unpack(DOCUMENT.get(10..).unwrap_or_default(), env!("GATEMETER_PAGE_LENGTH"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::ALL;

    #[test]
    fn every_family_the_page_shows_is_one_that_a_collector_has() {
        let known = |name| ALL.iter().flat_map(|row| row.metrics).any(|desc| desc.name == name);
        let unknown: Vec<_> = WANTED.iter().map(|(name, _)| *name).filter(|name| !known(*name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn the_document_is_small_whole_and_needs_nothing_from_outside() {
        let text = String::from_utf8(inflated()).unwrap();
        assert!(text.len() < 40_000 && DOCUMENT.len() < 15_000, "{} bytes, {} packed", text.len(), DOCUMENT.len());
        assert!(text.starts_with("<!DOCTYPE html>") && text.trim_end().ends_with("</html>"));
        for wrong in
            ["http:", "https:", "innerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=\"", " on"]
        {
            let found = text.match_indices(wrong).map(|(at, _)| &text[at..(at + 40).min(text.len())]);
            let found: Vec<_> = found.filter(|part| wrong != " on" || part.contains("=\"")).collect();
            assert!(found.iter().all(|part| part.starts_with("http://www.w3.org/")), "{wrong}: {found:?}");
        }
    }
}
