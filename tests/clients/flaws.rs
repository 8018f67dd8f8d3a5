//! The known flaws of the program whose metrics these are, and what shows that they are not ours.
//!
//! | flaw | shown by |
//! |---|---|
//! | 1. a reset makes a rate of 7e19 bit/s | `rates::counters_that_begin_again_make_no_rate_that_cannot_be`, `rates::what_was_counted_before_the_daemon_came_is_no_rate` |
//! | 2. a jump behind `ct state established accept` sees first packets only | `rules::rules_that_are_made_for_us_see_every_packet_also_of_established_flows`, `bytes::bulk_tcp_counts_what_the_kernels_own_set_counts_behind_a_firewall` |
//! | 3. a client whose address is the beginning of another's gets no rules | `rules::a_client_whose_address_is_the_beginning_of_anothers_gets_its_rules` |
//! | 4. each packet is compared with each client | [`the_rules_a_packet_passes_do_not_grow_with_clients`], `benches/clients.rs` |
//! | 5. traffic before discovery is lost, a reload loses rules for good | `bytes::the_first_packet_of_a_client_that_nobody_knew_counts`, all of `foreign` |
//! | 6. a flow counts once, twice or four times | `connections::each_flow_counts_once_for_each_client_that_takes_part` |
//! | 7. closed and unanswered flows count, IPv6 does not, the router is a client | `connections::a_connection_that_closes_or_is_never_answered_is_not_active`, `presence::the_router_the_internet_and_broadcasts_are_no_clients` |
//! | 8. who left stays online for hours, and totals go by other rules | `presence::a_client_that_only_falls_silent_is_offline_after_the_time_that_was_set`, `presence::clients_are_counted_by_family_and_by_whether_they_are_there` |
//! | 9. one LAN, of a length divisible by eight | `subnets::any_prefix_length_is_a_subnet`, `bytes::several_hosts_at_once_are_counted_to_the_byte_over_both_families_behind_nat` (two LANs) |
//! | 10. unknown for ever, a rename leaves the old series | `names::a_client_that_is_renamed_has_one_name_and_one_set_of_series` |
//! | 11. an address keeps its former owner's name, a name with `\|` is lost | `names::an_address_that_goes_to_another_device_takes_that_ones_name`, `names::a_hostile_name_that_a_lease_file_holds_is_shown_escaped_and_bounded` |
//! | 12. the file of names is written every two seconds | `names::the_cache_is_not_written_again_while_no_name_changes` |
//! | 13. a dead name server stalls the metrics | `names::a_name_server_that_is_dead_holds_nothing_up` |
//! | 14. three processes every two seconds | `lifetime::a_daemon_starts_no_other_program` |
//! | 15. series of clients that left stay for ever | `lifetime::a_client_that_is_forgotten_leaves_no_series_behind`; by time unseen: the unit tests of `collectors::clients::roster` |
//! | 16. a device's type is guessed from letters in its name | [`nothing_is_guessed_from_a_name`] |

use crate::figures::{by_client, fresh, setup, static_lease};
use crate::lab::Lab;
use crate::witness;

#[test]
fn the_rules_a_packet_passes_do_not_grow_with_clients() {
    let lab = Lab::builder().hosts(1).nat().build();
    let rules = || {
        let chain = lab.router.must(&["nft", "list", "chain", witness::TABLE[0], witness::TABLE[1], "acct"]);
        chain.lines().filter(|line| line.contains('@')).count()
    };
    let daemon = setup(&lab).start();
    let few = rules();
    assert!(few > 0);
    let crowd = lab.crowd(lab.host(1), 250);
    crowd.flows(1);
    daemon.wait_until("the crowd", |metrics| (by_client(metrics, "client_status").len() > 250).then_some(()));
    fresh(&daemon);
    // One more LAN at most, not one more client.
    assert!(rules() <= 2 * few, "{few} rules for 3 clients and {} for 253", rules());
}

#[test]
fn nothing_is_guessed_from_a_name() {
    let lab = Lab::builder().hosts(1).build();
    let daemon = setup(&lab).uci("dhcp", &static_lease("spring-hp-phone", lab.host(1))).start();
    let page = fresh(&daemon);
    assert!(page.keys().all(|series| !series.contains("type=")), "{page:#?}");
    assert!(page.keys().any(|series| series.contains("spring-hp-phone")));
}
