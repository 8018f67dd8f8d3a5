//! A box in every kind of trouble: what is wrong with one answer harms no other, and the daemon goes on.

use std::time::Duration;

use crate::harness::{Daemon, Documented, PATIENCE, Setup};
use crate::lab::freebox::{Fault, Model};
use crate::lab::{Lab, process};
use crate::support::{Home, credentials, printed, write_credentials};

const UP: &str = "gatemeter_collector_up{collector=\"freebox\"}";
const SWITCH: &str = "freebox_up{section=\"switch\"}";
const SYSTEM: &str = "freebox_up{section=\"sys\"}";

fn errors(code: &str) -> String {
    format!("freebox_request_errors_total{{error_code=\"{code}\"}}")
}

/// The switch is in trouble: nothing else is, and it comes back when the trouble is over.
#[track_caller]
fn only_the_switch_suffers(home: &Home, daemon: &Daemon<'_>, code: &str) {
    daemon.wait_for(SWITCH, 0.0);
    daemon.wait_until("an error is counted", |metrics| {
        metrics.get(&errors(code)).filter(|count| **count >= 1.0).map(drop)
    });
    let metrics = daemon.metrics();
    assert_eq!((metrics[UP], metrics[SYSTEM], metrics["freebox_connection_up"]), (1.0, 1.0, 1.0), "{code}");
    home.freebox.heal();
    daemon.wait_for(SWITCH, 1.0);
    assert_eq!(daemon.metrics()["freebox_switch_port_up{port=\"1\",name=\"\"}"], 1.0);
    assert_eq!(daemon.metrics()["gatemeter_collector_errors_total{collector=\"freebox\"}"], 0.0);
}

#[test]
fn a_wrong_answer_loses_its_own_figures_only() {
    let home = Home::new(Model::Dsl);
    let daemon = home.setup("switch sys").flags(&["-e", "-o", "freebox.timeout=1"]).start();
    daemon.wait_for(SWITCH, 1.0);
    for (fault, code) in [
        (Fault::Body(200, "{\"success\":true,\"result\":[{\"id\":1".into()), "malformed"),
        (Fault::Body(200, "<html>not what you want</html>".into()), "malformed"),
        (Fault::Body(200, String::new()), "malformed"),
        (
            Fault::Body(200, format!("{{\"success\":true,\"result\":{}{}}}", "[".repeat(5000), "]".repeat(5000))),
            "malformed",
        ),
        (Fault::Body(500, "oops".into()), "other"),
        (Fault::Body(200, "{\"success\":false,\"error_code\":\"\\u0000<x>\"}".into()), "other"),
        (Fault::Edge("lan_browser_pub.nodev"), "nodev"),
        (Fault::Reset(0), "no_answer"),
        (Fault::Reset(40), "no_answer"),
        (Fault::Reset(100), "no_answer"),
        (Fault::Silent, "no_answer"),
        (Fault::Slow(Duration::from_millis(20)), "no_answer"),
        (Fault::Endless, "no_answer"),
    ] {
        home.freebox.fault("switch/status", fault);
        only_the_switch_suffers(&home, &daemon, code);
    }
    // One warning and one all-clear each, however often it was tried.
    let log = daemon.stderr();
    assert_eq!(log.matches("switch can be read again").count(), 13, "{log}");
    assert!(!log.contains("panic") && !log.contains("fault:"), "{log}");
    assert_eq!(home.freebox.count("login/session"), 1);
}

