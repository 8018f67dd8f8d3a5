//! The commands that are not the daemon: `once`, `check`, `clean`, `ping`, `homeplug`, `freebox`.

#[cfg(feature = "probe")]
pub mod ping;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::cli::{Args, Command, Once};
use crate::collectors::{ALL, Collector, Finding, Row, SECTIONS, Verdict};
use crate::config::Config;
use crate::config::daemon::{LogFormat, Settings};
use crate::config::schema::{LEFT_OUT, without};
use crate::daemon::pages::{Pages, Reader, file_names};
use crate::daemon::{Plan, textfiles};
use crate::error::{Error, Result};
use crate::files;
use crate::logger::{self, DAEMON};
use crate::metrics::Page;
use crate::metrics::store::Store;
use crate::outputs::http::{self, Server};
use crate::outputs::lines::Lines;
use crate::outputs::prometheus::Dialect;
use crate::supervisor::{self, SHORTEST_DEADLINE, Shared, Status, guard};
use crate::sys::alarm;

/// Logs to stderr, as stdout has what a command prints. What is no warning is told to who asks for it on the command line: the
/// level in the file is the daemon's.
fn log_for(args: &Args, settings: &Settings) {
    let asked = args.log_level.is_some() || args.option.iter().any(|option| option.starts_with("main.log_level="));
    let level = if asked { settings.log_level } else { settings.log_level.min(log::LevelFilter::Warn) };
    let format = if settings.log_format == LogFormat::Procd { LogFormat::Text } else { settings.log_format };
    logger::install(format, level);
}

/// One collection to stdout. What could be collected is printed even if something else failed, which is logged and
/// makes this false.
pub fn once(args: &Args, once: &Once) -> Result<bool> {
    let format = match once.format.as_str() {
        "prometheus" => Format::Exposition(Dialect::Text),
        "openmetrics" => Format::Exposition(Dialect::OpenMetrics),
        "influxdb" => Format::Lines(Lines::Influx),
        "graphite" => Format::Lines(Lines::Graphite(0)),
        other => {
            let expected = "expected prometheus, openmetrics, influxdb or graphite";
            return Err(Error::invalid("-f", format!("'{other}' is not a format, {expected}")));
        }
    };
    let named: Vec<&str> = once.collectors.iter().map(String::as_str).collect();
    let Plan { config, settings, rows } = Plan::load(args, (!named.is_empty()).then_some((&named, "once")))?;
    log_for(args, &settings);
    for warning in &config.warnings {
        log::warn!(target: DAEMON, "{warning}");
    }
    for row in &rows {
        (row.prepare)(&config);
    }
    let statuses: Vec<_> = rows.iter().map(|row| Status::new(row.name)).collect();
    let store = Store::new(rows.iter().map(|row| row.name));
    let shared = Rc::new(Shared { store, changed: Box::new(|| {}), desk: RefCell::default() });
    for (row, status) in rows.iter().zip(&statuses) {
        let begun = Instant::now();
        let done = alarm::block_on(guard("collect once", SHORTEST_DEADLINE, || collect(row, &config, format)));
        match done.and_then(|page| page) {
            Ok(mut page) => {
                shared.store.publish(row.name, &mut page);
                status.up.set(true);
                status.last_success.set(crate::sys::clock::unix_now());
            }
            Err(error) => {
                log::error!(target: row.name, "{error}");
                status.errors.set(1);
            }
        }
        status.duration.set(begun.elapsed());
        status.tried.set(true);
    }
    let all_up = statuses.iter().all(|status| status.up.get());
    let pages = Pages::new(shared, statuses);
    print(&match format {
        Format::Exposition(dialect) => pages.whole(dialect, Reader::File, None),
        Format::Lines(Lines::Graphite(_)) => pages.lines(Lines::Graphite(crate::sys::clock::unix_now() as u64)),
        Format::Lines(lines) => pages.lines(lines),
    })?;
    Ok(all_up)
}

/// How figures are printed.
#[derive(Debug, Clone, Copy)]
enum Format {
    Exposition(Dialect),
    Lines(Lines),
}

async fn collect(row: &Row, config: &Config, format: Format) -> Result<Page> {
    let mut collector: Box<dyn Collector> = (row.build)(config)?;
    collector.open_once().await?;
    let mut page = match format {
        Format::Exposition(_) => Page::new(),
        Format::Lines(_) => Page::with_points(),
    };
    let collected = collector.collect(&mut page).await;
    supervisor::close(collector.as_mut()).await;
    collected.map(|()| page)
}

