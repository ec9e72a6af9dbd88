//! An error and its causes in one line.

use std::error::Error;

/// An error and its causes, without duplicate texts. The last cause of a network error is often the
/// most specific one.
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
