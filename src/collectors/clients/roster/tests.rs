use super::*;

const RULES: Rules = Rules {
    stale: Some(Duration::from_secs(300)),
    forget: Duration::from_secs(3600),
    max_clients: 100,
    begin_from_zero: true,
    keep_counted: false,
};

/// A roster whose rounds happen at seconds from an arbitrary start.
struct Rounds {
    roster: Roster,
    start: Instant,
}

/// One reading of a round.
#[derive(Clone, Copy)]
enum Reading {
    Tx(&'static str, u64),
    Rx(&'static str, u64),
    Neighbour(&'static str, State, u64),
    Flows(&'static str, u32),
}
use Reading::{Flows, Neighbour, Rx, Tx};

impl Rounds {
    fn new(rules: Rules) -> Self {
        // Far enough from the start of the machine for ages to be subtracted.
        Rounds { roster: Roster::new(rules), start: Instant::now() + Duration::from_secs(1_000_000) }
    }

    fn round(&mut self, second: u64, readings: &[Reading]) -> Vec<String> {
        let now = self.start + Duration::from_secs(second);
        self.roster.begin();
        for reading in readings {
            match *reading {
                Tx(addr, bytes) => self.count(addr, Direction::Tx, bytes, now),
                Rx(addr, bytes) => self.count(addr, Direction::Rx, bytes, now),
                Neighbour(addr, state, age) => {
                    let entry = Entry { mac: Some([2; 6]), state, confirmed: Some(now - Duration::from_secs(age)) };
                    self.roster.neighbour(addr.parse().unwrap(), 3, entry, now);
                }
                Flows(addr, active) => {
                    self.roster.flows(addr.parse().unwrap(), Counts { active, ..Counts::default() }, now);
                }
            }
        }
        self.roster.finish(now, now).iter().map(IpAddr::to_string).collect()
    }

    fn count(&mut self, addr: &str, direction: Direction, bytes: u64, now: Instant) {
        self.roster.count(Counter { addr: addr.parse().unwrap(), direction, bytes, packets: 1 }, now);
    }

    fn client(&self, addr: &str) -> &Client {
        self.roster.clients.get(&addr.parse().unwrap()).unwrap()
    }

    fn tx(&self, addr: &str) -> (u64, f64) {
        (self.client(addr).tx.total, self.client(addr).tx.rate)
    }

    fn online(&self, addr: &str) -> bool {
        self.client(addr).online
    }
}

const A: &str = "10.0.0.2";
const B: &str = "fd00::2";

#[test]
fn a_rate_is_over_the_time_that_really_passed() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 1000)]);
    assert_eq!(rounds.tx(A), (1000, 0.0));
    rounds.round(2, &[Tx(A, 2000)]);
    assert_eq!(rounds.tx(A), (2000, 4000.0));
    rounds.round(7, &[Tx(A, 2500)]);
    assert_eq!(rounds.tx(A), (2500, 800.0));
}

#[test]
fn a_client_that_moves_nothing_has_a_rate_of_zero() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 1000)]);
    rounds.round(2, &[Tx(A, 2000)]);
    rounds.round(4, &[Tx(A, 2000)]);
    assert_eq!(rounds.tx(A), (2000, 0.0));
}

#[test]
fn a_counter_that_began_again_never_gives_a_negative_or_absurd_rate_and_the_total_goes_on() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 5_000_000)]);
    rounds.round(2, &[Tx(A, 6_000_000)]);
    rounds.round(4, &[Tx(A, 300)]);
    assert_eq!(rounds.tx(A), (6_000_300, 1200.0));
    rounds.round(6, &[Tx(A, 400)]);
    assert_eq!(rounds.tx(A), (6_000_400, 400.0));
}

#[test]
fn a_counter_missing_from_a_reading_is_a_rate_of_zero_and_keeps_its_total() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 1000)]);
    rounds.round(2, &[Tx(A, 2000)]);
    rounds.round(4, &[]);
    assert_eq!(rounds.tx(A), (2000, 0.0));
    rounds.round(6, &[Tx(A, 2600)]);
    assert_eq!(rounds.tx(A), (2600, 2400.0));
}

#[test]
fn what_a_new_client_moved_in_its_first_interval_counts() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[]);
    rounds.round(2, &[Tx(A, 500), Rx(A, 1000)]);
    assert_eq!(rounds.tx(A), (500, 2000.0));
    assert_eq!((rounds.client(A).rx.total, rounds.client(A).rx.rate), (1000, 4000.0));
}

#[test]
fn a_counter_of_unknown_age_is_a_baseline_at_first_sight() {
    let mut rounds = Rounds::new(Rules { begin_from_zero: false, ..RULES });
    rounds.round(0, &[]);
    rounds.round(2, &[Tx(A, 5_000_000_000)]);
    assert_eq!(rounds.tx(A), (5_000_000_000, 0.0));
}

#[test]
fn a_reading_twice_in_a_round_counts_once() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 1000), Tx(A, 1000)]);
    rounds.round(2, &[Tx(A, 2000), Tx(A, 2010)]);
    assert_eq!(rounds.tx(A), (2010, 4040.0));
}

#[test]
fn two_rounds_at_the_same_moment_keep_the_rate() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 1000)]);
    rounds.round(2, &[Tx(A, 2000)]);
    rounds.round(2, &[Tx(A, 2000)]);
    assert_eq!(rounds.tx(A).1, 4000.0);
}

