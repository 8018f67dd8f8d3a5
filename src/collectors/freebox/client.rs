//! The box's API: where it is, a session that lasts, and requests that log in again when it has ended.
//!
//! Sources: dev.freebox.fr ("Authentification", "Connexion à l'API"), and what boxes were seen to do. Calls go one
//! after the other over one connection that is kept; each has a deadline, and what hangs is closed.

use std::time::{Duration, Instant};

use super::credentials::Credentials;
use super::json::{Doc, Node};
use super::secret::{self, Secret};
use super::settings::{Settings, Tls};
use super::socket::{Stream, Target, connect, within};
use super::tls::{self, Trust};
use crate::error::{Error, Result};
use crate::words::quoted;

/// The port of HTTP and that of HTTPS.
const PORTS: (u16, u16) = (80, 443);
/// How long nobody logs in after the box has refused: it would only refuse longer.
const PAUSE: Duration = Duration::from_secs(300);
/// Likewise while the owner has not yet accepted us.
const SHORT_PAUSE: Duration = Duration::from_secs(15);
/// Most rights that are told.
const MAX_RIGHTS: usize = 32;
/// Longest name of a right, in characters.
const MAX_RIGHT: usize = 32;

/// Codes of the box that are told by name; a box could send any text.
static CODES: [&str; 16] = [
    "auth_required",
    "invalid_session",
    "invalid_token",
    "pending_token",
    "insufficient_rights",
    "denied_from_external_ip",
    "ratelimited",
    "new_apps_denied",
    "apps_denied",
    "invalid_request",
    "internal_error",
    "nodev",
    "noent",
    "inval",
    "netdown",
    "busy",
];

/// Why there is no answer to use.
#[derive(Debug)]
pub enum Fault {
    /// No whole answer arrived.
    Transport(Error),
    /// What arrived is not JSON.
    Malformed(Error),
    /// The box says no.
    Refused(Refusal),
    /// There is no session, and none to be had.
    Login(Error),
}

/// What the box says when it says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its code, if it is a known one, else `other`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The right that is missing, if that is why.
    pub right: Option<String>,
}

impl Fault {
    /// The label value that counts it.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Transport(_) => "no_answer",
            Fault::Malformed(_) => "malformed",
            Fault::Refused(refusal) => refusal.code,
            Fault::Login(_) => "login",
        }
    }

    /// Whether the box has understood and has an opinion, which it will have the next time, too.
    pub fn is_answer(&self) -> bool {
        match self {
            Fault::Transport(_) | Fault::Malformed(_) => false,
            Fault::Refused(refusal) => refusal.status < 500,
            Fault::Login(_) => true,
        }
    }

    /// As an error about something that was tried.
    pub fn into_error(self, tried: &str) -> Error {
        match self {
            Fault::Transport(error) | Fault::Malformed(error) | Fault::Login(error) => error,
            Fault::Refused(refusal) => refusal.error(tried),
        }
    }
}

impl Refusal {
    /// What the box would say without this right.
    pub fn lacking(right: &str) -> Refusal {
        Refusal { code: "insufficient_rights", status: 403, right: Some(right.into()) }
    }

    /// As an error, with what to do.
    pub fn error(&self, tried: &str) -> Error {
        let (why, remedy) = match self.code {
            "auth_required" | "invalid_session" => ("the box ended the session at once", ""),
            "invalid_token" => (
                "the box does not know the token, or not any more",
                "remove the credentials file and register again: gatemeter freebox register (or is freebox.auth_hash wrong?)",
            ),
            "pending_token" => (
                "nobody has accepted gatemeter on the box's display",
                "press the right arrow there; if it asks for nothing, register again: gatemeter freebox register",
            ),
            "insufficient_rights" => {
                ("a right is missing", "give it in the box's settings, under access management, applications")
            }
            "denied_from_external_ip" => {
                ("the box allows it from its LAN only", "set freebox.endpoint to its LAN address")
            }
            "ratelimited" => ("too many logins have failed", "it is tried again in five minutes"),
            "new_apps_denied" => (
                "the box takes no new applications",
                "allow requests for tokens in the box's settings, under access management",
            ),
            "apps_denied" => {
                ("the box allows no applications", "allow them in the box's settings, under access management")
            }
            "invalid_request" => ("this box has no such thing", ""),
            "nodev" => ("the box has none, as in bridge mode", "take it out of freebox.status if that is to stay so"),
            code => {
                let status = self.status;
                return Error::failed(tried, format!("the box refuses ({code}, HTTP {status})"));
            }
        };
        let error = match &self.right {
            Some(right) => Error::failed(tried, format!("{why}: {right}")),
            None => Error::failed(tried, why),
        };
        if remedy.is_empty() { error } else { error.remedy(remedy) }
    }
}

