//! Pictures of the page in front of a whole home, as a person sees it. `make screenshots` keeps them in docs/.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::browser::Browser;
use crate::home::{self, Home, URL};
use crate::lab::Lab;
use crate::lab::traffic::StopOnDrop;

/// What the browser remembers of the hour before, as if it had been open: a minute is
/// [minute, sent, answered, seconds, length].
const EARLIER: &str = r#"{
const now = Date.now(), minute = Math.floor(now / 60000);
const hour = (base, swing, lost) => [...Array(58).keys()].map((at) => {
  const answered = 300 - (lost[at] || 0);
  const mean = base + swing * (1 + Math.sin(at / 5)) + (at % 13 === 7 ? swing * 3 : 0);
  return [minute - 58 + at, 300, answered, answered * mean, 1];
});
const paths = { "198.18.0.1": hour(.0024, .0003, {}), "198.18.0.2": hour(.0114, .0012, { 20: 12, 21: 55, 22: 9, 41: 4 }),
  "198.18.0.3 port 443": hour(.0174, .0015, { 21: 40 }) };
const host = (n) => "02:1A:00:00:01:0" + n;
const hosts = [[1, 2.31e9, 1.9e8], [3, 5.84e9, 6.1e7], [2, 8.2e8, 9.4e7], [4, 2.6e8, 3.07e9], [6, 4.1e8, 1.2e7], [7, 1.1e6, 4e5]];
try { if (!localStorage.length) localStorage.setItem("gatemeter.1", JSON.stringify({ at: now - 4000, since: new Date(now).setHours(0, 0, 0, 0),
  last: [], hosts: hosts.map(([n, down, up]) => [host(n), [down, up]]),
  paths: Object.entries(paths).map(([key, minutes]) => [key, { last: [0, 0, 0], minutes }]) })); } catch {}
}"#;

#[test]
fn the_page_is_fit_to_be_seen_in_light_in_dark_and_on_a_phone() {
    let lab = Lab::builder().hosts(7).build();
    let _home = Home::new(&lab);
    let daemon = Home::setup(&lab).start();
    home::is_up(&daemon);
    let kept = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    let dir = kept.clone().unwrap_or_else(|| lab.dir().to_owned());
    // The charts of a picture that is kept shall be full.
    let length = if kept.is_some() { Duration::from_secs(125) } else { Duration::from_secs(6) };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| home::live(&lab, &stop));
        let browser = Browser::start(&lab, lab.host(6));
        let tab = browser.tab(1280, 900);
        tab.before_pages(EARLIER);
        tab.prefer("prefers-color-scheme", "light");
        tab.open(URL);
        tab.until("document.body.className === 'live' && document.querySelectorAll('#clients-rows tr').length > 4");
        let begun = Instant::now();
        while begun.elapsed() < length {
            std::thread::sleep(Duration::from_millis(200));
        }
        for (name, scheme, width, height, scale) in
            [("light", "light", 1280, 900, 1.0), ("dark", "dark", 1280, 900, 1.0), ("phone", "light", 390, 844, 1.5)]
        {
            tab.prefer("prefers-color-scheme", scheme);
            tab.resize(width, height, scale);
            // Two frames later it is drawn in its new size.
            tab.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");
            let wide = tab.eval("document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(wide <= u64::from(width), "{name}: the page is {wide} wide on a screen of {width}");
            let picture = tab.picture(name != "phone");
            assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{name}");
            fs::write(dir.join(format!("page-{name}.png")), picture).unwrap();
        }
        tab.is_innocent();
    });
}
