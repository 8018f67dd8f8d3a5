//! Flags and their help words. What the values mean together is decided in [`crate::config`].
//!
//! Flags with a value are kept as the text that was typed, so that every bad value is reported the same way, whether
//! it came from a flag or from the configuration file.

use argh::FromArgs;

use crate::words::nearest;

/// Measures a home network from its router and hands the figures to Prometheus.
#[derive(FromArgs, Debug, Default, Clone)]
#[argh(help_triggers("-h", "--help"))]
pub struct Args {
    /// configuration file in UCI syntax (default: /etc/config/gatemeter if there is one)
    #[argh(option, short = 'c', arg_name = "file")]
    pub config: Option<String>,

    /// serve the figures over HTTP
    #[argh(switch, short = 'e')]
    pub http: bool,

    /// HTTP port (default: 9999)
    #[argh(option, short = 'p', arg_name = "port")]
    pub port: Option<String>,

    /// HTTP listen address (default: [::], both IPv4 and IPv6)
    #[argh(option, short = 'l', arg_name = "addr")]
    pub listen: Option<String>,

    /// an IPv4 subnet to account and its interface, as 192.168.1.1/24/br-lan; may repeat
    #[argh(option, short = '4', long = "subnet4", arg_name = "addr/len/iface")]
    pub subnet4: Vec<String>,

    /// an IPv6 prefix of the LAN, as 2001:db8:1::/64; may repeat
    #[argh(option, short = '6', long = "subnet6", arg_name = "addr/len")]
    pub subnet6: Vec<String>,

    /// seconds between two collections (default: 5)
    #[argh(option, short = 't', arg_name = "sec")]
    pub interval: Option<String>,

    /// run these collectors only, separated by commas
    #[argh(option, arg_name = "a,b")]
    pub collectors: Option<String>,

    /// text file with all figures (default: /tmp/prom_c; none for none)
    #[argh(option, arg_name = "path")]
    pub textfile: Option<String>,

    /// directory for one gatemeter_COLLECTOR.prom each, for a textfile collector
    #[argh(option, arg_name = "dir")]
    pub textfile_dir: Option<String>,

    /// set any option of the configuration file, as traffic.max_hosts=2048; may repeat
    #[argh(option, short = 'o', long = "option", arg_name = "section.option=value")]
    pub option: Vec<String>,

    /// error, warn, info, debug or trace (default: info)
    #[argh(option, arg_name = "level")]
    pub log_level: Option<String>,

    /// print the version and stop
    #[argh(switch, short = 'V')]
    pub version: bool,

    /// what to do instead of running as a daemon
    #[argh(subcommand)]
    pub command: Option<Command>,
}

impl Args {
    /// The collectors that `--collectors` names; nothing if the flag is not given.
    pub fn collector_names(&self) -> Option<Vec<&str>> {
        let list = self.collectors.as_ref()?;
        Some(list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    }
}

/// What to do instead of running as a daemon.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand)]
pub enum Command {
    /// One collection to stdout.
    Once(Once),
    /// What will run, and what is missing for it.
    Check(Check),
    /// Removes what runs leave behind.
    Clean(Clean),
    /// Probes for a person at a terminal.
    Ping(Ping),
    /// The powerline network as a table.
    Homeplug(Homeplug),
    /// Registers at the operator's box.
    Freebox(Freebox),
}

/// Probe targets by ICMP echo or TCP SYN and print each round trip, with whose timestamps measured it.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "ping", help_triggers("-h", "--help"))]
pub struct Ping {
    /// probe this TCP port instead of by ICMP echo
    #[argh(option, arg_name = "port")]
    pub tcp: Option<String>,

    /// stop after so many probes of each target (default: until interrupted)
    #[argh(option, short = 'n', long = "count", arg_name = "count")]
    pub count: Option<String>,

    /// addresses or host names
    #[argh(positional, arg_name = "target")]
    pub targets: Vec<String>,
}

/// Collect once, print to stdout and stop; for cron and telegraf's exec input.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "once", help_triggers("-h", "--help"))]
pub struct Once {
    /// prometheus (default), openmetrics, influxdb or graphite
    #[argh(option, short = 'f', default = "String::from(\"prometheus\")", arg_name = "format")]
    pub format: String,

    /// collectors to run (default: all that are enabled)
    #[argh(positional, arg_name = "collector")]
    pub collectors: Vec<String>,
}

/// Tell what will run, on what, and what this system lacks for it; exit 1 if something is broken.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "check", help_triggers("-h", "--help"))]
pub struct Check {}

/// Detach programs, unpin maps and remove text files: no trace stays.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "clean", help_triggers("-h", "--help"))]
pub struct Clean {}

/// Print the powerline network as a table: adapters, roles, chips, firmware, peers and rates in Mbit/s.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "homeplug", help_triggers("-h", "--help"))]
pub struct Homeplug {}

/// Ask the Freebox for the token that the freebox collector needs, or see what became of it.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "freebox", help_triggers("-h", "--help"))]
pub struct Freebox {
    /// what to do
    #[argh(subcommand)]
    pub command: FreeboxCommand,
}

/// What to do with the registration.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand)]
pub enum FreeboxCommand {
    /// Asks for a token.
    Register(Register),
    /// Tells what became of it.
    Status(Status),
}

/// Ask the box for a token and wait until it is granted on its display.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "register", help_triggers("-h", "--help"))]
pub struct Register {}

/// Show the registration, whether the box still grants it, and the rights that go with it.
#[derive(FromArgs, Debug, Clone, PartialEq, Eq)]
#[argh(subcommand, name = "status", help_triggers("-h", "--help"))]
pub struct Status {}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Run with these arguments.
    Run(Box<Args>),
    /// Print this text to stdout and exit 0: help was asked for.
    Help(String),
    /// Print this line to stderr and exit 2.
    Wrong(String),
}

