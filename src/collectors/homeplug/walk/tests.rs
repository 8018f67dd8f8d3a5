use super::*;
use crate::collectors::homeplug::codec::{HOMEPLUG, MEDIAXTREAM};
use crate::collectors::homeplug::memory::Memory;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const NID: [u8; 7] = [0x52, 0xde, 0xad, 0xbe, 0xef, 0, 1];
const LOCALLY: Rules = Rules { destination: LOCAL, extended: false, max_devices: 8 };
const EXTENDED: Rules = Rules { extended: true, ..LOCALLY };

fn adapter(n: u8) -> Mac {
    Mac([2, 0, 0x5e, 0xaa, 0, n])
}

fn frame(from: Mac, ethertype: u16, message: &[&[u8]]) -> Vec<u8> {
    let mut frame = [&OURS[..], &from.0, &ethertype.to_be_bytes(), &message.concat()].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// VS_NW_INFO.CNF of version 0 with one network for each list of peers; rates are told by the number of the peer.
fn networks0(from: u8, peers: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![peers.len() as u8];
    for (n, peers) in peers.iter().enumerate() {
        let mut nid = NID;
        nid[6] += n as u8;
        body.extend(nid);
        body.extend([6, from, 2]);
        body.extend(adapter(1).0);
        body.extend([1, peers.len() as u8]);
        for peer in *peers {
            body.extend(adapter(*peer).0);
            body.extend([*peer, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 100 + peer, 200]);
        }
    }
    frame(adapter(from), HOMEPLUG, &[&[0, 0x39, 0xa0, 0, 0xb0, 0x52], &body])
}

/// The same of version 1 for one network, with rates 300 higher.
fn networks1(from: u8, peers: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((2 + 32 + 24 * peers.len() as u16).to_le_bytes());
    body.extend([0, 1]);
    body.extend(NID);
    body.extend([0, 0, 6, from, 0, 0, 0, 0, 2]);
    body.extend(adapter(1).0);
    body.extend([1, 0, 0, 0, peers.len() as u8, 0, 0, 0, 0, 0]);
    for peer in peers {
        body.extend(adapter(*peer).0);
        body.extend([*peer, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        body.extend((400 + u16::from(*peer)).to_le_bytes());
        body.extend([0, 0, 244, 1, 0, 0]);
    }
    frame(adapter(from), HOMEPLUG, &[&[1, 0x39, 0xa0, 0, 0, 0, 0xb0, 0x52], &body])
}

/// VS_LNK_STATS.CNF about the peer of an identifier.
fn link(from: u8, tei: u8) -> Vec<u8> {
    frame(adapter(from), HOMEPLUG, &[&[0, 0x31, 0xa0, 0, 0xb0, 0x52, 0, 2, 0xf8, tei], &[1; 40 + 49]])
}

/// A walk, and all that it has asked so far.
struct Story {
    walk: Walk,
    now: Instant,
    remembered: Option<Question>,
}

impl Story {
    fn new(rules: Rules) -> Self {
        let now = Instant::now();
        Story { walk: Walk::new(rules, 1, now), now, remembered: None }
    }

    /// The questions that are due now, each as whom and what.
    fn asks(&mut self) -> Vec<(Mac, Question)> {
        let mut asked = Vec::new();
        while let Some(send) = self.walk.due(self.now, &|_| self.remembered) {
            asked.push((send.destination, send.question));
        }
        asked
    }

    fn hears(&mut self, frame: &[u8]) {
        self.walk.take(frame, 0, self.now);
    }

    fn passes(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn rejected(&self, reason: Reason) -> u64 {
        self.walk.counts.rejected[reason as usize]
    }

    fn up(&self) -> Vec<u8> {
        self.walk.devices.iter().filter(|device| device.is_up()).map(|device| device.mac.0[5]).collect()
    }
}

#[test]
fn each_station_is_asked_once_whoever_lists_it() {
    let mut story = Story::new(LOCALLY);
    assert_eq!(story.asks(), [(LOCAL, Question::Networks1), (LOCAL, Question::Networks0)]);
    story.hears(&networks1(1, &[2, 3]));
    assert_eq!(story.asks(), [(adapter(2), Question::Networks1), (adapter(3), Question::Networks1)]);
    story.hears(&networks1(2, &[1, 3]));
    story.hears(&networks1(3, &[1, 2]));
    assert_eq!(story.asks(), []);
    assert_eq!(story.up(), [1, 2, 3]);
    assert_eq!((story.walk.counts.requests, story.walk.counts.answers), (4, 3));
}

#[test]
fn it_is_over_a_second_after_the_last_news() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.passes(900);
    story.hears(&networks1(1, &[]));
    story.passes(999);
    // What is no news makes it no longer.
    story.hears(&networks1(1, &[]));
    assert!(!story.walk.is_over(story.now));
    story.passes(1);
    assert!(story.walk.is_over(story.now));
    assert_eq!(story.rejected(Reason::Duplicate), 1);
}

#[test]
fn a_stream_of_news_ends_nevertheless() {
    let mut story = Story::new(Rules { max_devices: 253, ..LOCALLY });
    let begun = story.now;
    for n in 1..=250 {
        story.asks();
        story.hears(&networks1(n, &[]));
        story.passes(30);
        if story.walk.is_over(story.now) {
            break;
        }
    }
    assert_eq!(story.now.duration_since(begun).as_millis(), 5010);
}

#[test]
fn an_answer_that_takes_its_time_counts_and_one_in_the_next_walk_does_not() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks1(1, &[2]));
    story.asks();
    story.passes(700);
    story.asks();
    story.hears(&networks1(2, &[1]));
    assert_eq!(story.up(), [1, 2]);
    let mut next = Story::new(Rules { destination: adapter(9), ..LOCALLY });
    next.hears(&link(2, 1));
    assert_eq!((next.up(), next.rejected(Reason::Unasked)), (vec![], 1));
}

#[test]
fn the_whole_rate_wins_whichever_version_comes_first() {
    for first_is_old in [true, false] {
        let mut story = Story::new(LOCALLY);
        story.asks();
        let (old, new) = (networks0(1, &[&[2]]), networks1(1, &[2]));
        let order = if first_is_old { [&old, &new] } else { [&new, &old] };
        order.into_iter().for_each(|frame| story.hears(frame));
        let device = &story.walk.devices[0];
        assert_eq!((device.networks[0].stations[0].tx, device.answers_to), (402, Some(Question::Networks1)));
        assert_eq!(story.walk.counts.answers, 2);
        assert_eq!(story.walk.counts.rejected, [0; 8]);
    }
}

#[test]
fn an_old_chip_is_asked_in_the_version_it_knows_after_its_silence() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks1(1, &[2]));
    assert_eq!(story.asks(), [(adapter(2), Question::Networks1)]);
    story.passes(199);
    assert_eq!(story.asks(), []);
    story.passes(1);
    assert_eq!(story.asks(), [(adapter(2), Question::Networks0)]);
    story.hears(&networks0(2, &[&[1]]));
    assert_eq!(story.walk.devices[1].networks[0].stations[0].tx, 101);
    story.passes(500);
    assert_eq!(story.asks(), []);
}

