use super::*;
use crate::collectors::freebox::table::{MAX_LABELS, MAX_TAGS, write_families, write_points};
use crate::metrics::Page;

/// Whether an expression is one that the walk understands.
fn is_sound(expression: &str) -> bool {
    let number = |text: &str, below: u64| text.parse::<u64>().is_ok_and(|number| number < below);
    expression.split('|').all(|alternative| match alternative.chars().next() {
        Some('=') => true,
        Some('@') => number(&alternative[1..], 3),
        Some('#') => number(&alternative[1..], 4),
        _ => {
            let path = alternative.strip_prefix('^').unwrap_or(alternative);
            let (path, factor) = path.split_once(['/', '*']).unwrap_or((path, "1"));
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
            path.chars().all(is_plain) && number(factor, 10_000_000) && factor != "0"
        }
    })
}

#[test]
fn every_expression_of_every_table_is_sound() {
    for group in ALL {
        for family in group.families {
            assert!(family.desc.name.starts_with("freebox_"));
            assert!(family.desc.labels.len() <= MAX_LABELS && !family.figures.is_empty());
            for figure in family.figures {
                assert_eq!(figure.labels.len(), family.desc.labels.len(), "{}", family.desc.name);
                for expression in figure.labels.iter().chain([&figure.value]) {
                    assert!(is_sound(expression), "{}: {expression}", family.desc.name);
                }
            }
        }
        for form in group.forms {
            assert!(form.tags.len() <= MAX_TAGS && !form.rows.is_empty());
            for (name, expression, _) in form.tags.iter().chain(form.rows) {
                assert!(is_sound(expression), "{name}: {expression}");
            }
        }
    }
}

#[test]
fn no_family_and_no_group_stands_twice() {
    let mut names: Vec<_> = ALL.iter().flat_map(|group| group.families).map(|family| family.desc.name).collect();
    names.extend(ALL.iter().map(|group| group.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// What a group makes of these answers, as families and as points.
fn page(group: &Group, answers: &[&str]) -> Page {
    let docs = answers.iter().map(|text| Doc::parse(format!("{{\"result\":{text}}}").into_bytes()).ok());
    let (replies, context) = (Replies(docs.collect()), Context::default());
    let mut records = Vec::new();
    (group.records)(&replies, &context, &mut records);
    let mut page = Page::with_points();
    write_families(&mut page, group.families, &records, true);
    write_points(&mut page, group.forms, &records);
    page
}

fn samples(page: &Page) -> Vec<String> {
    let families = page.families().flat_map(|family| {
        let name = family.desc.name;
        family
            .samples()
            .map(|sample| {
                let labels: Vec<_> = sample.labels().map(|(name, value)| format!("{name}={value}")).collect();
                format!("{name} {} {:?}", labels.join(" "), sample.value)
            })
            .collect::<Vec<_>>()
    });
    families.collect()
}

#[test]
fn an_id_that_leads_elsewhere_is_not_asked_for() {
    let answer = r#"{"result":[{"id":"../../login"},{"id":7},{"name":"x"},{"id":"a?b"}]}"#;
    let replies = Replies(vec![Doc::parse(answer.into()).ok()]);
    let paths = (switch::GROUP.more)(&replies);
    let none = "switch/port/none/stats/";
    assert_eq!(paths, [none, "switch/port/7/stats/", none, none]);
}

#[test]
fn more_is_asked_only_up_to_a_bound() {
    let answer = format!("{{\"result\":[{}]}}", vec!["{\"id\":1}"; 1000].join(","));
    let replies = Replies(vec![Doc::parse(answer.into()).ok()]);
    assert_eq!((switch::GROUP.more)(&replies).len(), MAX_MORE);
    assert_eq!((vpn_server::GROUP.more)(&replies).len(), MAX_MORE);
}

#[test]
fn any_answer_in_the_place_of_any_other_harms_nothing() {
    for group in ALL {
        for answer in ["null", "[]", "{}", "7", "\"x\"", "[[]]", "[null,1,{}]", "{\"id\":{},\"state\":[],\"tunnel\":7}"]
        {
            page(group, &[answer; 4]);
            page(group, &[]);
        }
    }
}

#[test]
fn a_tenth_is_preferred_and_a_rate_that_is_not_known_is_left_out() {
    let page = page(
        &connection::GROUP,
        &[
            r#"{"state":"up","media":"XDSL","rate_down":-1,"rate_up":"12"}"#,
            r#"{"down":{"snr":6,"snr_10":64},"up":{"snr":9}}"#,
        ],
    );
    let got = samples(&page);
    assert!(got.contains(&"freebox_connection_xdsl_snr_db direction=down Float(6.4)".into()), "{got:#?}");
    assert!(got.contains(&"freebox_connection_xdsl_snr_db direction=up Unsigned(9)".into()), "{got:#?}");
    assert!(got.contains(&"freebox_connection_rate_bytes_per_second direction=up Unsigned(12)".into()), "{got:#?}");
    assert!(!got.iter().any(|line| line.starts_with("freebox_connection_rate_bytes_per_second direction=down")));
}

#[test]
fn a_log_that_was_not_answered_is_not_an_empty_one() {
    assert!(samples(&page(&call::GROUP, &["[]"])).contains(&"freebox_calls type=missed Unsigned(0)".into()));
    assert_eq!(samples(&page(&call::GROUP, &["[", "{}"])), Vec::<String>::new());
}
