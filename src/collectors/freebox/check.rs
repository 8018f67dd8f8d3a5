//! What `gatemeter check` says of this collector.

use std::time::{Duration, Instant};

use super::client::Client;
use super::settings::{SECTION, Settings};
use super::{credentials, register};
use crate::collectors::Finding;
use crate::config::Config;

/// How long the box may take for all of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Credentials, the box, a login, and the rights for what is asked for.
pub fn check(config: &Config) -> Vec<Finding> {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::broken(error.to_string())],
    };
    let mut findings = Vec::new();
    let credentials = match credentials::read(&settings.credentials) {
        Ok(Some(credentials)) => {
            findings.push(Finding::ok(format!("credentials are in {}", settings.credentials.display())));
            Some(credentials)
        }
        Ok(None) => {
            findings.push(Finding::broken(register::missing(&settings).to_string()));
            None
        }
        Err(error) => {
            findings.push(Finding::broken(error.to_string()));
            None
        }
    };
    if settings.patch_rate_up && !settings.groups().any(|group| group.name == "switch") {
        findings.push(Finding::note("freebox.patch_rate_up changes nothing without switch in freebox.status"));
    }
    let is_registered = credentials.is_some();
    let wanted: Vec<_> = settings.groups().collect();
    let tried = format!("use the API of {}", settings.endpoint.host);
    let mut client = match Client::new(settings, credentials) {
        Ok(client) => client,
        Err(error) => {
            findings.push(Finding::broken(error.to_string()));
            return findings;
        }
    };
    client.begin(Instant::now() + PATIENCE);
    smol::block_on(async {
        match client.find().await {
            Ok(place) => {
                let model = if place.model_name.is_empty() { place.model } else { place.model_name };
                findings.push(Finding::ok(format!("the API is at {} ({model})", place.url)));
            }
            Err(fault) => {
                findings.push(Finding::broken(fault.into_error(&tried).to_string()));
                return;
            }
        }
        if !is_registered {
            return;
        }
        match client.open().await {
            Ok(()) => findings.push(Finding::ok("the box lets gatemeter log in")),
            Err(fault) => findings.push(Finding::broken(fault.into_error(&tried).to_string())),
        }
        for group in wanted {
            if let Some(right) = group.right.filter(|right| client.lacks(right)) {
                findings.push(Finding::note(format!(
                    "{} will be missing: gatemeter lacks the right {right}; give it in the box's settings, under access \
                     management, applications, or take {} out of {}.status",
                    group.name, group.name, SECTION.name
                )));
            }
        }
        client.logout().await;
    });
    findings
}
