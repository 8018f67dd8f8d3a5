//! What the architecture forbids, and the tables of the documents: read from our own sources.
//!
//! docs/metrics.md has its table between `<!-- metrics:begin -->` and `<!-- metrics:end -->`, docs/configuration.md
//! likewise `options`; `BLESS=1` rewrites them.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test crate")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gatemeter::cli::Args;
use gatemeter::collectors::{ALL, Row, SECTIONS};
use gatemeter::config::Config;
use gatemeter::daemon::self_metrics;
use gatemeter::metrics::{Desc, Kind};

/// What each leaf of the program may import from it; a leaf that is not listed may not be there.
const LEAVES: [(&str, &[&str]); 9] = [
    ("error", &[]),
    ("words", &[]),
    ("bytes", &["error"]),
    ("classic_bpf", &[]),
    ("net", &["error"]),
    ("sorted", &[]),
    ("packed", &[]),
    ("files", &["error"]),
    ("metrics", &["error", "metrics"]),
];

/// Who may not know whom.
const STRANGERS: [(&str, &[&str]); 8] = [
    ("outputs", &["cli", "collectors", "commands", "config", "daemon", "names", "supervisor"]),
    ("collectors", &["cli", "commands", "daemon", "outputs", "supervisor"]),
    ("supervisor", &["cli", "commands", "daemon", "outputs"]),
    ("config", &["collectors", "commands", "daemon", "metrics", "names", "outputs", "supervisor"]),
    ("names", &["cli", "collectors", "commands", "daemon", "metrics", "outputs", "supervisor"]),
    ("netlink", &["cli", "collectors", "commands", "config", "daemon", "metrics", "names", "outputs", "supervisor"]),
    ("lan", &["cli", "collectors", "commands", "config", "daemon", "metrics", "names", "outputs", "supervisor"]),
    (
        "sys",
        &["cli", "collectors", "commands", "config", "daemon", "metrics", "names", "netlink", "outputs", "supervisor"],
    ),
];

/// Files that turn bytes into values and back, and the fuzz target that gets them all they read; none for those that only
/// make a program for the kernel out of our own settings.
const CODECS: &[(&str, &str)] = &[
    ("src/collectors/clients/flows/proc.rs", "conntrack"),
    ("src/collectors/clients/flows/table.rs", "conntrack"),
    ("src/collectors/freebox/fold.rs", "freebox"),
    ("src/collectors/freebox/http.rs", "freebox"),
    ("src/collectors/freebox/json.rs", "json"),
    ("src/collectors/homeplug/codec/link.rs", "homeplug"),
    ("src/collectors/homeplug/codec/mediaxtream.rs", "homeplug"),
    ("src/collectors/homeplug/codec/mod.rs", "homeplug"),
    ("src/collectors/homeplug/codec/network.rs", "homeplug"),
    ("src/collectors/homeplug/codec/standard.rs", "homeplug"),
    ("src/collectors/homeplug/codec/version.rs", "homeplug"),
    ("src/collectors/homeplug/filter.rs", ""),
    ("src/collectors/probe/codec/icmp.rs", "probe"),
    ("src/collectors/probe/codec/ip.rs", "probe"),
    ("src/collectors/probe/codec/stamps.rs", "probe"),
    ("src/collectors/probe/codec/tcp.rs", "probe"),
    ("src/collectors/probe/filter.rs", ""),
    ("src/collectors/traffic/codec.rs", "tables"),
    ("src/collectors/traffic/object.rs", "object"),
    ("src/config/uci.rs", "uci"),
    ("src/names/cache/codec.rs", "cache"),
    ("src/names/dns/mod.rs", "dns"),
    ("src/names/dns/forward.rs", "dns"),
    ("src/names/dns/message.rs", "dns"),
    ("src/names/host_name.rs", "hosts"),
    ("src/names/hosts.rs", "hosts"),
    ("src/names/leases.rs", "leases"),
    ("src/names/resolv_conf.rs", "hosts"),
    ("src/netlink/build.rs", "netlink"),
    ("src/netlink/conntrack.rs", "conntrack"),
    ("src/netlink/mod.rs", "netlink"),
    ("src/netlink/neighbour.rs", "netlink"),
    ("src/netlink/nftables/batch.rs", "nftables"),
    ("src/netlink/nftables/expression.rs", "nftables"),
    ("src/netlink/nftables/mod.rs", "nftables"),
    ("src/netlink/nftables/read.rs", "nftables"),
    ("src/netlink/route.rs", "netlink"),
    ("src/outputs/http/head.rs", "http"),
    ("src/outputs/http/origin.rs", "http"),
];

