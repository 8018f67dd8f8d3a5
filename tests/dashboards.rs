//! Grafana boards and Prometheus rules in dashboards/: every name in them is one of ours, Prometheus takes every query, and
//! on a living network each query has data and each alert comes with its cause and goes with it.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test crate")]

mod lab;

#[path = "dashboards/board.rs"]
mod board;
#[path = "dashboards/names.rs"]
mod names;
#[path = "dashboards/promql.rs"]
mod promql;
#[path = "dashboards/rules.rs"]
mod rules;
#[path = "dashboards/shape.rs"]
mod shape;
#[path = "dashboards/tools.rs"]
mod tools;
