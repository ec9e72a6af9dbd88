//! What a server said, fit to be shown.

/// As much as a person reads.
const SHOWN_CHARACTERS: usize = 400;

/// What a server said: its first characters, without control characters and without the queries
/// of URLs, which may be signed.
pub(in crate::registry) fn scrub(text: &str) -> String {
    let mut out = String::new();
    for (index, word) in text.split_whitespace().enumerate() {
        if out.chars().count() >= SHOWN_CHARACTERS {
            out.push_str(" …");
            break;
        }
        if index > 0 {
            out.push(' ');
        }
        let bare = match (word.contains("://"), word.find('?')) {
            (true, Some(query)) => &word[..query],
            _ => word,
        };
        out.extend(bare.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_word_is_bounded_and_has_no_signed_url() {
        let said = scrub("see\r\nhttps://s3.example.com/b?X-Amz-Signature=abcdef \u{1b}[31m now");
        assert_eq!(said, "see https://s3.example.com/b [31m now");
        assert!(scrub(&"word ".repeat(10_000)).len() < 500);
        assert!(scrub(&"w".repeat(10_000)).len() < 500);
    }
}
