//! Changes of the ruleset: one transaction, all or nothing.

use super::expression::Expression;
use super::{
    Count, DATA_VALUE, Datagram, Family, LIST_ENTRY, REQUEST, SET_EVAL, SUBSYSTEM, chain, element, fixed, kind,
    message_type, rule, set, table,
};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const CREATE: u16 = libc::NLM_F_CREATE as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// `NF_INET_FORWARD`.
pub const HOOK_FORWARD: u32 = 2;
/// Elements in one message, so that their list stays below the 64 KiB an attribute can hold.
const ELEMENTS_A_MESSAGE: usize = 400;
/// What user data begins with that is a comment: `NFTNL_UDATA_*_COMMENT`.
pub(super) const COMMENT: u8 = 0;
/// What nf_tables takes at most: a length of one byte, with the NUL that ends it.
const MAX_COMMENT_BYTES: usize = 254;

/// A set as it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSet {
    /// Its name.
    pub name: &'static str,
    /// A number for it within the transaction.
    pub id: u32,
    /// What nft takes its keys for: 7 for IPv4 addresses, 8 for IPv6's.
    pub key_type: u32,
    /// Bytes of a key.
    pub key_length: u32,
    /// Most elements.
    pub size: u32,
}

/// What is said about a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// What nft shows as its comment.
    Comment(&'a str),
    /// Something of another type, which nft keeps to itself.
    Other(u8, &'a str),
}

/// Where a rule goes in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all that are there.
    First,
    /// Behind all that are there.
    Last,
}

/// A transaction in the making. The messages are numbered from 2 on, in the order in which they are added.
#[derive(Debug, Clone)]
pub struct Batch {
    datagram: Datagram,
    sequence: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// One that changes nothing.
    pub fn new() -> Batch {
        let mut datagram = Datagram::new();
        datagram.message(BEGIN, REQUEST, 1, &marker());
        Batch { datagram, sequence: 1 }
    }

    /// How many bytes it has so far.
    pub fn bytes(&self) -> usize {
        self.datagram.len()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.sequence == 1
    }

    /// The bytes to send.
    pub fn finish(mut self) -> Vec<u8> {
        let sequence = self.sequence + 1;
        self.datagram.message(END, REQUEST, sequence, &marker());
        self.datagram.finish()
    }

    fn message(&mut self, kind: u8, flags: u16, family: Family) -> &mut Datagram {
        self.sequence += 1;
        // No acknowledgement is asked for: what is not refused is done, and hundreds of answers would overrun the socket.
        self.datagram.message(message_type(kind), REQUEST | flags, self.sequence, &fixed(Some(family)))
    }

    /// Makes a table, or changes the flags of the one that is there.
    pub fn table(&mut self, family: Family, name: &str, flags: u32, comment: Option<&str>) -> &mut Self {
        let message = self.message(kind::NEW_TABLE, CREATE, family);
        message.text(table::NAME, name).be32(table::FLAGS, flags);
        if let Some(comment) = comment {
            message.attribute(table::USERDATA, &user_data(&[Said::Comment(comment)]));
        }
        self
    }

    /// Removes a table with all that is in it.
    pub fn delete_table(&mut self, family: Family, name: &str) -> &mut Self {
        self.message(kind::DELETE_TABLE, 0, family).text(table::NAME, name);
        self
    }

    /// Makes a base chain for forwarded packets that lets all pass, or leaves the same one as it is.
    pub fn forward_chain(
        &mut self,
        family: Family,
        table: &str,
        name: &str,
        priority: i32,
        comment: Option<&str>,
    ) -> &mut Self {
        let message = self.message(kind::NEW_CHAIN, CREATE, family);
        message.text(chain::TABLE, table).text(chain::NAME, name);
        message.nested(chain::HOOK, |hook| {
            hook.be32(chain::HOOK_NUMBER, HOOK_FORWARD).be32(chain::HOOK_PRIORITY, priority as u32);
        });
        message.be32(chain::POLICY, ACCEPT).text(chain::TYPE, "filter");
        if let Some(comment) = comment {
            message.attribute(chain::USERDATA, &user_data(&[Said::Comment(comment)]));
        }
        self
    }

    /// Makes a chain that others jump to, or leaves the one that is there.
    pub fn chain(&mut self, family: Family, table: &str, name: &str, comment: &str) -> &mut Self {
        let message = self.message(kind::NEW_CHAIN, CREATE, family);
        message.text(chain::TABLE, table).text(chain::NAME, name);
        message.attribute(chain::USERDATA, &user_data(&[Said::Comment(comment)]));
        self
    }

