//! `gatemeter freebox register` and `status`, and the file between them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::harness::Confine;
use crate::lab::freebox::{Fault, Model};
use crate::support::{Home, credentials, printed, write_credentials};

#[test]
fn registering_waits_for_the_owner_and_leaves_a_token_for_us_alone() {
    let home = Home::new(Model::Fibre);
    home.freebox.owner(2, "granted");
    let setup = home.unregistered("all");
    let path = credentials(&setup);
    let output = setup.run(&["freebox", "register"]);
    let said = format!(
        "Freebox v7 (r1) asks on its display whether gatemeter may use it: press the right arrow there to accept.\n\
         waiting .. granted\nthe token is in {}\n",
        path.display()
    );
    assert_eq!(printed(&output), said);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().contains(&home.freebox.token()));
    assert!(home.freebox.sessions().is_empty());

    let status = setup.run(&["freebox", "status"]);
    let start = &home.freebox.token()[..4];
    for line in [
        format!("token   {start}...\n"),
        "request 42\n".into(),
        "state   granted\n".into(),
        "login   works\n".into(),
        "rights  calls contacts downloader explorer pvr tv vm\n".into(),
    ] {
        assert!(sorted_rights(printed(&status)).contains(&line), "{line} in {}", status.stdout);
    }
    printed(&setup.run(&["once"]));

    let before = fs::read(&path).unwrap();
    let again = setup.run(&["freebox", "register"]);
    assert!(printed(&again).starts_with("already registered: "), "{again:?}");
    assert_eq!((fs::read(&path).unwrap(), home.freebox.count("login/authorize")), (before, 1));
}

