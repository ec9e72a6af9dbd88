//! Why something failed, in one line.

use std::error::Error;

/// An error and its causes, each once. Clients of the network say the most in the last of them.
pub fn error_chain(error: &dyn Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !parts.contains(&text) {
            parts.push(text);
        }
        next = cause.source();
    }
    parts.join(": ")
}
