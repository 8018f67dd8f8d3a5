//! Captures of real adapters that are public, and answers that plc-utils, faifa and pla-util take for such; each says which.

use etherparse::{EtherType, Ethernet2Slice};

use super::link::Link;
use super::mediaxtream::{self, Side};
use super::network::{self, Coupling, Network, Role};
use super::standard::{self, Heard, Rates, Refusal};
use super::version::{self, Chip, Version};
use super::*;

const OURS: Mac = Mac([0x02, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([0x02, 0, 0x5e, 0xaa, 0, 1]);

/// Bytes written as hexadecimal digits, blanks left out.
fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// A frame that an adapter sends us, padded as they are.
fn frame(ethertype: u16, message: &str) -> Vec<u8> {
    let mut frame = [&OURS.0[..], &THEIRS.0, &ethertype.to_be_bytes(), &bytes(message)].concat();
    frame.resize(frame.len().max(MIN_FRAME), 0);
    frame
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn networks(frame: &[u8]) -> (Vec<Network>, Result<(), Malformed>) {
    let mut networks = Vec::new();
    let problem = network::read(&read(frame).unwrap(), &mut networks);
    (networks, problem)
}

/// Three adapters as the first of them sees them, version 0; int6k, int6krate, int6kstat, faifa and both exporters read it.
const HOME_0: &str = "00 39 A0 00 B0 52 01 52 DE AD BE EF 00 01 06 01 02 02 00 5E AA 00 01 01 02
    02 00 5E AA 00 02 02 02 00 5E BB 00 02 8E 61 02 00 5E AA 00 03 03 FF FF FF FF FF FF FF FF";
/// The same in version 1; plctool, plcstat and plcrate read it.
const HOME_1: &str = "01 39 A0 00 00 00 B0 52 00 00 52 00 00 01 52 DE AD BE EF 00 01 00 00 06 01 00 00 00 00 02
    02 00 5E AA 00 01 01 00 00 00 02 00 00 00 00 00
    02 00 5E AA 00 02 02 00 00 00 02 00 5E BB 00 02 8E 00 00 00 61 00 00 00
    02 00 5E AA 00 03 03 00 00 00 FF FF FF FF FF FF 2D 01 10 00 FF 00 00 00";

#[test]
fn an_atheros_adapter_of_tp_link_tells_its_network() {
    // bentasker/Python_HomeplugAV_Examples, PHYRates.py.
    let frame = frame(
        HOMEPLUG,
        "00 39 A0 00 B0 52 01 B0 F2 E6 95 66 6B 03 0E 03 00 44 94 FC 9C C7 44 02 01 44 94 FC 9C C7 44 02
         00 1F 1F A8 92 85 63 85",
    );
    let (found, problem) = networks(&frame);
    assert_eq!((found.len(), problem), (1, Ok(())));
    let network = &found[0];
    assert_eq!(Colons(&network.nid).to_string(), "b0:f2:e6:95:66:6b:03");
    assert_eq!((network.snid, network.tei, network.role, network.cco_tei), (14, 3, Role::Station, Some(2)));
    assert_eq!(network.cco, mac("44:94:fc:9c:c7:44"));
    let [peer] = &network.stations[..] else { panic!("{network:?}") };
    assert_eq!((peer.mac, peer.tei, peer.bridged), (network.cco, Some(2), Some(mac("00:1f:1f:a8:92:85"))));
    assert_eq!((peer.tx, peer.rx, peer.coupling), (99, 133, None));
}

#[test]
fn an_idle_link_of_an_int6300_has_no_rate_and_nobody_behind_it() {
    // A session of faifa printed in X. Carcelle, Power Line Communications in Practice.
    let frame = frame(
        HOMEPLUG,
        "00 39 A0 00 B0 52 01 B0 F2 E6 95 66 6B 03 0E 01 00 00 0C B9 08 47 10 03 01 00 0C B9 08 47 10 03
         FF FF FF FF FF FF 00 00",
    );
    let (found, problem) = networks(&frame);
    assert_eq!(problem, Ok(()));
    let peer = &found[0].stations[0];
    assert_eq!((peer.mac, peer.tei, peer.bridged), (mac("00:0c:b9:08:47:10"), Some(3), None));
    assert_eq!((peer.tx, peer.rx), (0, 0));
}

#[test]
fn both_versions_tell_the_same_but_for_what_eight_bits_cannot() {
    let (old, new) = (networks(&frame(HOMEPLUG, HOME_0)), networks(&frame(HOMEPLUG, HOME_1)));
    assert_eq!((&old.1, &new.1), (&Ok(()), &Ok(())));
    let rates = |found: &[Network]| found[0].stations.iter().map(|s| (s.mac.0[5], s.tx, s.rx)).collect::<Vec<_>>();
    assert_eq!(rates(&old.0), [(2, 142, 97), (3, 255, 255)]);
    assert_eq!(rates(&new.0), [(2, 142, 97), (3, 301, 255)]);
    let (old, new) = (&old.0[0], &new.0[0]);
    assert_eq!((old.nid, old.snid, old.tei, old.role, old.cco), (new.nid, new.snid, new.tei, new.role, new.cco));
    assert_eq!((old.cco_tei, new.role), (new.cco_tei, Role::Coordinator));
    let pairs: Vec<_> = new.stations.iter().map(|station| station.coupling.unwrap()).collect();
    assert_eq!(pairs, [(Coupling::Primary, Coupling::Primary), (Coupling::Primary, Coupling::Alternate)]);
}

#[test]
fn the_length_and_rates_of_a_qca7420_are_where_its_capture_has_them() {
    // Chance-Konstruktion/ha-powerline, tests/test_homeplug_parsing.py: head and tail; the vendor's app shows 162 and 183.
    let message = "01 39 A0 00 00 00 B0 52 00 00 3A 00 00 01 52 DE AD BE EF 00 01 00 00 06 01 00 00 00 00 00
        02 00 5E AA 00 02 02 00 00 00 01 00 00 00 00 00 02 00 5E AA 00 02 02 00 00 00 FF FF FF FF FF FF
        7C 00 00 00 8C 00 00 00";
    let (found, problem) = networks(&frame(HOMEPLUG, message));
    assert_eq!(problem, Ok(()));
    let peer = &found[0].stations[0];
    assert_eq!((peer.tx, peer.rx), (124, 140));
    assert_eq!((u32::from(peer.tx) * 21 / 16, u32::from(peer.rx) * 21 / 16), (162, 183));
}

#[test]
fn an_isolated_adapter_is_in_no_network() {
    assert_eq!(networks(&frame(HOMEPLUG, "00 39 A0 00 B0 52 00")), (vec![], Ok(())));
    assert_eq!(networks(&frame(HOMEPLUG, "01 39 A0 00 00 00 B0 52 00 00 02 00 00 00")), (vec![], Ok(())));
}

#[test]
fn a_role_without_a_name_is_its_number() {
    for (number, name) in [(0, "STA"), (1, "PCO"), (2, "CCO"), (3, "3"), (255, "255")] {
        assert_eq!(Role::from(number).to_string(), name);
    }
}

#[test]
fn what_a_cut_answer_holds_is_kept() {
    let whole = frame(HOMEPLUG, HOME_0);
    let (found, problem) = networks(&whole[..whole.len() - 1]);
    assert!(matches!(problem, Err(Malformed::Truncated { .. })), "{problem:?}");
    assert_eq!(found[0].stations.len(), 1);
    let (found, problem) = networks(&whole[..50]);
    assert!(problem.is_err());
    assert_eq!((found[0].snid, found[0].stations.len()), (6, 0));
    let whole = frame(HOMEPLUG, HOME_1);
    let (found, problem) = networks(&whole[..whole.len() - 1]);
    assert!(problem.is_err());
    assert_eq!(found[0].stations.len(), 1);
}

#[test]
fn a_count_beyond_what_is_there_costs_only_what_is_not_there() {
    let mut frame = frame(HOMEPLUG, HOME_1);
    frame[28 + 26] = 255;
    let (found, problem) = networks(&frame);
    assert!(matches!(problem, Err(Malformed::Truncated { .. })), "{problem:?}");
    assert_eq!(found[0].stations.len(), 2);
    // Of two networks the first is as good as ever.
    frame[28 + 26] = 2;
    frame[27] = 2;
    let (found, problem) = networks(&frame);
    assert!(problem.is_err());
    assert_eq!((found.len(), found[0].stations.len()), (1, 2));
}

#[test]
fn padding_is_nobody() {
    // One station by count, none by bytes: zeroes up to 60.
    let alone = "00 39 A0 00 B0 52 01 52 DE AD BE EF 00 01 06 01 02 02 00 5E AA 00 01 01 01";
    let (found, problem) = networks(&frame(HOMEPLUG, alone));
    assert!(matches!(problem, Err(Malformed::Value { .. })), "{problem:?}");
    assert_eq!(found[0].stations, []);
    // In version 1 the length says where the padding begins.
    let mut long = frame(HOMEPLUG, HOME_1);
    long[24] -= 24;
    let (found, problem) = networks(&long);
    assert!(matches!(problem, Err(Malformed::Truncated { .. })), "{problem:?}");
    assert_eq!(found[0].stations.len(), 1);
}

#[test]
fn stations_that_no_adapter_can_be_are_left_out_and_those_around_them_kept() {
    for nobody in ["00 00 00 00 00 00", "FF FF FF FF FF FF", "01 00 5E 00 00 01"] {
        let message = HOME_0.replacen("02 00 5E AA 00 02 02 02", &format!("{nobody} 02 02"), 1);
        let (found, problem) = networks(&frame(HOMEPLUG, &message));
        assert!(matches!(problem, Err(Malformed::Value { .. })), "{problem:?}");
        assert_eq!(found[0].stations.iter().map(|s| s.mac.0[5]).collect::<Vec<_>>(), [3]);
    }
}

#[test]
fn stations_of_a_second_network_are_its_own() {
    let second = "01 02 03 04 05 06 07 09 05 00 02 00 5E AA 00 09 09 01 02 00 5E AA 00 02 02 FF FF FF FF FF FF 0A 0B";
    let message = format!("{HOME_0} {second}").replacen("B0 52 01", "B0 52 02", 1);
    let (found, problem) = networks(&frame(HOMEPLUG, &message));
    assert_eq!((found.len(), problem), (2, Ok(())));
    assert_eq!((found[0].stations.len(), found[1].stations.len()), (2, 1));
    assert_eq!((found[1].nid, found[1].snid, found[1].stations[0].rx), ([1, 2, 3, 4, 5, 6, 7], 9, 11));
}

#[test]
fn two_hundred_and_fifty_five_stations_are_read() {
    let mut long = frame(HOMEPLUG, HOME_1);
    let station = long[60..84].to_vec();
    long.truncate(60);
    long[28 + 26] = 255;
    long[24..26].copy_from_slice(&(2 + 32 + 24 * 255u16).to_le_bytes());
    for n in 0..255u8 {
        let mut station = station.clone();
        station[5] = n;
        long.extend(station);
    }
    assert_eq!(long.len(), 6180);
    let (found, problem) = networks(&long);
    assert_eq!((found[0].stations.len(), problem), (255, Ok(())));
}

#[test]
fn firmware_and_chip_of_every_generation_are_read() {
    let told = |frame: &[u8]| version::read(&read(frame).unwrap()).unwrap().unwrap();
    // An INT6300 in the same session of faifa; its length does not count the NUL.
    let text = "INT6000-MAC-3-1-3103-1662-20070915-FINAL-B";
    let mut old = frame(HOMEPLUG, "00 01 A0 00 B0 52 00 02 2A");
    old.truncate(23);
    old.extend(text.bytes());
    old.resize(156, 0);
    let firmware = text.to_owned();
    assert_eq!(told(&old), Version { chip: Chip::Known("INT6300"), firmware, is_boot_loader: false });
    // A QCA7000, qca/open-plc-utils issue 14; its length does, and there is garbage behind it.
    let text = "MAC-QCA7000-1.1.0.32-01-20130326-FINAL";
    let mut new = frame(HOMEPLUG, "00 01 A0 00 B0 52 00 22 27");
    new.truncate(23);
    new.extend(text.bytes());
    new.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    new.resize(313, 0);
    assert_eq!((told(&new).chip, told(&new).firmware.as_str()), (Chip::Known("QCA7000"), text));
    new[277..281].copy_from_slice(&0x001b_587c_u32.to_le_bytes());
    assert_eq!(told(&new).chip, Chip::Known("QCA7005"));
    // A class that is not known is a number.
    new[21] = 0x77;
    assert_eq!(told(&new).chip.to_string(), "class 0x77");
}

#[test]
fn a_boot_loader_is_told_from_firmware() {
    // qca/open-plc-utils issue 151, the whole frame; it comes from the address that means the near ones.
    let mut frame =
        bytes("00 01 87 05 28 30 00 B0 52 00 00 01 88 E1 00 01 A0 00 B0 52 00 06 0B 42 6F 6F 74 4C 6F 61 64 65 72");
    frame.resize(88, 0);
    frame.extend(bytes("7C 58 1B 00 00 00 00 00 01 00 00 00 3F 00 00 00 00 00 00 00"));
    let mme = read(&frame).unwrap();
    let told = version::read(&mme).unwrap().unwrap();
    assert_eq!((mme.source, told.is_boot_loader, told.chip), (LOCAL, true, Chip::Known("QCA7005")));
}

#[test]
fn an_adapter_that_cannot_tell_its_version_tells_none() {
    assert_eq!(version::read(&read(&frame(HOMEPLUG, "00 01 A0 00 B0 52 01 20 00")).unwrap()), Ok(None));
    assert!(version::read(&read(&frame(HOMEPLUG, "00 01 A0 00 B0 52 00 20 FF")).unwrap()).is_err());
}

/// Counters of both directions of a link to the station 2, as plcstat reads them.
const LINK: &str = "0031A000B0520002F802E1040000000000000F0100000000000003000000000000005C0600000000000007000000000000007603
    00000000000002000000000000000306000000000000 0500000000000000F1000000000000000B00000000000000025DE8030000000000000100
    000000000000C8000000000000000500000000000000581B020000000000000400000000000000290000000000000006000000000000 00";

#[test]
fn counters_of_a_link_are_those_that_plcstat_reads() {
    let told = |message: &str| link::read(&read(&frame(HOMEPLUG, message)).unwrap());
    let counters = Link {
        tei: 2,
        tx_mpdus: [1249, 271, 3],
        tx_blocks: [1628, 7],
        rx_mpdus: [886, 2],
        rx_blocks: [1539, 5],
        rx_bit_errors: [241, 11],
    };
    assert_eq!(told(LINK), Ok(Some(counters)));
    assert_eq!(told(&LINK.replacen("520002F8", "522002F8", 1)), Ok(None), "no such peer");
    assert_eq!(told(&LINK.replacen("520002F8", "520000F8", 1)), Ok(None), "one direction only");
    assert!(link::read(&read(&frame(HOMEPLUG, LINK)[..100]).unwrap()).is_err());
}

#[test]
fn messages_of_the_specification_are_read() {
    // Read by faifa.
    let frame_1 = frame(HOMEPLUG, "01 49 60 00 00 02 02 00 5E AA 00 02 8E 61 02 00 5E AA 00 03 FF FF");
    let mut rates = Vec::new();
    assert_eq!(standard::rates(&read(&frame_1).unwrap(), &mut rates), Ok(()));
    let peer = |n| Mac([2, 0, 0x5e, 0xaa, 0, n]);
    let first = Rates { mac: peer(2), tx: 142, rx: 97 };
    assert_eq!(rates, [first, Rates { mac: peer(3), tx: 255, rx: 255 }]);
    let frame_2 = frame(HOMEPLUG, "02 49 60 00 00 02 02 00 5E AA 00 02 8E 00 61 00 02 00 5E AA 00 03 2D 01 FF 00");
    rates.clear();
    assert_eq!(standard::rates(&read(&frame_2).unwrap(), &mut rates), Ok(()));
    assert_eq!(rates, [first, Rates { mac: peer(3), tx: 301, rx: 255 }]);
    // Read by pla-util and jbit/powerline.
    let list = "01 15 00 00 00 02 02 00 5E AA 00 02 02 01 06 1E 05 9A 02 00 5E AA 00 03 03 01 06 1E 05 9A
        01 52 DE AD BE EF 00 01 06 00 07 01 00 00";
    let mut heard = Vec::new();
    assert_eq!(standard::stations(&read(&frame(HOMEPLUG, list)).unwrap(), &mut heard), Ok(()));
    let station = |n| Heard { mac: peer(n), tei: n, is_same_network: true };
    assert_eq!(heard, [station(2), station(3)]);
    let info = "01 39 60 00 00 01 52 DE AD BE EF 00 01 06 03 02 02 00 5E AA 00 03 00 00";
    let mut found = Vec::new();
    assert_eq!(standard::networks(&read(&frame(HOMEPLUG, info)).unwrap(), &mut found), Ok(()));
    assert_eq!((found[0].snid, found[0].tei, found[0].role, found[0].cco), (6, 3, Role::Coordinator, peer(3)));
    let error = frame(HOMEPLUG, "01 46 60 00 00 00 01 38 A0");
    assert_eq!(standard::refusal(&read(&error).unwrap()), Some(Refusal { version: 1, kind: 0xa038 }));
}

#[test]
fn a_record_that_cannot_be_does_not_cost_those_around_it() {
    let message = "01 49 60 00 00 03 00 00 00 00 00 00 01 01 02 00 5E AA 00 02 8E 61 02 00 5E AA 00 03 FF FF";
    let mut rates = Vec::new();
    assert!(matches!(
        standard::rates(&read(&frame(HOMEPLUG, message)).unwrap(), &mut rates),
        Err(Malformed::Value { .. })
    ));
    assert_eq!(rates.len(), 2);
}

#[test]
fn broadcom_s_messages_are_read() {
    let rates = |message: &str| {
        let mut rates = Vec::new();
        mediaxtream::rates(&read(&frame(MEDIAXTREAM, message)).unwrap(), &mut rates).unwrap();
        rates.iter().map(|rates: &Rates| (rates.tx, rates.rx)).collect::<Vec<_>>()
    };
    // Read by pla-util.
    let two = "02 2D A0 00 00 00 1F 84 02 02 02 00 5E AA 00 02 AA 61 23 69 02 00 5E AA 00 03 87 63 FD 6A";
    assert_eq!(rates(two), [(426, 291), (903, 765)]);
    // A TL-PA7017, ha-powerline's tests: an AV2 peer and an IEEE 1901 peer.
    assert_eq!(rates("02 2D A0 00 00 00 1F 84 02 01 B0 19 21 F5 E0 DC 23 42 21 42"), [(547, 545)]);
    assert_eq!(rates("02 2D A0 00 00 00 1F 84 02 01 EC 08 6B 54 FE E3 A6 81 12 81"), [(422, 274)]);
    let info = "02 29 A0 00 00 00 1F 84 02 01 83 78 9F B4 D8 8B 0F 0F 02 04 EC 08 6B 54 FE E3 00 00 00";
    let mut found = Vec::new();
    assert_eq!(mediaxtream::networks(&read(&frame(MEDIAXTREAM, info)).unwrap(), &mut found), Ok(()));
    // A coordinator that only stands by is a station.
    assert_eq!((found[0].snid, found[0].tei, found[0].role), (15, 2, Role::Station));
    assert_eq!(found[0].cco, mac("ec:08:6b:54:fe:e3"));
    let here = frame(MEDIAXTREAM, "02 71 A0 00 00 00 1F 84 01 01 18");
    assert_eq!(mediaxtream::discovered(&read(&here).unwrap()), Ok(Side::Local));
    let there = frame(MEDIAXTREAM, "02 71 A0 00 00 00 1F 84 01 02 18");
    assert_eq!(mediaxtream::discovered(&read(&there).unwrap()), Ok(Side::Remote));
    let station = "02 4D A0 00 00 00 1F 84 07 4F 02 7F 01 01 00 00 00 02 00 00 00 03 00 00 00 04 00 00 00 05 00 00 00
        01 AA BB CC DD EE 40 E2 01 00 02 68 69 08 0C 01 02 00 00 00 00";
    let told = mediaxtream::station(&read(&frame(MEDIAXTREAM, station)).unwrap()).unwrap();
    assert_eq!((told.chip, told.uptime), (Some(Chip::Known("BCM60333")), 123_456));
    assert_eq!(told.firmware(), "2.1.12.8");
}

#[test]
fn questions_are_those_that_adapters_know() {
    let peer = Mac([2, 0, 0x5e, 0xaa, 0, 2]);
    let nid = [0xb0, 0xf2, 0xe6, 0x95, 0x66, 0x6b, 0x03];
    for (question, ethertype, message) in [
        // As the exporters, int6k and plc-utils send them.
        (Question::Networks0, HOMEPLUG, "00 38 A0 00 B0 52"),
        (Question::Networks1, HOMEPLUG, "01 38 A0 00 00 00 B0 52"),
        (Question::Version, HOMEPLUG, "00 00 A0 00 B0 52"),
        (Question::Link(peer), HOMEPLUG, "00 30 A0 00 B0 52 00 02 F8 02 00 5E AA 00 02"),
        // As faifa and pla-util send them.
        (Question::StandardNetworks, HOMEPLUG, "01 38 60 00 00"),
        (Question::StandardRates1, HOMEPLUG, "01 48 60 00 00"),
        (Question::StandardRates2, HOMEPLUG, "02 48 60 00 00"),
        (Question::Stations, HOMEPLUG, "01 14 00 00 00"),
        (
            Question::BroadcomDiscover,
            MEDIAXTREAM,
            "01 70 A0 00 00 00 1F 84 01 A3 97 A2 55 53 BE F1 FC F9 79 6B 52 14 13 E9 E2",
        ),
        (Question::BroadcomNetworks, MEDIAXTREAM, "02 28 A0 00 00 00 1F 84 01 00 00"),
        (Question::BroadcomRates(nid), MEDIAXTREAM, "02 2C A0 00 00 00 1F 84 01 00 B0 F2 E6 95 66 6B 03"),
        (Question::BroadcomStation, MEDIAXTREAM, "02 4C A0 00 00 00 1F 84 01"),
    ] {
        let sent = question.frame(OURS, peer, 1);
        let mut want = bytes(message);
        want.resize(MIN_FRAME - MESSAGE, 0);
        assert_eq!(sent[MESSAGE..], want, "{question:?}");
        // A second opinion on what stands before it.
        let ethernet = Ethernet2Slice::from_slice_without_fcs(&sent).unwrap();
        assert_eq!((ethernet.destination(), ethernet.source()), (peer.0, OURS.0));
        assert_eq!(ethernet.ether_type(), EtherType(ethertype));
    }
}

#[test]
fn headers_are_read_as_etherparse_reads_them() {
    for (ethertype, message) in
        [(HOMEPLUG, HOME_0), (HOMEPLUG, HOME_1), (MEDIAXTREAM, "02 71 A0 00 00 00 1F 84 01 01 18")]
    {
        let frame = frame(ethertype, message);
        let (ours, theirs) = (read(&frame).unwrap(), Ethernet2Slice::from_slice_without_fcs(&frame).unwrap());
        assert_eq!((ours.source.0, ours.ethertype), (theirs.source(), theirs.ether_type().0));
        assert_eq!(ours.frame[MESSAGE..], *theirs.payload_slice());
    }
    assert!(read(&frame(0x0800, HOME_0)).is_err());
}

#[test]
fn an_answer_is_one_only_from_the_maker_and_in_the_version_that_was_asked() {
    let fit = |message: &str, question| read(&frame(HOMEPLUG, message)).unwrap().fit(question);
    assert_eq!(fit(HOME_0, Question::Networks0), Fit::Answer);
    assert_eq!(fit(HOME_1, Question::Networks1), Fit::Answer);
    assert_eq!(fit(HOME_1, Question::Networks0), Fit::Version);
    assert_eq!(fit(HOME_0, Question::Networks1), Fit::Version);
    assert_eq!(fit(&HOME_0.replacen("00 B0 52", "00 1F 84", 1), Question::Networks0), Fit::Oui);
    assert_eq!(fit("00 38 A0 00 B0 52", Question::Networks0), Fit::Other, "a question");
    assert_eq!(fit(LINK, Question::Version), Fit::Other);
    assert_eq!(fit("01 49 60 00 00 00", Question::StandardRates2), Fit::Answer, "in the version it knows");
}

#[test]
fn no_cut_and_no_change_makes_any_reader_panic() {
    for (ethertype, message) in
        [(HOMEPLUG, HOME_0), (HOMEPLUG, HOME_1), (HOMEPLUG, LINK), (MEDIAXTREAM, "02 29 A0 00 00 00 1F 84 02 FF 83")]
    {
        let whole = frame(ethertype, message);
        for end in 0..whole.len() {
            if let Ok(mme) = read(&whole[..end]) {
                every_reader(&mme);
            }
        }
        for at in 14..whole.len() {
            for value in [0, 0x7f, 0xff, whole[at] ^ 1] {
                let mut changed = whole.clone();
                changed[at] = value;
                every_reader(&read(&changed).unwrap());
            }
        }
    }
}

fn every_reader(mme: &Mme<'_>) {
    let (mut networks, mut rates, mut heard) = (Vec::new(), Vec::new(), Vec::new());
    let _ = (network::read(mme, &mut networks), standard::networks(mme, &mut networks));
    let _ = (mediaxtream::networks(mme, &mut networks), mediaxtream::rates(mme, &mut rates));
    let _ = (standard::rates(mme, &mut rates), standard::stations(mme, &mut heard), standard::refusal(mme));
    let _ = (version::read(mme), link::read(mme), mediaxtream::station(mme), mediaxtream::discovered(mme));
}
