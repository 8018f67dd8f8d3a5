//! Any words as a command line, one a line: parsed, laid over the defaults, and read as the settings of the daemon and
//! of every collector. Nothing panics, and every answer to a mistake is one line.

#![no_main]

use gatemeter::cli::{self, Parsed};
use gatemeter::collectors::{ALL, SECTIONS, selected};
use gatemeter::config::Config;
use gatemeter::config::daemon::Settings;
use gatemeter::error::Error;
use gatemeter::words::one_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words: Vec<&str> = text.split('\n').collect();
    match cli::parse(&words) {
        Parsed::Run(mut args) => {
            // It is the words that are tried, not the files of this machine.
            args.config = None;
            match Config::load(&args, SECTIONS) {
                Ok(config) => {
                    let _ = Settings::read(&config).map_err(check);
                    for row in ALL {
                        let _ = (row.build)(&config).map_err(check);
                    }
                    let _ = selected(&config, None, "").map_err(check);
                    let _ = selected(&config, args.collector_names().as_deref(), "--collectors").map_err(check);
                }
                Err(error) => check(error),
            }
        }
        Parsed::Help(text) => assert!(text.contains("gatemeter")),
        Parsed::Wrong(line) => assert!(!one_line(&line).contains('\n')),
    }
});

/// A mistake on the command line is told as one, whatever was typed.
fn check(error: Error) {
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(!one_line(&error.to_string()).contains('\n'));
}
