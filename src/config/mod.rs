//! What the user asked for: built-in defaults, then the UCI file, then flags, each overriding the one before.
//!
//! Every section describes its options in a const table ([`SectionSpec`]): name, default, help. Values stay text until a
//! collector asks for them through a typed getter of [`Item`], and each remembers where it was written, so that an
//! error names the flag, or the file and line, and says what was expected. Defaults take the same way, so there is no
//! second place where they are spelled.

pub mod daemon;
mod flags;
pub mod networks;
pub mod schema;
pub mod source;
pub mod uci;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cli::Args;
use crate::error::{Error, Result};
use crate::words::nearest;
use networks::Networks;
use schema::{MAIN, OptionSpec, SectionSpec, left_out, without};
use uci::{Opt, Package, Value};

/// The file read when `-c` does not name one.
const DEFAULT_FILE: &str = "/etc/config/gatemeter";

/// All sections with their values.
#[derive(Debug)]
pub struct Config {
    sections: Vec<Section>,
    /// Things to warn about that stop nothing, such as misspelt options.
    pub warnings: Vec<String>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The logical networks that interfaces and subnets may be named by.
    pub networks: Networks,
}

/// One section: a value, or several, for every option of its table. It is there as long as the daemon, and there may be
/// one for each of a thousand targets, so it holds no more than was written.
#[derive(Debug)]
pub struct Section {
    spec: &'static SectionSpec,
    name: String,
    /// Place in `spec.options`, and the values, which take the place of the default.
    settings: Vec<(usize, Vec<Word>)>,
}

/// One value and where it was written.
#[derive(Debug, Clone)]
struct Word {
    text: Box<str>,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origin {
    File { path: Arc<Path>, line: Option<u32> },
    Flag(String),
}

impl Config {
    /// Reads the file and applies the flags.
    pub fn load(args: &Args, specs: &'static [&'static SectionSpec]) -> Result<Config> {
        let mut config = Config {
            sections: specs.iter().filter(|spec| !spec.many).map(|spec| Section::of_defaults(spec)).collect(),
            warnings: Vec::new(),
            file: None,
            networks: Networks::default(),
        };
        let path = PathBuf::from(args.config.as_deref().unwrap_or(DEFAULT_FILE));
        match source::load(&path)? {
            Some(package) => {
                config.apply_package(&package, &path, specs);
                config.file = Some(path);
            }
            None if args.config.is_some() => {
                return Err(Error::invalid(
                    "-c",
                    format!("{} does not exist, expected a file in UCI syntax", path.display()),
                ));
            }
            None => {}
        }
        config.apply_flags(args, specs)?;
        let main = config.sections.iter().find(|section| section.spec.kind == MAIN.kind);
        if let Some(path) = main.and_then(|main| main.get("networks").path()) {
            let (networks, problems) = Networks::load(&path);
            config.networks = networks;
            config.warnings.extend(problems);
        }
        Ok(config)
    }

    /// The one section of a kind, such as `traffic`; every kind that is not `many` has one.
    pub fn section(&self, kind: &str) -> &Section {
        static NOTHING: SectionSpec = SectionSpec { kind: "", name: "", many: false, options: &[] };
        static EMPTY: Section = Section { spec: &NOTHING, name: String::new(), settings: Vec::new() };
        debug_assert!(self.sections.iter().any(|section| section.spec.kind == kind), "no section of kind {kind}");
        self.sections.iter().find(|section| section.spec.kind == kind).unwrap_or(&EMPTY)
    }

