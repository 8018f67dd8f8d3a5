//! What the command line says, laid over what the file says: `-o` for every option there is, and flags of their own for a few.

use crate::cli::Args;
use crate::error::{Error, Result};
use crate::words::nearest;

use super::schema::{SectionSpec, left_out, without};
use super::{Config, Origin, Section, Word};

/// What is wrong with an `-o`, in words.
type Wrong = String;

impl Config {
    /// `-o` comes first: the flag made for one purpose wins over the general one.
    pub(super) fn apply_flags(&mut self, args: &Args, specs: &'static [&'static SectionSpec]) -> Result<()> {
        let mut given = Vec::new();
        for flag in &args.option {
            self.apply_option(flag, specs, &mut given).map_err(|why| Error::invalid("-o", why))?;
        }
        for (flag, subnets) in [("-4", &args.subnet4), ("-6", &args.subnet6)] {
            if let (false, Some(collector)) = (subnets.is_empty(), left_out("traffic")) {
                return Err(Error::invalid(flag, without(collector)));
            }
        }
        self.apply_own_flags(args);
        Ok(())
    }

    /// One `-o`; `given` has the sections and options of those before it, to whose lists it adds.
    fn apply_option<'a>(
        &mut self,
        flag: &'a str,
        specs: &'static [&'static SectionSpec],
        given: &mut Vec<(&'a str, &'a str)>,
    ) -> Result<(), Wrong> {
        let parts = flag.split_once('=').and_then(|(key, value)| Some((key.split_once('.')?, value)));
        let Some(((section, option), value)) = parts else {
            return Err(format!("'{flag}' is not SECTION.OPTION=VALUE, as in traffic.max_hosts=2048"));
        };
        // Of sections that may be many, the first option begins another one, and the others are about the latest.
        let many = specs.iter().find(|spec| spec.many && spec.kind == section);
        if let Some(spec) = many.filter(|spec| spec.options.first().is_some_and(|first| first.name == option)) {
            self.sections.push(Section::of_defaults(spec));
            given.retain(|(given, _)| *given != section);
        }
        let is_meant = |s: &&mut Section| s.name == section || s.spec.kind == section;
        let Some(found) = self.sections.iter_mut().rev().find(is_meant) else {
            return Err(no_section(section, option, many.copied(), specs));
        };
        let Some((_, spec)) = found.spec.option(option) else {
            let near = nearest(option, found.spec.options.iter().map(|option| option.name));
            return Err(format!("section '{section}' has no option '{option}'{near}"));
        };
        let word = Word { text: value.into(), origin: Origin::Flag(format!("-o {section}.{option}")) };
        if spec.list && given.contains(&(section, option)) {
            found.push(option, word);
        } else {
            given.push((section, option));
            found.set(option, vec![word]);
        }
        Ok(())
    }

    /// Flags that are one option each. What they are about may have been left out of this build.
    fn apply_own_flags(&mut self, args: &Args) {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let http = if args.http { vec!["1".to_owned()] } else { Vec::new() };
        for (flag, kind, option, values) in [
            ("-4", "traffic", "subnet4", args.subnet4.clone()),
            ("-6", "traffic", "subnet6", args.subnet6.clone()),
            ("-t", "gatemeter", "interval", one(&args.interval)),
            ("--textfile", "gatemeter", "textfile", one(&args.textfile)),
            ("--textfile-dir", "gatemeter", "textfile_dir", one(&args.textfile_dir)),
            ("--log-level", "gatemeter", "log_level", one(&args.log_level)),
            ("-e", "gatemeter", "http", http),
            ("-l", "gatemeter", "listen", one(&args.listen)),
            ("-p", "gatemeter", "port", one(&args.port)),
        ] {
            let section = self.sections.iter_mut().find(|section| section.spec.kind == kind);
            if let (false, Some(section)) = (values.is_empty(), section) {
                let word = |text: String| Word { text: text.into(), origin: Origin::Flag(flag.into()) };
                section.set(option, values.into_iter().map(word).collect());
            }
        }
    }
}

/// Why an `-o` is about no section.
fn no_section(
    section: &str,
    option: &str,
    many: Option<&SectionSpec>,
    specs: &'static [&'static SectionSpec],
) -> Wrong {
    if let Some(first) = many.and_then(|spec| spec.options.first()) {
        return format!("{section}.{option} is about no {section}: {section}.{} begins one", first.name);
    }
    if let Some(collector) = left_out(section) {
        return without(collector);
    }
    let near = nearest(section, specs.iter().map(|spec| spec.name));
    format!("there is no section '{section}'{near}")
}