/// Where the API is, as the box itself tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    target: Target,
    /// `/api/v8/`.
    path: String,
    /// The version of the API that is spoken.
    pub version: u32,
    /// The newest that the box has.
    newest: u32,
    /// The whole URL, without a slash at its end.
    pub url: String,
    /// The model, as `fbxgw-r2/full`; empty if it is not told.
    pub model: String,
    /// What people call it.
    pub model_name: String,
}

/// A client with its session.
pub struct Client {
    settings: Settings,
    trust: Trust,
    credentials: Option<Credentials>,
    place: Option<Place>,
    /// The connection that is kept, and where to.
    stream: Option<(Target, Stream)>,
    session: Option<Secret>,
    /// When the last session began.
    begun: Instant,
    /// No login before then, and why.
    pause: Option<(Instant, Refusal)>,
    deadline: Instant,
    /// Whether this round has logged in again.
    renewed: bool,
    /// Sessions opened.
    pub logins: u64,
    /// The rights that the last login was told.
    pub rights: Vec<(String, bool)>,
}

impl Client {
    /// Opens nothing.
    ///
    /// # Errors
    /// The roots to trust cannot be read, or HTTPS is asked for and not there.
    pub fn new(settings: Settings, credentials: Option<Credentials>) -> Result<Client> {
        let trust = Trust::new(settings.ca_bundle.as_deref(), settings.tls_verify)?;
        if !tls::IS_THERE && (settings.tls == Tls::On || settings.endpoint.https == Some(true)) {
            return Err(tls::missing());
        }
        Ok(Client {
            settings,
            trust,
            credentials,
            place: None,
            stream: None,
            session: None,
            begun: Instant::now(),
            pause: None,
            deadline: Instant::now(),
            renewed: false,
            logins: 0,
            rights: Vec::new(),
        })
    }

    /// Begins a round of calls, all of which end at this time at the latest.
    pub fn begin(&mut self, deadline: Instant) {
        (self.deadline, self.renewed) = (deadline, false);
    }

    /// Whether the round has no time left.
    pub fn is_late(&self) -> bool {
        self.deadline <= Instant::now()
    }

    /// Forgets where the API is, so that it is asked for again.
    pub fn forget_place(&mut self) {
        self.place = None;
    }

    /// Where the API is, if it was found.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether there is a session, as far as is known.
    pub fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Logs in with these from now on. That others were refused says nothing about them.
    pub fn take_credentials(&mut self, credentials: Credentials) {
        if self.credentials.as_ref() != Some(&credentials) {
            (self.credentials, self.pause) = (Some(credentials), None);
        }
    }

    /// Finds the API and logs in, as far as that is not done.
    pub async fn open(&mut self) -> Result<(), Fault> {
        self.find().await?;
        if self.session.is_none() {
            self.login().await?;
        }
        Ok(())
    }

    /// Asks the box where its API is; it tells without a session.
    pub async fn find(&mut self) -> Result<Place, Fault> {
        if let Some(place) = &self.place {
            return Ok(place.clone());
        }
        let endpoint = &self.settings.endpoint;
        let https = endpoint.https == Some(true);
        let port = endpoint.port.unwrap_or(if https { PORTS.1 } else { PORTS.0 });
        let name = https.then(|| self.settings.tls_name.clone().unwrap_or(endpoint.host.clone()));
        let target = Target { host: endpoint.host.clone(), port, name };
        let doc = self.send(&target, "GET", "/api_version", None).await?.1;
        let place = self.read_place(doc.root(), target);
        let Some(place) = place else {
            let tried = format!("find the API of {}", self.settings.endpoint.host);
            let error = Error::failed(tried, "what answers there does not tell a version of the API");
            return Err(Fault::Malformed(error.remedy("is freebox.endpoint the box's address?")));
        };
        if place.version > place.newest {
            let tried = format!("speak version {} of the API with {}", place.version, self.settings.endpoint.host);
            let error = Error::failed(tried, format!("the box knows those up to {}", place.newest));
            return Err(Fault::Login(error.remedy("set freebox.api_version to one of them, or leave it empty")));
        }
        log::debug!(target: super::NAME, "the API is at {}, model {}", place.url, place.model);
        self.place = Some(place.clone());
        Ok(place)
    }

