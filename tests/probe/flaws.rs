//! The known flaws of the program whose metrics these are, and what shows that they are not ours. Where no module is named
//! with two colons, it is one of `collectors::probe` with its unit tests.
//!
//! | flaw | shown by |
//! |---|---|
//! | the window's sums cover one result more than its counts: latency too high, deviation NaN | unit tests of `window`: `the_window_is_what_the_rule_says_after_every_result`, `the_round_trip_after_a_change_is_that_of_the_results_since`; `losses::a_window_begins_anew_where_losses_begin` |
//! | lost probes add to the deviation | `window`: `lost_probes_add_nothing_to_the_deviation`; `times` (every seventh is lost there) |
//! | equal round trips have a deviation of NaN | `window`: `none_lost_and_all_the_same_has_no_deviation`, `the_largest_round_trips_do_not_overflow` |
//! | stamps are cut to microseconds | `times::no_round_trip_is_so_short_that_it_is_lost_in_rounding` |
//! | the sum of squares overflows, which ends the program | `target`: `sums_do_not_end_with_the_largest_round_trips` |
//! | stamps of 32-bit machines wrap every 71 minutes | `codec::stamps`: `stamps_of_the_new_kind_are_the_same_everywhere`; `codec`: `control_messages_of_small_machines_are_read` |
//! | whoever reads the window changes it | the window is computed with every result (`window`); `losses::a_window_begins_anew_where_losses_begin` reads it once |
//! | firewalls, full queues, links that are down and lacking addresses end the program | `queues::a_firewall_that_refuses_probes_is_told_and_disturbs_no_stamp_then_or_afterwards`, `queues::a_full_queue_is_told_beside_round_trips_that_do_not_grow_by_it`, all of `links` |
//! | a default route without a gateway (PPPoE, WireGuard) is not found, and later changes are not seen | `links::a_default_route_without_a_gateway_is_followed_to_another_interface` |
//! | an interface that is removed and made again is dead for ever | `links::a_named_interface_that_is_removed_and_made_again_is_used_again`, `links::the_routes_interface_that_is_removed_and_made_again_is_used_again` |
//! | bridges and switch ports are refused because of what ethtool says | `links::probes_through_a_bridge_and_its_ports_are_stamped_by_the_kernel` (there are no switch ports here, but nobody asks ethtool) |
//! | all is lost where packets have no Ethernet header | every test with a `Responder`, whose device has none; `times` compares its stamps |
//! | stamps go to the wrong probe after one that was refused | the two of `queues` above: every round trip is that of its own probe |
//! | a clock that is set while a probe is under way changes its round trip | `target`: `a_clock_that_is_set_while_a_probe_is_under_way_does_not_show`; not here, as namespaces have no wall clock of their own |
//! | closed ports are lost | `tcp::open_closed_and_filtered_ports_are_told_apart_and_left_without_a_half_open_connection` |
//! | a SYN-ACK that is sent again is a round trip of a second | `tcp::a_syn_ack_that_is_sent_again_is_no_round_trip_of_a_second` |
//! | ICMP errors are not seen | all of `errors` |
//! | late, doubled and overtaken answers are not told | `losses` |
//! | probes late by one wait lower the rate; too many targets stretch intervals in silence | `schedule`: `a_late_wake_up_makes_no_burst_and_loses_no_turn`; `lock::the_rate_has_a_limit_by_which_every_interval_stretches` |
//! | the interval is not locked | `lock::without_unlocking_nothing_is_faster_than_the_default_and_that_is_told` |
//! | one name that does not resolve fails the whole request, and each lookup holds it up | `names::a_server_that_is_dead_stops_no_probe_and_a_bad_name_costs_the_others_nothing` |
//! | a name that moves begins at zero, and its old address is probed on | `names::a_name_that_moves_to_another_address_keeps_its_counters` |
//! | a limit that is no number makes every request fail without saying why | `requests::a_bad_request_is_told_why_and_changes_nothing` |
//! | no sockets can be opened once capabilities are gone | `lacks::raw_sockets_are_all_it_may_open_unless_network_cards_are_to_be_told` |
//! | hardware stamps or none, and cards are told although nobody asked for it | `lacks::a_card_that_cannot_stamp_is_told_once_and_the_kernel_stamps_instead` (the cards here cannot; `sys::hardware_stamps` is called with `hardware=1` only) |
//! | errors are counted in a gauge | [`what_only_grows_is_a_counter`] |
//! | in containers all have the same identifier | [`process_one_of_a_container_has_an_identifier_of_its_own`] |

use std::process::Stdio;

use super::figures::{TARGETS, Who, lab, on_record, section, setup, target};
use crate::harness::PATIENCE;
use crate::lab::process::{Background, poll};
use crate::lab::responder::{Responder, What};

#[test]
fn what_only_grows_is_a_counter() {
    let lab = lab();
    let _far = Responder::start(&lab.router);
    let daemon = setup(&lab, &(section(&[]) + &target(TARGETS[0], &[]))).start();
    let page = daemon.page().unwrap();
    for protocol in ["icmp", "tcp"] {
        for what in ["sent", "recv", "error"] {
            let line = format!("# TYPE {protocol}_packets_{what}_total counter\n");
            assert!(page.contains(&line), "{line} is not in\n{page}");
        }
        assert!(page.contains(&format!("# TYPE {protocol}_active_probes gauge\n")));
    }
    for line in page.lines().filter(|line| line.starts_with("# TYPE ") && line.contains("_total ")) {
        assert!(line.ends_with(" counter"), "{line}");
    }
}

#[test]
fn process_one_of_a_container_has_an_identifier_of_its_own() {
    let lab = lab();
    let far = Responder::start(&lab.router);
    let start = |port: &str| {
        let setup = setup(&lab, &(section(&[]) + &target(TARGETS[0], &[]))).flags(&["-p", port]);
        let command = setup.command();
        let mut container = lab.router.command("unshare");
        container.args(["--pid", "--fork", "--kill-child"]).arg(command.get_program()).args(command.get_args());
        container.current_dir(setup.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Background::adopt(container.spawn().unwrap(), setup.shown())
    };
    let _containers = ["9999", "9998"].map(start);
    let who = Who::icmp(TARGETS[0]);
    on_record(&far, who, 1);
    let identifiers = || {
        let log = far.log();
        let mut all: Vec<u16> = Vec::new();
        for request in who.seen(&log).requests {
            if let What::Echo { identifier, .. } = request.what {
                all.push(identifier);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    };
    assert!(poll(PATIENCE, || (identifiers().len() == 2).then_some(())).is_some(), "{:?}", identifiers());
    assert!(!identifiers().contains(&1), "{:?}", identifiers());
}