#[test]
fn a_box_so_slow_that_one_round_is_too_short_is_read_in_several() {
    let home = Home::new(Model::Fibre);
    // 39 answers take three quarters longer than a round.
    home.freebox.fault("*", Fault::Late(Duration::from_millis(400)));
    let daemon = home.setup("all").flags(&["-e"]).start();
    for section in ["connection", "sys", "switch", "wifi", "lan", "vpnsrv", "vpnclient"] {
        daemon.wait_for(&format!("freebox_up{{section=\"{section}\"}}"), 1.0);
    }
    let metrics = daemon.metrics();
    assert_eq!((metrics[UP], metrics["gatemeter_collector_errors_total{collector=\"freebox\"}"]), (1.0, 0.0));
    assert!(!metrics.contains_key(&errors("no_answer")), "{metrics:#?}");
    assert!(!daemon.stderr().contains("WARN"), "{}", daemon.stderr());
    assert_eq!(home.freebox.count("login/session"), 1);
}

#[test]
fn empty_null_and_object_for_list_are_no_errors() {
    let home = Home::new(Model::Fibre);
    let setup = home.setup("all").flags(&["-o", "freebox.per_host=1"]);
    for edge in ["any.empty_result", "any.null_result", "any.object_for_list"] {
        home.freebox.heal();
        home.freebox.fault("*", Fault::Edge(edge));
        let output = setup.run(&["once"]);
        let text = printed(&output);
        assert!(
            text.contains("freebox_up{section=\"lan\"} 1\n") && text.contains("freebox_up{section=\"sys\"} 1\n"),
            "{text}"
        );
        assert_eq!(output.stderr, "", "{edge}");
        printed(&setup.run(&["once", "-f", "influxdb"]));
    }
}

#[test]
fn every_field_of_another_type_harms_no_other() {
    let home = Home::new(Model::Fibre);
    let odd = r#"{"success":true,"result":{"state":7,"media":["x"],"rate_down":"12","rate_up":{},"bytes_down":null,
        "bytes_up":18446744073709551615,"bandwidth_down":"much","bandwidth_up":80.5,"ipv4":true,"ipv4_port_range":{},
        "extra":{"deep":[[[1]]]}}}"#;
    home.freebox.fault("connection", Fault::Body(200, odd.into()));
    let output = home.setup("").run(&["once"]);
    let text = printed(&output);
    for line in [
        "freebox_connection_up 0",
        "freebox_connection_rate_bytes_per_second{direction=\"down\"} 12",
        "freebox_connection_bytes_total{direction=\"up\",media=\"down\"} 18446744073709551615",
        "freebox_connection_bandwidth_bytes_per_second{direction=\"up\"} 10.0625",
        "freebox_connection_info{state=\"7\",media=\"\",type=\"\",ipv4=\"true\",ipv6=\"\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
    for absent in ["rate_bytes_per_second{direction=\"up\"}", "bytes_total{direction=\"down\"", "port_range_min "] {
        assert!(!text.lines().any(|line| line.starts_with("freebox_connection_") && line.contains(absent)), "{absent}");
    }
}

#[test]
fn two_things_with_one_name_do_not_spoil_the_page() {
    let home = Home::new(Model::Dsl);
    let twins = r#"{"success":true,"result":[{"id":1,"link":"up"},{"id":1,"link":"down"},{"id":"../..","link":"up"}]}"#;
    home.freebox.fault("switch/status", Fault::Body(200, twins.into()));
    let output = home.setup("switch").run(&["once"]);
    let metrics = crate::harness::exposition::parse(printed(&output)).unwrap();
    assert_eq!(metrics["freebox_switch_port_up{port=\"1\",name=\"\"}"], 1.0);
    assert!(home.freebox.requests().iter().all(|request| !request.contains("..")));
}

#[test]
fn names_that_are_the_same_once_they_are_cut_do_not_spoil_the_page() {
    let home = Home::new(Model::Dsl);
    let [one, other] = ["a", "b"].map(|end| &*("x".repeat(300) + end).leak());
    let twins = format!(
        "{{\"success\":true,\"result\":[{{\"id\":1,\"name\":\"{one}\",\"link\":\"up\"}},{{\"id\":1,\"name\":\"{other}\",\"link\":\"down\"}}]}}"
    );
    home.freebox.fault("switch/status", Fault::Body(200, twins));
    home.freebox.right(one, true);
    home.freebox.right(other, false);
    let output = home.setup("switch").run(&["once"]);
    let metrics = crate::harness::exposition::parse(printed(&output)).unwrap();
    let ports: Vec<f64> =
        metrics.iter().filter(|(series, _)| series.starts_with("freebox_switch_port_up")).map(|(_, up)| *up).collect();
    assert_eq!(ports, [1.0]);
    assert_eq!(metrics.keys().filter(|series| series.starts_with("freebox_permission{right=\"xxx")).count(), 1);
}

