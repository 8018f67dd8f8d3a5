//! The pages of the daemon: the snapshot as text, and what HTTP answers.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;

use super::self_metrics::{self, Process};
use crate::collectors::Row;
#[cfg(not(feature = "probe"))]
use crate::config::schema::without;
use crate::metrics::Page;
use crate::outputs::http::{Exposition, Handler, Reply, Request};
use crate::outputs::lines::{self, Lines};
use crate::outputs::prometheus::{self, Dialect};
use crate::supervisor::{Shared, Status};
use crate::words::Html;

/// Everything a page is made of.
pub struct Pages {
    /// The snapshot.
    pub shared: Rc<Shared>,
    /// How each collector is doing, in the order of output.
    pub statuses: Vec<Rc<Status>>,
    /// Requests answered and the like.
    pub process: Process,
    /// Whether the live page is served at `/`, and not the small one.
    pub live: Cell<bool>,
    /// Length of the last whole page, so that the next one is written without growing.
    last_length: Cell<usize>,
}

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A scrape.
    Http,
    /// A file or stdout, which another program may merge with its own figures.
    File,
}

impl Pages {
    /// Pages of this snapshot.
    pub fn new(shared: Rc<Shared>, statuses: Vec<Rc<Status>>) -> Self {
        Pages { shared, statuses, process: Process::default(), live: Cell::new(false), last_length: Cell::new(0) }
    }

    /// All collectors, or those of `only`, and the figures about ourselves.
    pub fn whole(&self, dialect: Dialect, reader: Reader, only: Option<&[&str]>) -> String {
        let mut out = String::with_capacity(self.last_length.get() + 1024);
        self.whole_in_pieces(dialect, reader, only, &mut out, &mut |_| {});
        self.last_length.set(out.len());
        out
    }

    /// Likewise, appended to `out`; `pass_on` is called after each line and may take out what is there.
    pub fn whole_in_pieces(
        &self,
        dialect: Dialect,
        reader: Reader,
        only: Option<&[&str]>,
        out: &mut String,
        pass_on: &mut dyn FnMut(&mut String),
    ) {
        let wanted = |name: &str| only.is_none_or(|only| only.contains(&name));
        self.shared.store.each(|name, page| {
            if wanted(name) {
                prometheus::encode_in_pieces(page, dialect, out, pass_on);
            }
        });
        let mut page = Page::new();
        self_metrics::write_collectors(&mut page, &self.statuses);
        if reader == Reader::Http {
            self.process.write(&mut page);
        }
        prometheus::encode(&page, dialect, out);
        prometheus::finish(dialect, out);
    }

    /// All collectors and the figures about ourselves, in a line format.
    pub fn lines(&self, format: Lines) -> String {
        let mut out = String::new();
        self.shared.store.each(|_, page| lines::encode(page, format, &mut out));
        let mut page = Page::new();
        self_metrics::write_collectors(&mut page, &self.statuses);
        lines::encode(&page, format, &mut out);
        out
    }

    /// One page for each collector that has figures, and one named `main` about ourselves.
    pub fn each(&self, mut each: impl FnMut(&'static str, &Page)) {
        self.shared.store.each(&mut each);
        let mut page = Page::new();
        self_metrics::write_collectors(&mut page, &self.statuses);
        each("main", &page);
    }

    fn metrics(&self, request: &Request) -> Reply {
        let names: Vec<_> = request.query().values("collect[]").collect();
        let only: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        if let Some(unknown) = only.iter().find(|name| !self.statuses.iter().any(|status| status.name == **name)) {
            let known: Vec<_> = self.statuses.iter().map(|status| status.name).collect();
            let text = format!("collect[]={unknown}: there is no such collector, expected {}\n", known.join(" or "));
            return Reply::text(400, text).labelled("/metrics");
        }
        let format = Exposition::wanted_by(request);
        let dialect = if format.is_openmetrics() { Dialect::OpenMetrics } else { Dialect::Text };
        let page = self.whole(dialect, Reader::Http, (!only.is_empty()).then_some(&only));
        Reply::page("/metrics", format.content_type(), page)
    }

    fn health(&self) -> Reply {
        let mut text = String::from("gatemeter is running\n");
        for status in &self.statuses {
            let _ = writeln!(text, "{}: {}", status.name, state(status));
        }
        Reply::text(200, text).labelled("/healthz")
    }

    /// The page that needs no script and no style. `more` writes what stands between the collectors and the links.
    pub(super) fn front(&self, label: &'static str, more: impl FnOnce(&mut String)) -> Reply {
        let mut text = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gatemeter</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"></head>\n\
             <body><h1>gatemeter</h1>\n<table>\n\
             <tr><th scope=\"col\">Collector</th><th scope=\"col\">State</th></tr>\n",
        );
        for status in &self.statuses {
            let _ = writeln!(text, "<tr><td>{}</td><td>{}</td></tr>", status.name, Html(&state(status)));
        }
        text.push_str("</table>\n");
        more(&mut text);
        text.push_str("<p><a href=\"/metrics\">Metrics</a> <a href=\"/healthz\">Health</a></p></body></html>\n");
        Reply::page(label, "text/html; charset=utf-8", text)
            .header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    }
}

/// How a collector is doing, for people.
pub(super) fn state(status: &Status) -> String {
    match (word(status), status.trouble.borrow().as_deref()) {
        ("down", Some(trouble)) => format!("down: {trouble}"),
        (word, _) => word.into(),
    }
}

/// The same in one word.
pub(super) fn word(status: &Status) -> &'static str {
    match (status.up.get(), status.enabled.get(), status.trouble.borrow().is_some()) {
        (true, _, _) => "up",
        (false, false, _) => "off",
        (false, true, true) => "down",
        (false, true, false) => "starting",
    }
}

impl Handler for Pages {
    async fn handle(&self, request: &Request) -> Reply {
        match request.path() {
            "/metrics" => self.metrics(request),
            #[cfg(feature = "probe")]
            "/probe" => self.probe(request).await,
            #[cfg(feature = "probe")]
            "/debug/probes" => self.debug_probes(),
            #[cfg(not(feature = "probe"))]
            "/probe" | "/debug/probes" => Reply::text(404, without("probe") + "\n"),
            "/healthz" => self.health(),
            #[cfg(feature = "page")]
            "/" | "/plain" | "/api/v1/state" if self.live.get() => super::live::answer(self, request),
            "/" => self.front("/", |_| {}),
            _ => Reply::text(404, "there is no such page; / lists those there are\n"),
        }
    }

    fn on_reply(&self, label: &'static str, status: u16) {
        self.process.count_request(label, status);
    }
}

/// The names of the per-collector pages, whether they have figures now or not.
pub fn file_names(rows: &[Row]) -> impl Iterator<Item = &'static str> {
    rows.iter().map(|row| row.name).chain(["main"])
}
