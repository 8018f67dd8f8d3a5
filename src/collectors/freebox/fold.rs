//! Texts of the box as freebox-monitoring writes them: vendor and sensor names folded, paths out of base64.

#![deny(clippy::indexing_slicing)]

/// Folds a text: the accented letters of French become plain lower-case ones, a backslash a slash, punctuation a space;
/// runs of spaces become one, none stays at the ends. What is longer than `length` characters is then cut, so a space
/// may end it.
pub fn fold(text: &str, length: usize) -> String {
    let plain = text.chars().map(|character| match character {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'À' | 'Á' | 'Â' | 'Ã' | 'Ä' | 'Å' => 'a',
        'è' | 'é' | 'ê' | 'ë' | 'È' | 'É' | 'Ê' | 'Ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'Ì' | 'Í' | 'Î' | 'Ï' => 'i',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' | 'Ù' | 'Ú' | 'Û' | 'Ü' => 'u',
        'ý' | 'ÿ' | 'Ý' | 'Ÿ' => 'y',
        'ç' | 'Ç' => 'c',
        '\\' => '/',
        '.' | ':' | ',' | ';' | '"' | '\'' => ' ',
        other => other,
    });
    let mut folded = String::new();
    for character in plain {
        if character != ' ' || !(folded.is_empty() || folded.ends_with(' ')) {
            folded.push(character);
        }
    }
    folded.truncate(folded.trim_end().len());
    if let Some((cut, _)) = folded.char_indices().nth(length) {
        folded.truncate(cut);
    }
    folded
}

/// Decodes base64 (RFC 4648, 4) with or without padding to text; nothing if it is not base64.
pub fn base64(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            let [.., byte] = (bits >> held).to_be_bytes();
            bytes.push(byte);
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_that_of_the_seed() {
        assert_eq!(fold("Électroniks. X", 12), "electroniks ");
        assert_eq!(fold("Fibre, Société S.A.", 12), "Fibre Societ");
        assert_eq!(fold(" Température  CPU ", 99), "Temperature CPU");
        assert_eq!(fold("a\\b; \"c\"", 99), "a/b c");
        assert_eq!(fold("", 12), "");
    }

    #[test]
    fn paths_come_out_of_base64() {
        assert_eq!(base64("L0Rpc3F1ZSAx").as_deref(), Some("/Disque 1"));
        assert_eq!(base64("L0Nsw6kgw6l0w6k=").as_deref(), Some("/Clé été"));
        assert_eq!(base64("/w==").as_deref(), Some("\u{fffd}"));
        assert_eq!((base64(""), base64("L0R?")), (None, None));
    }
}
