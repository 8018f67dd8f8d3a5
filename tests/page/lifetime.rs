//! A daemon that comes and goes, and a page that nobody looks at.

use std::time::Duration;

use crate::browser::{Browser, Tab};
use crate::home::{URL, basic};
use crate::lab::Lab;

/// Counts requests for the state, and hides or shows the page as the browser would.
const COUNT: &str =
    "(() => { window.asked = 0; const old = fetch; fetch = (...all) => { asked++; return old(...all); };
    Object.defineProperty(document, 'hidden', { get: () => window.away === true });
    window.turn = (away) => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); }; })()";

fn live<'a>(browser: &'a Browser) -> Tab<'a> {
    let tab = browser.tab(800, 600);
    tab.open(URL);
    tab.until("document.body.className === 'live' && document.querySelectorAll('#health-rows li').length === 5");
    tab
}

#[test]
fn a_restart_of_the_daemon_is_told_and_survived() {
    let lab = Lab::new();
    let setup = basic(&lab);
    let mut daemon = setup.start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = live(&browser);
    tab.eval("window.same = document.querySelector('#health-rows li')");
    daemon.kill9();
    tab.until(
        "document.body.className === 'away' && $('state').textContent.startsWith('No answer from gatemeter since')",
    );
    tab.until("failures >= 3 && $('retry').textContent === 'next try in 8 s'");
    // What was known stays, and is told to be old.
    assert_eq!(tab.eval("document.querySelectorAll('#health-rows li').length"), 5);
    let _daemon = setup.start();
    tab.until(
        "document.body.className === 'live' && $('state').textContent === 'Live' && $('retry').textContent === ''",
    );
    assert_eq!(tab.eval("same.isConnected && failures === 0"), true);
    tab.is_innocent();
}

#[test]
fn a_page_turned_off_while_somebody_looks_says_so() {
    let lab = Lab::new();
    let setup = basic(&lab);
    let daemon = setup.start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = live(&browser);
    setup.write_uci("gatemeter", "config gatemeter 'main'\n\toption page '0'\n");
    daemon.signal(libc::SIGHUP);
    tab.until("/^No answer from gatemeter since .*: it answers 404$/.test($('state').textContent)");
    tab.is_innocent();
}

#[test]
fn nothing_is_asked_while_nobody_looks() {
    let lab = Lab::new();
    let _daemon = basic(&lab).start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = live(&browser);
    tab.eval(COUNT);
    tab.until("asked >= 2");
    tab.eval("turn(true)");
    let before = tab.eval("asked");
    // Twice and a half the usual pause; on a slow machine still less would be asked.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(tab.eval("asked"), before);
    assert_eq!(tab.eval("document.body.className"), "live");
    tab.eval("turn(false)");
    tab.until(&format!("asked > {before}"));
    tab.is_innocent();
}