/// Prints what will run, on what, and what this system lacks for it; false if something is broken.
pub fn check(args: &Args) -> Result<bool> {
    let Plan { config, settings, rows } = Plan::load(args, None)?;
    let mut lines: Vec<(&str, Finding)> = Vec::new();
    lines.push((
        "config",
        match &config.file {
            Some(file) => Finding::ok(format!("{} is read", file.display())),
            None => Finding::ok("no configuration file: built-in defaults and flags"),
        },
    ));
    if !config.networks.is_empty() {
        lines.push(("config", Finding::ok(format!("logical networks: {}", config.networks))));
    }
    if !settings.enabled {
        lines.push(("config", Finding::note("main.enabled is 0: the daemon would end at once")));
    }
    lines.extend(config.warnings.iter().map(|warning| ("config", Finding::note(warning.clone()))));
    for file in settings.textfile.iter().chain(&settings.textfile_dir) {
        lines.push(("output", directory(file, settings.textfile_dir.as_ref() == Some(file))));
    }
    lines.extend(settings.awaited.iter().map(|awaited| ("output", Finding::note(awaited.clone()))));
    lines.extend(settings.listen.map(|listen| ("output", serving(listen))));
    if rows.is_empty() {
        lines.push(("config", Finding::broken("no collector is enabled, so nothing would be measured")));
    }
    for row in ALL {
        if rows.iter().any(|wanted| wanted.name == row.name) {
            lines.extend((row.check)(&config).into_iter().map(|finding| (row.name, finding)));
        } else {
            lines.push((row.name, Finding::note("off")));
        }
    }
    lines.extend(LEFT_OUT.iter().map(|name| (*name, Finding::note(without(name)))));
    let mut text = String::new();
    for (subject, finding) in &lines {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Broken => "BROKEN",
        };
        text.push_str(&format!("{subject:<9} {verdict:<6}  {}\n", finding.text));
    }
    print(&text)?;
    Ok(lines.iter().all(|(_, finding)| finding.verdict != Verdict::Broken))
}

/// Whether pages can be served at an address.
fn serving(listen: SocketAddr) -> Finding {
    let limits = http::Limits::default();
    let options = http::Options { listen, allow: Vec::new(), hosts: Vec::new(), limits };
    match Server::bind(&options) {
        Ok(server) => Finding::ok(format!("http://{}/metrics can be served", server.local_addr())),
        // Run beside the daemon, as one does who wants to know how it is.
        Err(_) if http::is_served(listen) => {
            Finding::ok(format!("http://{listen}/metrics is served by a gatemeter that runs now"))
        }
        Err(error) => Finding::broken(error.to_string()),
    }
}

/// Whether text files can be written at a place.
fn directory(path: &Path, is_dir: bool) -> Finding {
    let dir = if is_dir { Some(path) } else { path.parent().filter(|dir| !dir.as_os_str().is_empty()) };
    let dir = dir.unwrap_or(Path::new("."));
    match files::try_dir(dir) {
        Ok(()) if path.is_dir() && !is_dir => {
            Finding::broken(format!("{} is a directory, expected a file name for --textfile", path.display()))
        }
        Ok(()) => Finding::ok(format!("{} can be written", path.display())),
        Err(source) => {
            let cure = if source.kind() == io::ErrorKind::StorageFull { "make room there" } else { "create it" };
            Finding::broken(format!(
                "cannot write to {}: {source}; {cure}, or choose another place with --textfile or --textfile-dir",
                dir.display()
            ))
        }
    }
}

/// Removes every trace that runs left on this system, and says what was removed.
pub fn clean(args: &Args) -> Result<()> {
    let config = Config::load(args, SECTIONS)?;
    let settings = Settings::read(&config)?;
    let mut removed = Vec::new();
    let mut failure = None;
    for row in ALL {
        match (row.clean)(&config) {
            Ok(words) => removed.extend(words),
            // The first is told: what stops one collector's clean-up, such as a running daemon, stops all.
            Err(error) => _ = failure.get_or_insert(error),
        }
    }
    let parts = settings.textfile_dir.iter().flat_map(|dir| file_names(ALL).map(|name| textfiles::path_in(dir, name)));
    // Where a collector could not be cleaned up a daemon may be running, which would only write them again.
    let files = if failure.is_none() { settings.textfile.iter().cloned().chain(parts).collect() } else { Vec::new() };
    for path in files {
        match std::fs::remove_file(&path) {
            Ok(()) => removed.push(format!("removed {}", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => failure = Some(Error::io(format!("remove {}", path.display()), source)),
        }
    }
    if removed.is_empty() && failure.is_none() {
        removed.push("nothing to remove".into());
    }
    print(&removed.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    failure.map_or(Ok(()), Err)
}

/// Prints the powerline network as a table.
#[cfg(feature = "homeplug")]
pub fn homeplug(args: &Args) -> Result<()> {
    let config = Config::load(args, SECTIONS)?;
    // What the file has wrong about other things is told as it is by every command.
    log_for(args, &Settings::read(&config)?);
    print(&crate::collectors::homeplug::show(&config)?)
}

/// Asks the box for a token, or tells what became of it; false if the token cannot be used.
#[cfg(feature = "freebox")]
pub fn freebox(args: &Args, command: &crate::cli::FreeboxCommand) -> Result<bool> {
    use crate::cli::FreeboxCommand;
    use crate::collectors::freebox::register;

    let config = Config::load(args, SECTIONS)?;
    let settings = Settings::read(&config)?;
    log_for(args, &settings);
    match command {
        FreeboxCommand::Register(_) => register::register(&config, &mut print).map(|()| true),
        FreeboxCommand::Status(_) => register::status(&config, &mut print),
    }
}

/// The error of a command of a collector that this program was built without.
pub fn left_out(command: &Command) -> Error {
    let (name, collector) = match command {
        Command::Ping(_) => ("ping", "probe"),
        Command::Homeplug(_) => ("homeplug", "homeplug"),
        _ => ("freebox", "freebox"),
    };
    Error::invalid(name, without(collector))
}

/// Prints to stdout. A reader that has seen enough, such as head, is no failure.
pub fn print(text: &str) -> Result<()> {
    print_while_read(text).map(drop)
}

/// Prints to stdout; false if nobody reads it any more.
fn print_while_read(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Error::io("write to stdout", source)),
    }
}
