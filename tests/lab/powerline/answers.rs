//! What adapters answer on EtherType 0x88E1: Qualcomm's own messages and those of the specification.

use super::{Adapter, Address, Chip, HOMEPLUG, Model, Network, Request};

const QUALCOMM: [u8; 3] = [0x00, 0xb0, 0x52];

/// Ethernet and message header of an answer.
pub(super) fn header(adapter: &Adapter, request: &Request, kind: u16, oui: &[u8]) -> Vec<u8> {
    let source = if adapter.chip == Chip::BootLoader { super::LOCAL } else { adapter.mac };
    let mut frame = request.source.to_vec();
    frame.extend(source);
    frame.extend(request.ethertype.to_be_bytes());
    frame.push(request.version);
    frame.extend(kind.to_le_bytes());
    if request.version > 0 {
        frame.extend([0, 0]);
    }
    frame.extend(oui);
    frame
}

/// CM_MME_ERROR.IND: the type is not supported.
pub(super) fn complaint(adapter: &Adapter, request: &Request) -> Vec<u8> {
    let about = Request { version: 1, ethertype: HOMEPLUG, ..request.clone() };
    let mut frame = header(adapter, &about, 0x6046, &[]);
    frame.extend([0, request.version]);
    frame.extend(request.kind.to_le_bytes());
    frame
}

impl Model {
    pub(super) fn answer(&mut self, adapter: &Adapter, request: &Request, frame: &[u8]) -> Option<Vec<u8>> {
        let vendor = || header(adapter, request, request.kind | 1, &QUALCOMM);
        let standard = || header(adapter, request, request.kind | 1, &[]);
        let is_qualcomm = matches!(adapter.chip, Chip::Int6400 | Chip::Qca7420 | Chip::Qca7500);
        let vendor_asked = frame.get(if request.version == 0 { 17..20 } else { 19..22 }) == Some(&QUALCOMM[..]);
        match (request.kind, request.version) {
            (0xa000, 0) if vendor_asked && (is_qualcomm || adapter.chip == Chip::BootLoader) => {
                Some(version(vendor(), adapter.chip))
            }
            (0xa038, 0) if vendor_asked && is_qualcomm => Some(self.networks0(vendor(), adapter)),
            (0xa038, 1) if vendor_asked && is_qualcomm && adapter.chip != Chip::Int6400 => {
                Some(self.networks1(vendor(), adapter))
            }
            (0xa030, 0) if vendor_asked && is_qualcomm => self.link(vendor(), adapter, frame),
            (0x0014, 1) if adapter.chip != Chip::BootLoader => Some(self.discover_list(standard(), adapter)),
            // Broadcom's firmware leaves these to its own messages.
            (0x6038, 1) if is_qualcomm || adapter.chip == Chip::Other => {
                Some(self.standard_networks(standard(), adapter))
            }
            (0x6048, 1) if is_qualcomm || adapter.chip == Chip::Other => {
                Some(self.standard_rates(standard(), adapter, 1))
            }
            (0x6048, 2) if adapter.chip == Chip::Other => Some(self.standard_rates(standard(), adapter, 2)),
            _ => None,
        }
    }

    fn role(&self, adapter: &Adapter, network: &Network) -> u8 {
        adapter.role.unwrap_or(if network.members[0] == adapter.mac { 2 } else { 0 })
    }

    fn cco(&self, network: &Network) -> (Address, u8) {
        let cco = network.members[0];
        (cco, self.by_mac(cco).map_or(0, |cco| cco.tei))
    }

    fn networks0(&self, mut frame: Vec<u8>, adapter: &Adapter) -> Vec<u8> {
        frame.push(self.networks_of(adapter).count() as u8);
        for network in self.networks_of(adapter) {
            let (cco, cco_tei) = self.cco(network);
            frame.extend(network.nid);
            frame.extend([network.snid, adapter.tei, self.role(adapter, network)]);
            frame.extend(cco);
            frame.extend([cco_tei, (self.peers(adapter, network).count() + adapter.phantoms.len()) as u8]);
            for peer in self.peers(adapter, network) {
                frame.extend(peer.mac);
                frame.push(peer.tei);
                frame.extend(peer.bridged.unwrap_or([0xff; 6]));
                // All that eight bits hold.
                let rate = |from, to| self.rate_between(from, to).min(255) as u8;
                frame.extend([rate(adapter.mac, peer.mac), rate(peer.mac, adapter.mac)]);
            }
            for phantom in &adapter.phantoms {
                frame.extend(phantom);
                frame.extend([0; 9]);
            }
        }
        frame
    }

    fn networks1(&self, mut frame: Vec<u8>, adapter: &Adapter) -> Vec<u8> {
        let mut body = vec![0, self.networks_of(adapter).count() as u8];
        for network in self.networks_of(adapter) {
            let (cco, cco_tei) = self.cco(network);
            body.extend(network.nid);
            body.extend([0, 0, network.snid, adapter.tei, 0, 0, 0, 0, self.role(adapter, network)]);
            body.extend(cco);
            body.extend([cco_tei, 0, 0, 0, (self.peers(adapter, network).count() + adapter.phantoms.len()) as u8]);
            body.extend([0; 5]);
            for peer in self.peers(adapter, network) {
                body.extend(peer.mac);
                body.extend([peer.tei, 0, 0, 0]);
                body.extend(peer.bridged.unwrap_or([0xff; 6]));
                body.extend(self.rate_between(adapter.mac, peer.mac).to_le_bytes());
                // A chip with two pairs of wires receives from another such one by the second.
                let both = [adapter.chip, peer.chip].contains(&Chip::Qca7500);
                body.extend([if both { 0x10 } else { 0 }, 0]);
                body.extend(self.rate_between(peer.mac, adapter.mac).to_le_bytes());
                body.extend([0, 0]);
            }
            for phantom in &adapter.phantoms {
                body.extend(phantom);
                body.extend([0; 18]);
            }
        }
        frame.extend([0, 0]);
        frame.extend((body.len() as u16).to_le_bytes());
        frame.extend(body);
        frame
    }