/// Readers of outside text that also find it, or read it for a purpose, and so are no codecs; likewise.
const READERS: &[(&str, &str)] = &[
    ("src/cli.rs", "cli"),
    ("src/collectors/clients/accounting/rules/mod.rs", "nftables"),
    ("src/collectors/freebox/credentials.rs", "credentials"),
    ("src/collectors/freebox/groups/mod.rs", "freebox"),
    ("src/collectors/homeplug/answer.rs", "homeplug"),
    ("src/collectors/homeplug/walk/mod.rs", "homeplug"),
    ("src/collectors/probe/request.rs", "http"),
    ("src/config/networks.rs", "networks"),
    ("src/netlink/tc.rs", "netlink"),
    ("src/outputs/http/negotiate.rs", "http"),
    ("src/outputs/prometheus.rs", "labels"),
    ("src/outputs/tables.rs", "labels"),
];

/// What a codec has no use for: files, sockets, clocks, tasks.
const IMPURE: [&str; 17] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "fs::",
    "File",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "Instant",
    "SystemTime",
    "async",
    "await",
    "smol",
    "sys",
];

/// One of our sources, without comments and unit tests.
struct Source {
    /// From the root of the repository, as in `src/net.rs`.
    path: String,
    code: String,
}

impl Source {
    /// The module right below the crate that this file belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap();
        path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Modules right below the crate that the code names, by `use` or in place.
    fn imports(&self) -> Vec<&str> {
        assert!(!self.code.contains("crate::{"), "{}: one `use crate::` for each module, please", self.path);
        let names = self.code.split("crate::").skip(1);
        names.flat_map(|rest| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()).collect()
    }

