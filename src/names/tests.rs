use super::*;
use std::fs;

/// A router's files in a directory of its own, gone when the test ends.
struct Router(PathBuf);

impl Router {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatemeter-names-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Router(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// Names from `dhcp`, the file `leases` and the file `ethers`.
    fn names(&self) -> Names {
        Names::new(Sources {
            uci_dir: self.0.clone(),
            leases: vec![self.0.join("leases")],
            hosts: vec![self.0.join("ethers")],
        })
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The name by MAC address alone: no file has this address.
fn by_mac<'a>(names: &'a Names, text: &str) -> Option<&'a str> {
    names.of(Some(&mac(text)), &addr("0.0.0.0"))
}

fn by_addr<'a>(names: &'a Names, text: &str) -> Option<&'a str> {
    names.of(None, &addr(text))
}

const STATIC: &str = "config host\n\toption name 'nas'\n\toption mac '02:00:00:00:00:01'\n\
                      config host\n\toption name 'camera'\n\toption mac '02:00:00:00:00:*'\n";

#[test]
fn each_source_is_believed_in_its_turn() {
    let router = Router::new("order");
    let client = mac("02:00:00:00:00:01");
    let at = addr("10.0.0.1");
    let mut names = router.names();
    let mut found = || {
        names.refresh();
        names.find(Some(&client), &at).map(|found| (found.belief, found.name.to_owned()))
    };
    let mut leases = String::new();
    let mut ethers = String::new();
    let mut dhcp = String::new();
    assert_eq!(found(), None);
    leases.push_str("1 02:00:00:00:00:99 10.0.0.1 behind *\n");
    router.write("leases", &leases);
    assert_eq!(found(), Some((Belief::OtherMac, "behind".into())));
    dhcp.push_str("config host\n\toption name camera\n\toption mac '02:00:00:00:00:*'\n");
    router.write("dhcp", &dhcp);
    assert_eq!(found(), Some((Belief::Pattern, "camera".into())));
    leases = "1 20-01 10.0.0.1 called *\n".into();
    router.write("leases", &leases);
    assert_eq!(found(), Some((Belief::LeaseAddr, "called".into())));
    leases.push_str("1 02:00:00:00:00:01 10.0.0.7 calls-itself *\n");
    router.write("leases", &leases);
    assert_eq!(found(), Some((Belief::LeaseMac, "calls-itself".into())));
    ethers.push_str("10.0.0.1 desk\n");
    router.write("ethers", &ethers);
    assert_eq!(found(), Some((Belief::WrittenAddr, "desk".into())));
    ethers.push_str("02:00:00:00:00:01 phone\n");
    router.write("ethers", &ethers);
    assert_eq!(found(), Some((Belief::WrittenMac, "phone".into())));
    dhcp.push_str("config host\n\toption name nas\n\toption mac '02-00-00-00-00-01'\n");
    router.write("dhcp", &dhcp);
    assert_eq!(found(), Some((Belief::Configured, "nas".into())));
}

#[test]
fn a_client_known_by_its_address_has_the_name_of_the_mac_address_in_its_lease() {
    let router = Router::new("leased");
    router.write("dhcp", STATIC);
    router.write("leases", "1 02:00:00:00:00:01 10.0.0.1 android-123 *\n1 02:00:00:00:07:01 10.0.0.2 tablet *\n");
    let mut names = router.names();
    names.refresh();
    assert_eq!(by_addr(&names, "10.0.0.1"), Some("nas"));
    assert_eq!(by_addr(&names, "10.0.0.2"), Some("tablet"));
    assert_eq!(by_addr(&names, "10.0.0.3"), None);
}

#[test]
fn a_lease_of_another_interface_of_the_same_host_names_its_ipv6_address() {
    let router = Router::new("duid");
    router.write("leases", "1 99 fd12::65 laptop 00:03:00:01:02:00:00:00:00:09\n");
    let mut names = router.names();
    names.refresh();
    let found = names.find(Some(&mac("02:00:00:00:00:01")), &addr("fd12::65"));
    assert_eq!(found, Some(Found { name: "laptop", belief: Belief::LeaseAddr }));
    assert_eq!(by_mac(&names, "02:00:00:00:00:09"), Some("laptop"));
}

