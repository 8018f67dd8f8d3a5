//! The token and the sessions appear nowhere: not in logs of any form at any level, not in errors, not on a page.

use crate::harness::PATIENCE;
use crate::lab::freebox::{Fault, Model};
use crate::lab::process;
use crate::support::{Home, printed};

/// Whether a part of a secret long enough to be told from chance stands in a text.
#[track_caller]
fn holds_none(text: &str, secrets: &[String], what: &str) {
    for secret in secrets {
        // Of the token, 4 characters may be shown.
        let parts: Vec<&str> = (0..secret.len() - 7).filter_map(|at| secret.get(at..at + 8)).collect();
        for part in parts.into_iter().filter(|part| *part != "00000000") {
            assert!(!text.contains(part), "{what} holds {part} of a secret:\n{text}");
        }
    }
}

#[test]
fn no_log_and_no_page_holds_a_secret() {
    for format in ["text", "logfmt", "json"] {
        let home = Home::new(Model::Fibre);
        let log = format!("main.log_format={format}");
        let flags = ["-e", "--log-level", "trace", "-o", &log, "-o", "freebox.timeout=1"];
        let mut daemon = home.setup("all").flags(&flags).start();
        daemon.wait_for("freebox_up{section=\"sys\"}", 1.0);
        let mut secrets = vec![home.freebox.token()];
        secrets.extend(home.freebox.sessions());
        // All kinds of trouble, with the session under way.
        for fault in [Fault::EndSessions, Fault::Reset(30), Fault::Silent, Fault::Body(200, "{".into())] {
            let before = home.freebox.count("switch/status");
            home.freebox.fault_times("switch/status", fault, 1);
            process::poll(PATIENCE, || (home.freebox.count("switch/status") > before + 1).then_some(())).unwrap();
            secrets.extend(home.freebox.sessions());
        }
        let mut texts = vec![daemon.page().unwrap()];
        for path in ["/", "/plain", "/api/v1/state", "/healthz", "/debug/probes", "/probe?target=192.0.2.1"] {
            texts.push(daemon.get(path).unwrap().text());
        }
        home.freebox.revoke();
        daemon.wait_for("gatemeter_collector_up{collector=\"freebox\"}", 0.0);
        texts.push(daemon.page().unwrap());
        texts.push(daemon.get("/healthz").unwrap().text());
        assert!(daemon.stop().success());
        let log = daemon.stderr();
        // It is told what is done, at this level.
        assert!(log.contains("/api/v16/switch/status/: 200, "), "{log}");
        assert!(secrets.len() >= 3);
        holds_none(&log, &secrets, "the log");
        texts.iter().for_each(|text| holds_none(text, &secrets, "a page"));
    }
}

#[test]
fn commands_show_four_characters_of_the_token_at_most() {
    let home = Home::new(Model::Dsl);
    let secrets = [home.freebox.token()];
    let setup = home.unregistered("all").flags(&["--log-level", "trace"]);
    for words in [&["freebox", "register"][..], &["freebox", "register"], &["freebox", "status"], &["check"], &["once"]]
    {
        let output = setup.run(words);
        let text = format!("{}{}", printed(&output), output.stderr);
        holds_none(&text, &secrets, "what a command prints");
        assert!(!text.contains(&secrets[0][..5]), "{text}");
    }
    // What is asked is told on the way, beside what is printed.
    let output = setup.run(&["once", "freebox", "-f", "influxdb"]);
    assert!(output.stderr.contains("GET /api/v5/connection/: 200, "), "{output:?}");
    assert!(printed(&output).lines().all(|line| line.starts_with("freebox") || line.starts_with("gatemeter_")));
    // A daemon's log is not a command's: who wants more of one says so to it.
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption log_level 'trace'\n");
    let quiet = home.setup("").run(&["once"]);
    assert_eq!((quiet.status.code(), quiet.stderr.as_str()), (Some(0), ""));
    home.freebox.revoke();
    let output = setup.run(&["once"]);
    holds_none(&output.stderr, &secrets, "an error");
}