#[test]
fn what_a_box_does_not_have_is_asked_for_once() {
    let home = Home::new(Model::Dsl);
    let daemon = home.setup("lte vm").flags(&["-e"]).start();
    daemon.wait_for("freebox_up{section=\"vm\"}", 0.0);
    process::poll(PATIENCE, || (home.freebox.count("connection") >= 4).then_some(())).unwrap();
    let asked = (home.freebox.count("vm/info"), home.freebox.count("connection/lte/config"));
    assert_eq!(asked, (1, 1));
    assert_eq!(daemon.metrics()[UP], 1.0);
    let log = daemon.stderr();
    assert!(log.contains("cannot read vm: this box has no such thing; the rest goes on"), "{log}");
    assert_eq!(log.matches("cannot read vm").count(), 1, "{log}");
}

#[test]
fn a_missing_right_is_named_with_what_to_do_and_not_asked_for() {
    let home = Home::new(Model::Fibre);
    home.freebox.right("calls", false);
    let output = home.setup("call sys").run(&["once"]);
    assert!(printed(&output).contains("freebox_permission{right=\"calls\"} 0\n"));
    let told = "cannot read call: a right is missing: calls; give it in the box's settings, under access management, applications";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    assert_eq!(home.freebox.count("call/log"), 0);
    // A right that the login did not tell of.
    home.freebox.fault("system", Fault::Edge("403_insufficient_rights"));
    let output = home.setup("sys").run(&["once"]);
    assert!(output.stderr.contains("cannot read sys: a right is missing: settings"), "{}", output.stderr);
    printed(&output);
}

#[test]
fn a_box_in_bridge_mode_tells_its_line_and_why_the_rest_is_missing() {
    let home = Home::new(Model::Fibre);
    for path in ["lan/browser/interfaces", "dhcp/config", "dhcp/dynamic_lease", "switch/status"] {
        home.freebox.fault(path, Fault::Edge("lan_browser_pub.nodev"));
    }
    let output = home.setup("lan dhcp switch").run(&["once"]);
    assert!(printed(&output).contains("freebox_connection_up 1\n"));
    for section in ["lan", "dhcp", "switch"] {
        let told = format!("cannot read {section}: the box has none, as in bridge mode; take it out of freebox.status");
        assert!(output.stderr.contains(&told), "{}", output.stderr);
    }
}

#[test]
fn a_reboot_is_outlived() {
    let home = Home::new(Model::Fibre);
    let daemon = home.setup("sys").flags(&["-e"]).start();
    daemon.wait_for(UP, 1.0);
    home.freebox.power(false);
    let told = Documented::of("A Freebox that reboots");
    told.by_metrics(&daemon);
    let check = daemon.setup().run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    told.by_check(&check);
    // Old figures are not shown for ever.
    daemon.wait_until("the figures are withdrawn", |metrics| {
        (!metrics.contains_key("freebox_connection_up")).then_some(())
    });
    home.freebox.power(true);
    daemon.wait_for(UP, 1.0);
    daemon.wait_for("freebox_logins_total", 2.0);
    told.by_log(|| daemon.stderr());
    let log = daemon.stderr();
    // One line when it goes, one for each other reason, one when it is back; not one for each try.
    assert!((1..=3).contains(&log.matches("ERROR").count()), "{log}");
    assert_eq!(log.matches("works again").count(), 1, "{log}");
}

