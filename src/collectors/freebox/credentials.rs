//! The credentials file: the token that the box has given, for our eyes only.
//!
//! It is JSON as `gatemeter freebox register` writes it. The file of freebox-monitoring is read as well, so that nobody
//! has to walk to the box again: its token goes with the name that program registered under.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::json::Doc;
use super::secret::Secret;
use crate::error::{Error, Result};
use crate::files::{self, Keep, WholeFile};
use crate::words::quoted;

/// The name under which gatemeter registers.
pub const APP_ID: &str = "fr.gatemeter";
/// The name under which freebox-monitoring registers.
const SEED_APP_ID: &str = "fr.freebox.seximonitor";
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 16 << 10;
/// Longest token and name taken.
const MAX_FIELD: usize = 256;

/// Who we are for the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name the token belongs to.
    pub app_id: String,
    /// The token.
    pub app_token: Secret,
    /// Number of the registration, by which its state can be asked.
    pub track_id: String,
}

/// Reads the file; nothing if there is none.
///
/// # Errors
/// It cannot be read, others can read it, or it does not hold credentials.
pub fn read(path: &Path) -> Result<Option<Credentials>> {
    let tried = || format!("use the credentials in {}", path.display());
    let opened = files::open(path).map_err(|source| {
        let is_denied = source.kind() == io::ErrorKind::PermissionDenied;
        let error = Error::io(tried(), source);
        if is_denied { error.remedy("run as the user it belongs to, or give it to ours with chown") } else { error }
    });
    let Some((file, found)) = opened? else { return Ok(None) };
    // Whoever else owns it could read what is written to it next.
    if !files::is_ours(&found) && found.uid() != 0 {
        return Err(Error::failed(tried(), format!("it belongs to another user (number {})", found.uid()))
            .remedy(format!("chown it to our user if you have made it, else remove {}", path.display())));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::failed(tried(), format!("others than its owner may read it (mode {mode:04o})"))
            .remedy(format!("chmod 600 {}", path.display())));
    }
    let lines = files::lines(file, MAX_FILE).map_err(|source| Error::io(tried(), source))?;
    parse(lines.bytes).map(Some).ok_or_else(|| {
        Error::failed(tried(), "there is no token in it")
            .remedy("remove the file and register again: gatemeter freebox register")
    })
}

/// Writes the file and its directory, both for our user alone.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, credentials: &Credentials) -> Result<()> {
    place(path)?.replace(encode(credentials).as_bytes())?;
    Ok(())
}

/// Makes the directory, and sees whether the file could be written.
///
/// # Errors
/// It could not.
pub fn try_to_write(path: &Path) -> Result<()> {
    place(path)?.try_to_replace()
}

fn place(path: &Path) -> Result<WholeFile> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| Error::io(format!("make the directory {}", dir.display()), source))?;
    }
    Ok(WholeFile::new(path, "the credentials", Keep::Lasting)?.private())
}

/// The text of the file.
pub fn encode(credentials: &Credentials) -> String {
    let Credentials { app_id, app_token, track_id } = credentials;
    let [app_id, app_token, track_id] = [app_id, app_token.expose(), track_id].map(quoted);
    format!("{{\n  \"app_id\": {app_id},\n  \"app_token\": {app_token},\n  \"track_id\": {track_id}\n}}\n")
}

/// Reads the bytes of a file, in either form; nothing if there is no token in it that could be part of a request.
pub fn parse(bytes: Vec<u8>) -> Option<Credentials> {
    let credentials = match bytes.trim_ascii_start().first() {
        Some(b'{') => {
            let doc = Doc::parse(bytes).ok()?;
            let field = |name| Some(doc.root().at(name)?.text()?.into_owned());
            Credentials {
                app_id: field("app_id").unwrap_or(APP_ID.into()),
                app_token: Secret::new(field("app_token")?),
                track_id: field("track_id").unwrap_or_default(),
            }
        }
        _ => {
            let text = String::from_utf8_lossy(&bytes);
            let field = |name: &str| {
                let mut options = text.lines().filter_map(|line| line.split_once(['=', ':']));
                options.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
            };
            Credentials {
                app_id: SEED_APP_ID.into(),
                app_token: Secret::new(field("app_token")?),
                track_id: field("track_id").unwrap_or_default(),
            }
        }
    };
    // They become part of requests.
    let is_plain = |text: &str| text.len() <= MAX_FIELD && text.bytes().all(|byte| byte.is_ascii_graphic());
    let Credentials { app_id, app_token, track_id } = &credentials;
    let are_plain = is_plain(app_id) && is_plain(app_token.expose()) && track_id.bytes().all(|b| b.is_ascii_digit());
    (are_plain && !app_token.expose().is_empty()).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let credentials =
            Credentials { app_id: APP_ID.into(), app_token: Secret::new("dOcU+/\\\"x"), track_id: "42".into() };
        assert_eq!(parse(encode(&credentials).into_bytes()), Some(credentials));
    }

    #[test]
    fn the_file_of_freebox_monitoring_is_read_with_its_name() {
        let text =
            "[general]\ntrack_id = 42\napp_token = dOcU+0/8\n\n[api]\napi_endpoint = http://x:80/api/v5\napi_ssl = 0\n";
        let read = parse(text.into()).unwrap();
        assert_eq!(
            (read.app_id.as_str(), read.app_token.expose(), read.track_id.as_str()),
            (SEED_APP_ID, "dOcU+0/8", "42")
        );
    }

    #[test]
    fn what_would_break_a_request_is_no_credential() {
        for text in [
            "",
            "{}",
            "{\"app_token\": \"\"}",
            "{\"app_token\": \"a\\r\\nb\"}",
            "{\"app_token\": \"a\", \"track_id\": \"../1\"}",
            "{\"app_token\"",
            "app_token",
            "[general]\ntrack_id = 1\n",
        ] {
            assert_eq!(parse(text.into()), None, "{text}");
        }
    }
}
