//! The shape of the configuration: which sections and options there are, their defaults and what they are for.
//!
//! A collector's own section stands in its folder; here are the types, and the section of the daemon itself.

/// One option of a section.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its name in the file and after `-o section.`.
    pub name: &'static str,
    /// Its default as it would be written; a list's values are separated by spaces.
    pub default: &'static str,
    /// Whether it takes several values (`list`).
    pub list: bool,
    /// What it is for, with the unit, in a few words.
    pub help: &'static str,
}

/// One type of section.
#[derive(Debug)]
pub struct SectionSpec {
    /// The section type, as in `config traffic`.
    pub kind: &'static str,
    /// The section's name, as `-o` takes it.
    pub name: &'static str,
    /// Whether there may be many, as with `config target`.
    pub many: bool,
    /// Its options.
    pub options: &'static [OptionSpec],
}

impl SectionSpec {
    /// Finds an option and its index by name.
    pub fn option(&self, name: &str) -> Option<(usize, &'static OptionSpec)> {
        self.options.iter().enumerate().find(|(_, option)| option.name == name)
    }
}

/// The collectors that this program was built without: those of `[features]` in Cargo.toml that were left out.
pub static LEFT_OUT: &[&str] = &[
    #[cfg(not(feature = "traffic"))]
    "traffic",
    #[cfg(not(feature = "clients"))]
    "clients",
    #[cfg(not(feature = "probe"))]
    "probe",
    #[cfg(not(feature = "homeplug"))]
    "homeplug",
    #[cfg(not(feature = "freebox"))]
    "freebox",
];

/// The collector that a section belongs to, if this program was built without it.
pub fn left_out(section: &str) -> Option<&'static str> {
    let collector = if section == "target" { "probe" } else { section };
    LEFT_OUT.iter().copied().find(|left_out| *left_out == collector)
}

/// What whoever asks for such a collector is told.
pub fn without(collector: &str) -> String {
    format!("this program was built without the collector '{collector}'")
}

/// An option with one value.
pub const fn option(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, default, list: false, help }
}

/// An option with any number of values.
pub const fn list(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, default, list: true, help }
}

/// The daemon's own section: `config gatemeter 'main'`.
pub static MAIN: SectionSpec = SectionSpec {
    kind: "gatemeter",
    name: "main",
    many: false,
    options: &[
        option("enabled", "1", "0 makes the daemon stop at once with exit code 0"),
        option(
            "interval",
            "5",
            "seconds between two collections, and until newer figures replace those in the text files",
        ),
        option("textfile", "/tmp/prom_c", "text file with all figures; none for none"),
        option("textfile_dir", "none", "directory for one gatemeter_COLLECTOR.prom each; none for none"),
        option("http", "0", "1 serves the figures over HTTP"),
        option(
            "listen",
            "[::]:9999",
            "address and port of the HTTP server, or a logical network and port, as lan:9999; [::] takes IPv4 too",
        ),
        option("port", "", "port of the HTTP server, if it is not the one in listen"),
        list("allow", "", "networks that may read over HTTP, as 192.168.1.0/24 or lan; none given means all"),
        list("host", "", "public host names under which browsers are served; addresses and private names need none"),
        option("page", "1", "0 serves a small page at / instead of the live one, and no /api/v1/state"),
        option("log_level", "info", "error, warn, info, debug or trace"),
        option("log_format", "text", "text, logfmt, json, or procd: text, with what is no warning on stdout"),
        option("state_dir", "/etc/gatemeter", "directory for what must survive a reboot"),
        option(
            "networks",
            "/var/run/gatemeter/networks",
            "file with the logical networks of OpenWrt, which its service script writes; none for none",
        ),
        option("uci_dir", "/etc/config", "directory of the UCI file dhcp, where host names are read"),
    ],
};
