use super::*;

const ID: u16 = 0x1234;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A name on the wire.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}

/// A response to the question for 192.168.1.20 with this code and these records: owner, type, data, all on the wire.
fn response(flags: u16, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut message = query(ID, &addr("192.168.1.20"));
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (owner, kind, data) in records {
        message.extend(*owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(*data);
    }
    message
}

fn read(message: &[u8]) -> Result<Answer, Malformed> {
    answer(message, ID, &addr("192.168.1.20"))
}

fn name(text: &str) -> Result<Answer, Malformed> {
    Ok(Answer::Name(text.into()))
}

const OK: u16 = 0x8180;
/// A pointer to the name in the question.
const QUESTION: &[u8] = &[0xc0, 12];

#[test]
fn the_question_has_the_address_backwards() {
    assert_eq!(
        query(0xbeef, &addr("192.168.1.20")),
        b"\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0220\x011\x03168\x03192\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"
    );
    let v6 = query(1, &addr("2001:db8::567:89ab"));
    let name = "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    assert_eq!(v6[12..v6.len() - 4], wire(name));
}

#[test]
fn a_real_answer_of_dnsmasq_gives_its_name() {
    // dnsmasq 2.90, `--host-record=nas.lan,192.168.1.20`.
    let message = b"\x12\x34\x85\x80\x00\x01\x00\x01\x00\x00\x00\x00\x0220\x011\x03168\x03192\x07in-addr\x04arpa\x00\
                    \x00\x0c\x00\x01\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x00\x00\x09\x03nas\x03lan\x00";
    assert_eq!(read(message), name("nas.lan"));
}

#[test]
fn a_name_behind_aliases_is_found_in_any_order() {
    // RFC 2317: the provider's zone refers to the customer's.
    let (first, second) = (wire("20.0-25.1.168.192.in-addr.arpa"), wire("Twenty.example"));
    let chain =
        [(QUESTION, TYPE_CNAME, &*first), (&*first, TYPE_CNAME, &*second), (&*second, TYPE_PTR, &*wire("nas.lan"))];
    assert_eq!(read(&response(OK, &chain)), name("nas.lan"));
    let [a, b, c] = chain;
    assert_eq!(read(&response(OK, &[c, b, a])), name("nas.lan"));
    assert_eq!(read(&response(OK, &[b, c])), Ok(Answer::Nobody));
    assert_eq!(read(&response(OK, &[(QUESTION, TYPE_CNAME, QUESTION)])), Ok(Answer::Nobody), "a circle ends");
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let nas = wire("nas.lan");
    let good = response(OK, &[(QUESTION, TYPE_PTR, &nas)]);
    assert_eq!(answer(&good, ID + 1, &addr("192.168.1.20")), Ok(Answer::Unasked));
    assert_eq!(answer(&good, ID, &addr("192.168.1.21")), Ok(Answer::Unasked));
    assert_eq!(answer(&good, ID, &addr("::1")), Ok(Answer::Unasked));
    assert_eq!(read(&query(ID, &addr("192.168.1.20"))), Ok(Answer::Unasked), "our own question come back");
    assert_eq!(read(&response(0xa980, &[(QUESTION, TYPE_PTR, &nas)])), Ok(Answer::Unasked), "another operation");
    let mut none = good.clone();
    none[5] = 0;
    assert_eq!(read(&none), Ok(Answer::Unasked));
    let mut class = good.clone();
    class[42] = 3;
    assert_eq!(read(&class), Ok(Answer::Unasked));
    let mut upper = good;
    upper[26] = b'I';
    upper[34] = b'A';
    assert_eq!(read(&upper), name("nas.lan"), "the case of letters is no difference");
    assert_eq!(read(&response(OK, &[(&wire("21.1.168.192.in-addr.arpa"), TYPE_PTR, &nas)])), Ok(Answer::Nobody));
}

#[test]
fn what_a_server_says_instead_of_a_name_is_told_apart() {
    assert_eq!(read(&response(OK | 3, &[])), Ok(Answer::Nobody));
    assert_eq!(read(&response(OK, &[])), Ok(Answer::Nobody));
    assert_eq!(read(&response(OK | 2, &[])), Ok(Answer::Failed(2)));
    assert_eq!(read(&response(OK | 5, &[])), Ok(Answer::Failed(5)));
    assert_eq!(read(&response(OK, &[(QUESTION, TYPE_PTR, &[0])])), Ok(Answer::Nobody), "the root is nobody");
    assert_eq!(read(&response(OK, &[(QUESTION, 1, &[10, 0, 0, 1])])), Ok(Answer::Nobody));
}

#[test]
fn an_answer_that_was_cut_is_used_as_far_as_it_goes() {
    let nas = wire("nas.lan");
    let mut message = response(OK | 0x0200, &[(QUESTION, TYPE_PTR, &nas), (QUESTION, TYPE_PTR, &nas)]);
    message.truncate(message.len() - 3);
    assert_eq!(read(&message), name("nas.lan"));
    assert_eq!(read(&response(OK | 0x0200, &[])), Ok(Answer::Nobody));
    let mut alone = response(OK | 0x0200, &[(QUESTION, TYPE_PTR, &nas)]);
    alone.truncate(alone.len() - 3);
    assert_eq!(read(&alone), Ok(Answer::Nobody));
    alone[2] = 0x81;
    assert!(read(&alone).is_err());
}

#[test]
fn a_message_cut_off_anywhere_is_refused_or_not_ours() {
    let whole = response(OK, &[(QUESTION, TYPE_PTR, &wire("nas.lan"))]);
    for end in 0..whole.len() {
        assert!(!matches!(read(&whole[..end]), Ok(Answer::Name(_) | Answer::Nobody)), "{end}");
    }
}

#[test]
fn pointers_that_do_not_lead_backwards_are_refused() {
    // The data of the first record begins behind its owner's pointer, type, class, time and length.
    let data = response(OK, &[]).len() as u8 + 12;
    let behind_a = |target: u8| read(&response(OK, &[(QUESTION, TYPE_PTR, &[1, b'a', 0xc0, target])]));
    assert_eq!(behind_a(12), name("a.20.1.168.192.in-addr.arpa"));
    assert_eq!(behind_a(data - 12), name("a.20.1.168.192.in-addr.arpa"), "a pointer to a pointer");
    for target in [data, data + 2, data + 4, 0xff] {
        assert_eq!(behind_a(target), Err(Malformed::Value { what: "domain name", offset: usize::from(data) + 2 }));
    }
    let itself = response(OK, &[(QUESTION, TYPE_PTR, &[0xc0, data])]);
    assert_eq!(read(&itself), Err(Malformed::Value { what: "domain name", offset: data.into() }));
    assert!(read(&response(OK, &[(QUESTION, TYPE_PTR, &[0x40, b'a', 0])])).is_err());
    assert!(read(&response(OK, &[(QUESTION, TYPE_PTR, &[0xbf, b'a', 0])])).is_err());
}

#[test]
fn a_name_longer_than_a_name_may_be_is_refused() {
    let label = [&[63u8][..], &[b'x'; 63]].concat();
    let longest = [label.repeat(3), [&[61u8][..], &[b'x'; 61], &[0]].concat()].concat();
    assert!(matches!(read(&response(OK, &[(QUESTION, TYPE_PTR, &longest)])), Ok(Answer::Name(_))));
    let longer = [label.repeat(4), vec![0]].concat();
    assert!(read(&response(OK, &[(QUESTION, TYPE_PTR, &longer)])).is_err());
}

#[test]
fn strange_bytes_in_a_label_stay_in_their_label() {
    let data = b"\x06a.b\xff\x1b\"\x03lan\x00";
    assert_eq!(read(&response(OK, &[(QUESTION, TYPE_PTR, data)])), name("a\u{fffd}b\u{fffd}\u{1b}\".lan"));
}

#[test]
fn the_local_domain_is_cut_and_nothing_else() {
    let domains = ["lan".to_owned(), "fritz.box".to_owned(), "box".to_owned()];
    let cut = |name| client_name(name, &IpAddr::from([10, 0, 0, 1]), &domains);
    assert_eq!(cut("nas.lan"), Some("nas"));
    assert_eq!(cut("nas.lan."), Some("nas"));
    assert_eq!(cut("NAS.Lan"), Some("NAS"));
    assert_eq!(cut("nas.guest.lan"), Some("nas.guest"));
    assert_eq!(cut("nas.fritz.box"), Some("nas"));
    assert_eq!(cut("nas.example.org"), Some("nas.example.org"));
    assert_eq!(cut("lan"), Some("lan"));
    assert_eq!(cut("wlan"), Some("wlan"));
    assert_eq!(cut("."), None);
    assert_eq!(cut(""), None);
}

#[test]
fn a_name_made_up_from_the_address_is_none() {
    let v4 = |name| client_name(name, &addr("192.168.1.20"), &["lan".to_owned()]);
    for name in [
        "192.168.1.20",
        "ip-192-168-1-20.lan",
        "20.1.168.192.in-addr.arpa",
        "20-1-168-192.dyn.example",
        "x.in-addr.arpa",
    ] {
        assert_eq!(v4(name), None, "{name}");
    }
    assert_eq!(v4("host20.lan"), Some("host20"));
    assert_eq!(v4("nas.home.arpa"), Some("nas.home.arpa"), "the domain of RFC 8375 is no address");
    let v6 = |name| client_name(name, &addr("fd00::1:20"), &["lan".to_owned()]);
    for name in ["fd00--1-20.lan", "h-fd000000000000000000000000010020.example", "0.2.0.0.1.0.0.0.x.ip6.arpa"] {
        assert_eq!(v6(name), None, "{name}");
    }
    assert_eq!(v6("face.lan"), Some("face"));
}

/// An answer to the question for the addresses of box.lan, with these records.
fn forward(flags: u16, family: Family, records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
    let mut message = forward_query(ID, "box.lan", family).unwrap();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for (owner, kind, data) in records {
        message.extend(*owner);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(*data);
    }
    message
}

#[test]
fn the_question_for_addresses_has_the_name_of_the_host() {
    let query = forward_query(0xbeef, "box.lan.", Family::V4).unwrap();
    assert_eq!(query, b"\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03box\x03lan\x00\x00\x01\x00\x01");
    assert_eq!(forward_query(1, "box.lan", Family::V6).unwrap()[21..], [0, 28, 0, 1]);
    for host in ["", ".", "a..b", &"x".repeat(64), &"abc.".repeat(80)] {
        assert_eq!(forward_query(1, host, Family::V4), None, "{host}");
    }
}

#[test]
fn addresses_stand_under_the_name_or_behind_aliases() {
    let read = |message: &[u8], family| addresses(message, ID, "BOX.lan", family);
    let found = |list: &[&str]| Ok(Addresses::Found(list.iter().map(|text| addr(text)).collect()));
    let plain = forward(OK, Family::V4, &[(QUESTION, 1, &[192, 0, 2, 1]), (QUESTION, 1, &[192, 0, 2, 2])]);
    assert_eq!(read(&plain, Family::V4), found(&["192.0.2.1", "192.0.2.2"]));
    let real = wire("real.example");
    let alias = forward(OK, Family::V6, &[(&real, 28, &addr6("fd00::1")), (QUESTION, 5, &real)]);
    assert_eq!(read(&alias, Family::V6), found(&["fd00::1"]));
    // Of another name, or another family.
    let other = forward(OK, Family::V4, &[(&real, 1, &[192, 0, 2, 1]), (QUESTION, 28, &addr6("fd00::1"))]);
    assert_eq!(read(&other, Family::V4), Ok(Addresses::Nobody));
    assert_eq!(read(&forward(OK, Family::V4, &[]), Family::V4), Ok(Addresses::Nobody));
    assert_eq!(read(&forward(OK | 3, Family::V4, &[]), Family::V4), Ok(Addresses::Nobody));
    assert_eq!(read(&forward(OK | 2, Family::V4, &[]), Family::V4), Ok(Addresses::Failed(2)));
    assert_eq!(read(&plain, Family::V6), Ok(Addresses::Unasked));
    assert_eq!(addresses(&plain, !ID, "box.lan", Family::V4), Ok(Addresses::Unasked));
    assert!(read(&forward(OK, Family::V4, &[(QUESTION, 1, &[192, 0])]), Family::V4).is_err());
}

fn addr6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}
