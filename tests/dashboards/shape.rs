//! Boards as Grafana imports them.

use std::collections::BTreeSet;

use crate::board::{self, text};

#[test]
fn a_board_has_an_identity_of_its_own_and_asks_the_source_that_was_chosen() {
    let mut seen = BTreeSet::new();
    for board in board::all() {
        let name = &board.name;
        assert!(seen.insert(text(&board.json["uid"]).to_owned()), "{name}: another board has this uid");
        // A number of another installation would replace a board there.
        assert!(board.json.get("id").is_none(), "{name} has an id");
        assert_eq!(board.json["tags"][0], "gatemeter", "{name}");
        let variables = board.json["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        let sources = board.panels().flat_map(|panel| {
            let targets = panel["targets"].as_array().unwrap().iter().map(|target| &target["datasource"]);
            targets.chain([&panel["datasource"]])
        });
        for source in sources.chain(variables[1..].iter().map(|variable| &variable["datasource"])) {
            assert_eq!((text(&source["type"]), text(&source["uid"])), ("prometheus", "${datasource}"), "{name}");
        }
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn panels_lie_side_by_side_and_say_what_they_show() {
    for board in board::all() {
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in board.json["panels"].as_array().unwrap() {
            let whence = format!("{}: {}", board.name, panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{whence}: another panel has this id");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= 24 && w > 0 && h > 0, "{whence} is outside");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{whence} lies upon another panel");
            }
            if panel["type"] != "row" {
                assert!(!text(&panel["title"]).is_empty(), "{whence}");
                assert!(text(&panel["description"]).ends_with('.'), "{whence} has no description");
                assert!(!text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "{whence} has no unit");
            }
        }
    }
}

#[test]
fn columns_that_tables_rename_or_hide_are_there() {
    for board in board::all() {
        for panel in board.panels().filter(|panel| panel["type"] == "table") {
            let targets = panel["targets"].as_array().unwrap();
            let columns: BTreeSet<String> =
                targets.iter().map(|target| format!("Value #{}", text(&target["refId"]))).collect();
            let expressions: String = targets.iter().map(|target| text(&target["expr"])).collect();
            let options = &panel["transformations"][1]["options"];
            let names = |key: &str| options[key].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            for name in [names("renameByName"), names("excludeByName")].concat() {
                let is_value = columns.contains(&name);
                let is_label = !name.starts_with("Value") && expressions.contains(&name);
                let is_always = ["Time", "__name__", "job"].contains(&name.as_str());
                assert!(is_value || is_label || is_always, "{}: {} has no {name}", board.name, panel["title"]);
            }
            for column in columns {
                let is_placed = [names("renameByName"), names("excludeByName")].concat().contains(&column);
                assert!(is_placed, "{}: {} shows {column} without a name", board.name, panel["title"]);
            }
        }
    }
}
