//! A device chooses its own name, and must not choose what the page does.

use std::collections::BTreeSet;

use serde_json::json;

use crate::browser::Browser;
use crate::home::{URL, basic, lease};
use crate::lab::Lab;

const NAMES: [&str; 7] = [
    "<script>alert(1)</script>",
    "\"><img/src=x/onerror=alert(1)>",
    "</script><svg/onload=alert(1)>",
    "</td></tr></table><iframe/src=/metrics>",
    "__proto__",
    "\u{202e}gnp.exe\u{2028}alert(1)",
    "${alert(1)}`;alert(1)//",
];

#[test]
fn a_name_is_text_whatever_it_is_made_of() {
    let lab = Lab::builder().hosts(8).build();
    let leases: String = NAMES.iter().zip(&lab.lan).map(|(name, host)| lease(name, host)).collect();
    let flags = ["-o", "target.host=203.0.113.1", "-o", "target.name=<img src=y onerror=alert(2)>"];
    let daemon = basic(&lab).uci("dhcp", &leases).flags(&flags).start();
    for host in &lab.lan {
        assert!(host.pings(lab.internet.v4, 1));
    }
    daemon.wait_until("all names", |metrics| {
        let named =
            metrics.keys().filter(|series| series.starts_with("client_status{") && series.contains("alert")).count();
        (named >= 5).then_some(())
    });
    let browser = Browser::start(&lab, lab.host(8));
    let tab = browser.tab(1100, 800);
    tab.open(URL);
    tab.until("document.querySelectorAll('#clients-rows tr').length >= 8 && document.querySelectorAll('#paths-rows li').length === 1");
    let names = tab.eval("[...document.querySelectorAll('.name')].map((node) => node.textContent)");
    for name in NAMES.iter().chain(&["<img src=y onerror=alert(2)>"]) {
        assert!(names.as_array().unwrap().contains(&json!(name)), "{name} is not among {names}");
    }
    let strangers =
        "document.querySelectorAll('img, iframe, object, form, base, script ~ script, [onload], [onerror]').length";
    assert_eq!(tab.eval(strangers), 0);
    assert_eq!(tab.eval("({}).polluted === undefined && Object.getPrototypeOf({}) === Object.prototype"), true);
    assert_eq!(tab.requests(), BTreeSet::from([URL.to_owned(), format!("{URL}api/v1/state")]));
    tab.is_innocent();

    // The same names on the page without scripts.
    let plain = browser.tab(1100, 800);
    plain.open(&format!("{URL}plain"));
    plain.until("document.querySelectorAll('table').length > 2");
    let cells = plain.eval("[...document.querySelectorAll('td')].map((node) => node.textContent)");
    for name in NAMES {
        assert!(cells.as_array().unwrap().contains(&json!(name)), "{name} is not among {cells}");
    }
    assert_eq!(plain.eval(strangers), 0);
    plain.is_innocent();
}

#[test]
fn the_policy_lets_nothing_in_that_is_not_the_pages_own() {
    let lab = Lab::new();
    let _daemon = basic(&lab).start();
    let browser = Browser::start(&lab, lab.host(2));
    let tab = browser.tab(800, 600);
    tab.open(URL);
    tab.until("document.body.className === 'live'");
    tab.eval(
        "window.broken = []; document.addEventListener('securitypolicyviolation', (event) => broken.push(event.effectiveDirective));
         const script = document.createElement('script'); script.textContent = 'window.came = 1'; document.body.append(script);
         const button = document.createElement('button'); button.setAttribute('onclick', 'window.came = 2'); button.click();
         const picture = document.createElement('img'); picture.src = '/metrics'; document.body.append(picture);
         const paint = document.createElement('p'); paint.setAttribute('style', 'color: red'); document.body.append(paint);
         fetch('http://198.51.100.10/').catch(() => {}); 1",
    );
    let directives = ["script-src-elem", "script-src-attr", "img-src", "style-src-attr", "connect-src"];
    // The browser complains of each, as it should.
    assert!(
        tab.comes_true(&format!("{}.every((name) => broken.includes(name))", json!(directives))),
        "{}",
        tab.eval("broken")
    );
    assert_eq!(tab.eval("window.came === undefined"), true);
    let requests = tab.requests();
    assert!(requests.iter().all(|url| url.starts_with(URL)), "{requests:?}");
}
