//! Log lines to stderr: text for people and the system log, or logfmt and JSON for machines.
//!
//! The system log adds time and program name, so neither is written here. The target of a line is the collector it is
//! about, `gatemeter` for the daemon itself.

use std::io::Write as _;
use std::panic::AssertUnwindSafe;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use crate::config::daemon::LogFormat;
use crate::words::{one_line, quoted};

/// Target of lines about the daemon itself.
pub const DAEMON: &str = "gatemeter";

/// Installs the logger. Later calls only change the level: the format is chosen once.
pub fn install(format: LogFormat, level: LevelFilter) {
    // The level is filtered by the facade, so that a new configuration can change it.
    let logger: Box<dyn Log> = match format {
        LogFormat::Text => Box::new(Text(SimpleLogger::new().with_level(LevelFilter::Trace))),
        LogFormat::Logfmt => Box::new(Machine { line: logfmt, splits: false }),
        LogFormat::Json => Box::new(Machine { line: json, splits: false }),
        LogFormat::Procd => Box::new(Machine { line: text, splits: true }),
    };
    let _ = log::set_boxed_logger(logger);
    log::set_max_level(level);
}

/// Whether a line is for the user. What libraries tell below a warning is about their inner life, and the event loop
/// tells of every wake-up.
fn is_wanted(metadata: &Metadata<'_>) -> bool {
    let from_library = ["async_io", "polling"].iter().any(|library| metadata.target().starts_with(library));
    !from_library || metadata.level() <= Level::Warn
}

/// Whom a line is about: the collector that is named, else the daemon.
fn subject<'a>(record: &Record<'a>) -> &'a str {
    let target = record.target();
    if target.contains("::") { DAEMON } else { target }
}

/// Writes lines for people.
struct Text(SimpleLogger);

impl Log for Text {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !is_wanted(record.metadata()) {
            return;
        }
        let text = one_line(&record.args().to_string());
        // The logger panics when stderr is closed or its disk is full, and no measurement shall end over that.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let (level, target) = (record.level(), subject(record));
            self.0.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        }));
    }

    fn flush(&self) {}
}

/// Writes lines for machines.
struct Machine {
    line: fn(&Record<'_>) -> String,
    /// Whether what is no warning goes to stdout.
    splits: bool,
}

impl Log for Machine {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !is_wanted(record.metadata()) {
            return;
        }
        // One write for one line, so that lines of several processes do not mix. A broken stderr cannot be reported.
        let line = (self.line)(record);
        let _ = match self.splits && record.level() > Level::Warn {
            true => std::io::stdout().write_all(line.as_bytes()),
            false => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

fn level(record: &Record<'_>) -> String {
    record.level().as_str().to_ascii_lowercase()
}

fn text(record: &Record<'_>) -> String {
    format!("{:<5} [{}] {}\n", record.level(), subject(record), one_line(&record.args().to_string()))
}

fn logfmt(record: &Record<'_>) -> String {
    format!("level={} collector={} msg={}\n", level(record), subject(record), quoted(&record.args().to_string()))
}

fn json(record: &Record<'_>) -> String {
    let (target, text) = (quoted(subject(record)), quoted(&record.args().to_string()));
    format!("{{\"level\":\"{}\",\"collector\":{target},\"msg\":{text}}}\n", level(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: fn(&Record<'_>) -> String) -> String {
        let text = format_args!("no \"br-lan\"\n\x1b[31m");
        line(&Record::builder().level(Level::Warn).target("traffic").args(text).build())
    }

    #[test]
    fn a_line_for_machines_stays_one_line_whatever_is_in_it() {
        assert_eq!(written(text), "WARN  [traffic] no \"br-lan\"\\n\\u{1b}[31m\n");
        assert_eq!(written(logfmt), "level=warn collector=traffic msg=\"no \\\"br-lan\\\"\\n\\u001b[31m\"\n");
        assert_eq!(
            written(json),
            "{\"level\":\"warn\",\"collector\":\"traffic\",\"msg\":\"no \\\"br-lan\\\"\\n\\u001b[31m\"}\n"
        );
    }
}
