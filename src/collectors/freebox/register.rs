//! `gatemeter freebox register` and `status`: asking the box for a token, and what became of it.

use std::time::{Duration, Instant};

use async_io::Timer;

use super::client::{Client, Fault};
use super::credentials::{self, APP_ID, Credentials};
use super::json::Node;
use super::secret::Secret;
use super::settings::Settings;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::words::{one_line, quoted};

/// Time between two looks at whether the owner has answered.
const POLL: Duration = Duration::from_secs(1);
/// The box gives up asking long before.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many looks in a row may get no answer.
const MAX_LOST: usize = 10;
/// How long a series of calls may take.
const ROUND: Duration = Duration::from_secs(10);

/// Why nothing can be read yet.
pub fn missing(settings: &Settings) -> Error {
    let tried = format!("log in to {}", settings.endpoint.host);
    Error::failed(tried, format!("there are no credentials in {}", settings.credentials.display()))
        .remedy("gatemeter freebox register asks the box for them")
}

/// Asks the box for a token, waits until its owner has answered on its display, and writes the credentials. What
/// happens is told to `tell`, in pieces of text.
///
/// # Errors
/// The credentials could not be kept, the box does not answer, or its owner says no, or nothing.
pub fn register(config: &Config, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let settings = Settings::read(config)?;
    let path = settings.credentials.clone();
    if let Some(known) = credentials::read(&path)? {
        return tell(&format!(
            "already registered: {} has the token {}...; remove it to register anew\n",
            path.display(),
            known.app_token.start()
        ));
    }
    // Nobody is to walk to the box for a token that is lost then.
    credentials::try_to_write(&path)?;
    let tried = format!("register at {}", settings.endpoint.host);
    smol::block_on(async {
        let mut client = Client::new(settings.clone(), None)?;
        client.begin(Instant::now() + ROUND);
        let place = client.find().await.map_err(|fault| fault.into_error(&tried))?;
        let credentials = ask(&mut client, &tried).await.map_err(|fault| fault.into_error(&tried))?;
        let model = if place.model_name.is_empty() { &settings.endpoint.host } else { &place.model_name };
        tell(&format!(
            "{} asks on its display whether gatemeter may use it: press the right arrow there to accept.\nwaiting ",
            one_line(model)
        ))?;
        let answer = wait(&mut client, &credentials, &tried, tell).await?;
        tell(&format!(" {}\n", one_line(&answer)))?;
        accepted(&answer, &tried)?;
        credentials::write(&path, &credentials)?;
        tell(&format!("the token is in {}\n", path.display()))?;
        tell_missing_rights(settings, credentials, &tried, tell).await
    })
}

/// Asks for a token, which is of no use before the owner has accepted.
async fn ask(client: &mut Client, tried: &str) -> Result<Credentials, Fault> {
    let device = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let body = format!(
        "{{\"app_id\":\"{APP_ID}\",\"app_name\":\"gatemeter\",\"app_version\":\"{}\",\"device_name\":{}}}",
        env!("CARGO_PKG_VERSION"),
        quoted(device.trim())
    );
    let doc = client.call("POST", "login/authorize/", Some(&body)).await?;
    let text = |name: &str| doc.root().at("result").and_then(|result| result.at(name)?.text());
    let (Some(token), Some(track_id)) = (text("app_token"), text("track_id")) else {
        return Err(Fault::Malformed(Error::failed(tried, "the box gives no token")));
    };
    Ok(Credentials {
        app_id: APP_ID.into(),
        app_token: Secret::new(token),
        track_id: track_id.chars().filter(char::is_ascii_digit).collect(),
    })
}