#[test]
fn an_old_chip_that_says_it_does_not_know_is_asked_at_once_in_the_other_version() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks1(1, &[2]));
    story.asks();
    // CM_MME_ERROR.IND about VS_NW_INFO of version 1.
    story.hears(&frame(adapter(2), HOMEPLUG, &[&[1, 0x46, 0x60, 0, 0, 0, 1, 0x38, 0xa0]]));
    assert_eq!(story.asks(), [(adapter(2), Question::Networks0)]);
    assert_eq!((story.rejected(Reason::Refused), story.up()), (1, vec![1]));
}

#[test]
fn what_an_adapter_answered_before_it_is_asked_first() {
    let mut story = Story::new(LOCALLY);
    story.remembered = Some(Question::Networks0);
    story.asks();
    story.hears(&networks1(1, &[2]));
    assert_eq!(story.asks(), [(adapter(2), Question::Networks0)]);
    story.passes(200);
    assert_eq!(story.asks(), [(adapter(2), Question::Networks1)]);
}

#[test]
fn a_silent_station_is_not_there_this_time() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks1(1, &[2]));
    while !story.walk.is_over(story.now) {
        story.asks();
        story.now = story.walk.wake();
    }
    assert_eq!(story.up(), [1]);
    assert_eq!(story.walk.devices.len(), 2);
}

#[test]
fn adapters_beyond_the_bound_are_neither_asked_nor_kept() {
    let mut story = Story::new(Rules { max_devices: 3, ..LOCALLY });
    story.asks();
    story.hears(&networks1(1, &[2, 3, 4, 5]));
    assert_eq!(story.asks().len(), 2);
    assert_eq!((story.walk.devices.len(), story.rejected(Reason::Limit)), (3, 2));
    for stranger in 10..200 {
        story.hears(&networks1(stranger, &[]));
    }
    assert_eq!((story.walk.devices.len(), story.rejected(Reason::Limit)), (3, 192));
}