    /// Whether the code holds `word` on its own and not as a part of a longer one.
    fn has_word(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            let ends_open = word.ends_with(':');
            !before.is_some_and(is_part) && (ends_open || !after.is_some_and(is_part))
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source below a directory of the repository, in order of path.
fn sources(dir: &str) -> Vec<Source> {
    let mut files = Vec::new();
    let mut left = vec![root().join(dir)];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    let is_code = |path: &&PathBuf| {
        path.extension().is_some_and(|end| end == "rs") && path.file_name().is_some_and(|name| name != "tests.rs")
    };
    files.iter().filter(is_code).map(|path| read(path)).collect()
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code = text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n");
    Source { path: path.strip_prefix(root()).unwrap().display().to_string(), code }
}

#[test]
fn leaves_know_nobody_and_neither_end_knows_the_other() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module();
        for import in source.imports() {
            let leaf = LEAVES.iter().find(|(name, _)| *name == module);
            let strange = STRANGERS.iter().find(|(name, _)| *name == module);
            let refused = leaf.is_some_and(|(_, allowed)| !allowed.contains(&import))
                || strange.is_some_and(|(_, strangers)| strangers.contains(&import));
            if refused {
                wrong.push(format!("{} may not know crate::{import}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_rules_are_about_modules_there_are() {
    let modules: Vec<String> = sources("src").iter().map(|source| source.module().to_owned()).collect();
    let strangers = STRANGERS.iter().flat_map(|(name, strangers)| [*name].into_iter().chain(strangers.iter().copied()));
    for name in LEAVES.iter().map(|(name, _)| *name).chain(strangers) {
        assert!(modules.iter().any(|module| module == name), "there is no module {name}");
    }
    let files: Vec<String> = sources("src").into_iter().map(|source| source.path).collect();
    for (codec, _) in CODECS.iter().chain(READERS) {
        assert!(files.iter().any(|file| file == codec), "there is no file {codec}");
    }
}

#[test]
fn codecs_touch_no_file_no_socket_no_clock_and_no_task() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| CODECS.iter().any(|(codec, _)| source.path == *codec)) {
        for word in IMPURE.iter().filter(|word| source.has_word(word)) {
            wrong.push(format!("{}: {word}", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_reader_of_outside_bytes_has_a_fuzz_target_with_kept_inputs() {
    let known = |path: &str| CODECS.iter().chain(READERS).any(|(file, _)| *file == path);
    // What is written as a codec, or calls itself one, is one.
    let is_codec = |source: &&Source| {
        source.code.contains("#![deny(clippy::indexing_slicing)]") || source.path.ends_with("/codec.rs")
    };
    let unknown: Vec<String> =
        sources("src").into_iter().filter(|source| is_codec(&source) && !known(&source.path)).map(|s| s.path).collect();
    assert!(unknown.is_empty(), "say in CODECS which fuzz target reads these: {unknown:#?}");

    let text = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let (manifest, replayed, makefile) = (text("fuzz/Cargo.toml"), text("tests/corpora.rs"), text("Makefile"));
    assert!(makefile.contains("fuzz list"), "make fuzz runs all targets");
    let mut targets: Vec<&str> = CODECS.iter().chain(READERS).map(|(_, target)| *target).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets.iter().filter(|target| !target.is_empty()) {
        assert!(root().join(format!("fuzz/fuzz_targets/{target}.rs")).is_file(), "there is no fuzz target {target}");
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml does not build {target}");
        assert!(replayed.contains(&format!("replay(\"{target}\"")), "tests/corpora.rs does not replay {target}");
        let kept = fs::read_dir(root().join("fuzz/corpus").join(target)).map_or(0, Iterator::count);
        assert!(kept > 0, "fuzz/corpus/{target} is empty");
    }
    for file in fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(targets.contains(&&*name), "the fuzz target {name} reads no file of CODECS or READERS");
    }
}

#[test]
fn unsafe_stays_in_sys_and_uci_sys() {
    let wrong: Vec<String> = sources("src")
        .into_iter()
        .filter(|source| source.module() != "sys" && source.has_word("unsafe"))
        .map(|source| source.path)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(sources("src").iter().chain(&sources("uci-sys/src")).any(|source| source.has_word("unsafe")));
}

#[test]
fn the_architecture_names_every_file_with_unsafe() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section = text.split("## Where `unsafe` is").nth(1).unwrap().split("\n## ").next().unwrap();
    for source in sources("src").iter().filter(|source| source.has_word("unsafe")) {
        let file = source.path.strip_prefix("src/sys/").unwrap();
        let name = file.split_once('/').map_or(file, |(dir, _)| dir);
        // The folder itself only says where it compiles.
        assert!(name == "mod.rs" || section.contains(name), "{} is not in ARCHITECTURE.md", source.path);
    }
}

#[test]
fn no_program_is_ever_run() {
    let spawns =
        |source: &Source| ["Command::new", "process::Command", "execve", "fork"].iter().any(|w| source.has_word(w));
    let wrong: Vec<String> = sources("src").into_iter().filter(spawns).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Compares what stands in the document `name` between two markers with `table`, or rewrites it if so asked.
#[track_caller]
fn document_has(name: &str, marker: &str, table: &str) {
    let path = root().join("docs").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {marker}:begin -->\n"), format!("<!-- {marker}:end -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (found, after))) = parts else { panic!("{name} has no {begin}...{end}") };
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
    } else {
        let difference = found.lines().zip(table.lines()).find(|(old, new)| old != new);
        assert!(found == table, "the {marker} table of {name} differs at {difference:#?}; BLESS=1 rewrites it");
    }
}

/// A row of a table; a bar inside a cell would end it.
fn row(out: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(out, "| {} |", cells.join(" | ")).unwrap();
}

fn metric(out: &mut String, desc: &Desc) {
    let kind = match desc.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<String> = desc.labels.iter().map(|label| format!("`{label}`")).collect();
    row(out, &[&format!("`{}`", desc.name), kind, &labels.join(" "), desc.help]);
}

#[test]
fn the_documents_list_every_metric_and_every_option() {
    let mut metrics = String::new();
    for (name, descs) in ALL.iter().map(|row| (row.name, row.metrics)).chain([("gatemeter itself", self_metrics::ALL)])
    {
        writeln!(metrics, "\n### {name}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|").unwrap();
        descs.iter().for_each(|desc| metric(&mut metrics, desc));
    }
    let mut options = String::new();
    for section in SECTIONS {
        let kind = if section.many {
            format!("config {} (any number)", section.kind)
        } else {
            format!("config {} '{}'", section.kind, section.name)
        };
        writeln!(options, "\n### `{kind}`\n\n| Option | Default | Meaning |\n|---|---|---|").unwrap();
        for option in section.options {
            let list = if option.list { " (list)" } else { "" };
            let default = if option.default.is_empty() { String::new() } else { format!("`{}`", option.default) };
            row(&mut options, &[&format!("`{}`{list}", option.name), &default, option.help]);
        }
    }
    document_has("metrics.md", "metrics", &format!("{}\n", metrics.trim_start()));
    document_has("configuration.md", "options", &format!("{}\n", options.trim_start()));
}

/// The capabilities that a collector asks for with these options, as a cell of a table.
fn capabilities(row: &Row, options: &[&str]) -> String {
    let args = Args { option: options.iter().map(|&option| option.to_owned()).collect(), ..Args::default() };
    let config = Config::load(&args, SECTIONS).unwrap();
    let names: Vec<String> = (row.capabilities)(&config).iter().map(|one| format!("`{}`", one.name())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

#[test]
fn the_document_on_security_lists_what_each_collector_may_do() {
    let mut table = String::from("| Collector | Capabilities while it runs |\n|---|---|\n");
    for collector in ALL {
        row(&mut table, &[&format!("`{}`", collector.name), &capabilities(collector, &[])]);
        let hardware = "probe.hardware=1";
        let more = capabilities(collector, &[hardware]);
        if more != capabilities(collector, &[]) {
            row(&mut table, &[&format!("`{}` with `{hardware}`", collector.name), &more]);
        }
    }
    document_has("security.md", "capabilities", &table);
}
