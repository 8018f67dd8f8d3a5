//! A router with a box on its WAN side.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::harness::Setup;
use crate::lab::Lab;
use crate::lab::freebox::{Freebox, Model};
use crate::lab::process::Output;

/// A lab with a box, and the program registered there.
pub struct Home {
    pub lab: Lab,
    pub freebox: Freebox,
}

impl Home {
    pub fn new(model: Model) -> Self {
        let lab = Lab::builder().hosts(0).build();
        let freebox = Freebox::start(&lab.internet, model);
        Self { lab, freebox }
    }

    /// Flags that point the collector, alone, at the box; `status` as the option takes it.
    pub fn setup(&self, status: &str) -> Setup<'_> {
        let setup = self.unregistered(status);
        write_credentials(&credentials(&setup), &self.freebox.credentials());
        setup
    }

    /// Likewise without a token.
    pub fn unregistered(&self, status: &str) -> Setup<'_> {
        let endpoint = format!("freebox.endpoint={}", self.lab.internet.v4);
        let config = match status {
            "" => String::new(),
            _ => format!("config freebox 'freebox'\n\toption status '{status}'\n"),
        };
        Setup::new(&self.lab).uci("gatemeter", &config).flags(&[
            "--collectors",
            "freebox",
            "-o",
            &endpoint,
            "-o",
            "freebox.interval=1",
            // A program with TLS would take the fibre box at its word that it has HTTPS.
            "-o",
            "freebox.tls=off",
        ])
    }
}

/// Where the program keeps its token.
pub fn credentials(setup: &Setup<'_>) -> PathBuf {
    setup.dir().join("state/freebox.json")
}

/// Writes a file that its owner alone can read.
pub fn write_credentials(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a run that must succeed printed.
#[track_caller]
pub fn printed(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    &output.stdout
}
