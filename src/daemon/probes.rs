//! What HTTP answers about probes: `/probe`, which has somebody probed, and `/debug/probes`.

use std::time::Instant;

use super::pages::{Pages, state};
use crate::collectors::probe;
use crate::collectors::probe::request::{Asked, Raw, Refusal};
use crate::outputs::http::{Exposition, Reply, Request};
use crate::outputs::prometheus::{self, Dialect};
use crate::sys::clock;

impl Pages {
    pub(super) async fn probe(&self, request: &Request) -> Reply {
        let (query, label) = (request.query(), "/probe");
        let refused = |refusal: Refusal| {
            Reply::text(refusal.status, format!("# {} - {}\n", refusal.status, refusal.why)).labelled(label)
        };
        if request.is_foreign() {
            return refused(Refusal::forbidden("a page of another site asks for this: open the address by itself"));
        }
        let values = |key| query.values(key).collect::<Vec<_>>();
        let (targets, ip_versions, tcp_ports) = (values("target"), values("ip_version"), values("tcp_port"));
        let raw = Raw {
            targets: targets.iter().map(AsRef::as_ref).collect(),
            ip_versions: ip_versions.iter().map(AsRef::as_ref).collect(),
            tcp_ports: tcp_ports.iter().map(AsRef::as_ref).collect(),
            limits: request.headers("x-target-limit").collect(),
        };
        let asked = match Asked::read(&raw) {
            Ok(asked) => asked,
            Err(refusal) => return refused(refusal),
        };
        let desk = self.shared.desk.borrow().clone();
        let Some(desk) = desk else { return refused(Refusal::unavailable(self.why_no_probes())) };
        match desk.answer(&asked).await {
            Ok(answer) => {
                let format = Exposition::wanted_by(request);
                let dialect = if format.is_openmetrics() { Dialect::OpenMetrics } else { Dialect::Text };
                let mut out = String::new();
                prometheus::encode(&answer.page, dialect, &mut out);
                prometheus::finish(dialect, &mut out);
                Reply::page(label, format.content_type(), out).header("X-Target-Count", answer.addresses.to_string())
            }
            Err(refusal) => refused(refusal),
        }
    }

    pub(super) fn debug_probes(&self) -> Reply {
        let label = "/debug/probes";
        match &*self.shared.desk.borrow() {
            Some(desk) => {
                let json = probe::json(&mut desk.state(), Instant::now(), clock::unix_now());
                Reply::page(label, "application/json", json)
            }
            None => Reply::text(503, format!("{}\n", self.why_no_probes())).labelled(label),
        }
    }

    fn why_no_probes(&self) -> String {
        let status = self.statuses.iter().find(|status| status.name == probe::ROW.name);
        format!("the probe collector is {}", status.map_or_else(|| "off".into(), |status| state(status)))
    }
}
