//! Hostile HTTP from a LAN host as fast as it goes: who scrapes gets the page, nothing that is counted is lost, and the flood is
//! told by metrics. (Floods of powerline frames and of forged echo replies are in `tests/homeplug/floods.rs` and
//! `tests/probe/flood.rs`, and every kind of hostile request in `tests/http`.)

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{
    CLIENTS_UP, Lab, PATIENCE, StopOnDrop, UP, expect_both, let_it_flow, open_files, process, setup, while_talking,
};
use crate::harness::Documented;

/// Connections that one thread opens at most.
const MOST: u32 = 20_000;

#[test]
fn a_flood_of_hostile_requests_holds_up_no_scrape_and_costs_no_byte() {
    let lab = Lab::builder().hosts(2).nat().build();
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    daemon.wait_for(CLIENTS_UP, 1.0);
    let before = open_files(daemon.pid());
    let address = SocketAddr::from((lab.router.v4, 9999));
    let attacks: [&[u8]; 5] = [
        &[0xff; 3000],
        b"GET /%%% HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"GET /metrics?collect[]=nobody HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let (stop, told) = (AtomicBool::new(false), Documented::of("Hostile HTTP"));
    let sent = thread::scope(|scope| {
        let _stopping = StopOnDrop(&stop);
        for attack in attacks {
            let (host, stop) = (lab.host(2), &stop);
            scope.spawn(move || {
                host.enter(|| {
                    // Some are left open, as many as a host may have and more.
                    let mut open = Vec::new();
                    for n in 0..MOST {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(10));
                        let Ok(mut stream) = connected else { continue };
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
                        let _ = stream.write_all(attack);
                        let _ = stream.read(&mut [0; 512]);
                        if n % 8 == 0 && open.len() < 40 {
                            open.push(stream);
                        }
                    }
                });
            });
        }
        let (sent, ()) = while_talking(&lab, || {
            told.by_metrics(&daemon);
            for _ in 0..20 {
                let_it_flow(&lab);
                assert_eq!(daemon.get("/metrics").unwrap().status, 200);
                assert!(open_files(daemon.pid()) < before + 100, "{} descriptors are open", open_files(daemon.pid()));
            }
        });
        sent
    });
    expect_both(&daemon, sent);
    let settled = || (open_files(daemon.pid()) <= before).then_some(());
    assert!(process::poll(PATIENCE, settled).is_some(), "{before} descriptors before, {}", open_files(daemon.pid()));
    let said = daemon.stderr();
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
}
