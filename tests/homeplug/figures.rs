//! What is exported of a network in order.

use crate::common::{UP, bytes, lab, mac, rate, setup};
use crate::lab::powerline::Model;

#[test]
fn every_adapter_tells_its_networks_and_rates_of_sixteen_bits() {
    let lab = lab();
    let segment = lab.powerline(Model::home());
    let daemon = setup(&lab).start();
    daemon.wait_for(UP, 1.0);
    let metrics = daemon.metrics();
    for (n, role) in [(1, "CCO"), (2, "STA"), (3, "STA")] {
        let series = format!(
            "homeplug_network_info{{device_addr=\"{}\",nid=\"52:de:ad:be:ef:00:01\",snid=\"6\",tei=\"{n}\",role=\"{role}\",\
             cco_addr=\"{}\",cco_tei=\"1\"}}",
            mac(n),
            mac(1)
        );
        assert_eq!(metrics.get(&series), Some(&1.0), "{series} in {metrics:#?}");
    }
    for (from, to, tx, rx) in [(1, 2, 142, 97), (2, 1, 97, 142), (1, 3, 301, 255), (3, 1, 255, 301), (2, 3, 77, 81)] {
        assert_eq!(metrics.get(&rate("tx", from, to)), Some(&bytes(tx)), "{metrics:#?}");
        assert_eq!(metrics.get(&rate("rx", from, to)), Some(&bytes(rx)), "{metrics:#?}");
    }
    assert_eq!(segment.model().harmful, []);
}
