//! The service script under busybox's shell, in a root of its own, with what it tells procd on record.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use gatemeter::config::uci::{self, Value};

use crate::{Dir, run, source, text_of};

/// Commands that the script may count on; all others a router may lack.
const APPLETS: [&str; 8] = ["sh", "cat", "mkdir", "mv", "rm", "tr", "chroot", "mount"];

/// A router's root: nothing but what the script touches.
struct Router {
    root: Dir,
}

impl Router {
    /// One with this configuration, and with networks as the stand-in for network.sh has them.
    fn new(config: &str, networks: &str) -> Self {
        let root = Dir::new();
        let router = Router { root };
        for dir in ["bin", "sbin", "var/run", "etc/config", "etc/init.d", "tmp", "dev"] {
            std::fs::create_dir_all(router.root.join(dir)).unwrap();
        }
        std::fs::copy("/bin/busybox", router.root.join("bin/busybox"))
            .expect("/bin/busybox, from the package busybox-static");
        for applet in APPLETS {
            symlink("busybox", router.root.join("bin").join(applet)).unwrap();
        }
        for (path, file) in [
            ("etc/rc.common", "tests/package/standin/rc.common"),
            ("lib/functions.sh", "tests/package/standin/functions.sh"),
            ("lib/functions/network.sh", "tests/package/standin/network.sh"),
            ("etc/init.d/gatemeter", "openwrt/gatemeter/files/gatemeter.init"),
            ("etc/capabilities/gatemeter.json", "openwrt/gatemeter/files/gatemeter.json"),
        ] {
            router.root.write(path, text_of(file));
        }
        // `uci -q get network.NAME` for a network that stands in the configuration, up or not.
        let uci = "#!/bin/sh\ncase $3 in\n\tnetwork.lan | network.wan | network.guest) echo interface ;;\n\t*) exit 1 ;;\nesac\n";
        router.script("sbin/ujail", "#!/bin/sh\n");
        router.script("bin/uci", uci);
        router.script("bin/logger", "#!/bin/sh\necho \"$*\" >>/log\n");
        router.configure(config);
        router.root.write("standin/networks", networks);
        router
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.root.write(path, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Another configuration, as config_load would have it in variables.
    fn configure(&self, config: &str) {
        let package = uci::parse("gatemeter", config.as_bytes()).unwrap();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let (mut text, mut names) = (String::new(), Vec::new());
        for section in &package.sections {
            let name = if section.anonymous { format!("cfg{:06}", names.len()) } else { section.name.clone() };
            writeln!(text, "CONFIG_{name}_TYPE={}", quoted(&section.kind)).unwrap();
            for option in &section.options {
                let value = match &option.value {
                    Value::Text(text) => text.clone(),
                    Value::List(items) => items.join(" "),
                };
                writeln!(text, "CONFIG_{name}_{}={}", option.name, quoted(&value)).unwrap();
            }
            names.push(name);
        }
        writeln!(text, "CONFIG_SECTIONS={}", quoted(&names.join(" "))).unwrap();
        self.root.write("standin/gatemeter.sh", text);
        self.root.write("etc/config/gatemeter", config);
    }

    /// Runs the script; what procd was told since the last time.
    fn call(&self, action: &str) -> String {
        let _ = std::fs::remove_file(self.root.join("record"));
        let mut command = Command::new("chroot");
        command.arg(&self.root.0).args(["/bin/sh", "/etc/rc.common", "/etc/init.d/gatemeter", action]);
        command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
        let (code, stdout, stderr) = run(command);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", ""), "{action}");
        self.root.read("record")
    }

    fn networks(&self) -> String {
        self.root.read("var/run/gatemeter/networks")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }
}

/// A home with PPPoE.
const NETWORKS: &str = "lan 1 br-lan br-lan 192.168.1.1/24,10.0.0.1/24 fd00:1:2::1/60\n\
                        wan 1 pppoe-wan eth0.2 203.0.113.2/32 -\n\
                        guest 0 - - - -\n";

fn default_configuration() -> String {
    text_of("openwrt/gatemeter/files/gatemeter.config")
}

#[test]
fn the_default_configuration_starts_one_instance_that_is_never_given_up() {
    let router = Router::new(&default_configuration(), NETWORKS);
    assert_eq!(
        router.call("start"),
        "open_service 'gatemeter'\n\
         procd_open_instance\n\
         procd_set_param 'command' '/usr/sbin/gatemeter'\n\
         procd_set_param 'file' '/etc/config/gatemeter' '/etc/config/dhcp' '/var/run/gatemeter/networks'\n\
         procd_set_param 'reload_signal' 'HUP'\n\
         procd_set_param 'respawn' '3600' '15' '0'\n\
         procd_set_param 'stdout' '1'\n\
         procd_set_param 'stderr' '1'\n\
         procd_set_param 'limits' 'memlock=unlimited'\n\
         procd_add_jail 'gatemeter'\n\
         procd_set_param 'capabilities' '/etc/capabilities/gatemeter.json'\n\
         procd_set_param 'no_new_privs' '1'\n\
         procd_close_instance\n\
         procd_add_reload_trigger 'gatemeter' 'dhcp'\n\
         procd_add_reload_interface_trigger 'lan'\n\
         set_service\n"
    );
    assert_eq!(router.networks(), "lan br-lan br-lan 192.168.1.1/24 10.0.0.1/24 fd00:1:2::1/60\n");
    // Where prometheus-node-exporter-lua-textfile looks; no package makes it.
    let made = std::fs::metadata(router.root.join("var/prometheus")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o755);
    assert_eq!(router.log(), "");
}

#[test]
fn where_there_is_no_ujail_the_daemon_gives_privileges_up_by_itself() {
    let router = Router::new(&default_configuration(), NETWORKS);
    std::fs::remove_file(router.root.join("sbin/ujail")).unwrap();
    let record = router.call("start");
    assert!(!record.contains("jail") && record.contains("procd_set_param 'command'"), "{record}");
}

#[test]
fn a_service_that_is_off_has_no_instance_but_hears_of_changes() {
    for off in ["0", "off", "no", "false", "disabled"] {
        let router = Router::new(&format!("config gatemeter 'main'\n\toption enabled '{off}'\n"), NETWORKS);
        let expected = "open_service 'gatemeter'\nprocd_add_reload_trigger 'gatemeter' 'dhcp'\nset_service\n";
        assert_eq!(router.call("start"), expected, "{off}");
        // Turned on, it is a reload that starts it.
        router.configure("config gatemeter 'main'\n\toption enabled '1'\n");
        assert!(router.call("reload").contains("procd_set_param 'command' '/usr/sbin/gatemeter'"));
    }
}

#[test]
fn every_network_that_is_named_is_described_and_followed_once() {
    let config = "config gatemeter main\n\toption listen 'lan:9999'\n\tlist allow lan\n\tlist allow '10.9.0.0/16'\n\
                  config traffic traffic\n\toption subnet4 '192.168.1.0/24/lan 192.168.2.0/24/br-guest'\n\
                  config probe\n\toption interface4 wan\n\toption interface6 auto\n\
                  config homeplug homeplug\n\tlist interface guest\n\tlist interface eth7\n";
    let router = Router::new(config, NETWORKS);
    let record = router.call("start");
    let followed: Vec<&str> = record.lines().filter(|line| line.contains("interface_trigger")).collect();
    let trigger = |name: &str| format!("procd_add_reload_interface_trigger '{name}'");
    assert_eq!(followed, ["lan", "guest", "eth7", "wan"].map(trigger));
    assert_eq!(
        router.networks(),
        "lan br-lan br-lan 192.168.1.1/24 10.0.0.1/24 fd00:1:2::1/60\nguest - -  \nwan pppoe-wan eth0.2 203.0.113.2/32 \n"
    );
    // The daemon takes the same from it as the script meant.
    let (networks, problems) =
        gatemeter::config::networks::Networks::load(&router.root.join("var/run/gatemeter/networks"));
    assert_eq!((networks.to_string(), problems), ("lan is br-lan, guest is down, wan is pppoe-wan".into(), vec![]));
}

#[test]
fn an_interface_that_goes_down_and_comes_back_is_a_reload_with_another_file() {
    let router = Router::new(&default_configuration(), NETWORKS);
    router.call("start");
    router.root.write("standin/networks", "lan 0 - br-lan - -\n");
    let record = router.call("reload");
    assert!(!record.contains("kill") && record.contains("procd_set_param 'reload_signal' 'HUP'"), "{record}");
    assert_eq!(router.networks(), "lan - br-lan  \n");
    router.root.write("standin/networks", NETWORKS);
    router.call("reload");
    assert!(router.networks().starts_with("lan br-lan br-lan 192.168.1.1/24 "));
}

#[test]
fn names_of_any_kind_get_nowhere_near_an_eval() {
    let odd =
        ["$(touch /owned)", "`touch /owned`", "a;touch /owned", "x'y", "x\"y", "*", "a b", "lan-1", "1/2", "é", "-n"];
    let lists = |option: &str| odd.map(|name| format!("\tlist {option} \"{}\"\n", name.replace('"', "\\\""))).concat();
    let config = format!(
        "config gatemeter main\n{}\toption textfile_dir '/tmp/a b;$(touch /owned)'\n\toption listen \"$(touch /owned):1\"\n\
         config traffic traffic\n{}config homeplug homeplug\n{}\tlist interface lan\n",
        lists("allow"),
        lists("subnet4"),
        lists("interface")
    );
    let router = Router::new(&config, NETWORKS);
    let record = router.call("start");
    assert!(!router.root.join("owned").exists() && !record.contains("network.sh"), "{record}");
    // What could be a network is asked for; of words with spaces the parts, as the daemon takes them.
    assert!(router.networks().starts_with("lan br-lan"), "{}", router.networks());
    assert!(router.root.join("tmp/a b;$(touch /owned)").is_dir());
}

#[test]
fn a_directory_for_text_files_is_made_in_memory_only() {
    let config = |dir: &str| format!("config gatemeter main\n\toption textfile_dir '{dir}'\n");
    for (dir, is_made) in [("/var/figures", true), ("/tmp/deep/er", true), ("/etc/figures", false), ("none", false)] {
        let router = Router::new(&config(dir), NETWORKS);
        router.call("start");
        assert_eq!(router.root.join(dir.trim_start_matches('/')).is_dir(), is_made, "{dir}");
    }
}

#[test]
fn what_needs_privileges_that_were_given_up_is_a_restart_and_nothing_else_is() {
    let config =
        |options: &str| format!("config gatemeter main\nconfig traffic traffic\n\toption enabled 0\n{options}");
    let first = config("config probe probe\n\toption enabled 0\n");
    let router = Router::new(&first, NETWORKS);
    router.call("start");
    let is_restart = |options: &str| {
        router.configure(&config(options));
        let record = router.call("reload");
        let found = record.contains("procd_kill 'gatemeter'");
        // What the next one is compared with.
        router.configure(&first);
        router.call("start");
        found
    };
    assert!(!is_restart("config probe probe\n\toption enabled 0\n"));
    assert!(!is_restart("config probe probe\n\toption enabled 0\nconfig clients clients\n\toption enabled 0\n"));
    assert!(!is_restart("config probe probe\n\toption enabled 0\nconfig freebox freebox\n\toption enabled 1\n"));
    assert!(is_restart("config probe probe\n\toption enabled 1\n"));
    assert!(is_restart("config probe probe\n\toption enabled 0\nconfig homeplug homeplug\n\toption enabled 1\n"));
    // Once is enough: what was started then has it.
    router.configure(&config(""));
    assert!(router.call("reload").contains("procd_kill"));
    assert!(!router.call("reload").contains("procd_kill"));
    // Turned off and on again it is another process, which has what it started with.
    router.configure("config gatemeter main\n\toption enabled 0\n");
    router.call("reload");
    router.configure(&first);
    assert!(!router.call("reload").contains("procd_kill"));
    router.configure(&config(""));
    assert!(router.call("reload").contains("procd_kill"));
}

#[test]
fn without_room_in_memory_the_service_starts_and_says_what_it_does_without() {
    let router = Router::new(&default_configuration(), NETWORKS);
    router.call("start");
    let known = router.networks();
    router.root.write("standin/networks", "lan 1 br-other br-other 10.1.1.1/24 -\n");
    let _ = std::fs::remove_file(router.root.join("record"));
    // The file system of /var/run is full: its only page holds the file that is there.
    let script = "mount -t tmpfs -o size=4k none \"$0/var/run/gatemeter\" && echo known >\"$0/var/run/gatemeter/networks\" && \
                  chroot \"$0\" /bin/sh /etc/rc.common /etc/init.d/gatemeter reload && cat \"$0/var/run/gatemeter/networks\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script]).arg(&router.root.0);
    command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin");
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stdout.as_str()), (Some(0), "known\n"), "{stderr}");
    assert!(router.root.read("record").contains("procd_set_param 'command'"));
    assert!(router.log().contains("cannot write /var/run/gatemeter/networks"), "{}", router.log());
    assert_ne!(known, "known\n");
}

#[test]
fn scripts_are_clean() {
    let mut command = Command::new("shellcheck");
    command.args(["openwrt/gatemeter/files/gatemeter.init", "openwrt/gatemeter/files/gatemeter.prerm"].map(source));
    let (code, stdout, stderr) = run(command);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}
