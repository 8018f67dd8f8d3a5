use std::fs;

use super::*;
use crate::config::schema::{MAIN, list, option};

static TRAFFIC: SectionSpec = SectionSpec {
    kind: "traffic",
    name: "traffic",
    many: false,
    options: &[
        option("max_hosts", "1024", "hosts"),
        option("count", "l2", "bytes"),
        list("subnet4", "", "subnets"),
        list("subnet6", "", "prefixes"),
    ],
};
static TARGET: SectionSpec =
    SectionSpec { kind: "target", name: "target", many: true, options: &[option("host", "", "whom")] };
static SPECS: [&SectionSpec; 3] = [&MAIN, &TRAFFIC, &TARGET];

/// A file that is removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatemeter-config-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        File(path)
    }

    fn load(&self, change: impl FnOnce(&mut Args)) -> Result<Config> {
        let mut args = Args { config: Some(self.0.display().to_string()), ..Args::default() };
        change(&mut args);
        Config::load(&args, &SPECS)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn hosts(config: &Config) -> Result<u32> {
    config.section("traffic").get("max_hosts").number(1, 65536)
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = File::new("precedence", "config traffic 'traffic'\n\toption max_hosts 2048\n");
    let default = Config::load(&Args { config: None, ..Args::default() }, &SPECS).unwrap();
    assert_eq!(hosts(&default).unwrap(), 1024);
    assert_eq!(hosts(&file.load(|_| {}).unwrap()).unwrap(), 2048);
    let flagged = file.load(|args| args.option = vec!["traffic.max_hosts=4096".into()]).unwrap();
    assert_eq!(hosts(&flagged).unwrap(), 4096);
}

#[test]
fn a_repeated_list_flag_adds_and_the_first_replaces_the_file() {
    let file = File::new("lists", "config traffic\n\tlist subnet4 '10.0.0.1/8/eth9'\n");
    let config = file.load(|args| args.option = vec!["traffic.subnet4=a".into(), "traffic.subnet4=b".into()]).unwrap();
    let words = config.section("traffic").get("subnet4").each(|text| Ok(text.to_owned())).unwrap();
    assert_eq!(words, ["a", "b"]);
}

#[test]
fn a_list_may_be_written_as_one_option_with_spaces() {
    let file = File::new("spaces", "config traffic\n\toption subnet4 'a b\tc'\n");
    let config = file.load(|_| {}).unwrap();
    let words = config.section("traffic").get("subnet4").each(|text| Ok(text.to_owned())).unwrap();
    assert_eq!(words, ["a", "b", "c"]);
}

#[test]
fn a_bad_value_is_reported_with_file_and_line_or_with_its_flag() {
    let file = File::new("bad", "config traffic\n\toption count l2\n\toption max_hosts many\n");
    let error = hosts(&file.load(|_| {}).unwrap()).unwrap_err();
    let want = format!(
        "{}:3: option traffic.max_hosts: 'many' is not a whole number, expected one from 1 to 65536",
        file.0.display()
    );
    #[cfg(not(feature = "libuci"))]
    assert_eq!(error.to_string(), want);
    #[cfg(feature = "libuci")]
    assert_eq!(error.to_string(), want.replace(":3:", ":"));
    let error = hosts(&file.load(|args| args.option = vec!["traffic.max_hosts=0".into()]).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "-o traffic.max_hosts: '0' is out of range, expected a whole number from 1 to 65536");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn unknown_sections_and_options_of_a_file_are_warned_about_with_the_nearest_name() {
    let file = File::new("unknown", "config trafic\nconfig traffic\n\toption max_host 7\n\toption zzzzzz 1\n");
    let warnings = file.load(|_| {}).unwrap().warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].ends_with("there is no section type 'trafic', it is ignored, did you mean 'traffic'?"));
    assert!(
        warnings[1].ends_with("section 'traffic' has no option 'max_host', it is ignored, did you mean 'max_hosts'?")
    );
    assert!(warnings[2].ends_with("section 'traffic' has no option 'zzzzzz', it is ignored"));
}

#[test]
fn unknown_sections_and_options_of_a_flag_are_errors() {
    let file = File::new("flags", "");
    for (flag, want) in [
        ("traffic.max_host=1", "-o: section 'traffic' has no option 'max_host', did you mean 'max_hosts'?"),
        ("trafik.max_hosts=1", "-o: there is no section 'trafik', did you mean 'traffic'?"),
        ("traffic.max_hosts", "-o: 'traffic.max_hosts' is not SECTION.OPTION=VALUE, as in traffic.max_hosts=2048"),
    ] {
        let error = file.load(|args| args.option = vec![flag.into()]).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let args = Args { config: Some("/nonexistent/gatemeter".into()), ..Args::default() };
    let error = Config::load(&args, &SPECS).unwrap_err();
    assert_eq!(error.to_string(), "-c: /nonexistent/gatemeter does not exist, expected a file in UCI syntax");
}

#[test]
fn sections_that_may_be_many_are_all_kept() {
    let file = File::new("many", "config target\n\toption host a\nconfig target\n\toption host b\n");
    let config = file.load(|_| {}).unwrap();
    let hosts: Vec<_> = config.sections_of("target").map(|section| section.get("host").text()).collect();
    assert_eq!(hosts, ["a", "b"]);
}
