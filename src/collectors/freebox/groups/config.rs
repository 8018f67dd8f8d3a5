//! Settings of the connection: `connection/config`.

use super::super::table::{Family, Form, Kind, Make, Record};
use super::{Context, Group, Replies, family, gauge, info, nothing_more, of};

/// Always read, but seldom: people change these, and not often.
pub static GROUP: Group = Group {
    name: "config",
    always: true,
    pace: 300,
    right: None,
    families: FAMILIES,
    forms: FORMS,
    first: |_| &["connection/config/"],
    more: nothing_more,
    records,
};

const OF: Kind = Kind::Config;

static FAMILIES: &[Family] = &[
    family(
        gauge("freebox_connection_config_ping", &[], "Whether the box answers pings from outside (1) or not (0)."),
        &[of(OF, "ping", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_connection_config_adblock", &[], "Whether the box blocks advertisements (1) or not (0)."),
        &[of(OF, "adblock", Make::Flag, &[])],
    ),
    family(
        gauge("freebox_connection_config_wol", &[], "Whether wake-on-LAN through the box is on (1) or not (0)."),
        &[of(OF, "wol", Make::Flag, &[])],
    ),
    family(
        gauge(
            "freebox_connection_config_sip_alg_code",
            &[],
            "SIP application gateway: 0 disabled, 1 direct media, 2 any media, 999 another.",
        ),
        &[of(OF, "sip_alg", SIP_ALG, &[])],
    ),
    family(
        gauge(
            "freebox_connection_config_secure_password",
            &[],
            "Whether the password of the box is strong enough for access from outside (1) or not (0).",
        ),
        &[of(OF, "is_secure_pass", Make::Flag, &[])],
    ),
    family(
        gauge(
            "freebox_connection_config_remote_access",
            &[],
            "Whether the box can be managed from outside (1) or not (0).",
        ),
        &[of(OF, "remote_access", Make::Flag, &[])],
    ),
    family(
        gauge(
            "freebox_connection_config_api_remote_access",
            &[],
            "Whether the API can be reached from outside (1) or not (0).",
        ),
        &[of(OF, "api_remote_access", Make::Flag, &[])],
    ),
    family(
        gauge(
            "freebox_connection_config_allow_token_request",
            &[],
            "Whether new applications may ask for a token (1) or not (0).",
        ),
        &[of(OF, "allow_token_request", Make::Flag, &[])],
    ),
    family(
        info(
            "freebox_connection_config_info",
            &["remote_ip", "remote_port"],
            "Address and port under which the box can be managed from outside.",
        ),
        &[of(OF, "", Make::One, &["remote_access_ip", "remote_access_port"])],
    ),
];

const SIP_ALG: Make = Make::Code(&[("disabled", 0), ("direct_media", 1), ("any_media", 2), ("absent", -1)], 999);

static FORMS: &[Form] = &[
    Form {
        of: OF,
        measure: "",
        tags: &[],
        rows: &[
            ("config_ping_external", "ping|=0", Make::Flag),
            ("config_adblock", "adblock|=0", Make::Flag),
            ("config_wol", "wol|=0", Make::Flag),
            ("config_sip_alg", "sip_alg|=absent", SIP_ALG),
        ],
    },
    Form {
        of: OF,
        measure: "",
        tags: &[
            ("remote_ip", "remote_access_ip|=none", Make::Text),
            ("remote_access_port", "remote_access_port|=0", Make::Text),
        ],
        rows: &[
            ("config_remote_is_secure_pass", "is_secure_pass|=0", Make::Flag),
            ("config_remote_access", "remote_access|=0", Make::Flag),
            ("config_api_remote_access", "api_remote_access|=0", Make::Flag),
            ("config_api_allow_token_request", "allow_token_request|=0", Make::Flag),
        ],
    },
];

fn records<'a>(replies: &'a Replies, _: &'a Context, out: &mut Vec<Record<'a>>) {
    out.extend(replies.result(0).map(|node| Record::of(OF, node)));
}
