//! `gatemeter homeplug`, `check` and `once`, and what the configuration may say.

use crate::common::{UP, device_up, lab, mac, on, setup};
use crate::harness::confine::{CAP_NET_ADMIN, CAP_NET_RAW};
use crate::harness::{Confine, PATIENCE, Setup};
use crate::lab::powerline::{Chip, Model};
use crate::lab::process;

/// What the command prints once it has heard all that is wanted.
fn table(setup: &Setup, wanted: &[&str]) -> String {
    let mut last = String::new();
    let whole = || {
        let output = setup.run(&["homeplug"]);
        last = format!("{}{}", output.stdout, output.stderr);
        wanted.iter().all(|words| output.stdout.contains(words)).then_some(output.stdout)
    };
    process::poll(PATIENCE, whole).unwrap_or_else(|| panic!("{wanted:?} is not in\n{last}"))
}

#[test]
fn the_network_is_a_table() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let wanted = [
        "Network 52:de:ad:be:ef:00:01 on plc0: 3 adapters answer\n",
        "  02:00:5e:aa:00:01  coordinator  QCA7420    MAC-QCA7420-1.1.0.844-02-20120523-FINAL\n",
        "    peer               sends Mbit/s  receives Mbit/s  blocks lost  device behind it\n",
        "    02:00:5e:aa:00:02           142               97        0.4 %  02:00:5e:bb:00:02\n",
        "    02:00:5e:aa:00:03           301              255        0.4 %\n",
        "  02:00:5e:aa:00:03  station      QCA7500    MAC-QCA7550-2.2.1.26-00-20150504-CS\n",
    ];
    table(&setup(&lab), &wanted);
    segment.model().adapter(3).silent = true;
    table(&setup(&lab), &["2 adapters answer", "02:00:5e:aa:00:03 is listed by another adapter and does not answer\n"]);
    assert_eq!(segment.model().harmful, []);
}

#[test]
fn every_frame_is_told_to_those_who_want_to_know() {
    let lab = lab();
    let mut model = Model::home();
    model.adapter(2).times = 2;
    let _segment = lab.powerline(model);
    let output = setup(&lab).flags(&["--log-level", "trace"]).run(&["homeplug"]);
    let told = format!("{}{}", output.stdout, output.stderr);
    for words in [
        // The destination comes first, whatever ours is.
        "TRACE [homeplug] plc0: sent 00:b0:52:00:00:01:",
        ":88:e1:01:38:a0:00:00:00:b0:52:00:",
        "TRACE [homeplug] plc0: used ",
        "TRACE [homeplug] plc0: duplicate ",
    ] {
        assert!(output.stderr.contains(words), "{words} in {told}");
    }
    let quiet = setup(&lab).run(&["homeplug"]);
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{quiet:?}");
}

#[test]
fn adapters_in_no_network_and_without_firmware_are_told_with_what_to_do() {
    let lab = lab();
    let mut model = Model::network(&[Chip::Qca7420, Chip::BootLoader]);
    model.networks.clear();
    model.adapter(2).local = true;
    let _segment = lab.powerline(model);
    let alone = format!("{} is in no network: pair it", mac(1));
    table(&setup(&lab), &[&alone, "An adapter (QCA7005) is stuck in its boot loader: unplug it"]);
}

#[test]
fn nobody_is_one_line_with_what_to_look_for() {
    let lab = lab();
    lab.powerline_cable(lab.host(1), "plc0");
    let output = setup(&lab).run(&["homeplug"]);
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(1), ""), "{output:?}");
    let line = "gatemeter: cannot find a powerline adapter on plc0: none answers; see that it is plugged in";
    assert!(output.stderr.starts_with(line) && output.stderr.lines().count() == 1, "{output:?}");
    assert!(output.stderr.contains("homeplug.destaddr=all") && output.stderr.contains("G.hn"), "{output:?}");
    // It is a state and no failure.
    let once = setup(&lab).run(&["once", "homeplug"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    assert!(once.stdout.contains("homeplug_up{interface=\"plc0\"} 0\n"), "{once:?}");
    let check = setup(&lab).run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
    assert!(check.stdout.contains("homeplug  note    cannot find a powerline adapter on plc0"), "{check:?}");
}

#[test]
fn check_tells_how_many_adapters_answer() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let told = || {
        let check = setup(&lab).run(&["check"]);
        let told = check.stdout.contains("homeplug  ok      3 adapters answer on plc0");
        (check.status.success() && told).then_some(())
    };
    assert!(process::poll(PATIENCE, told).is_some(), "{:?}", setup(&lab).run(&["check"]));
    assert_eq!(segment.model().harmful, []);
    let check = on(&lab, &["plc0", "plc7"]).run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(check.stdout.contains("homeplug  BROKEN  cannot ask powerline adapters on plc7"), "{check:?}");
    // Who has not turned it on is asked nothing.
    segment.requests();
    let check = Setup::new(&lab).run(&["check"]);
    assert!(check.stdout.contains("homeplug  note    off"), "{check:?}");
    assert_eq!(segment.requests(), []);
}

