//! The gatemeter program: reads the command line, does what it says, and turns the outcome into an exit code.

use std::process::ExitCode;

use gatemeter::cli::{self, Args, Command, Parsed};
use gatemeter::error::{Error, Result};
use gatemeter::{commands, daemon};

fn main() -> ExitCode {
    let words: Option<Vec<String>> = std::env::args_os().skip(1).map(|word| word.into_string().ok()).collect();
    let Some(words) = words else { return fail("a flag is not UTF-8; gatemeter --help lists the options", 2) };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match cli::parse(&words) {
        Parsed::Help(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Parsed::Wrong(line) => fail(&line, 2),
        Parsed::Run(args) if args.version => {
            println!("gatemeter {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Parsed::Run(args) => match run(&args) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => fail(&error.to_string(), error.exit_code()),
        },
    }
}

/// False if the command ran and found something broken.
fn run(args: &Args) -> Result<bool, Error> {
    match &args.command {
        None => daemon::run(args).map(|()| true),
        Some(Command::Once(once)) => commands::once(args, once).map(|()| true),
        Some(Command::Check(_)) => commands::check(args),
        Some(Command::Clean(_)) => commands::clean(args).map(|()| true),
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("gatemeter: {line}");
    ExitCode::from(code)
}
