//! What Broadcom's adapters answer on EtherType 0x8912.

use super::answers::header;
use super::{Adapter, Chip, Model, Request};

const BROADCOM: [u8; 3] = [0x00, 0x1f, 0x84];
/// By these 16 bytes behind the sequence number an adapter knows a discovery.
const SIGNATURE: [u8; 16] =
    [0xa3, 0x97, 0xa2, 0x55, 0x53, 0xbe, 0xf1, 0xfc, 0xf9, 0x79, 0x6b, 0x52, 0x14, 0x13, 0xe9, 0xe2];

impl Model {
    pub(super) fn answer_mediaxtream(&self, adapter: &Adapter, request: &Request, frame: &[u8]) -> Option<Vec<u8>> {
        if adapter.chip != Chip::Bcm60333 || frame.get(19..22) != Some(&BROADCOM[..]) {
            return None;
        }
        // Answers are of version 2, whatever the question.
        let about = Request { version: 2, ..request.clone() };
        let mut answer = header(adapter, &about, request.kind | 1, &BROADCOM);
        let network = self.networks_of(adapter).next();
        match request.kind {
            0xa070 => {
                (frame.get(23..39) == Some(&SIGNATURE[..])).then_some(())?;
                let text = b"tpver_701E14_190426_901\0";
                // Echoed sequence, interface: MII1 or the power line.
                answer.extend([frame[22], if adapter.local { 1 } else { 2 }, text.len() as u8]);
                answer.extend(text);
            }
            0xa028 => {
                answer.extend([frame[22], u8::from(network.is_some())]);
                if let Some(network) = network {
                    answer.extend(network.nid);
                    let role = if network.members[0] == adapter.mac { 3 } else { 2 };
                    answer.extend([network.snid, adapter.tei, role]);
                    answer.extend(network.members[0]);
                    answer.extend([0, 0, 0]);
                    // The coordinator that would take over.
                    answer.extend([0; 6]);
                }
            }
            0xa02c => {
                let peers: Vec<_> = network.into_iter().flat_map(|network| self.peers(adapter, network)).collect();
                answer.extend([frame[22], peers.len() as u8]);
                for peer in peers {
                    answer.extend(peer.mac);
                    for (from, to) in [(adapter.mac, peer.mac), (peer.mac, adapter.mac)] {
                        // Above the rate stand beam forming, mode and kind of the peer.
                        answer.extend((self.rate_between(from, to) & 0x07ff | 0x6000).to_le_bytes());
                    }
                }
            }
            0xa04c => {
                answer.push(frame[22]);
                for number in [0x017f_024f_u32, 1, 2, 3, 4, 5] {
                    answer.extend(number.to_le_bytes());
                }
                answer.push(2);
                answer.extend([7; 10]);
                answer.extend(123_456_u32.to_le_bytes());
                answer.push(4);
                answer.extend(b"boot");
                answer.extend(0x0201_0c08_u32.to_le_bytes());
                answer.extend([0; 8]);
                answer.extend([2, 1]);
            }
            _ => return None,
        }
        Some(answer)
    }
}