#[test]
fn a_station_of_two_networks_has_a_rate_in_each() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks0(1, &[&[2, 3], &[2]]));
    let networks = &story.walk.devices[0].networks;
    let listed: Vec<_> = networks.iter().map(|network| (network.nid[6], network.stations.len())).collect();
    assert_eq!(listed, [(1, 2), (2, 1)]);
    assert_eq!(story.asks().len(), 2, "and is asked once");
}

#[test]
fn nothing_is_listed_twice_and_nobody_is_their_own_peer() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    story.hears(&networks1(1, &[2, 2, 1, 3]));
    let stations: Vec<u8> = story.walk.devices[0].networks[0].stations.iter().map(|s| s.mac.0[5]).collect();
    assert_eq!((stations, story.rejected(Reason::Malformed)), (vec![2, 3], 2));
    assert_eq!(story.asks().len(), 2);
}

#[test]
fn what_nobody_asked_for_is_counted_by_its_fault() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    let mut other_maker = networks0(1, &[&[2]]);
    other_maker[17..20].copy_from_slice(&[0x00, 0x1f, 0x84]);
    let mut other_version = networks1(1, &[2]);
    other_version[14] = 7;
    for (frame, reason) in [
        (other_maker, Reason::Oui),
        (other_version, Reason::Version),
        (link(1, 2), Reason::Unasked),
        (frame(adapter(1), MEDIAXTREAM, &[&[2, 0x71, 0xa0, 0, 0, 0, 0x1f, 0x84, 1, 1, 0]]), Reason::Unasked),
        (frame(BROADCAST, HOMEPLUG, &[&[0, 0x39, 0xa0, 0, 0xb0, 0x52, 0]]), Reason::Source),
        (frame(Mac([0; 6]), HOMEPLUG, &[&[0, 0x39, 0xa0, 0, 0xb0, 0x52, 0]]), Reason::Source),
        (networks0(1, &[&[2]])[..20].to_vec(), Reason::Malformed),
        (vec![0; 3], Reason::Malformed),
    ] {
        let before = story.rejected(reason);
        story.hears(&frame);
        assert_eq!(story.rejected(reason), before + 1, "{reason:?}");
    }
    assert_eq!((story.up(), story.walk.counts.answers), (vec![], 0));
}

#[test]
fn a_cut_answer_counts_as_far_as_it_goes() {
    let mut story = Story::new(LOCALLY);
    story.asks();
    let whole = networks1(1, &[2, 3]);
    story.hears(&whole[..whole.len() - 10]);
    assert_eq!((story.up(), story.rejected(Reason::Malformed)), (vec![1], 1));
    assert_eq!(story.asks(), [(adapter(2), Question::Networks1)]);
}

#[test]
fn an_adapter_has_one_question_at_a_time_and_a_late_answer_is_no_other_s() {
    let mut story = Story::new(EXTENDED);
    story.asks();
    story.hears(&networks1(1, &[2, 3]));
    let own = |asked: Vec<(Mac, Question)>| -> Vec<Question> {
        asked.into_iter().filter(|(to, _)| *to == adapter(1)).map(|(_, question)| question).collect()
    };
    // Its version was asked of everybody.
    assert_eq!(own(story.asks()), [Question::Link(adapter(2))]);
    story.hears(&link(1, 2));
    assert_eq!(own(story.asks()), [Question::Link(adapter(3))]);
    story.hears(&link(1, 2));
    assert_eq!(story.rejected(Reason::Unasked), 1);
    story.hears(&link(1, 3));
    let peers: Vec<u8> = story.walk.devices[0].links.iter().map(|(peer, _)| peer.0[5]).collect();
    assert_eq!(peers, [2, 3]);
}

#[test]
fn one_that_does_not_tell_of_one_link_is_not_asked_for_all() {
    let mut story = Story::new(EXTENDED);
    story.asks();
    story.hears(&networks1(1, &[2, 3, 4, 5]));
    let mut links = 0;
    while !story.walk.is_over(story.now) {
        links += story.asks().iter().filter(|(_, question)| matches!(question, Question::Link(_))).count();
        story.now = story.walk.wake();
    }
    assert_eq!(links, 1);
}

#[test]
fn a_boot_loader_is_no_adapter_with_an_address() {
    let mut story = Story::new(EXTENDED);
    story.asks();
    let mut message = vec![0, 6, 11];
    message.extend(b"BootLoader");
    story.hears(&frame(LOCAL, HOMEPLUG, &[&[0, 1, 0xa0, 0, 0xb0, 0x52], &message]));
    story.hears(&frame(LOCAL, HOMEPLUG, &[&[0, 0x39, 0xa0, 0, 0xb0, 0x52, 0]]));
    assert_eq!((story.walk.boot_loaders.len(), story.walk.devices.len()), (1, 0));
    assert_eq!(story.rejected(Reason::Source), 1);
}

