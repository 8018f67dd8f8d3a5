//! Secrets: what must not be seen, and what is made of it to log in.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::Sha256;

/// A token. It prints as `***`, so no log line, error or page can hold it by accident, and leaves nothing in memory that is
/// free again.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // The compiler must not find out that nobody reads the zeroes.
        std::hint::black_box(&bytes);
    }
}

impl Secret {
    /// Keeps a token.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The token itself, for the wire and the credentials file only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its first four characters, by which its owner knows it; nothing of a token so short that this would tell much.
    pub fn start(&self) -> &str {
        self.0.get(..4).filter(|_| self.0.len() >= 16).unwrap_or("")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Digest of the password that opens a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// What every box takes (dev.freebox.fr, "Authentification").
    Sha1,
    /// In case a box asks for it.
    Sha256,
}

/// The password that answers a challenge: the keyed digest (RFC 2104) in lower-case hexadecimal digits.
pub fn password(token: &Secret, challenge: &str, digest: Digest) -> Secret {
    let (key, message) = (token.0.as_bytes(), challenge.as_bytes());
    // A key may have any length, so no constructor fails.
    Secret(
        match digest {
            Digest::Sha1 => {
                Hmac::<Sha1>::new_from_slice(key).map(|mac| hex(&mac.chain_update(message).finalize().into_bytes()))
            }
            Digest::Sha256 => {
                Hmac::<Sha256>::new_from_slice(key).map(|mac| hex(&mac.chain_update(message).finalize().into_bytes()))
            }
        }
        .unwrap_or_default(),
    )
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_that_of_the_test_vectors() {
        let token = |end| Secret::new(format!("dOcUmEnTaTiOnToKeN+0000000000000000000000000000000000000000000/{end}"));
        let got = password(&token(8), "C8hallengeC8hallengeC8hallenge08", Digest::Sha1);
        assert_eq!(got.expose(), "909bbb12946076af48ab856ef4a722ef3584744c");
        let got = password(&token(5), "C5hallengeC5hallengeC5hallenge05", Digest::Sha1);
        assert_eq!(got.expose(), "44e65eda7de2dfa87765df32b4485d1876cadf60");
    }

    #[test]
    fn every_digest_is_that_of_its_rfc() {
        // RFC 2202 and RFC 4231, test case 2.
        let of = |digest| password(&Secret::new("Jefe"), "what do ya want for nothing?", digest).expose().to_owned();
        assert_eq!(of(Digest::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(of(Digest::Sha256), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_secret_prints_as_stars_and_shows_four_characters_when_asked() {
        let secret = Secret::new("dOcUmEnTaTiOnToKeN");
        assert_eq!((format!("{secret:?}").as_str(), secret.start()), ("***", "dOcU"));
        assert_eq!((Secret::new("short").start(), Secret::new("").start()), ("", ""));
        assert_eq!(Secret::new("ééééééééé").start(), "éé");
    }
}
