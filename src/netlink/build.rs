//! Writing netlink messages: a [`Datagram`] of one or more, each with its attributes, nested ones included.

use super::{ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, align};

/// `NLA_F_NESTED`: the attribute holds attributes.
const NESTED: u16 = 0x8000;
/// Longest attribute, header included: its length is 16 bits. Callers split what could be longer.
const MAX_ATTRIBUTE_BYTES: usize = u16::MAX as usize;

/// Messages to be sent in one datagram, which the kernel takes as one request or, between the markers of a batch, as
/// one transaction.
#[derive(Debug, Default, Clone)]
pub struct Datagram {
    buf: Vec<u8>,
    /// Where the message begins whose length is still open.
    open: usize,
}

impl Datagram {
    /// One without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a message: a header, and the `fixed` part of its family. The attributes written next belong to it.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> &mut Self {
        self.open = self.buf.len();
        self.buf.extend_from_slice(&0u32.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(&flags.to_ne_bytes());
        self.buf.extend_from_slice(&sequence.to_ne_bytes());
        // nlmsg_pid: the kernel takes the sender's from the socket.
        self.buf.extend_from_slice(&0u32.to_ne_bytes());
        self.buf.extend_from_slice(fixed);
        self.close()
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        debug_assert!(value.len() + ATTRIBUTE_HEADER_BYTES <= MAX_ATTRIBUTE_BYTES, "attribute {kind} is too long");
        let length = (ATTRIBUTE_HEADER_BYTES + value.len()) as u16;
        self.buf.extend_from_slice(&length.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(value);
        self.close()
    }

    /// Adds a name, with the NUL that ends it.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut value = Vec::with_capacity(text.len() + 1);
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        self.attribute(kind, &value)
    }

    /// Adds a 32-bit number in network order, as nf_tables and conntrack want them.
    pub fn be32(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Adds a 64-bit number in network order.
    pub fn be64(&mut self, kind: u16, number: u64) -> &mut Self {
        self.attribute(kind, &number.to_be_bytes())
    }

    /// Adds a 32-bit number in the order of this machine, as rtnetlink wants them.
    pub fn ne32(&mut self, kind: u16, number: u32) -> &mut Self {
        self.attribute(kind, &number.to_ne_bytes())
    }

    /// Adds an attribute that holds what `content` adds.
    pub fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.buf.len();
        self.attribute(kind | NESTED, &[]);
        content(self);
        let length = self.buf.len() - start;
        debug_assert!(length <= MAX_ATTRIBUTE_BYTES, "attribute {kind} is too long");
        if let Some(field) = self.buf.get_mut(start..start + 2) {
            field.copy_from_slice(&(length as u16).to_ne_bytes());
        }
        self
    }

    /// How many bytes it has so far.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether it has no message yet.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// The bytes to send.
    pub fn finish(self) -> Vec<u8> {
        self.buf
    }

    /// Pads what was written and tells the message its length.
    fn close(&mut self) -> &mut Self {
        self.buf.resize(align(self.buf.len()), 0);
        let length = (self.buf.len() - self.open) as u32;
        debug_assert!(length as usize >= HEADER_BYTES, "an attribute before the first message");
        if let Some(field) = self.buf.get_mut(self.open..self.open + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::{attributes, messages};
    use super::*;

    #[test]
    fn what_is_written_reads_back_nesting_included() {
        let mut datagram = Datagram::new();
        datagram.message(7, 5, 1, &[1, 0, 0, 10]).text(1, "gate").nested(4, |hook| {
            hook.be32(1, 2).be64(2, 3);
        });
        datagram.message(8, 0, 2, &[]).ne32(1, 9);
        let bytes = datagram.finish();
        let got: Vec<_> = messages(&bytes).map(Result::unwrap).collect();
        assert_eq!(got.iter().map(|m| (m.kind, m.flags, m.sequence)).collect::<Vec<_>>(), [(7, 5, 1), (8, 0, 2)]);
        let first: Vec<_> = attributes(&got[0].body[4..]).map(Result::unwrap).collect();
        assert_eq!((first[0].kind, first[0].value), (1, &b"gate\0"[..]));
        let inner: Vec<_> =
            attributes(first[1].value).map(|a| a.map(|a| (a.kind, a.value.to_vec())).unwrap()).collect();
        assert_eq!(first[1].kind, 4);
        assert_eq!(inner, [(1, vec![0, 0, 0, 2]), (2, vec![0, 0, 0, 0, 0, 0, 0, 3])]);
        let second: Vec<_> = attributes(got[1].body).map(Result::unwrap).collect();
        assert_eq!((second[0].kind, second[0].value), (1, &9u32.to_ne_bytes()[..]));
    }

    #[test]
    fn a_datagram_is_padded_so_that_the_next_message_is_aligned() {
        let mut datagram = Datagram::new();
        datagram.message(7, 0, 1, &[]).attribute(1, &[1]).message(8, 0, 2, &[1]);
        let bytes = datagram.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(messages(&bytes).map(|m| m.unwrap().kind).collect::<Vec<_>>(), [7, 8]);
    }
}