    fn read_place(&self, root: Node<'_>, found_at: Target) -> Option<Place> {
        let settings = &self.settings;
        let text = |name: &str| root.at(name).and_then(Node::text).unwrap_or_default();
        let told = text("api_version");
        let newest: u32 = told.split('.').next().and_then(|major| major.parse().ok())?;
        let version = settings.api_version.unwrap_or(newest);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        let base = text("api_base_url");
        let base = base.trim_matches('/');
        let base = if base.bytes().all(is_plain) && !base.is_empty() { base } else { "api" };
        let offers = root.at("https_available").and_then(Node::truth).unwrap_or(false);
        let domain = text("api_domain");
        let is_domain =
            !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        let https = match (settings.tls, settings.endpoint.https) {
            (Tls::On, _) | (Tls::Auto, Some(true)) => true,
            (Tls::Off, _) | (Tls::Auto, Some(false)) => false,
            (Tls::Auto, None) => offers && tls::IS_THERE,
        };
        let mut target = Target { name: None, ..found_at };
        if https {
            let is_address = target.host.starts_with('[') || target.host.parse::<std::net::IpAddr>().is_ok();
            // A port of the endpoint without https in front is that of HTTP.
            if settings.endpoint.https != Some(true) {
                target.port = PORTS.1;
            }
            // Certificates are for names: that of a box is its own domain as well.
            let mut name = if is_address && is_domain { domain.clone().into_owned() } else { target.host.clone() };
            if settings.tls_domain && is_domain {
                let port = root.at("https_port").and_then(Node::text).and_then(|port| port.parse().ok());
                target.port = port.unwrap_or(PORTS.1);
                target.host = domain.clone().into_owned();
                name = domain.clone().into_owned();
            }
            target.name = Some(settings.tls_name.clone().unwrap_or(name));
        }
        let path = format!("/{base}/v{version}/");
        let scheme = if https { "https" } else { "http" };
        Some(Place {
            url: format!("{scheme}://{}{}", target.authority(), path.trim_end_matches('/')),
            target,
            path,
            version,
            newest,
            model: text("box_model").into_owned(),
            model_name: text("box_model_name").into_owned(),
        })
    }

    /// Asks for something, with a session that is opened for it if need be, and opened again once a round if the box
    /// has ended it.
    pub async fn get(&mut self, path: &str) -> Result<Doc, Fault> {
        self.open().await?;
        match self.call("GET", path, None).await {
            Err(Fault::Refused(Refusal { code: "auth_required" | "invalid_session", .. })) => {
                self.session = None;
                if self.renewed {
                    let tried = format!("stay logged in to {}", self.settings.endpoint.host);
                    return Err(Fault::Login(Error::failed(tried, "the box ends each session at once")));
                }
                self.renewed = true;
                log::debug!(target: super::NAME, "the session has ended, logging in again");
                self.login().await?;
                self.call("GET", path, None).await
            }
            other => other,
        }
    }

    /// A call of the API; those before the login need no session.
    pub async fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<Doc, Fault> {
        let place = self.find().await?;
        let (status, doc) = self.send(&place.target, method, &format!("{}{path}", place.path), body).await?;
        let root = doc.root();
        if root.at("success").and_then(Node::truth) == Some(true) {
            return Ok(doc);
        }
        let told = root.at("error_code").and_then(Node::text).unwrap_or_default();
        let code = CODES.iter().find(|code| **code == told).copied().unwrap_or("other");
        let right = root.at("missing_right").and_then(Node::text);
        let right = right.map(|right| right.chars().take(MAX_RIGHT).collect());
        Err(Fault::Refused(Refusal { code, status, right }))
    }

