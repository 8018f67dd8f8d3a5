//! Grafana boards and Prometheus rules in dashboards/: every name in them is one of ours, Prometheus takes every query, and
//! on a living network each query has data and each alert comes with its cause and goes with it.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod harness;
mod lab;
#[allow(dead_code, reason = "asked over HTTP here, for errors and alerts as well")]
#[path = "support/prometheus.rs"]
mod prometheus;

#[path = "dashboards/alerts.rs"]
mod alerts;
#[path = "dashboards/board.rs"]
mod board;
#[path = "dashboards/home.rs"]
mod home;
#[path = "dashboards/names.rs"]
mod names;
#[path = "dashboards/promql.rs"]
mod promql;
#[path = "dashboards/rules.rs"]
mod rules;
#[path = "dashboards/server.rs"]
mod server;
#[path = "dashboards/shape.rs"]
mod shape;
#[path = "dashboards/tools.rs"]
mod tools;