#[test]
fn a_revoked_token_is_not_tried_for_ever() {
    let home = Home::new(Model::Fibre);
    let daemon = home.setup("").flags(&["-e"]).start();
    daemon.wait_for(UP, 1.0);
    home.freebox.revoke();
    daemon.wait_for(UP, 0.0);
    daemon.wait_until("more is tried", |metrics| {
        metrics
            .get("gatemeter_collector_errors_total{collector=\"freebox\"}")
            .filter(|errors| **errors >= 4.0)
            .map(drop)
    });
    assert_eq!(home.freebox.count("login/session"), 2);
    let log = daemon.stderr();
    assert!(
        log.contains("the box does not know the token, or not any more; remove the credentials file and register"),
        "{log}"
    );
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
}

#[test]
fn a_daemon_without_a_token_picks_it_up_when_there_is_one() {
    let home = Home::new(Model::Dsl);
    let setup = home.unregistered("").flags(&["-e"]);
    let daemon = setup.start();
    daemon.wait_for(UP, 0.0);
    assert!(daemon.stderr().contains("gatemeter freebox register asks the box for them"), "{}", daemon.stderr());
    write_credentials(&credentials(&setup), &home.freebox.credentials());
    daemon.wait_for(UP, 1.0);
}

#[test]
fn a_box_that_is_not_there_is_told_in_one_line() {
    let lab = Lab::builder().hosts(0).build();
    for (endpoint, told) in [
        (
            "198.51.100.10:81",
            "ERROR [freebox] cannot connect to 198.51.100.10:81: Connection refused (os error 111); is the box on",
        ),
        ("198.51.100.77", "ERROR [freebox] cannot connect to 198.51.100.77:80: "),
    ] {
        let option = format!("freebox.endpoint={endpoint}");
        let setup = Setup::new(&lab).flags(&["--collectors", "freebox", "-o", &option]);
        write_credentials(&credentials(&setup), "{\"app_token\":\"x\"}");
        let output = setup.run(&["once"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.starts_with(told) || output.stderr.contains("no answer after"), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

#[test]
fn something_else_under_the_address_is_told_from_a_box() {
    let home = Home::new(Model::Dsl);
    for (body, told) in [
        ("{}", "what answers there does not tell a version of the API; is freebox.endpoint the box's address?"),
        ("<html>", "JSON value at offset 0 has an impossible value"),
    ] {
        home.freebox.heal();
        home.freebox.fault("api_version", Fault::Body(200, body.into()));
        let output = home.setup("").run(&["once"]);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn check_tells_what_works_and_what_does_not() {
    let home = Home::new(Model::Fibre);
    home.freebox.right("calls", false);
    let output = home.setup("call").run(&["check"]);
    for line in [
        "freebox   ok      credentials are in ",
        "freebox   ok      the API is at http://198.51.100.10:80/api/v16 (Freebox v7 (r1))",
        "freebox   ok      the box lets gatemeter log in",
        "freebox   note    call will be missing: gatemeter lacks the right calls",
    ] {
        assert!(printed(&output).contains(line), "{line} in {}", output.stdout);
    }
    assert!(home.freebox.sessions().is_empty());
    let output = home.unregistered("").run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("gatemeter freebox register asks the box for them"), "{}", output.stdout);
    let output = home.setup("sys").flags(&["-o", "freebox.patch_rate_up=1"]).run(&["check"]);
    assert!(printed(&output).contains("note    freebox.patch_rate_up changes nothing"), "{}", output.stdout);
    let output = home.setup("switch").flags(&["-o", "freebox.patch_rate_up=1"]).run(&["check"]);
    assert!(!printed(&output).contains("patch_rate_up"), "{}", output.stdout);
    home.freebox.fault("login/session", Fault::Edge("403_ratelimited"));
    let output = home.setup("").run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("too many logins have failed"), "{}", output.stdout);
}