#[test]
fn a_new_static_lease_needs_no_restart() {
    let router = Router::new("refresh");
    let mut names = router.names();
    assert!(!names.refresh());
    router.write("dhcp", STATIC);
    assert!(names.refresh());
    assert_eq!(by_mac(&names, "02:00:00:00:00:01"), Some("nas"));
    assert!(!names.refresh());
    router.write("dhcp", &STATIC.replace("nas", "backup"));
    assert!(names.refresh());
    assert_eq!(by_mac(&names, "02:00:00:00:00:01"), Some("backup"));
}

#[test]
fn a_lease_renewed_under_the_same_name_changes_nothing() {
    let router = Router::new("renewed");
    router.write("leases", "1 02:00:00:00:00:02 10.0.0.2 phone *\n");
    let mut names = router.names();
    assert!(names.refresh());
    router.write("leases", "1000 02:00:00:00:00:02 10.0.0.2 phone *\n");
    assert!(!names.refresh());
}

#[test]
fn a_broken_configuration_keeps_the_names_known_before() {
    let router = Router::new("broken");
    router.write("dhcp", STATIC);
    let mut names = router.names();
    names.refresh();
    router.write("dhcp", "config host 'never closed\n");
    assert!(!names.refresh());
    assert_eq!(by_mac(&names, "02:00:00:00:00:01"), Some("nas"));
}

#[test]
fn a_directory_in_place_of_a_file_is_no_crash() {
    let router = Router::new("directory");
    for name in ["dhcp", "leases", "ethers"] {
        fs::create_dir(router.0.join(name)).unwrap();
    }
    assert!(!router.names().refresh());
}

#[test]
fn a_file_that_is_gone_takes_its_names_along() {
    let router = Router::new("gone");
    router.write("leases", "1 02:00:00:00:00:02 10.0.0.2 phone *\n");
    let mut names = router.names();
    names.refresh();
    fs::remove_file(router.0.join("leases")).unwrap();
    assert!(names.refresh());
    assert_eq!(by_mac(&names, "02:00:00:00:00:02"), None);
}

#[test]
fn lease_files_named_in_the_configuration_are_read() {
    let router = Router::new("leasefile");
    let dhcp = |file: &str| format!("config dnsmasq\n\toption leasefile '{}/{file}'\n", router.0.display());
    router.write("one", "1 02:00:00:00:00:01 10.0.0.1 one *\n");
    router.write("two", "1 02:00:00:00:00:02 10.0.0.2 two *\n");
    router.write("dhcp", &dhcp("one"));
    let mut names = Names::new(Sources { uci_dir: router.0.clone(), leases: Vec::new(), hosts: Vec::new() });
    assert!(names.refresh());
    assert_eq!(by_addr(&names, "10.0.0.1"), Some("one"));
    router.write("dhcp", &dhcp("./two"));
    assert!(names.refresh());
    assert_eq!(by_addr(&names, "10.0.0.1"), None);
    assert_eq!(by_addr(&names, "10.0.0.2"), Some("two"));
}

#[test]
fn no_more_entries_are_kept_than_the_limit_for_all_files() {
    let router = Router::new("many");
    let line = |n: u32| format!("{} host{n}\n", std::net::Ipv4Addr::from(0x0a00_0000 + n));
    router.write("leases", &(0..3000).map(line).collect::<String>());
    router.write("ethers", &(2000..9000).map(line).collect::<String>());
    let mut names = router.names();
    assert!(names.refresh());
    assert_eq!(names.len(), MAX_ENTRIES);
    assert_eq!(by_addr(&names, "10.0.11.183"), Some("host2999"));
    assert_eq!(by_addr(&names, "10.0.0.1"), None, "what people wrote comes first");
}

#[test]
fn a_file_past_the_size_limit_is_read_up_to_its_last_whole_line() {
    let router = Router::new("large");
    let mut text = String::from("10.0.0.1 first\n");
    text += &"#".repeat(MAX_SIZE as usize - text.len() - 20);
    text += "\n10.0.0.2 second\n10.0.0.3 cut\n";
    router.write("ethers", &text);
    let mut names = router.names();
    names.refresh();
    assert_eq!(by_addr(&names, "10.0.0.1"), Some("first"));
    assert_eq!(by_addr(&names, "10.0.0.2"), Some("second"));
    assert_eq!(by_addr(&names, "10.0.0.3"), None);
}