    /// Opens a session.
    async fn login(&mut self) -> Result<(), Fault> {
        let tried = format!("log in to {}", self.settings.endpoint.host);
        let Some(credentials) = self.credentials.clone() else {
            let why = format!("there are no credentials in {}", self.settings.credentials.display());
            return Err(Fault::Login(Error::failed(tried, why).remedy("gatemeter freebox register")));
        };
        if let Some((until, refusal)) = &self.pause
            && Instant::now() < *until
        {
            return Err(Fault::Login(refusal.error(&tried)));
        }
        let doc = self.call("GET", "login/", None).await?;
        let Some(challenge) = doc.root().at("result.challenge").and_then(Node::text) else {
            return Err(Fault::Login(Error::failed(tried, "the box gives no challenge")));
        };
        let password = secret::password(&credentials.app_token, &challenge, self.settings.digest);
        let body = format!(
            "{{\"app_id\":{},\"app_version\":\"{}\",\"password\":{}}}",
            quoted(&credentials.app_id),
            env!("CARGO_PKG_VERSION"),
            quoted(password.expose())
        );
        let doc = match self.call("POST", "login/session/", Some(&body)).await {
            Err(Fault::Refused(refusal)) => {
                let pause = if refusal.code == "pending_token" { SHORT_PAUSE } else { PAUSE };
                self.pause = Some((Instant::now() + pause, refusal.clone()));
                return Err(Fault::Login(refusal.error(&tried)));
            }
            other => other?,
        };
        self.pause = None;
        let result = doc.root().at("result");
        let token = result.and_then(|result| result.at("session_token")?.text()).filter(|token| {
            // It becomes part of the head of requests.
            !token.is_empty() && token.len() <= 512 && token.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let Some(token) = token else {
            return Err(Fault::Login(Error::failed(tried, "the box gives no session token")));
        };
        (self.session, self.begun) = (Some(Secret::new(token)), Instant::now());
        self.logins += 1;
        let rights = result.and_then(|result| result.at("permissions")).into_iter().flat_map(|rights| rights.members());
        self.rights.clear();
        for (right, granted) in rights.take(MAX_RIGHTS) {
            let name: String = right.chars().take(MAX_RIGHT).collect();
            // Each is a label value, so none may stand there twice.
            if let (Some(granted), false) = (granted.truth(), self.rights.iter().any(|(known, _)| *known == name)) {
                self.rights.push((name, granted));
            }
        }
        log::debug!(target: super::NAME, "logged in to {}", self.settings.endpoint.host);
        Ok(())
    }

    /// Whether the box has told that a right is not ours.
    pub fn lacks(&self, right: &str) -> bool {
        self.rights.iter().any(|(name, granted)| name == right && !granted)
    }

    /// Opens another session in the place of one that is older than this, which goes on if that fails.
    pub async fn renew(&mut self, age: Duration) {
        if self.begun.elapsed() < age {
            return;
        }
        let old = self.session.take();
        match self.login().await {
            Ok(()) => {
                let new = std::mem::replace(&mut self.session, old);
                self.end_session().await;
                self.session = new;
            }
            Err(_) => self.session = old,
        }
    }

    /// Ends the session, so that the box need not keep it.
    pub async fn logout(&mut self) {
        self.end_session().await;
        self.stream = None;
    }

    async fn end_session(&mut self) {
        if self.session.is_some() && self.place.is_some() {
            // Whether or not the box hears of it, it is over.
            let _ = self.call("POST", "login/logout/", Some("")).await;
        }
        self.session = None;
    }

    /// Sends a request and reads the JSON in its answer, whatever its status.
    async fn send(
        &mut self,
        target: &Target,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<(u16, Doc), Fault> {
        let begun = Instant::now();
        let deadline = self.deadline.min(begun + self.settings.timeout);
        let kept = self.stream.take().filter(|(kept, _)| kept == target).map(|(_, stream)| stream);
        // Nobody but the API hears of the session, in particular no unencrypted port beside it.
        let session =
            self.session.as_ref().filter(|_| self.place.as_ref().is_some_and(|place| place.target == *target));
        let request = request(target, method, path, session, body);
        let trust = &self.trust;
        let work = async {
            if let Some(mut stream) = kept {
                match stream.exchange(request.as_bytes()).await {
                    Ok(answer) => return Ok((answer, stream)),
                    // The box closes what is idle for a while, and that is no failure.
                    Err((true, _)) => {}
                    Err((false, error)) => return Err(error),
                }
            }
            let mut stream = connect(target, trust).await?;
            match stream.exchange(request.as_bytes()).await {
                Ok(answer) => Ok((answer, stream)),
                Err((_, error)) => Err(error),
            }
        };
        let tried = || format!("read {path} of {}", target.authority());
        let (answer, stream) = match within(deadline, work).await {
            Some(Ok(done)) => done,
            Some(Err(error)) => return Err(Fault::Transport(error.trying(tried))),
            None => {
                let why =
                    format!("no answer after {} ms", deadline.saturating_duration_since(begun).as_millis() as u64);
                let error = Error::failed(tried(), why).remedy("is the box on, and is freebox.endpoint its address?");
                return Err(Fault::Transport(error));
            }
        };
        log::trace!(
            target: super::NAME,
            "{method} {path}: {}, {} bytes in {} ms",
            answer.status,
            answer.body.len(),
            begun.elapsed().as_millis() as u64
        );
        if answer.stays {
            self.stream = Some((target.clone(), stream));
        }
        let (status, is_empty) = (answer.status, answer.body.trim_ascii().is_empty());
        match Doc::parse(answer.body) {
            Ok(doc) => Ok((status, doc)),
            Err(_) if status != 200 => Err(Fault::Refused(Refusal { code: "other", status, right: None })),
            Err(_) if is_empty => Err(Fault::Malformed(Error::failed(tried(), "the answer is empty"))),
            Err(error) => Err(Fault::Malformed(Error::codec(tried(), error))),
        }
    }
}

/// A request on the wire. Host is as browsers write it, without a port that goes without saying.
fn request(target: &Target, method: &str, path: &str, session: Option<&Secret>, body: Option<&str>) -> String {
    let usual = if target.name.is_some() { PORTS.1 } else { PORTS.0 };
    let host = if target.port == usual { target.host.clone() } else { target.authority() };
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatemeter/{}\r\nAccept: application/json\r\n",
        env!("CARGO_PKG_VERSION")
    );
    if let Some(session) = session {
        text.extend(["X-Fbx-App-Auth: ", session.expose(), "\r\n"]);
    }
    if let Some(body) = body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    text
}