    /// Removes a chain without rules.
    pub fn delete_chain(&mut self, family: Family, table: &str, name: &str) -> &mut Self {
        self.message(kind::DELETE_CHAIN, 0, family).text(chain::TABLE, table).text(chain::NAME, name);
        self
    }

    /// Makes a set whose elements come from packets, each with a counter.
    pub fn counting_set(&mut self, family: Family, table: &str, new: NewSet) -> &mut Self {
        let message = self.message(kind::NEW_SET, CREATE, family);
        message.text(set::TABLE, table).text(set::NAME, new.name).be32(set::FLAGS, SET_EVAL);
        message.be32(set::KEY_TYPE, new.key_type).be32(set::KEY_LENGTH, new.key_length).be32(set::ID, new.id);
        message.nested(set::DESCRIPTION, |description| {
            description.be32(set::DESCRIPTION_SIZE, new.size);
        });
        message.nested(set::EXPRESSION, |counter| Expression::Counter(Count::default()).write(counter));
        self
    }

    /// Adds elements to a set, each with what it has counted; those that are there stay as they are.
    pub fn elements(&mut self, family: Family, table: &str, set: &str, elements: &[(Vec<u8>, Count)]) -> &mut Self {
        for part in elements.chunks(ELEMENTS_A_MESSAGE) {
            let message = self.message(kind::NEW_ELEMENT, CREATE, family);
            message.text(element::LIST_TABLE, table).text(element::LIST_SET, set);
            message.nested(element::LIST_ELEMENTS, |list| {
                for (key, count) in part {
                    list.nested(LIST_ENTRY, |entry| {
                        write_key(entry, key);
                        entry.nested(element::EXPRESSION, |counter| Expression::Counter(*count).write(counter));
                    });
                }
            });
        }
        self
    }

    /// Removes an element of a set, which must be there. One message each: the kernel refuses by message, and so
    /// tells which of them was missing.
    pub fn delete_element(&mut self, family: Family, table: &str, set: &str, key: &[u8]) -> &mut Self {
        let message = self.message(kind::DELETE_ELEMENT, 0, family);
        message.text(element::LIST_TABLE, table).text(element::LIST_SET, set);
        message.nested(element::LIST_ELEMENTS, |list| {
            list.nested(LIST_ENTRY, |entry| write_key(entry, key));
        });
        self
    }

    /// Adds a rule to a chain.
    pub fn rule(
        &mut self,
        family: Family,
        (table, chain): (&str, &str),
        place: Place,
        said: &[Said<'_>],
        expressions: &[Expression],
    ) -> &mut Self {
        let flags = if place == Place::Last { CREATE | APPEND } else { CREATE };
        let message = self.message(kind::NEW_RULE, flags, family);
        message.text(rule::TABLE, table).text(rule::CHAIN, chain);
        message.nested(rule::EXPRESSIONS, |list| {
            for expression in expressions {
                expression.write_entry(list);
            }
        });
        if !said.is_empty() {
            message.attribute(rule::USERDATA, &user_data(said));
        }
        self
    }

    /// Removes all rules of a chain.
    pub fn delete_rules(&mut self, family: Family, table: &str, chain: &str) -> &mut Self {
        self.message(kind::DELETE_RULE, 0, family).text(rule::TABLE, table).text(rule::CHAIN, chain);
        self
    }

    /// Removes one rule.
    pub fn delete_rule(&mut self, family: Family, (table, chain): (&str, &str), handle: u64) -> &mut Self {
        let message = self.message(kind::DELETE_RULE, 0, family);
        message.text(rule::TABLE, table).text(rule::CHAIN, chain).be64(rule::HANDLE, handle);
        self
    }
}

/// `struct nfgenmsg` of the markers: no family, and nf_tables as the resource.
fn marker() -> [u8; 4] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}

fn write_key(entry: &mut Datagram, key: &[u8]) {
    entry.nested(element::KEY, |value| {
        value.attribute(DATA_VALUE, key);
    });
}

/// User data: entries of a type, a length, and a value.
fn user_data(said: &[Said<'_>]) -> Vec<u8> {
    let mut data = Vec::new();
    for said in said {
        let (kind, text) = match said {
            Said::Comment(text) => (COMMENT, text),
            Said::Other(kind, text) => (*kind, text),
        };
        let text = text.as_bytes();
        let text = text.get(..MAX_COMMENT_BYTES).unwrap_or(text);
        data.extend_from_slice(&[kind, text.len() as u8 + 1]);
        data.extend_from_slice(text);
        data.push(0);
    }
    data
}
