//! HTTPS with an authority of our own, whose certificates OpenSSL makes and whose connections it ends (socat).

use std::fs;
use std::path::PathBuf;

use crate::harness::PATIENCE;
use crate::lab::freebox::{Fault, Freebox, Model};
use crate::lab::process::{self, Background, Output};
use crate::support::{Home, printed};

/// An authority, a certificate of it for the box, and what speaks TLS in front of the box.
struct Front<'a> {
    home: &'a Home,
    dir: PathBuf,
    _socat: Vec<Background>,
}

impl<'a> Front<'a> {
    /// `key` is what both keys are made by; `options` are socat's.
    fn start(home: &'a Home, key: &str, options: &str) -> Self {
        let dir = home.lab.dir().join("tls");
        fs::create_dir(&dir).unwrap();
        let names = "subjectAltName=DNS:doc-example.fbxos.fr,DNS:mafreebox.freebox.fr,IP:198.51.100.10";
        fs::write(dir.join("names"), names).unwrap();
        for words in [
            format!("req -x509 -newkey {key} -nodes -keyout root.key -out root.pem -sha256 -days 30 -subj /O=Lab/CN=Root"),
            format!("req -newkey {key} -nodes -keyout box.key -out box.csr -subj /CN=doc-example.fbxos.fr"),
            "x509 -req -in box.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -sha256 -extfile names -out box.pem".into(),
            "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 30 -subj /CN=Other".into(),
        ] {
            let script = format!("cd {} && exec openssl {words}", dir.display());
            home.lab.internet.must(&["sh", "-c", &script]);
        }
        let socat = [443, 3615].map(|port| {
            let listen = format!(
                "OPENSSL-LISTEN:{port},bind=198.51.100.10,fork,reuseaddr,verify=0,cert={0}/box.pem,key={0}/box.key{options}",
                dir.display()
            );
            let background = home.lab.internet.start(&["socat", &listen, "TCP:198.51.100.10:80"], &dir.join("socat.log"));
            let listens = || home.lab.internet.must(&["ss", "-Hltn", &format!("sport = :{port}")]).contains("LISTEN").then_some(());
            assert!(process::poll(PATIENCE, listens).is_some(), "socat does not start: apt-get install socat");
            background
        });
        Front { home, dir, _socat: socat.into() }
    }

    /// Runs `once` with options of the collector, trusting the certificates in a file of the front's directory.
    fn once(&self, root: &str, options: &[&str]) -> Output {
        let bundle = match root {
            "" => String::new(),
            _ => format!("freebox.ca_bundle={}", self.dir.join(root).display()),
        };
        let options = ["freebox.tls=auto"]
            .iter()
            .chain(options)
            .copied()
            .chain([bundle.as_str()])
            .filter(|option| !option.is_empty());
        let flags: Vec<&str> = options.flat_map(|option| ["-o", option]).collect();
        self.home.setup("sys").flags(&flags).run(&["once"])
    }
}

const P384: &str = "ec -pkeyopt ec_paramgen_curve:secp384r1";

#[test]
fn https_is_spoken_with_keys_like_those_of_the_boxes() {
    for (key, options) in
        [(P384, ""), ("rsa:4096", ",openssl-max-proto-version=TLS1.2"), (P384, ",openssl-max-proto-version=TLS1.2")]
    {
        let home = Home::new(Model::Fibre);
        let front = Front::start(&home, key, options);
        let output = front.once("root.pem", &[]);
        let text = printed(&output);
        assert!(
            text.contains("freebox_api_info{version=\"16\",endpoint=\"https://198.51.100.10:443/api/v16\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("freebox_up{section=\"sys\"} 1\n"), "{text}");
        assert_eq!(home.freebox.count("login/logout"), 1);
    }
}

#[test]
fn a_stranger_is_not_trusted_and_learns_nothing() {
    let home = Home::new(Model::Fibre);
    let front = Front::start(&home, P384, "");
    for (root, options, told) in [
        // The operator's roots.
        ("", &[][..], "UnknownIssuer"),
        ("other.pem", &[], "UnknownIssuer"),
        ("root.pem", &["freebox.tls_name=box.example"], "not valid for name \"box.example\""),
        ("names", &[], "it holds no certificate"),
        ("absent.pem", &[], "there is no such file"),
    ] {
        let output = front.once(root, options);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stderr.contains(told), "{told}: {}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
    assert_eq!(home.freebox.count("login"), 0);
}

#[test]
fn a_name_can_be_given_and_checks_can_be_turned_off() {
    let home = Home::new(Model::Fibre);
    let front = Front::start(&home, P384, "");
    printed(&front.once("root.pem", &["freebox.tls_name=mafreebox.freebox.fr"]));
    printed(&front.once("", &["freebox.tls_verify=0"]));
    let output = front.once("", &["freebox.tls=off"]);
    assert!(printed(&output).contains("endpoint=\"http://198.51.100.10:80/api/v16\"} 1\n"));
    // From the first request on.
    printed(
        &front.once("root.pem", &["freebox.endpoint=https://198.51.100.10", "freebox.tls_name=mafreebox.freebox.fr"]),
    );
}

#[test]
fn the_domain_and_port_that_the_box_tells_are_used_if_so_asked() {
    let home = Home::new(Model::Fibre);
    let front = Front::start(&home, P384, "");
    let told = r#"{"api_version":"16.0","api_base_url":"/api/","api_domain":"198.51.100.10","https_available":true,"https_port":3615}"#;
    home.freebox.fault("api_version", Fault::Body(200, told.into()));
    let output = front.once("root.pem", &["freebox.tls_domain=1"]);
    assert!(printed(&output).contains("endpoint=\"https://198.51.100.10:3615/api/v16\"} 1\n"));
}

#[test]
fn what_speaks_no_tls_is_no_box() {
    let home = Home::new(Model::Fibre);
    let _other = Freebox::start_at(&home.lab.internet, Model::Fibre, home.lab.internet.v4, 443);
    let output = home.setup("").flags(&["-o", "freebox.tls=auto"]).run(&["once"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.contains("cannot trust what says that it is doc-example.fbxos.fr"), "{}", output.stderr);
}

#[test]
fn a_box_without_https_is_spoken_to_without_it() {
    let home = Home::new(Model::Dsl);
    let output = home.setup("").flags(&["-o", "freebox.tls=auto"]).run(&["once"]);
    assert!(printed(&output).contains("endpoint=\"http://198.51.100.10:80/api/v5\"} 1\n"));
}