/// The rights in alphabetical order, whatever order the box tells them in.
fn sorted_rights(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("rights  ") {
        Some(rights) => {
            let mut rights: Vec<_> = rights.split(' ').collect();
            rights.sort_unstable();
            format!("rights  {}\n", rights.join(" "))
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn what_the_owner_or_the_box_refuses_is_told_and_leaves_no_file() {
    for (verdict, told) in [
        ("denied", "it was denied on the box's display; register again to be asked once more"),
        ("timeout", "nobody has answered on the box's display; register again and press the right arrow there"),
        ("unknown", "the box does not know the request any more; register again"),
    ] {
        let home = Home::new(Model::Dsl);
        home.freebox.owner(1, verdict);
        let setup = home.unregistered("");
        let output = setup.run(&["freebox", "register"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(output.stderr, format!("gatemeter: cannot register at 198.51.100.10: {told}\n"));
        assert!(!credentials(&setup).exists());
    }
    for (edge, told) in [
        ("403_new_apps_denied", "the box takes no new applications; allow requests for tokens"),
        ("403_denied_from_external_ip", "the box allows it from its LAN only; set freebox.endpoint to its LAN address"),
        ("403_apps_denied", "the box allows no applications"),
    ] {
        let home = Home::new(Model::Dsl);
        home.freebox.fault("login/authorize", Fault::Edge(edge));
        let output = home.unregistered("").run(&["freebox", "register"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn an_answer_that_is_lost_while_the_owner_is_on_the_way_costs_no_second_way() {
    let home = Home::new(Model::Dsl);
    let asked = "login/authorize/7";
    for fault in [Fault::Silent, Fault::Reset(0), Fault::Body(502, "<html>".into()), Fault::Body(200, "{".into())] {
        home.freebox.fault_times(asked, fault, 1);
    }
    home.freebox.owner(2, "granted");
    let setup = home.unregistered("").flags(&["-o", "freebox.timeout=1"]);
    let output = setup.run(&["freebox", "register"]);
    assert!(printed(&output).ends_with(&format!("granted\nthe token is in {}\n", credentials(&setup).display())));
    assert_eq!(home.freebox.count("login/authorize"), 1);
    // A box that is gone is not waited for without end.
    fs::remove_file(credentials(&setup)).unwrap();
    home.freebox.owner(9, "granted");
    home.freebox.fault(asked, Fault::Reset(0));
    let output = setup.run(&["freebox", "register"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("cannot read /api/v5/login/authorize/7"), "{output:?}");
}

#[test]
fn a_token_that_could_not_be_kept_is_not_asked_for() {
    let home = Home::new(Model::Dsl);
    let setup = home.unregistered("");
    let dir = setup.dir().join("dir.json");
    fs::create_dir(&dir).unwrap();
    for (path, told) in [
        ("/proc/no/freebox.json", "cannot make the directory /proc/no"),
        ("/sys/freebox.json", "cannot write the credentials /sys/freebox.json"),
        (dir.to_str().unwrap(), "it is not a regular file"),
    ] {
        let output =
            home.unregistered("").flags(&["-o", &format!("freebox.credentials={path}")]).run(&["freebox", "register"]);
        assert_eq!((output.status.code(), output.stdout.as_str()), (Some(1), ""), "{output:?}");
        assert!(output.stderr.contains(told), "{output:?}");
    }
    assert_eq!(home.freebox.count("login/authorize"), 0);
}

#[test]
fn the_status_of_a_token_that_does_not_work_says_why() {
    let home = Home::new(Model::Fibre);
    let output = home.unregistered("").run(&["freebox", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with("not registered: there is no "), "{output:?}");
    let setup = home.setup("");
    home.freebox.owner(9, "granted");
    let output = setup.run(&["freebox", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.contains("state   pending\n") && output.stdout.contains("press the right arrow there"),
        "{output:?}"
    );
    home.freebox.owner(0, "granted");
    home.freebox.revoke();
    let output = setup.run(&["freebox", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stdout.contains("login   cannot log in to 198.51.100.10: the box does not know the token"),
        "{output:?}"
    );
    home.freebox.power(false);
    let output = setup.run(&["freebox", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("state   unknown: cannot "), "{output:?}");
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_remedy() {
    let home = Home::new(Model::Dsl);
    let setup = home.setup("");
    let path = credentials(&setup);
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let line = format!(
            "cannot use the credentials in {0}: others than its owner may read it (mode {mode:04o}); chmod 600 {0}",
            path.display()
        );
        let output = setup.run(&["once"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(output.stderr, format!("ERROR [freebox] {line}\n"));
        assert!(setup.run(&["check"]).stdout.contains(&line));
    }
    // Another user's is told with what to do, too: without capabilities root is a user like any other.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(65_534), None).unwrap();
    let output = setup.confined(Confine::default().capabilities(&[])).run(&["once"]);
    let line = format!(
        "cannot use the credentials in {}: Permission denied (os error 13); run as the user it belongs to, or give it to ours \
         with chown",
        path.display()
    );
    assert!(output.stderr.contains(&line), "{output:?}");
    assert_eq!(home.freebox.requests().iter().filter(|request| request.contains("login")).count(), 0);
}

#[test]
fn the_file_of_freebox_monitoring_serves_as_it_is() {
    let home = Home::new(Model::Dsl);
    let setup = home.unregistered("");
    let path = setup.dir().join(".credentials");
    let text = format!(
        "[general]\ntrack_id = 7\napp_token = {}\n\n[api]\napi_endpoint = http://mafreebox.freebox.fr:80/api/v5\napi_ssl = 0\n",
        home.freebox.token()
    );
    write_credentials(&path, &text);
    let option = format!("freebox.credentials={}", path.display());
    let setup = setup.flags(&["-o", &option]);
    printed(&setup.run(&["once"]));
    assert!(printed(&setup.run(&["freebox", "status"])).contains("name    fr.freebox.seximonitor\n"));
}

#[test]
fn bad_settings_end_with_2_and_say_what_was_expected() {
    let home = Home::new(Model::Dsl);
    for (option, line) in [
        (
            "freebox.status=system",
            "'system' is not one of its values, expected lte, sys, switch, disk, wifi, dhcp, lan, call, vm, vpnsrv, vpnclient, all",
        ),
        (
            "freebox.endpoint=ftp://box",
            "'ftp://box' is not a host, expected one as mafreebox.freebox.fr, 192.168.1.254:80 or https://HOST",
        ),
        ("freebox.auth_hash=md5", "'md5' is not one of its values, expected sha1 or sha256"),
        ("freebox.api_version=0", "'0' is out of range, expected a whole number from 1 to 999"),
    ] {
        let output = home.unregistered("").flags(&["-o", option]).run(&["freebox", "status"]);
        let place = option.split('=').next().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(2), format!("gatemeter: -o {place}: {line}\n")));
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_without_tls_is_told_and_not_downgraded() {
    let home = Home::new(Model::Fibre);
    let output = home.setup("").flags(&["-o", "freebox.tls=on"]).run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = "cannot speak HTTPS: this gatemeter was built without TLS; build it with --features tls, or set freebox.tls to off";
    assert_eq!(output.stderr, format!("ERROR [freebox] {line}\n"));
    assert!(home.freebox.requests().is_empty());
}
