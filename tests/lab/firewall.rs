//! A firewall in the manner of OpenWrt's firewall4: one table with everything, which a reload empties and fills again in
//! one transaction, and which lets in only what was asked for.

use std::net::IpAddr;

use super::{Lab, Node, process};

/// The table `inet fw4` of the router.
#[derive(Debug)]
pub struct Firewall<'a> {
    router: &'a Node,
    redirects: Vec<String>,
}

impl<'a> Firewall<'a> {
    /// Puts the firewall up on a lab without NAT of its own.
    pub fn start(lab: &'a Lab) -> Self {
        let firewall = Self { router: &lab.router, redirects: Vec::new() };
        firewall.reload();
        firewall
    }

    /// Sends what comes to `port` of the router from outside to a host's port, over `protocol` (`tcp` or `udp`).
    pub fn forward_port(&mut self, protocol: &str, port: u16, to: impl Into<IpAddr>, to_port: u16) {
        let redirect = match to.into() {
            IpAddr::V4(v4) => format!("iifname \"wan\" {protocol} dport {port} dnat ip to {v4}:{to_port}"),
            IpAddr::V6(v6) => format!("iifname \"wan\" {protocol} dport {port} dnat ip6 to [{v6}]:{to_port}"),
        };
        self.redirects.push(redirect);
        self.reload();
    }

    /// What `fw4 reload` does: empties the table and fills it in one transaction. What others put into it is gone.
    pub fn reload(&self) {
        let mut nft = self.router.command("nft");
        nft.args(["-f", "-"]);
        process::must(nft, &self.ruleset()).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Without firewall4's verdict map for connections that are established: for a moment of each reload the kernel finds
    /// nothing in it and drops a packet.
    fn ruleset(&self) -> String {
        format!(
            "table inet fw4\n\
             flush table inet fw4\n\
             table inet fw4 {{\n\
             chain input {{\n\
             type filter hook input priority filter; policy accept;\n\
             ct state established,related accept\n\
             iifname \"wan\" meta l4proto {{ icmp, icmpv6 }} accept\n\
             }}\n\
             chain forward {{\n\
             type filter hook forward priority filter; policy drop;\n\
             ct state established,related accept\n\
             iifname \"br-lan\" jump forward_lan\n\
             iifname \"wan\" jump forward_wan\n\
             jump handle_reject\n\
             }}\n\
             chain forward_lan {{\n\
             oifname {{ \"wan\", \"br-guest\" }} accept comment \"accept_to_wan\"\n\
             }}\n\
             chain forward_wan {{\n\
             ct status dnat accept comment \"port forwards\"\n\
             }}\n\
             chain handle_reject {{\n\
             meta l4proto tcp reject with tcp reset\n\
             }}\n\
             chain dstnat {{\n\
             type nat hook prerouting priority dstnat; policy accept;\n\
             {}\n\
             }}\n\
             chain srcnat {{\n\
             type nat hook postrouting priority srcnat; policy accept;\n\
             oifname \"wan\" meta nfproto ipv4 masquerade\n\
             }}\n\
             }}\n",
            self.redirects.join("\n")
        )
    }
}
