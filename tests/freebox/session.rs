//! One session for the daemon's life: kept, renewed, ended; and each group at its own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::harness::{PATIENCE, Supervisor};
use crate::lab::freebox::{Digest, Fault, Model};
use crate::lab::process;
use crate::support::{Home, printed};

const UP: &str = "gatemeter_collector_up{collector=\"freebox\"}";

#[test]
fn one_session_serves_all_collections_and_is_ended_at_the_stop() {
    let home = Home::new(Model::Fibre);
    let mut daemon = home.setup("sys switch disk").flags(&["-e"]).start();
    daemon.wait_for(UP, 1.0);
    process::poll(PATIENCE, || (home.freebox.count("connection") >= 4).then_some(())).unwrap();
    assert_eq!((home.freebox.count("login/session"), home.freebox.sessions().len()), (1, 1));
    // Moving figures are read each time, lists and settings are not.
    assert!(home.freebox.count("switch/status") >= 3);
    for slow in ["storage/disk", "system", "connection/config", "api_version"] {
        assert_eq!(home.freebox.count(slow), 1, "{slow}");
    }
    assert!(daemon.stop().success());
    assert_eq!((home.freebox.count("login/logout"), home.freebox.sessions().len()), (1, 0));
}

#[test]
fn nothing_is_asked_that_was_not_asked_for() {
    for (model, carrier) in [(Model::Fibre, "connection/ftth"), (Model::Dsl, "connection/xdsl")] {
        let home = Home::new(model);
        printed(&home.setup("").run(&["once"]));
        let version = if model == Model::Fibre { 16 } else { 5 };
        let mut wanted = vec!["GET /api_version".to_owned()];
        for call in [
            "GET login/",
            "POST login/session/",
            "GET connection/",
            &format!("GET {carrier}/"),
            "GET connection/config/",
            "POST login/logout/",
        ] {
            let (method, path) = call.split_once(' ').unwrap();
            wanted.push(format!("{method} /api/v{version}/{path}"));
        }
        assert_eq!(home.freebox.requests(), wanted);
        assert!(home.freebox.sessions().is_empty());
    }
}

#[test]
fn a_session_that_ends_in_mid_collection_is_renewed_and_nothing_is_missed() {
    let home = Home::new(Model::Fibre);
    home.freebox.fault_times("switch/port/2/stats", Fault::EndSessions, 1);
    let daemon = home.setup("switch").flags(&["-e"]).start();
    daemon.wait_for("freebox_logins_total", 2.0);
    let metrics = daemon.metrics();
    assert_eq!(metrics["freebox_up{section=\"switch\"}"], 1.0);
    assert_eq!(metrics["freebox_switch_port_rate_bytes_per_second{port=\"2\",direction=\"rx\"}"], 14026.0);
    assert_eq!(metrics["gatemeter_collector_errors_total{collector=\"freebox\"}"], 0.0);
    // Likewise with the other code for it.
    home.freebox.fault_times("connection", Fault::Edge("403_invalid_session"), 1);
    daemon.wait_for("freebox_logins_total", 3.0);
    daemon.wait_for(UP, 1.0);
    assert!(!daemon.stderr().contains("ERROR") && !daemon.stderr().contains("WARN"), "{}", daemon.stderr());
}

#[test]
fn a_box_that_ends_every_session_is_not_logged_in_to_for_ever() {
    let home = Home::new(Model::Dsl);
    home.freebox.fault("connection", Fault::Edge("403_auth_required"));
    let output = home.setup("").run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        output.stderr.contains("the box ends each session at once")
            || output.stderr.contains("ended the session at once"),
        "{}",
        output.stderr
    );
    assert_eq!(home.freebox.count("login/session"), 2);
}

#[test]
fn new_settings_begin_a_new_session_and_end_the_old_one() {
    let home = Home::new(Model::Dsl);
    let daemon = home.setup("switch").flags(&["-e"]).start();
    daemon.wait_for("freebox_up{section=\"switch\"}", 1.0);
    daemon.setup().write_uci("gatemeter", "config freebox 'freebox'\n\toption status 'sys'\n");
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("freebox_up{section=\"sys\"}", 1.0);
    assert_eq!((home.freebox.count("login/session"), home.freebox.count("login/logout")), (2, 1));
    assert_eq!(home.freebox.sessions().len(), 1);
    assert!(!daemon.metrics().contains_key("freebox_up{section=\"switch\"}"));
}

#[test]
fn a_collector_that_is_turned_off_logs_out() {
    let home = Home::new(Model::Dsl);
    let endpoint = format!("freebox.endpoint={}", home.lab.internet.v4);
    let on = "config traffic 'traffic'\n\toption enabled '0'\nconfig clients 'clients'\n\toption enabled '0'\n\
              config freebox 'freebox'\n\toption enabled '1'\n";
    let setup = crate::harness::Setup::new(&home.lab).uci("gatemeter", on).flags(&["-e", "-o", &endpoint]);
    crate::support::write_credentials(&crate::support::credentials(&setup), &home.freebox.credentials());
    let daemon = setup.start_unready();
    daemon.wait_for(UP, 1.0);
    daemon.setup().write_uci("gatemeter", &on.replace("'1'", "'0'"));
    daemon.signal(libc::SIGHUP);
    process::poll(PATIENCE, || (home.freebox.count("login/logout") == 1).then_some(())).unwrap();
    process::poll(PATIENCE, || (!daemon.metrics().contains_key(UP)).then_some(())).unwrap();
}

