//! The families of the `probe` collector. Those of a target exist for ICMP and for TCP, under the names of icmp-exporter
//! with its labels and types, and ours beside them.

use crate::metrics::{Desc, Kind};

/// One family in both forms.
#[derive(Debug)]
pub struct Family {
    /// Of ICMP targets, labelled `ip`.
    pub icmp: Desc,
    /// Of TCP targets, labelled `ip` and `tcp_port`.
    pub tcp: Desc,
}

impl Family {
    /// The form for a protocol.
    pub fn of(&'static self, is_tcp: bool) -> &'static Desc {
        if is_tcp { &self.tcp } else { &self.icmp }
    }
}

const fn family(icmp: &'static str, tcp: &'static str, kind: Kind, help: &'static str) -> Family {
    Family {
        icmp: Desc { name: icmp, kind, labels: &["ip"], help },
        tcp: Desc { name: tcp, kind, labels: &["ip", "tcp_port"], help },
    }
}

/// Probes sent.
pub static SENT: Family = family(
    "icmp_probe_packets_sent_total",
    "tcp_probe_packets_sent_total",
    Kind::Counter,
    "Probes whose fate is decided, those that could not be sent included.",
);
/// Probes answered.
pub static RECEIVED: Family = family(
    "icmp_probe_packets_recv_total",
    "tcp_probe_packets_recv_total",
    Kind::Counter,
    "Probes that were answered in time.",
);
/// Sum of round trips.
pub static LATENCY_SUM: Family = family(
    "icmp_probe_latency_seconds_total",
    "tcp_probe_latency_seconds_total",
    Kind::Counter,
    "Sum of the round trips of answered probes, in seconds.",
);
/// Sum of squares of round trips.
pub static SQUARES_SUM: Family = family(
    "icmp_probe_latency_squared_seconds_total",
    "tcp_probe_latency_squared_seconds_total",
    Kind::Counter,
    "Sum of the squares of the round trips of answered probes, in seconds squared.",
);
/// Mean round trip.
pub static LATENCY: Family = family(
    "icmp_probe_latency_seconds",
    "tcp_probe_latency_seconds",
    Kind::Gauge,
    "Mean round trip of the answered ones among the latest probes, in seconds; NaN if there are none.",
);
/// Deviation of round trips.
pub static DEVIATION: Family = family(
    "icmp_probe_standard_deviation_seconds",
    "tcp_probe_standard_deviation_seconds",
    Kind::Gauge,
    "Standard deviation of the round trips among the latest probes, in seconds; NaN if there are none.",
);
/// Share of losses.
pub static LOSS: Family = family(
    "icmp_probe_loss_ratio",
    "tcp_probe_loss_ratio",
    Kind::Gauge,
    "Share of the latest probes without an answer in time, from 0 to 1; NaN if there are none.",
);
/// How many the latest are.
pub static SAMPLES: Family = family(
    "icmp_probe_samples_count",
    "tcp_probe_samples_count",
    Kind::Gauge,
    "How many of the latest probes, 250 at most, the gauges are about: those since loss last changed.",
);
/// Smoothed jitter.
pub static JITTER: Family = family(
    "icmp_probe_jitter_seconds",
    "tcp_probe_jitter_seconds",
    Kind::Gauge,
    "Smoothed difference between the round trips of successive probes (RFC 3550), in seconds.",
);
/// Sum of differences.
pub static VARIATION_SUM: Family = family(
    "icmp_probe_latency_variation_seconds_total",
    "tcp_probe_latency_variation_seconds_total",
    Kind::Counter,
    "Sum of the differences between the round trips of successive answered probes, in seconds.",
);
/// Number of differences.
pub static VARIATIONS: Family = family(
    "icmp_probe_latency_variations_total",
    "tcp_probe_latency_variations_total",
    Kind::Counter,
    "How many differences these are.",
);
/// Late answers.
pub static LATE: Family = family(
    "icmp_probe_packets_late_total",
    "tcp_probe_packets_late_total",
    Kind::Counter,
    "Answers that came after the timeout, up to three times as late; their probes count as lost.",
);
/// Duplicates.
pub static DUPLICATES: Family = family(
    "icmp_probe_packets_duplicate_total",
    "tcp_probe_packets_duplicate_total",
    Kind::Counter,
    "Further answers to probes that had been answered.",
);
/// Reordered answers.
pub static REORDERED: Family = family(
    "icmp_probe_packets_reordered_total",
    "tcp_probe_packets_reordered_total",
    Kind::Counter,
    "Answers that came after the answer to a probe that was sent later (RFC 4737).",
);
/// TTL of answers.
pub static TTL: Family = family(
    "icmp_probe_reply_ttl",
    "tcp_probe_reply_ttl",
    Kind::Gauge,
    "Time to live, or hop limit, that the latest answer had left.",
);
/// Changes of TTL.
pub static TTL_CHANGES: Family = family(
    "icmp_probe_reply_ttl_changes_total",
    "tcp_probe_reply_ttl_changes_total",
    Kind::Counter,
    "How often an answer had another time to live than the one before: the way back has changed.",
);
/// Refused connections.
pub static REFUSED: Desc = Desc {
    name: "tcp_probe_packets_refused_total",
    kind: Kind::Counter,
    labels: &["ip", "tcp_port"],
    help: "Answers in time that refuse the connection (RST): the host is there, and nobody listens on the port.",
};
/// Lost probes by cause.
pub static LOST: Family = Family {
    icmp: Desc {
        name: "icmp_probe_packets_lost_total",
        kind: Kind::Counter,
        labels: &["ip", "cause"],
        help: LOST_HELP,
    },
    tcp: Desc {
        name: "tcp_probe_packets_lost_total",
        kind: Kind::Counter,
        labels: &["ip", "tcp_port", "cause"],
        help: LOST_HELP,
    },
};
const LOST_HELP: &str = "Probes that were lost, by what is known of the cause; absent causes have not occurred.";
/// Histogram of round trips.
pub static HISTOGRAM: Family = family(
    "icmp_probe_rtt_seconds",
    "tcp_probe_rtt_seconds",
    Kind::Histogram,
    "Round trips of answered probes, in seconds; with probe.histogram=1.",
);
/// What a target is called.
pub static INFO: Family = Family {
    icmp: Desc { name: "icmp_probe_target_info", kind: Kind::Info, labels: &["ip", "target", "name"], help: INFO_HELP },
    tcp: Desc {
        name: "tcp_probe_target_info",
        kind: Kind::Info,
        labels: &["ip", "tcp_port", "target", "name"],
        help: INFO_HELP,
    },
};
const INFO_HELP: &str = "The host as it was asked for, and what the configuration calls it.";

/// Packets of one protocol, all targets together.
#[derive(Debug)]
pub struct Meta {
    /// Targets.
    pub active: Desc,
    /// Packets sent.
    pub sent: Desc,
    /// Packets received.
    pub received: Desc,
    /// Packets refused.
    pub errors: Desc,
}

/// Of ICMP.
pub static ICMP: Meta = Meta {
    active: meta("icmp_active_probes", Kind::Gauge, "Addresses that are probed by ICMP at present."),
    sent: meta("icmp_packets_sent_total", Kind::Counter, "ICMP probes that were sent."),
    received: meta("icmp_packets_recv_total", Kind::Counter, "ICMP replies that answer a probe in time."),
    errors: meta("icmp_packets_error_total", Kind::Counter, "ICMP probes that could not be sent."),
};
/// Of TCP.
pub static TCP: Meta = Meta {
    active: meta("tcp_active_probes", Kind::Gauge, "Addresses and ports that are probed by TCP at present."),
    sent: meta("tcp_packets_sent_total", Kind::Counter, "TCP SYN probes that were sent."),
    received: meta("tcp_packets_recv_total", Kind::Counter, "TCP answers to a probe in time, refusals included."),
    errors: meta("tcp_packets_error_total", Kind::Counter, "TCP SYN probes that could not be sent."),
};

const fn meta(name: &'static str, kind: Kind, help: &'static str) -> Desc {
    Desc { name, kind, labels: &[], help }
}

const fn of_interface(name: &'static str, help: &'static str) -> Desc {
    Desc { name, kind: Kind::Counter, labels: &["interface"], help }
}

/// Most targets.
pub static LIMIT: Desc = meta(
    "gatemeter_probe_targets_limit",
    Kind::Gauge,
    "Addresses and ports that are probed at most (probe.max_targets).",
);
/// Targets without an address.
pub static UNRESOLVED: Desc = meta(
    "gatemeter_probe_unresolved_targets",
    Kind::Gauge,
    "Targets of the configuration whose host name has no address so far.",
);
/// Stretch of intervals.
pub static STRETCH: Desc = meta(
    "gatemeter_probe_interval_stretch_ratio",
    Kind::Gauge,
    "How many times longer than asked for every interval is, to stay within probe.maxpps; 1 if it is not.",
);
/// Missed turns.
pub static MISSED: Desc = meta(
    "gatemeter_probe_missed_turns_total",
    Kind::Counter,
    "Probes that were left out because the machine was too busy to send them before the next was due.",
);
/// Packets without room.
pub static OVERFLOWS: Desc = meta(
    "gatemeter_probe_receive_overflows_total",
    Kind::Counter,
    "Packets that the sockets had no room for; their probes may count as lost.",
);
/// Lost events.
pub static OVERRUNS: Desc = meta(
    "gatemeter_probe_network_overruns_total",
    Kind::Counter,
    "How many times events about interfaces and routes came faster than they could be taken in; all are listed again then.",
);
/// Ignored packets.
pub static IGNORED: Desc = Desc {
    name: "gatemeter_probe_ignored_packets_total",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Packets that were ignored: malformed, foreign (to no probe of ours), or stale (an error about none under way).",
};
/// Round trips by clock.
pub static CLOCKS: Desc = Desc {
    name: "gatemeter_probe_round_trips_total",
    kind: Kind::Counter,
    labels: &["interface", "timestamps"],
    help: "Round trips by whose timestamps measured them: hardware, kernel, receive_only (ours when sent) or user (ours).",
};
/// Time in the queue.
pub static QUEUE_DELAY: Desc = of_interface(
    "gatemeter_probe_queue_delay_seconds_total",
    "Time that probes waited in this router's own queue of the interface, in seconds; round trips begin after it.",
);
/// Probes with known time in the queue.
pub static QUEUED: Desc = of_interface(
    "gatemeter_probe_queue_delay_probes_total",
    "Probes whose time in the queue of the interface is known.",
);
/// Impossible stamps.
pub static IMPOSSIBLE: Desc = of_interface(
    "gatemeter_probe_impossible_timestamps_total",
    "Round trips measured by our own clock because timestamps made no sense, as after the clock was set.",
);

/// All of them, in the order of output.
pub static ALL: &[&Desc] = &[
    &SENT.icmp,
    &RECEIVED.icmp,
    &LATENCY_SUM.icmp,
    &SQUARES_SUM.icmp,
    &LATENCY.icmp,
    &DEVIATION.icmp,
    &LOSS.icmp,
    &SAMPLES.icmp,
    &JITTER.icmp,
    &VARIATION_SUM.icmp,
    &VARIATIONS.icmp,
    &LATE.icmp,
    &DUPLICATES.icmp,
    &REORDERED.icmp,
    &TTL.icmp,
    &TTL_CHANGES.icmp,
    &LOST.icmp,
    &HISTOGRAM.icmp,
    &INFO.icmp,
    &SENT.tcp,
    &RECEIVED.tcp,
    &LATENCY_SUM.tcp,
    &SQUARES_SUM.tcp,
    &LATENCY.tcp,
    &DEVIATION.tcp,
    &LOSS.tcp,
    &SAMPLES.tcp,
    &JITTER.tcp,
    &VARIATION_SUM.tcp,
    &VARIATIONS.tcp,
    &LATE.tcp,
    &DUPLICATES.tcp,
    &REORDERED.tcp,
    &TTL.tcp,
    &TTL_CHANGES.tcp,
    &REFUSED,
    &LOST.tcp,
    &HISTOGRAM.tcp,
    &INFO.tcp,
    &ICMP.active,
    &ICMP.sent,
    &ICMP.received,
    &ICMP.errors,
    &TCP.active,
    &TCP.sent,
    &TCP.received,
    &TCP.errors,
    &LIMIT,
    &UNRESOLVED,
    &STRETCH,
    &MISSED,
    &OVERFLOWS,
    &IGNORED,
    &CLOCKS,
    &QUEUE_DELAY,
    &QUEUED,
    &IMPOSSIBLE,
    &OVERRUNS,
];
