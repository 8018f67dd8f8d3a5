//! What the browser remembers: over reloads, over counters that begin again, and without storage.

use serde_json::json;

use crate::browser::{Browser, Tab};
use crate::home::{URL, basic};
use crate::lab::Lab;

/// A page that has been live and asks no more, so that its functions can be called with figures of a test.
fn still<'a>(browser: &'a Browser) -> Tab<'a> {
    let tab = browser.tab(800, 600);
    tab.open(URL);
    tab.until("document.body.className === 'live'");
    tab.eval("Object.defineProperty(document, 'hidden', { get: () => true }); document.dispatchEvent(new Event('visibilitychange'))");
    tab
}

#[test]
fn bytes_of_today_are_differences_of_counters_that_may_begin_again() {
    let lab = Lab::new();
    let _daemon = basic(&lab).start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = still(&browser);
    let after = |looks: &str| {
        tab.eval(&format!(
            "(() => {{ memory = blank(); const noon = new Date(2026, 5, 1, 12).getTime();
               for (const [minutes, down, up] of {looks}) remember(noon + minutes * 60000, [{{ key: 'a', id: 'a 1', down, up }}], []);
               return [...memory.hosts.get('a'), Math.round((memory.since - noon) / 60000)]; }})()"
        ))
    };
    // What there is at the first look was before it.
    assert_eq!(after("[[0, 500, 50]]"), json!([0, 0, 0]));
    assert_eq!(after("[[0, 500, 50], [1, 700, 60], [2, 700, 61]]"), json!([200, 11, 0]));
    // Nobody looked for three hours, which are today's all the same.
    assert_eq!(after("[[0, 500, 50], [180, 900, 90]]"), json!([400, 40, 0]));
    // The daemon has begun to count anew.
    assert_eq!(after("[[0, 500, 50], [1, 30, 3]]"), json!([30, 3, 0]));
    // At midnight, 720 minutes after noon, it begins with nothing; what came in the minute around it is the new day's.
    assert_eq!(after("[[700, 500, 50], [719, 600, 60], [721, 650, 65]]"), json!([50, 5, 720]));
    // Whoever looks first in the morning does not know what was before midnight.
    assert_eq!(after("[[0, 500, 50], [1300, 900, 90], [1301, 910, 91]]"), json!([10, 1, 1300]));
}

#[test]
fn a_path_has_its_last_hour_and_no_more() {
    let lab = Lab::new();
    let _daemon = basic(&lab).start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = still(&browser);
    let after = |looks: &str| {
        tab.eval(&format!(
            "(() => {{ memory = blank(); const noon = new Date(2026, 5, 1, 12).getTime();
               for (const [minutes, sent, answered] of {looks})
                 remember(noon + minutes * 60000, [], [{{ key: 'p', sent, answered, seconds: answered / 8 }}]);
               return memory.paths.get('p').minutes.map(([minute, ...rest]) => [minute - noon / 60000, ...rest]); }})()"
        ))
    };
    assert_eq!(after("[[0, 10, 10]]"), json!([]));
    assert_eq!(after("[[0, 10, 10], [0.5, 20, 18], [0.9, 30, 26]]"), json!([[0, 20, 16, 2, 1]]));
    // While nobody looked there is an average; after more than an hour there is nothing to tell.
    assert_eq!(after("[[0, 10, 10], [30, 110, 106]]"), json!([[30, 100, 96, 12, 30]]));
    assert_eq!(after("[[0, 10, 10], [61, 110, 106], [62, 120, 114]]"), json!([[62, 10, 8, 1, 1]]));
    // The daemon was restarted.
    assert_eq!(after("[[0, 10, 10], [1, 8, 8]]"), json!([[1, 8, 8, 1, 1]]));
    let many = "[...Array(200).keys()].map((minute) => [minute, minute * 10, minute * 10])";
    let kept = after(many);
    assert_eq!(kept.as_array().unwrap().len(), 60);
    assert_eq!((kept[0][0].as_u64(), kept[59][0].as_u64()), (Some(140), Some(199)));
    // What strangers could make grow is bounded, too.
    let grown = "(() => { memory = blank(); for (let n = 0; n < 5000; n++) remember(1e12 + n, [{ key: 'k' + n, id: 'i' + n, down: n, up: n }], []);
        return [memory.last.size, memory.hosts.size]; })()";
    assert_eq!(tab.eval(grown), json!([4096, 4096]));
}

#[test]
fn the_page_lives_with_storage_that_is_refused_full_or_full_of_nonsense() {
    let lab = Lab::new();
    let _daemon = basic(&lab).flags(&["-o", "target.host=203.0.113.1"]).start();
    let browser = Browser::start(&lab, lab.host(2));
    let nonsense = [
        "'{'",
        "'null'",
        "'[]'",
        "JSON.stringify({ at: 1, since: 1, last: [], hosts: [], paths: [['203.0.113.1', null]] })",
        "JSON.stringify({ at: 1, since: 1, last: [[1]], hosts: [[2]], paths: [['203.0.113.1', { last: [], minutes: [1, 'x'] }]] })",
        "JSON.stringify({ at: Date.now(), since: Date.now(), last: [['a', 'b']], hosts: [['a', 7]], paths: {} })",
    ];
    let setups = nonsense.map(|text| {
        format!("if (!localStorage.seen) {{ localStorage.seen = 1; localStorage.setItem('gatemeter.1', {text}); }}")
    });
    let refused = [
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('refused', 'SecurityError'); } });",
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };",
    ];
    for setup in setups.iter().map(String::as_str).chain(refused) {
        let tab = browser.tab(800, 600);
        tab.before_pages(setup);
        tab.open(URL);
        tab.until("document.body.className === 'live' && document.querySelectorAll('#paths-rows li').length === 1");
        tab.eval("try { localStorage.clear() } catch {}");
        tab.is_innocent();
    }
    // Without nonsense, a reload goes on where it was.
    let tab = browser.tab(800, 600);
    tab.open(URL);
    tab.until("document.body.className === 'live' && memory.paths.size === 1 && memory.paths.get('203.0.113.1').minutes.length > 0");
    let before = tab.eval("memory.paths.get('203.0.113.1').minutes[0]");
    tab.eval("location.reload()");
    tab.until("document.body.className === 'live' && memory.paths.size === 1 && memory.paths.get('203.0.113.1').minutes.length > 0");
    let after = tab.eval("memory.paths.get('203.0.113.1').minutes[0]");
    assert!(after[0] == before[0] && after[1].as_f64() >= before[1].as_f64(), "{before} and later {after}");
    tab.is_innocent();
}
