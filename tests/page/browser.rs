//! Headless Chromium on a host of the lab, and a client of its DevTools protocol over a pair of pipes
//! (`--remote-debugging-pipe`: JSON messages that end with a zero byte), which needs neither a port nor a library.
//! Source: chromedevtools.github.io/devtools-protocol.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::PATIENCE;
use crate::lab::process::{Background, poll, shown};
use crate::lab::{Lab, Node};

/// The shell gives the browser its two pipes as descriptors 3 and 4 before it becomes the browser. Root has no sandbox,
/// and a namespace of the lab no graphics card; everything else here keeps the browser from what is not the page.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
    --no-default-browser-check --disable-extensions --disable-sync --disable-background-networking \
    --disable-component-update --disable-default-apps --force-color-profile=srgb --hide-scrollbars --lang=en-GB \
    --disable-features=Translate,MediaRouter,OptimizationHints --remote-debugging-pipe --user-data-dir=\"$0\" \
    about:blank 3<&0 4>&1 </dev/null >/dev/null";

/// A browser takes a core and a few hundred megabytes: the tests have one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A browser; it ends when this is dropped.
pub struct Browser {
    process: RefCell<Background>,
    to: RefCell<ChildStdin>,
    from: Receiver<Value>,
    /// What was said without being asked for.
    events: RefCell<Vec<Value>>,
    next: Cell<u64>,
    log: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// A tab of a browser.
pub struct Tab<'a> {
    browser: &'a Browser,
    session: String,
}

impl Browser {
    /// Starts a browser on `node`, with everything it writes in the lab's directory.
    pub fn start(lab: &Lab, node: &Node) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = (0..).map(|n| lab.dir().join(format!("browser{n}"))).find(|dir| !dir.exists()).unwrap();
        fs::create_dir_all(&dir).unwrap();
        let log = dir.join("log");
        let mut command = node.command("sh");
        command.args(["-c", START]).arg(dir.join("profile")).env("HOME", &dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let what = shown(&command);
        let mut child = command.spawn().unwrap();
        let (to, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        Browser {
            process: RefCell::new(Background::adopt(child, what)),
            to: RefCell::new(to),
            from,
            events: RefCell::default(),
            next: Cell::new(1),
            log,
            _alone: alone,
        }
    }

    /// A new tab of this size in CSS pixels, with nothing in it. What happens there is noted from the beginning.
    pub fn tab(&self, width: u32, height: u32) -> Tab<'_> {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = self.call(None, "Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        let tab = Tab { browser: self, session: attached["sessionId"].as_str().unwrap().to_owned() };
        for domain in ["Page", "Runtime", "Network", "Log", "Accessibility", "DOM"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.resize(width, height, 1.0);
        tab
    }

    /// Sends a command and returns its result.
    fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let id = self.next.replace(self.next.get() + 1);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let sent = self.to.borrow_mut().write_all(format!("{message}\0").as_bytes());
        sent.unwrap_or_else(|e| self.fail(&format!("does not take {method}: {e}")));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.from.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let message = message.unwrap_or_else(|e| self.fail(&format!("does not answer {method}: {e}")));
            if message["id"] != id {
                self.events.borrow_mut().push(message);
                continue;
            }
            if !message["error"].is_null() {
                self.fail(&format!("refuses {method}: {}", message["error"]));
            }
            return message["result"].clone();
        }
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        panic!("chromium {why}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In order if it still listens, so that it takes its helpers along; else it is killed.
        let _ = self.to.borrow_mut().write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        poll(Duration::from_secs(10), || self.process.borrow_mut().ended());
    }
}

impl Tab<'_> {
    /// Sends a command to the tab.
    pub fn call(&self, method: &str, parameters: Value) -> Value {
        self.browser.call(Some(&self.session), method, parameters)
    }

    /// Sets the size of the window in CSS pixels and how many of the screen's each has.
    pub fn resize(&self, width: u32, height: u32, scale: f64) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the page see a preference, such as `prefers-color-scheme`.
    pub fn prefer(&self, name: &str, value: &str) {
        self.call("Emulation.setEmulatedMedia", json!({"features": [{"name": name, "value": value}]}));
    }

    /// Runs `script` before any script of the pages to come.
    pub fn before_pages(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
    }

    /// The value of an expression in the page, awaited if it is a promise.
    #[track_caller]
    pub fn eval(&self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, which must not complain on the way.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        let so = self.wait(expression, || self.is_innocent());
        assert!(so, "never so in the page: {expression}; it says\n{}", self.eval("document.body.innerText"));
    }

    /// Whether an expression becomes true in the page, whatever that complains about.
    pub fn comes_true(&self, expression: &str) -> bool {
        self.wait(expression, || ())
    }

    fn wait(&self, expression: &str, meanwhile: impl Fn()) -> bool {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let is_so = || {
            // While a page is being loaded, what it will have is not there yet.
            let answer = self.call("Runtime.evaluate", parameters.clone());
            meanwhile();
            (answer["result"]["value"] == true).then_some(())
        };
        poll(PATIENCE, is_so).is_some()
    }

    /// Presses and releases a key, by its DevTools names.
    pub fn key(&self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            let press = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", press);
        }
    }

    /// What has happened in the tab under this name, in order.
    pub fn events(&self, method: &str) -> Vec<Value> {
        // Whatever was said before this answer has arrived by then.
        self.call("Runtime.evaluate", json!({"expression": "1"}));
        let events = self.browser.events.borrow();
        let here =
            events.iter().filter(|event| event["sessionId"] == self.session.as_str() && event["method"] == method);
        here.map(|event| event["params"].clone()).collect()
    }

    /// The addresses of all requests the tab has made, without what is in the page itself.
    pub fn requests(&self) -> BTreeSet<String> {
        let requests = self.events("Network.requestWillBeSent");
        let urls = requests.iter().map(|event| event["request"]["url"].as_str().unwrap().to_owned());
        urls.filter(|url| !url.starts_with("data:")).collect()
    }

    /// Fails if the page has broken its policy, thrown an error, complained, or asked the user something.
    #[track_caller]
    pub fn is_innocent(&self) {
        let mut complaints = self.events("Runtime.exceptionThrown");
        complaints.extend(self.events("Page.javascriptDialogOpening"));
        let entries = self.events("Log.entryAdded");
        // A daemon that is away is part of some tests.
        complaints.extend(entries.into_iter().filter(|event| event["entry"]["source"] != "network"));
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    /// A picture of the window, or of the whole page, as PNG.
    pub fn picture(&self, whole: bool) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}));
        base64(answer["data"].as_str().unwrap())
    }
}

/// Base64 as the protocol has it, without line ends (RFC 4648).
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits =
            four.iter().fold(0_u32, |bits, letter| bits << 6 | u32::from(value(*letter))) << (6 * (4 - four.len()));
        out.extend(bits.to_be_bytes()[1..four.len()].iter());
    }
    out
}
