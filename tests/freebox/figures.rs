//! Every figure of both boxes.

use crate::lab::freebox::Model;
use crate::support::{Home, printed};

#[test]
fn a_first_page() {
    for model in [Model::Fibre, Model::Dsl] {
        let home = Home::new(model);
        for format in ["prometheus", "influxdb", "graphite"] {
            let output = home.setup("all").run(&["once", "-f", format]);
            println!("{}\n{}", output.stderr, printed(&output));
        }
    }
}