#[test]
fn of_broadcom_s_only_the_near_ones_are_where_local_begins() {
    let side =
        |from, interface| frame(adapter(from), MEDIAXTREAM, &[&[2, 0x71, 0xa0, 0, 0, 0, 0x1f, 0x84, 1, interface, 0]]);
    let mut story = Story::new(EXTENDED);
    assert!(story.asks().contains(&(BROADCAST, Question::BroadcomDiscover)));
    story.hears(&side(1, 1));
    story.hears(&side(2, 2));
    assert_eq!(story.up(), [1]);
    assert_eq!(story.asks(), [(adapter(1), Question::BroadcomNetworks)]);
    let mut everybody = Story::new(Rules { destination: BROADCAST, ..EXTENDED });
    everybody.asks();
    everybody.hears(&side(2, 2));
    assert_eq!(everybody.up(), [2]);
}

#[test]
fn a_network_larger_than_is_kept_is_cut() {
    let mut story = Story::new(Rules { max_devices: 253, ..LOCALLY });
    story.asks();
    let all: Vec<u8> = (0..=254).collect();
    for n in 1..=5 {
        story.hears(&networks1(n, &all));
    }
    let kept: usize = story.walk.devices.iter().flat_map(|device| &device.networks).map(|n| n.stations.len()).sum();
    assert_eq!(kept, 1024);
    assert!(story.walk.devices.len() <= 253);
}

#[test]
fn a_late_answer_that_tells_less_takes_nothing_away() {
    let mut story = Story::new(EXTENDED);
    story.asks();
    story.hears(&networks1(1, &[2]));
    // The second adapter is asked in one way after the other, and answers all of them at last.
    for _ in 0..3 {
        story.asks();
        story.passes(200);
    }
    story.hears(&networks1(2, &[1]));
    let mut message = vec![1];
    message.extend(NID);
    message.extend([6, 2, 0]);
    message.extend(adapter(1).0);
    story.hears(&frame(adapter(2), HOMEPLUG, &[&[1, 0x39, 0x60, 0, 0], &message]));
    let device = &story.walk.devices[1];
    assert_eq!((device.answers_to, device.stations()), (Some(Question::Networks1), 1));
    assert_eq!(story.rejected(Reason::Unasked), 0);
}

#[test]
fn a_link_is_asked_for_once_even_if_both_versions_list_it() {
    let mut story = Story::new(EXTENDED);
    story.asks();
    story.hears(&networks0(1, &[&[2]]));
    let is_link = |(_, question): &(Mac, Question)| matches!(question, Question::Link(_));
    let mut links = story.asks().iter().filter(|asked| is_link(asked)).count();
    story.hears(&networks1(1, &[2]));
    story.hears(&link(1, 2));
    links += story.asks().iter().filter(|asked| is_link(asked)).count();
    assert_eq!((links, story.walk.devices[0].links.len()), (1, 1));
}

#[test]
fn reasons_are_counted_under_their_names() {
    for (n, (reason, _)) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, n);
    }
}

/// A walk in which these adapters have answered in version 0.
fn met(adapters: &[u8]) -> Story {
    let mut story = Story::new(LOCALLY);
    story.asks();
    adapters.iter().for_each(|adapter| story.hears(&networks0(*adapter, &[&[]])));
    story
}

#[test]
fn what_an_adapter_answers_to_is_remembered_for_eight_walks() {
    let (mut memory, story) = (Memory::default(), met(&[1]));
    memory.update(&story.walk, 8, story.now);
    for _ in 0..=8 {
        assert_eq!(memory.first_question(adapter(1)), Some(Question::Networks0));
        memory.update(&met(&[]).walk, 8, story.now);
    }
    assert_eq!(memory.first_question(adapter(1)), None);
}

#[test]
fn of_more_adapters_than_are_kept_the_longest_unseen_are_forgotten() {
    let mut memory = Memory::default();
    let (old, new) = (met(&[1]), met(&[2, 3]));
    memory.update(&old.walk, 2, old.now);
    memory.update(&new.walk, 2, old.now + Duration::from_secs(15));
    assert_eq!(memory.iter().map(|(mac, _)| *mac).collect::<Vec<_>>(), [adapter(2), adapter(3)]);
    memory.update(&met(&[]).walk, 2, old.now + Duration::from_secs(3615));
    assert_eq!(memory.iter().count(), 0, "nobody has mentioned them for an hour");
}
