//! Hostile segments: frames at line rate, adapters without end, answers as long as they can be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::{UP, bytes, device_up, lab, on, rate, rejected, setup};
use crate::harness::{Daemon, Documented};
use crate::lab::Lab;
use crate::lab::powerline::{Chip, Model, Network, Segment, adapter_mac};
use crate::lab::traffic::StopOnDrop;

/// Frames of a flood at most.
const MOST: u64 = 2_000_000;
/// Frames that are looked at in one walk on one interface at most.
const LOOKED_AT: f64 = 8192.0;

/// Sends frames on the wire as fast as they go for as long as `work` lasts; `make` writes the `n`th one.
fn flood(lab: &Lab, make: impl Fn(u64, &mut [u8; 60]) + Sync, work: impl FnOnce(&AtomicU64)) {
    let socket = lab.host(1).packet_socket("plc0");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let mut frame = [0; 60];
            for n in 0..MOST {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                make(n, &mut frame);
                if socket.send(&frame).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                // Leaves a busy machine some air.
                if n % 64 == 63 {
                    std::thread::yield_now();
                }
            }
        });
        work(&sent);
    });
}

/// The hardware address that the daemon asks from.
fn asks_from(segment: &Segment) -> [u8; 6] {
    let source = || segment.requests().first().map(|request| request.source);
    crate::lab::process::poll(crate::harness::PATIENCE, source).expect("nobody asks")
}

/// VS_NW_INFO.CNF of version 0 from the `n`th of countless adapters.
fn answer(to: [u8; 6], n: u64, frame: &mut [u8; 60]) {
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&[0x02, 0x66, n.to_le_bytes()[0], n.to_le_bytes()[1], n.to_le_bytes()[2], 1]);
    frame[12..21].copy_from_slice(&[0x88, 0xe1, 0, 0x39, 0xa0, 0, 0xb0, 0x52, 0]);
}

fn walks(daemon: &Daemon) -> f64 {
    // Each begins with the same questions; the near adapter's two at least.
    daemon.metrics()["homeplug_requests_total"]
}

#[test]
fn a_flood_of_answers_costs_a_bounded_amount_of_work_and_is_counted() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    let to = asks_from(&segment);
    let counted = |metrics: &crate::harness::Samples| metrics["homeplug_frames_dropped_total{interface=\"plc0\"}"];
    flood(
        &lab,
        |n, frame| answer(to, n, frame),
        |_| {
            daemon.wait_until("drops", |metrics| (counted(metrics) > 0.0).then_some(()));
            let before = walks(&daemon);
            daemon.wait_until("more walks", |metrics| (metrics["homeplug_requests_total"] > before).then_some(()));
            let metrics = daemon.metrics();
            let devices = metrics.keys().filter(|series| series.starts_with("homeplug_device_up{")).count();
            assert!(devices <= 64, "{devices}");
            Documented::of("Hostile powerline frames").by_metrics(&daemon);
            assert_eq!(daemon.get("/healthz").unwrap().status, 200);
        },
    );
    let metrics = daemon.metrics();
    let looked_at: f64 = metrics["homeplug_answers_total"]
        + metrics
            .iter()
            .filter(|(series, _)| series.starts_with("homeplug_rejected_total"))
            .map(|(_, n)| n)
            .sum::<f64>();
    // A walk has at least two questions.
    assert!(looked_at <= LOOKED_AT * metrics["homeplug_requests_total"] / 2.0, "{metrics:#?}");
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    (1..=3).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
    assert!(!daemon.stderr().contains("ERROR") && !daemon.stderr().contains("WARN"), "{}", daemon.stderr());
}

#[test]
fn a_flood_of_what_is_no_answer_is_dropped_by_the_kernel() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(&rate("tx", 1, 2), bytes(142));
    let to = asks_from(&segment);
    let make = |n: u64, frame: &mut [u8; 60]| {
        answer(to, n, frame);
        match n % 5 {
            // A question, an answer to others, everybody, another protocol, random bytes.
            0 => frame[15] = 0x38,
            1 => frame[5] ^= 1,
            2 => frame[..6].fill(0xff),
            3 => frame[12] = 0x08,
            _ => frame[14..].iter_mut().enumerate().for_each(|(at, byte)| *byte = (n >> (at % 8)) as u8 & 0xfe),
        }
    };
    flood(&lab, make, |sent| {
        let before = sent.load(Ordering::Relaxed);
        let much = || (sent.load(Ordering::Relaxed) > before + 50_000).then_some(());
        assert!(crate::lab::process::poll(crate::harness::PATIENCE, much).is_some());
        daemon.wait_for(&rate("tx", 1, 2), bytes(142));
        daemon.wait_for(UP, 1.0);
    });
    let metrics = daemon.metrics();
    assert_eq!(metrics["homeplug_frames_dropped_total{interface=\"plc0\"}"], 0.0, "{metrics:#?}");
    assert_eq!(metrics[&rejected("malformed")] + metrics[&rejected("unasked")], 0.0, "{metrics:#?}");
}

#[test]
fn of_ninety_stations_in_one_answer_as_many_are_asked_as_there_is_room_for() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Int6400]);
    let strangers: Vec<_> = (2..=91).map(adapter_mac).collect();
    model.adapter(1).phantoms = strangers;
    let segment = lab.powerline(model);
    let daemon = on(&lab, &["plc0"]).flags(&["-o", "homeplug.max_devices=10", "-o", "homeplug.interval=3600"]).start();
    daemon.wait_for(UP, 1.0);
    let metrics = daemon.metrics();
    assert_eq!(metrics[&rejected("limit")], 81.0, "{metrics:#?}");
    assert_eq!(metrics[&format!("homeplug_device_stations{{device_addr=\"{}\"}}", crate::common::mac(1))], 90.0);
    let requests = segment.requests();
    let mut asked: Vec<_> = requests.iter().map(|request| request.destination).filter(|mac| mac[0] == 2).collect();
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.len() <= 10, "{asked:?}");
}

#[test]
fn an_answer_longer_than_a_usual_frame_is_read_whole() {
    let lab = lab();
    let segment = lab.powerline(Model::network(&[Chip::Qca7500]));
    for node in [&lab.router, lab.host(1)] {
        node.must(&["ip", "link", "set", "plc0", "mtu", "9000"]);
    }
    segment.model().adapter(1).phantoms = (0..255).map(|n| [2, 0, 0x5e, 0xcc, 0, n]).collect();
    let daemon = setup(&lab).flags(&["-o", "homeplug.extended=0"]).start();
    daemon.wait_for(&format!("homeplug_device_stations{{device_addr=\"{}\"}}", crate::common::mac(1)), 255.0);
    daemon.wait_for(UP, 1.0);
}

#[test]
fn countless_networks_are_cut_and_none_is_told_twice() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Int6400]);
    for n in 0..60 {
        let nid = [7, 7, 7, 7, 7, 7, n / 2];
        model.networks.push(Network { nid, snid: n % 16, members: vec![adapter_mac(1)] });
    }
    let _segment = lab.powerline(model);
    let daemon = setup(&lab).start();
    daemon.wait_for(&device_up(1), 1.0);
    let metrics = daemon.metrics();
    let networks = metrics.keys().filter(|series| series.starts_with("homeplug_network_info{")).count();
    assert_eq!(networks, 16, "{metrics:#?}");
}
