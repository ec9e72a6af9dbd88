//! Messages of servers.

use carafe_layers::text;

/// A message of a server, safe for a terminal, with a maximum length, and without the queries of
/// URLs: the query of a presigned URL is a credential.
pub(crate) fn server_message(message: &str) -> String {
    text::message(&text::remove_url_queries(message))
}
