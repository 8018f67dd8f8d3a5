//! The gatemeter program: reads the command line, does what it says, and turns the outcome into an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use gatemeter::cli::{self, Args, Command, Parsed};
use gatemeter::error::Result;
use gatemeter::sys::limits;
use gatemeter::words::one_line;
use gatemeter::{commands, daemon};

fn main() -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let words = match words {
        Ok(words) => words,
        Err(word) => return fail(&format!("'{}' is not UTF-8, expected plain text", word.to_string_lossy()), 2),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match cli::parse(&words) {
        Parsed::Help(text) => end(commands::print(&text).map(|()| true)),
        Parsed::Wrong(line) => fail(&line, 2),
        Parsed::Run(args) if args.version => {
            end(commands::print(concat!("gatemeter ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| true))
        }
        Parsed::Run(args) => end(run(&args)),
    }
}

fn end(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// False if the command ran and found something broken.
fn run(args: &Args) -> Result<bool> {
    limits::keep_private();
    match &args.command {
        None => daemon::run(args).map(|()| true),
        Some(Command::Once(once)) => commands::once(args, once),
        Some(Command::Check(_)) => commands::check(args),
        Some(Command::Clean(_)) => commands::clean(args).map(|()| true),
        #[cfg(feature = "probe")]
        Some(Command::Ping(ping)) => commands::ping::ping(args, ping),
        #[cfg(feature = "homeplug")]
        Some(Command::Homeplug(_)) => commands::homeplug(args).map(|()| true),
        #[cfg(feature = "freebox")]
        Some(Command::Freebox(freebox)) => commands::freebox(args, &freebox.command),
        #[cfg(not(all(feature = "probe", feature = "homeplug", feature = "freebox")))]
        Some(command) => Err(commands::left_out(command)),
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    // The exit code tells the rest to whoever has closed stderr.
    let _ = writeln!(std::io::stderr(), "gatemeter: {}", one_line(line));
    ExitCode::from(code)
}