#[test]
fn the_one_capability_that_is_asked_for_is_enough_and_without_it_the_remedy_is_told() {
    let lab = lab();
    let _segment = lab.powerline(Model::home());
    let confined = setup(&lab).confined(Confine::default().capabilities(&[CAP_NET_RAW]));
    let mut daemon = confined.start();
    daemon.wait_for(&device_up(3), 1.0);
    let status = lab.router.read(&format!("/proc/{}/status", daemon.pid()));
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    assert_eq!(u64::from_str_radix(held.trim(), 16).unwrap(), 1 << CAP_NET_RAW);
    assert_eq!(daemon.stop().code(), Some(0));

    let without = setup(&lab).confined(Confine::default().capabilities(&[CAP_NET_ADMIN]));
    let daemon = without.start();
    daemon.wait_for(UP, 0.0);
    let said = daemon.stderr();
    assert!(said.contains("cannot open a packet socket on plc0") && said.contains("grant CAP_NET_RAW"), "{said}");
    let check = without.run(&["check"]);
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    assert!(check.stdout.contains("BROKEN  CAP_NET_RAW is missing"), "{check:?}");
    let command = without.run(&["homeplug"]);
    assert_eq!(command.status.code(), Some(1), "{command:?}");
    assert!(command.stderr.contains("run as root or grant CAP_NET_RAW"), "{command:?}");
}

#[test]
fn bad_options_are_one_line_with_what_was_expected() {
    let lab = lab();
    for (option, value, expected) in [
        ("destaddr", "nearby", "'nearby' is no adapter's address, expected local, all, or a MAC address"),
        ("destaddr", "00:b0:52:00", "'00:b0:52:00' is no adapter's address"),
        ("destaddr", "01:00:5e:00:00:01", "is no adapter's address"),
        ("interface", "an-interface-too-long", "is longer than 15 characters"),
        ("interval", "0", "'0' is out of range, expected a whole number from 1 to 86400"),
        ("max_devices", "254", "expected a whole number from 1 to 253"),
        ("extended", "maybe", "'maybe' is neither on nor off, expected 1 or 0"),
    ] {
        let flag = format!("homeplug.{option}={value}");
        for words in [&["homeplug"][..], &["once", "homeplug"]] {
            let output = Setup::new(&lab).flags(&["-o", &flag]).run(words);
            let code = output.status.code();
            // What `once` was told to run it reports as failed.
            assert!(code == Some(2) || (code == Some(1) && words.len() == 2), "{output:?}");
            let said = &output.stderr;
            assert!(said.contains(&format!("-o homeplug.{option}: ")) && said.contains(expected), "{output:?}");
        }
    }
}

#[test]
fn a_new_configuration_is_taken_over_while_it_runs() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let uci = |destination: &str| {
        format!(
            "config homeplug 'homeplug'\n\toption enabled '1'\n\tlist interface 'plc0'\n\toption interval '1'\n\
             \toption destaddr '{destination}'\n"
        )
    };
    let setup = Setup::new(&lab).uci("gatemeter", &uci("local")).flags(&["-e", "-t", "1"]);
    let setup = setup.flags(&["-o", "traffic.enabled=0", "-o", "clients.enabled=0", "-o", "probe.enabled=0"]);
    let daemon = setup.start();
    daemon.wait_for(&device_up(3), 1.0);
    segment.model().adapter(1).local = false;
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 0.0);
    setup.write_uci("gatemeter", &uci("all"));
    daemon.signal(libc::SIGHUP);
    daemon.wait_for("homeplug_up{interface=\"plc0\"}", 1.0);
    (1..=3).for_each(|n| daemon.wait_for(&device_up(n), 1.0));
}