    /// Every section of a kind of which there may be many.
    pub fn sections_of(&self, kind: &str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.spec.kind == kind)
    }

    fn apply_package(&mut self, package: &Package, path: &Path, specs: &'static [&'static SectionSpec]) {
        let path: Arc<Path> = path.into();
        let mut seen: Vec<&str> = Vec::new();
        for given in &package.sections {
            let place = |line: Option<u32>| match line {
                Some(line) => format!("{}:{line}", path.display()),
                None => path.display().to_string(),
            };
            if let Some(collector) = left_out(&given.kind) {
                // One line for each, and none for a section that does nothing but turn it off.
                let is_off = |option: &Opt| {
                    option.name == "enabled"
                        && matches!(&option.value, Value::Text(text) if switch(text) == Some(false))
                };
                if !seen.contains(&collector) && !matches!(given.options.as_slice(), [only] if is_off(only)) {
                    self.warnings.push(format!("{}: {}", place(given.line), without(collector)));
                }
                seen.push(collector);
                continue;
            }
            let Some(spec) = specs.iter().find(|spec| spec.kind == given.kind) else {
                let near = nearest(&given.kind, specs.iter().map(|spec| spec.kind));
                self.warnings.push(format!(
                    "{}: there is no section type '{}', it is ignored{near}",
                    place(given.line),
                    given.kind
                ));
                continue;
            };
            if !spec.many && seen.contains(&spec.kind) {
                let warning = format!("{}: a second '{}' section is ignored", place(given.line), spec.kind);
                self.warnings.push(warning);
                continue;
            }
            seen.push(spec.kind);
            if spec.many {
                self.sections.push(Section { name: given.name.clone(), ..Section::of_defaults(spec) });
            }
            for option in &given.options {
                let words = match (&option.value, spec.option(&option.name).is_some_and(|(_, option)| option.list)) {
                    (Value::Text(text), false) => vec![text.clone()],
                    (Value::Text(text), true) => text.split_ascii_whitespace().map(String::from).collect(),
                    (Value::List(items), true) => items.clone(),
                    (Value::List(items), false) => vec![items.join(" ")],
                };
                let origin = Origin::File { path: path.clone(), line: option.line };
                let words = words.into_iter().map(|text| Word { text: text.into(), origin: origin.clone() }).collect();
                let section = self.sections.iter_mut().rev().find(|section| section.spec.kind == spec.kind);
                if section.is_none_or(|section| section.set(&option.name, words).is_none()) {
                    let near = nearest(&option.name, spec.options.iter().map(|option| option.name));
                    self.warnings.push(format!(
                        "{}: section '{}' has no option '{}', it is ignored{near}",
                        place(option.line),
                        spec.kind,
                        option.name
                    ));
                }
            }
        }
    }
}

impl Section {
    fn of_defaults(spec: &'static SectionSpec) -> Self {
        Section { spec, name: spec.name.into(), settings: Vec::new() }
    }

    /// The section's name, as `-o` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An option's value, to be read with one of [`Item`]'s getters.
    pub fn get(&self, option: &'static str) -> Item<'_> {
        let found = self.spec.option(option);
        debug_assert!(found.is_some(), "section {} has no option {option}", self.spec.kind);
        let given = found.and_then(|(index, _)| self.settings.iter().find(|(at, _)| *at == index));
        let default = found.map(|(_, option)| option).filter(|_| given.is_none());
        Item { section: self, option, given: given.map_or(&[], |(_, words)| words), default }
    }

    /// Whether an option was written by the user, in the file or as a flag.
    pub fn is_set(&self, option: &'static str) -> bool {
        !self.get(option).given.is_empty()
    }

    fn set(&mut self, option: &str, words: Vec<Word>) -> Option<()> {
        let (index, _) = self.spec.option(option)?;
        match self.settings.iter_mut().find(|(at, _)| *at == index) {
            Some((_, before)) => *before = words,
            None => {
                self.settings.reserve_exact(1);
                self.settings.push((index, words));
            }
        }
        Some(())
    }

    /// Adds a value to those of an option that has been set.
    fn push(&mut self, option: &str, word: Word) {
        let index = self.spec.option(option).map(|(index, _)| index);
        if let Some((_, words)) = self.settings.iter_mut().find(|(at, _)| Some(*at) == index) {
            words.push(word);
        }
    }
}

/// The value or values of one option.
pub struct Item<'a> {
    section: &'a Section,
    option: &'static str,
    /// What was written.
    given: &'a [Word],
    /// If nothing was.
    default: Option<&'static OptionSpec>,
}