#[test]
fn what_was_sent_to_an_address_makes_no_client_of_it() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Rx(A, 60), Flows(B, 0), Neighbour("10.0.0.9", State::Failed, 0)]);
    assert_eq!(rounds.roster.iter().count(), 0);
    rounds.round(2, &[Flows(B, 1)]);
    assert_eq!(rounds.client(B).flows.active, 1);
    rounds.round(4, &[]);
    assert_eq!(rounds.client(B).flows.active, 0);
}

#[test]
fn presence_follows_the_neighbour_table() {
    let mut rounds = Rounds::new(RULES);
    for (state, age, online) in [
        (State::Reachable, 10, true),
        (State::Stale, 60, true),
        (State::Delay, 90, true),
        (State::Probe, 95, true),
        (State::Failed, 100, false),
        (State::Incomplete, 100, false),
        (State::Permanent, 0, false),
        (State::NoArp, 0, false),
        (State::Stale, 299, true),
        (State::Stale, 301, false),
    ] {
        rounds.round(1000, &[Neighbour(A, state, age)]);
        assert_eq!(rounds.online(A), online, "{state:?} {age}");
    }
}

#[test]
fn without_a_limit_a_stale_neighbour_is_online_for_ever() {
    let mut rounds = Rounds::new(Rules { stale: None, ..RULES });
    rounds.round(0, &[Neighbour(A, State::Stale, 3000)]);
    assert!(rounds.online(A));
}

#[test]
fn who_sends_is_there_whatever_the_neighbour_table_says() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 100), Neighbour(A, State::Failed, 900)]);
    assert!(!rounds.online(A));
    rounds.round(2, &[Tx(A, 200), Neighbour(A, State::Failed, 900)]);
    assert!(rounds.online(A));
    rounds.round(4, &[Tx(A, 200), Neighbour(A, State::Failed, 900)]);
    assert!(!rounds.online(A));
    rounds.round(6, &[Tx(A, 300), Neighbour(A, State::Permanent, 0)]);
    rounds.round(8, &[Tx(A, 300), Neighbour(A, State::Permanent, 0)]);
    assert!(rounds.online(A));
    rounds.round(306, &[Tx(A, 300), Neighbour(A, State::Permanent, 0)]);
    assert!(!rounds.online(A));
}

#[test]
fn a_neighbour_that_went_with_its_link_is_offline_at_once() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 100), Neighbour(A, State::Reachable, 1)]);
    rounds.round(2, &[Tx(A, 200), Neighbour(A, State::Reachable, 3)]);
    rounds.round(4, &[Tx(A, 200)]);
    assert!(!rounds.online(A));
    rounds.round(6, &[Tx(A, 200)]);
    assert!(!rounds.online(A));
}

#[test]
fn a_client_behind_another_router_is_online_for_a_while_after_it_sent() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[]);
    rounds.round(2, &[Tx(A, 200)]);
    rounds.round(200, &[Tx(A, 200)]);
    assert!(rounds.online(A));
    rounds.round(303, &[Tx(A, 200)]);
    assert!(!rounds.online(A));
}

#[test]
fn last_seen_is_the_later_of_confirmed_and_sent() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 100), Neighbour(A, State::Reachable, 20)]);
    let at = |rounds: &Rounds, second: i64| {
        let seen = rounds.client(A).last_seen().unwrap();
        let want = if second < 0 {
            rounds.start - Duration::from_secs(20)
        } else {
            rounds.start + Duration::from_secs(second as u64)
        };
        assert_eq!(seen, want);
    };
    at(&rounds, -20);
    rounds.round(2, &[Tx(A, 200), Neighbour(A, State::Stale, 22)]);
    at(&rounds, 2);
    rounds.round(9, &[Tx(A, 200), Neighbour(A, State::Reachable, 1)]);
    at(&rounds, 8);
}

#[test]
fn a_client_is_forgotten_after_its_time_unless_it_is_there_or_connected() {
    let mut rounds = Rounds::new(RULES);
    rounds.round(0, &[Tx(A, 100), Tx(B, 100), Tx("10.0.0.4", 1), Neighbour("10.0.0.5", State::Reachable, 0)]);
    assert!(rounds.round(3599, &[Tx("10.0.0.4", 2), Flows(B, 1)]).is_empty());
    assert_eq!(rounds.round(3601, &[Flows(B, 1), Neighbour("10.0.0.5", State::Stale, 3601)]), [A, "10.0.0.5"]);
    assert_eq!(rounds.round(3603, &[Neighbour("10.0.0.5", State::Stale, 3603)]), [B]);
    assert_eq!(rounds.round(7200, &[Tx("10.0.0.4", 2)]), ["10.0.0.4"]);
    assert_eq!(rounds.roster.forgotten(), 4);
}

#[test]
fn a_client_whose_rule_somebody_else_keeps_is_kept() {
    let mut rounds = Rounds::new(Rules { keep_counted: true, ..RULES });
    rounds.round(0, &[Tx(A, 100)]);
    assert!(rounds.round(9999, &[Tx(A, 100)]).is_empty());
    assert_eq!(rounds.round(20000, &[]), [A]);
}

#[test]
fn of_too_many_clients_the_longest_unseen_go_first() {
    let mut rounds = Rounds::new(Rules { max_clients: 2, ..RULES });
    rounds.round(0, &[Tx(A, 100), Tx(B, 100)]);
    assert_eq!(rounds.round(2, &[Tx(B, 200), Neighbour("10.0.0.5", State::Reachable, 0)]), [A]);
    // Who is there stays, however long ago it was confirmed.
    let gone =
        rounds.round(400, &[Neighbour("10.0.0.5", State::Reachable, 400), Neighbour("10.0.0.6", State::Stale, 0)]);
    assert_eq!(gone, [B]);
}