/// Looks again and again whether the owner has answered; `pending` if nobody did for too long. The request lives on in the box
/// when one of its answers is lost.
async fn wait(
    client: &mut Client,
    credentials: &Credentials,
    tried: &str,
    tell: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut lost = 0;
    loop {
        client.begin(Instant::now() + ROUND);
        match state(client, credentials).await {
            Ok(answer) if answer != "pending" || Instant::now() >= deadline => return Ok(answer),
            Ok(_) => lost = 0,
            Err(fault) if lost >= MAX_LOST || fault.is_answer() => return Err(fault.into_error(tried)),
            Err(_) => lost += 1,
        }
        tell(".")?;
        Timer::after(POLL).await;
    }
}

/// What to do about an answer that is no.
fn accepted(answer: &str, tried: &str) -> Result<()> {
    let (why, remedy) = match answer {
        "granted" => return Ok(()),
        "denied" => ("it was denied on the box's display", "register again to be asked once more"),
        "timeout" | "pending" => {
            ("nobody has answered on the box's display", "register again and press the right arrow there")
        }
        _ => ("the box does not know the request any more", "register again"),
    };
    Err(Error::failed(tried, why).remedy(remedy))
}

/// Logs in for the first time, which shows that it works, and which rights are missing for what is to be read.
async fn tell_missing_rights(
    settings: Settings,
    credentials: Credentials,
    tried: &str,
    tell: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let wanted: Vec<_> = settings.groups().filter_map(|group| group.right).collect();
    let mut client = Client::new(settings, Some(credentials))?;
    client.begin(Instant::now() + ROUND);
    client.open().await.map_err(|fault| fault.into_error(tried))?;
    for right in wanted.into_iter().filter(|right| client.lacks(right)) {
        tell(&format!(
            "for what freebox.status asks, the right {right} is missing: give it in the box's settings, under access \
             management, applications\n"
        ))?;
    }
    client.logout().await;
    Ok(())
}

/// Tells what is stored and what the box says of it; false if the token cannot be used.
///
/// # Errors
/// The credentials cannot be read.
pub fn status(config: &Config, tell: &mut dyn FnMut(&str) -> Result<()>) -> Result<bool> {
    let settings = Settings::read(config)?;
    let path = settings.credentials.clone();
    let Some(known) = credentials::read(&path)? else {
        tell(&format!("not registered: there is no {}; gatemeter freebox register makes it\n", path.display()))?;
        return Ok(false);
    };
    tell(&format!(
        "file    {}\nname    {}\ntoken   {}...\nrequest {}\n",
        path.display(),
        known.app_id,
        known.app_token.start(),
        if known.track_id.is_empty() { "unknown" } else { &known.track_id }
    ))?;
    let tried = format!("ask {} about it", settings.endpoint.host);
    let mut client = Client::new(settings, Some(known.clone()))?;
    smol::block_on(async {
        client.begin(Instant::now() + ROUND);
        if !known.track_id.is_empty() {
            match state(&mut client, &known).await {
                Ok(state) => tell(&format!("state   {}\n", one_line(&state)))?,
                // Old requests are forgotten; a login tells.
                Err(Fault::Refused(_)) => {}
                Err(fault) => {
                    tell(&format!("state   unknown: {}\n", one_line(&fault.into_error(&tried).to_string())))?;
                    return Ok(false);
                }
            }
        }
        if let Err(fault) = client.open().await {
            tell(&format!("login   {}\n", one_line(&fault.into_error(&tried).to_string())))?;
            return Ok(false);
        }
        let rights: Vec<_> =
            client.rights.iter().filter(|(_, granted)| *granted).map(|(right, _)| one_line(right)).collect();
        tell(&format!("login   works\nrights  {}\n", rights.join(" ")))?;
        client.logout().await;
        Ok(true)
    })
}

/// What the box says of a request: pending, granted, denied, timeout, unknown.
async fn state(client: &mut Client, credentials: &Credentials) -> Result<String, Fault> {
    let doc = client.call("GET", &format!("login/authorize/{}", credentials.track_id), None).await?;
    let status = doc.root().at("result.status").and_then(Node::text).unwrap_or_default();
    Ok(status.chars().take(32).collect())
}