    /// Both directions of one link; counters grow with each question.
    fn link(&mut self, mut frame: Vec<u8>, adapter: &Adapter, request: &[u8]) -> Option<Vec<u8>> {
        let [_control, direction, lid, peer @ ..]: [u8; 9] = request.get(20..29)?.try_into().unwrap();
        let known = self.networks_of(adapter).any(|network| network.members.contains(&peer));
        let tei = self.by_mac(peer).filter(|_| known).map(|peer| peer.tei);
        let Some(tei) = tei else {
            // There is no such peer.
            frame.extend([0x20, direction, lid, 0]);
            return Some(frame);
        };
        let grown = self.links.entry((adapter.mac, peer)).or_insert(0);
        *grown += 1;
        let grown = *grown;
        frame.extend([0, direction, lid, tei]);
        let mut put = |numbers: &[u64]| numbers.iter().for_each(|number| frame.extend((number * grown).to_le_bytes()));
        if direction != 1 {
            put(&[1249, 271, 3, 1628, 7]);
        }
        if direction != 0 {
            put(&[886, 2, 1539, 5, 241, 11]);
            // Two intervals: rate, and four counters.
            frame.push(2);
            for (rate, counters) in [(93u8, [1000u64, 1, 200, 5]), (88, [539, 4, 41, 6])] {
                frame.push(rate);
                counters.iter().for_each(|counter| frame.extend(counter.to_le_bytes()));
            }
        }
        Some(frame)
    }

    fn discover_list(&self, mut frame: Vec<u8>, adapter: &Adapter) -> Vec<u8> {
        let peers: Vec<(&Network, &Adapter)> = self
            .networks_of(adapter)
            .flat_map(|network| self.peers(adapter, network).map(move |peer| (network, peer)))
            .collect();
        frame.push(peers.len() as u8);
        for (network, peer) in peers {
            frame.extend(peer.mac);
            frame.extend([peer.tei, 1, network.snid, 0x1e, 5, 0x9a]);
        }
        frame.push(self.networks_of(adapter).count() as u8);
        for network in self.networks_of(adapter) {
            frame.extend(network.nid);
            frame.extend([network.snid, 0, 7, 1, 0, 0]);
        }
        frame
    }

    fn standard_networks(&self, mut frame: Vec<u8>, adapter: &Adapter) -> Vec<u8> {
        frame.push(self.networks_of(adapter).count() as u8);
        for network in self.networks_of(adapter) {
            frame.extend(network.nid);
            frame.extend([network.snid, adapter.tei, self.role(adapter, network)]);
            frame.extend(self.cco(network).0);
            frame.extend([0, 0]);
        }
        frame
    }

    fn standard_rates(&self, mut frame: Vec<u8>, adapter: &Adapter, version: u8) -> Vec<u8> {
        let Some(network) = self.networks_of(adapter).next() else {
            frame.push(0);
            return frame;
        };
        frame.push(self.peers(adapter, network).count() as u8);
        for peer in self.peers(adapter, network) {
            frame.extend(peer.mac);
            for (from, to) in [(adapter.mac, peer.mac), (peer.mac, adapter.mac)] {
                let rate = self.rate_between(from, to);
                match version {
                    1 => frame.push(rate.min(255) as u8),
                    _ => frame.extend(rate.to_le_bytes()),
                }
            }
        }
        frame
    }
}

/// VS_SW_VER.CNF, as long as the chip's firmware makes it.
fn version(mut frame: Vec<u8>, chip: Chip) -> Vec<u8> {
    let (class, text, length, identity) = match chip {
        Chip::Int6400 => (0x03, "INT6000-MAC-4-1-4102-00-3679-20090724-FINAL-B", 88, None),
        Chip::Qca7420 => (0x20, "MAC-QCA7420-1.1.0.844-02-20120523-FINAL", 313, Some((277, 0x001c_fc00u32))),
        Chip::Qca7500 => (0x30, "MAC-QCA7550-2.2.1.26-00-20150504-CS", 313, Some((277, 0x001d_4c00))),
        Chip::BootLoader => (0x06, "BootLoader", 108, Some((88, 0x001b_587c))),
        Chip::Bcm60333 | Chip::Other => unreachable!("it does not know the message"),
    };
    // QCA firmware counts the NUL, and leaves garbage behind it.
    let counted = text.len() + usize::from(length == 313);
    frame.extend([0, class, counted as u8]);
    frame.extend(text.bytes());
    if length == 313 {
        frame.push(0);
        frame.extend([0xff; 6]);
    }
    frame.resize(length, 0);
    if let Some((at, identity)) = identity {
        frame[at..at + 4].copy_from_slice(&identity.to_le_bytes());
    }
    frame
}