/// Reads the words after the program's name.
pub fn parse(words: &[&str]) -> Parsed {
    // `help` and `help once`, which other programs taught people to type.
    if words.first() == Some(&"help") {
        let rest = words.iter().copied().filter(|word| *word != "help");
        return parse(&rest.chain(["--help"]).collect::<Vec<_>>());
    }
    let early = match Args::from_args(&["gatemeter"], words) {
        Ok(args) => return Parsed::Run(Box::new(args)),
        Err(early) if early.status.is_ok() => return Parsed::Help(early.output),
        Err(early) => early,
    };
    // argh asks a command that stands behind --help for a command `help`; help about the rest is help, too.
    if let Some(at) = words.iter().position(|word| matches!(*word, "-h" | "--help")).filter(|at| at + 1 < words.len()) {
        return parse(words.get(..=at).unwrap_or_default());
    }
    let problem = match early.output.trim().strip_prefix("Unrecognized argument: ") {
        Some(word) => not_understood(word),
        // argh may answer with several lines; the contract of the command line is one.
        None => early.output.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned(),
    };
    Parsed::Wrong(format!("{problem}; gatemeter --help lists the options"))
}

/// What is wrong with a word that is no option or command where it stands.
fn not_understood(word: &str) -> String {
    let help = Args::from_args(&["gatemeter"], &["--help"]).err().map(|early| early.output).unwrap_or_default();
    let known: Vec<&str> = known_words(&help).collect();
    if word.starts_with('-') && known.contains(&word) {
        return format!("{word}: options of gatemeter stand before the command, as in gatemeter {word} check");
    }
    format!("there is no option or command '{word}'{}", nearest(word, known.into_iter()))
}

/// Options and commands in a help text, which lists each at the start of an indented line.
fn known_words(help: &str) -> impl Iterator<Item = &str> {
    let lists = help.lines().skip_while(|line| !line.ends_with(':')).filter_map(|line| line.strip_prefix("  "));
    lists.flat_map(|line| {
        let listed = line.split("  ").next().filter(|listed| !listed.starts_with(' ')).unwrap_or_default();
        listed.split(", ").map(str::trim).filter(|word| !word.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        match parse(words) {
            Parsed::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_flags_of_mezoura_mean_what_they_meant() {
        let words = "-e -4 192.168.2.1/24/br-lan -4 192.168.2.3/24/br-foo -6 2001:db8:ca2:2::1/64 -t 10 -p 9100";
        let args = args(&words.split(' ').collect::<Vec<_>>());
        assert!(args.http);
        assert_eq!(args.subnet4, ["192.168.2.1/24/br-lan", "192.168.2.3/24/br-foo"]);
        assert_eq!(args.subnet6, ["2001:db8:ca2:2::1/64"]);
        assert_eq!((args.interval.as_deref(), args.port.as_deref()), (Some("10"), Some("9100")));
    }

    #[test]
    fn options_come_before_the_command_and_its_own_after() {
        let args = args(&["-o", "traffic.count=wire", "once", "traffic", "-f", "openmetrics"]);
        let once = Once { format: "openmetrics".into(), collectors: vec!["traffic".into()] };
        assert_eq!(args.command, Some(Command::Once(once)));
        assert_eq!(args.option, ["traffic.count=wire"]);
    }

    fn wrong(words: &[&str]) -> String {
        match parse(words) {
            Parsed::Wrong(line) => line.strip_suffix("; gatemeter --help lists the options").unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest_one_in_one_line() {
        assert_eq!(wrong(&["--frobnicate"]), "there is no option or command '--frobnicate'");
        assert_eq!(wrong(&["--textfil"]), "there is no option or command '--textfil', did you mean '--textfile'?");
        assert_eq!(wrong(&["chek"]), "there is no option or command 'chek', did you mean 'check'?");
        assert_eq!(wrong(&["check", "now"]), "there is no option or command 'now'");
        assert_eq!(wrong(&["-p"]), "No value provided for option '-p'");
    }

    #[test]
    fn an_option_behind_the_command_is_told_its_place() {
        let line = "-e: options of gatemeter stand before the command, as in gatemeter -e check";
        assert_eq!(wrong(&["check", "-e"]), line);
        assert_eq!(wrong(&["clean", "--textfile"]), line.replace("-e", "--textfile"));
    }

    #[test]
    fn the_known_words_are_all_options_and_commands() {
        let Parsed::Help(help) = parse(&["-h"]) else { panic!("not help") };
        let known: Vec<&str> = known_words(&help).collect();
        for word in
            ["-c", "--config", "-4", "--subnet4", "--collectors", "--textfile-dir", "-V", "once", "check", "clean"]
        {
            assert!(known.contains(&word), "{word} not in {known:?}");
        }
        assert!(known.iter().all(|word| !word.contains(' ')), "{known:?}");
    }

    #[test]
    fn help_is_not_an_error() {
        let Parsed::Help(text) = parse(&["--help"]) else { panic!("not help") };
        assert!(text.contains("--textfile-dir"), "{text}");
        for words in [&["help"][..], &["help"; 100_000], &["--help", "check"], &["-t", "5", "-h", "-p"]] {
            let Parsed::Help(same) = parse(words) else { panic!("{words:?} is not help") };
            assert_eq!(same, text);
        }
        let (Parsed::Help(once), Parsed::Help(same)) = (parse(&["once", "-h"]), parse(&["help", "once"])) else {
            panic!("not help")
        };
        assert!(once.contains("openmetrics") && once == same, "{once}");
    }
}