#[test]
fn the_other_digest_opens_a_session_too() {
    let home = Home::new(Model::Fibre);
    home.freebox.digest(Digest::Sha256);
    printed(&home.setup("").flags(&["-o", "freebox.auth_hash=sha256"]).run(&["once"]));
    // A wrong digest is a wrong password.
    let output = home.setup("").run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("the box does not know the token"), "{}", output.stderr);
}

#[test]
fn an_older_version_of_the_api_is_spoken_when_asked_for() {
    let home = Home::new(Model::Fibre);
    let output = home.setup("call").flags(&["-o", "freebox.api_version=9"]).run(&["once"]);
    assert!(
        printed(&output).contains("freebox_api_info{version=\"9\",endpoint=\"http://198.51.100.10:80/api/v9\"} 1\n")
    );
    assert_eq!((home.freebox.count("call/log"), home.freebox.count("call/account")), (1, 0));
    let output = home.setup("").flags(&["-o", "freebox.api_version=17"]).run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = "cannot speak version 17 of the API with 198.51.100.10: the box knows those up to 16; \
                set freebox.api_version to one of them, or leave it empty";
    assert_eq!(output.stderr, format!("ERROR [freebox] {line}\n"));
}

#[test]
fn the_upload_comes_from_the_switch_if_so_asked() {
    let home = Home::new(Model::Fibre);
    let setup = home.setup("switch").flags(&["-o", "freebox.patch_rate_up=1"]);
    let output = setup.run(&["once"]);
    // The sums over all ports that know their rate.
    let text = printed(&output);
    assert!(text.contains("freebox_connection_rate_bytes_per_second{direction=\"up\"} 43091\n"), "{text}");
    assert!(text.contains("freebox_connection_bytes_total{direction=\"up\",media=\"ftth\"} 16113055267\n"), "{text}");
    assert!(text.contains("freebox_connection_rate_bytes_per_second{direction=\"down\"} 2417003\n"), "{text}");
    home.freebox.fault("connection", Fault::Edge("connection.down"));
    let output = setup.run(&["once"]);
    assert!(printed(&output).contains("freebox_connection_rate_bytes_per_second{direction=\"up\"} 0\n"));
}

#[test]
fn an_upload_that_the_switch_does_not_tell_is_left_out_and_not_what_it_was() {
    let home = Home::new(Model::Fibre);
    let daemon = home.setup("switch").flags(&["-e", "-o", "freebox.patch_rate_up=1"]).start();
    let rate = "freebox_connection_rate_bytes_per_second{direction=\"up\"}";
    let bytes = "freebox_connection_bytes_total{direction=\"up\",media=\"ftth\"}";
    daemon.wait_for(rate, 43_091.0);
    home.freebox.fault("switch/status", Fault::Body(500, "oops".into()));
    daemon.wait_for("freebox_up{section=\"switch\"}", 0.0);
    let metrics = daemon.metrics();
    assert!(!metrics.contains_key(rate) && !metrics.contains_key(bytes), "{metrics:#?}");
    assert_eq!(metrics["freebox_connection_rate_bytes_per_second{direction=\"down\"}"], 2_417_003.0);
    home.freebox.heal();
    daemon.wait_for(rate, 43_091.0);
    daemon.wait_for(bytes, 16_113_055_267.0);
}

#[test]
fn a_right_that_is_given_while_the_daemon_runs_is_noticed() {
    let home = Home::new(Model::Fibre);
    home.freebox.right("calls", false);
    home.freebox.right("vm", false);
    let passed = Arc::new(AtomicI64::new(0));
    let setup = home.setup("call vm").flags(&["-e"]).supervised(Supervisor::running_clock(&passed));
    let daemon = setup.start();
    daemon.wait_for("freebox_permission{right=\"calls\"}", 0.0);
    daemon.wait_for("freebox_up{section=\"vm\"}", 0.0);
    assert_eq!(home.freebox.count("login/session"), 1);
    home.freebox.right("calls", true);
    passed.store(400, Ordering::SeqCst);
    daemon.wait_for("freebox_permission{right=\"calls\"}", 1.0);
    daemon.wait_for("freebox_up{section=\"call\"}", 1.0);
    // The session of before is not left behind, and who lacks a right is not asked for what takes it.
    process::poll(PATIENCE, || (home.freebox.sessions().len() == 1).then_some(())).unwrap();
    assert_eq!(home.freebox.count("vm/info"), 0);
    daemon.wait_for(UP, 1.0);
}

#[test]
fn a_token_that_is_given_while_the_daemon_runs_is_used_at_once() {
    let home = Home::new(Model::Dsl);
    let setup = home.setup("").flags(&["-e"]);
    let daemon = setup.start();
    daemon.wait_for(UP, 1.0);
    home.freebox.revoke();
    daemon.wait_for(UP, 0.0);
    let path = crate::support::credentials(&setup);
    std::fs::remove_file(&path).unwrap();
    process::poll(PATIENCE, || daemon.stderr().contains("gatemeter freebox register").then_some(())).unwrap();
    printed(&setup.run(&["freebox", "register"]));
    daemon.wait_for(UP, 1.0);
    assert_eq!(home.freebox.sessions().len(), 1);
}
