//! What `gatemeter check` says of this collector.

use super::port::FRAME_BYTES;
use super::settings::Settings;
use super::survey::survey;
use super::table::{nobody, plural};
use crate::collectors::Finding;
use crate::config::Config;
use crate::sys::alarm;
use crate::sys::caps::{self, Capability};

/// Asks the adapters there are, and tells what this system lacks for it.
pub fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        // Who answers and on what is all that is asked.
        Ok(settings) => Settings { extended: false, ..settings },
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    if !caps::has(Capability::NetRaw) {
        let name = Capability::NetRaw.name();
        return vec![Finding::broken(format!("{name} is missing: run as root, or grant it"))];
    }
    let survey = match alarm::block_on(survey(&settings, &mut vec![0; FRAME_BYTES], &|_| None)) {
        Ok(survey) => survey,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let mut findings = Vec::new();
    for interface in &survey.interfaces {
        let devices = survey.walk.devices.iter();
        let up = devices.filter(|device| device.is_up() && Some(device.interface) == interface.number).count();
        findings.push(match (&interface.trouble, up) {
            (Some(error), _) => Finding::broken(error.to_string()),
            (None, 0) => Finding::note(nobody(&interface.name).to_string()),
            (None, up) => {
                Finding::ok(format!("{} on {}", plural(up, "adapter answers", "adapters answer"), interface.name))
            }
        });
    }
    findings
}
