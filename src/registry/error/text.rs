//! Text of servers, made safe for messages.

/// Maximum length in characters.
const MAX_CHARS: usize = 400;

/// A message of a server: its first characters on one line, without control characters and without
/// the queries of URLs, which may be presigned.
pub(crate) fn server_message(text: &str) -> String {
    let mut message = String::new();
    for (index, word) in text.split_whitespace().enumerate() {
        if message.chars().count() >= MAX_CHARS {
            message.push_str(" …");
            break;
        }
        if index > 0 {
            message.push(' ');
        }
        message.extend(without_query(word).chars().filter(|c| !c.is_control()).take(MAX_CHARS));
    }
    message
}

fn without_query(word: &str) -> &str {
    match (word.contains("://"), word.find('?')) {
        (true, Some(query)) => &word[..query],
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_has_no_presigned_url() {
        let message = server_message("see\r\nhttps://s3.example.com/b?X-Amz-Signature=abcdef \u{1b}[31m now");
        assert_eq!(message, "see https://s3.example.com/b [31m now");
        assert!(server_message(&"word ".repeat(10_000)).len() < 500);
        assert!(server_message(&"w".repeat(10_000)).len() < 500);
    }
}
