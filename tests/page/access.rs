//! For everybody: with the keyboard, with a screen reader, without scripts, on small screens, in both schemes.

use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::home::{self, Home, URL, basic, lease};
use crate::lab::Lab;
use crate::lab::traffic::StopOnDrop;

#[test]
fn every_part_has_a_name_and_a_place_in_the_order_of_keys() {
    let lab = Lab::builder().hosts(7).build();
    let _home = Home::new(&lab);
    let daemon = Home::setup(&lab).start();
    home::is_up(&daemon);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| home::live(&lab, &stop));
        let browser = Browser::start(&lab, lab.host(6));
        let tab = browser.tab(1100, 800);
        tab.open(URL);
        tab.until("['clients', 'today', 'paths', 'line', 'powerline'].every((part) => !$(part).hidden) && document.querySelectorAll('.wire').length === 3");

        let mut order = Vec::new();
        while order.len() < 20 && order.last().is_none_or(|last| last != "Health") {
            tab.key("Tab", 9);
            let focus = tab.eval(
                "(() => { const at = document.activeElement; const seen = getComputedStyle(at).outlineStyle !== 'none';
                   return (at.id || at.textContent.trim()) + (seen ? '' : ' without a mark'); })()",
            );
            order.push(focus.as_str().unwrap().to_owned());
        }
        assert_eq!(order, ["Skip to the figures", "find", "order", "As a table", "Metrics", "Tables", "Health"]);
        // The details open by key, and hold what the picture says.
        tab.eval("document.querySelector('summary').focus()");
        tab.key("Enter", 13);
        tab.until(
            "document.querySelector('details').open && document.querySelectorAll('#powerline-rows tr').length === 6",
        );

        let tree = tab.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap();
        let named = |role: &str| -> Vec<String> {
            let of = nodes.iter().filter(|node| node["ignored"] != true && node["role"]["value"] == role);
            of.map(|node| node["name"]["value"].as_str().unwrap_or("").to_owned()).collect()
        };
        for role in ["heading", "link", "searchbox", "combobox", "image", "table", "region", "button", "rowheader"] {
            assert!(named(role).iter().all(|name| !name.trim().is_empty()), "{role}: {:?}", named(role));
        }
        let headings = [
            "gatemeter",
            "Right now",
            "Who is using the line",
            "Internet today",
            "Paths, last hour",
            "The line",
            "Powerline",
            "Collectors",
        ];
        assert_eq!(named("heading"), headings);
        assert_eq!((named("image").len(), named("table").len()), (5, 3), "{:?} {:?}", named("image"), named("table"));
        let rows = named("rowheader");
        assert!(rows.iter().any(|name| name.starts_with("laptop online")), "{rows:?}");
        let polite = nodes.iter().filter(|node| node["role"]["value"] == "status").count();
        assert_eq!(polite, 1, "one place speaks by itself");
        tab.is_innocent();
    });
}

#[test]
fn without_scripts_there_are_tables() {
    let lab = Lab::new();
    let daemon = basic(&lab).uci("dhcp", &lease("laptop", lab.host(1))).start();
    assert!(lab.host(1).pings(lab.internet.v4, 1));
    daemon.wait_until("the client", |metrics| {
        metrics.keys().any(|series| series.contains("client=\"laptop\"")).then_some(())
    });
    let browser = Browser::start(&lab, lab.host(2));
    let tab = browser.tab(800, 600);
    tab.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    tab.open(URL);
    tab.until("location.pathname === '/plain' && document.querySelectorAll('table').length > 2");
    let text = tab.eval("document.body.innerText");
    let text = text.as_str().unwrap();
    for part in ["clients", "laptop", "192.168.1.11", "bit/s", "connections", "online", "Read again"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn it_fits_small_screens_and_can_be_read_in_both_schemes_and_without_motion() {
    let lab = Lab::builder().hosts(2).build();
    let name = "a-device-with-a-name-that-is-longer-than-most-screens-of-telephones-are-wide";
    let _daemon = basic(&lab).uci("dhcp", &lease(name, lab.host(1))).flags(&["-o", "target.host=203.0.113.1"]).start();
    assert!(lab.host(1).pings(lab.internet.v4, 1));
    let browser = Browser::start(&lab, lab.host(2));
    let tab = browser.tab(320, 640);
    tab.open(URL);
    tab.until("document.querySelectorAll('#clients-rows tr').length === 2 && document.querySelectorAll('#paths-rows li').length === 1");
    for width in [320, 390, 768, 1024, 1600] {
        tab.resize(width, 700, 1.0);
        assert_eq!(tab.eval("document.documentElement.scrollWidth <= innerWidth"), true, "{width}");
    }
    // WCAG 2.2, 1.4.3: text has 4.5 times the luminance of what is behind it, or the other way around.
    let contrast = "(() => { const luminance = (color) => { const [r, g, b] = color.match(/\\d+/g).slice(0, 3)
            .map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const probe = document.body.appendChild(document.createElement('p'));
          const color = (name) => { probe.style.color = `var(--${name})`; return luminance(getComputedStyle(probe).color); };
          const found = {};
          for (const text of ['ink', 'soft', 'down', 'up', 'ok', 'bad', 'warn']) for (const back of ['back', 'card']) {
            const [a, b] = [color(text), color(back)]; found[text + ' on ' + back] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }
          probe.remove(); return found; })()";
    for scheme in ["light", "dark"] {
        tab.prefer("prefers-color-scheme", scheme);
        let found = tab.eval(contrast);
        let weak: Vec<(&String, &Value)> =
            found.as_object().unwrap().iter().filter(|(_, ratio)| ratio.as_f64().unwrap() < 4.5).collect();
        assert!(weak.is_empty(), "{scheme}: {weak:?}");
    }
    tab.prefer("prefers-reduced-motion", "reduce");
    let moving = "[...document.querySelectorAll('*')].filter((node) => getComputedStyle(node).transitionDuration !== '0s').length";
    assert_eq!(tab.eval(moving), 0);
    tab.is_innocent();
}