impl<'a> Item<'a> {
    /// The text as it was written; an empty string if the option has no value.
    pub fn text(&self) -> &'a str {
        self.given.last().map(|word| &*word.text).or(self.defaults().last()).unwrap_or_default()
    }

    /// All texts as they were written.
    pub fn texts(&self) -> impl Iterator<Item = &'a str> {
        self.given.iter().map(|word| &*word.text).chain(self.defaults().map(|text| -> &'a str { text }))
    }

    /// The words of the default, if that is what counts.
    fn defaults(&self) -> impl Iterator<Item = &'static str> {
        let list = self.default.filter(|option| option.list).map_or("", |option| option.default);
        let one = self.default.filter(|option| !option.list).map(|option| option.default);
        list.split_ascii_whitespace().chain(one)
    }

    /// A path, or nothing for an empty value or `none`.
    pub fn path(&self) -> Option<PathBuf> {
        let text = self.text();
        (!text.is_empty() && text != "none").then(|| PathBuf::from(text))
    }

    /// A switch: 1/on/true/yes/enabled or 0/off/false/no/disabled.
    pub fn switch(&self) -> Result<bool> {
        self.parse(|text| switch(text).ok_or_else(|| format!("'{text}' is neither on nor off, expected 1 or 0")))
    }

    /// A whole number within a range, both ends included.
    pub fn number(&self, low: u32, high: u32) -> Result<u32> {
        self.parse(|text| match text.parse::<i64>() {
            Ok(number) if (i64::from(low)..=i64::from(high)).contains(&number) => Ok(number as u32),
            Ok(_) => Err(format!("'{text}' is out of range, expected a whole number from {low} to {high}")),
            Err(_) => Err(format!("'{text}' is not a whole number, expected one from {low} to {high}")),
        })
    }

    /// Whole seconds within a range, both ends included.
    pub fn seconds(&self, low: u32, high: u32) -> Result<Duration> {
        self.number(low, high).map(|number| Duration::from_secs(number.into()))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        self.parse(|text| match choices.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                let words = match words.split_last() {
                    Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                    _ => words.concat(),
                };
                Err(format!("'{text}' is not one of its values, expected {words}"))
            }
        })
    }

    /// One value, read by `parse`, whose error says what is wrong and what was expected.
    pub fn parse<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T> {
        parse(self.text()).map_err(|problem| self.wrong(problem))
    }

    /// Each value of a list, read by `parse`, whose error says what is wrong and what was expected.
    pub fn each<T>(&self, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>> {
        let given = self.given.iter().map(|word| (&*word.text, Some(word)));
        let all = given.chain(self.defaults().map(|text| (text, None)));
        all.map(|(text, word)| parse(text).map_err(|problem| self.error(word, problem))).collect()
    }

    /// An error about this option, at the place where its last value was written.
    pub fn wrong(&self, problem: impl Into<String>) -> Error {
        self.error(self.given.last(), problem.into())
    }

    fn error(&self, word: Option<&Word>, problem: String) -> Error {
        let name = format!("{}.{}", self.section.name, self.option);
        match word.map(|word| &word.origin) {
            Some(Origin::Flag(flag)) => Error::invalid(flag.clone(), problem),
            Some(Origin::File { path, line: Some(line) }) => {
                Error::invalid(format!("{}:{line}", path.display()), format!("option {name}: {problem}"))
            }
            Some(Origin::File { path, line: None }) => {
                Error::invalid(path.display().to_string(), format!("option {name}: {problem}"))
            }
            None => Error::invalid(name, problem),
        }
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "on" | "true" | "yes" | "enabled" => Some(true),
        "0" | "off" | "false" | "no" | "disabled" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
