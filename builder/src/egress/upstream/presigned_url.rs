//! Redirects to signed addresses, as object stores give them out: a key for a few minutes, another
//! one each time. It belongs into no record.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::net::PublicUrl;

/// So many are kept; further ones stay as they are.
const MAX_PRESIGNED_URLS: usize = 10_000;
/// What makes an address a signed one.
const SIGNATURES: [&str; 4] = ["x-amz-signature", "x-goog-signature", "sig", "signature"];
/// What else belongs to a signature: who signed, for whom, and until when.
const PARTS: [&str; 19] = [
    "awsaccesskeyid",
    "expires",
    "googleaccessid",
    "jwt",
    "key-pair-id",
    "policy",
    "se",
    "ske",
    "skoid",
    "sks",
    "skt",
    "sktid",
    "skv",
    "sp",
    "spr",
    "sr",
    "st",
    "sv",
    "x-id",
];

/// The signed addresses of this recording, by what they are without their signatures.
#[derive(Default)]
pub(super) struct PresignedUrls(Mutex<BTreeMap<PublicUrl, PublicUrl>>);

impl PresignedUrls {
    /// Where a redirect leads, without a signature. The signed address is kept for whoever asks
    /// for the other.
    pub fn hide(&self, location: PublicUrl) -> PublicUrl {
        let Some(plain) = without_signature(&location) else { return location };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_PRESIGNED_URLS && !kept.contains_key(&plain) {
            return location;
        }
        kept.insert(plain.clone(), location);
        plain
    }

    /// The signed address that was kept for `plain`, else itself.
    pub fn find(&self, plain: &PublicUrl) -> PublicUrl {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(plain).unwrap_or(plain).clone()
    }
}

fn without_signature(url: &PublicUrl) -> Option<PublicUrl> {
    let query: Vec<&str> = url.as_url().query()?.split('&').collect();
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
    if !query.iter().any(|pair| SIGNATURES.contains(&&*name(pair))) {
        return None;
    }
    let is_part = |name: &str| {
        name.starts_with("x-amz-")
            || name.starts_with("x-goog-")
            || SIGNATURES.contains(&name)
            || PARTS.contains(&name)
    };
    let rest: Vec<&str> = query.into_iter().filter(|pair| !is_part(&name(pair))).collect();
    let mut plain: Url = url.as_url().clone();
    plain.set_query(Some(&rest.join("&")).filter(|query| !query.is_empty()).map(String::as_str));
    PublicUrl::new(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_goes_and_what_names_the_object_stays() {
        let signed = PresignedUrls::default();
        let hide = |url: &str| signed.hide(url.parse().unwrap()).to_string();
        let s3 = "https://s3.example/a?X-Amz-Date=2026&id=7&X-Amz-Signature=00";
        assert_eq!(hide(s3), "https://s3.example/a?id=7");
        assert_eq!(hide("https://blob.example/a?sp=r&se=2026&sr=b&sig=0%3D"), "https://blob.example/a");
        for plain in ["https://host/a?se=1", "https://host/a", "https://host/a?version=2&expires=never"] {
            assert_eq!(hide(plain), plain);
        }
        assert_eq!(signed.find(&"https://s3.example/a?id=7".parse().unwrap()).as_str(), s3);
        assert_eq!(signed.find(&"https://s3.example/a".parse().unwrap()).as_str(), "https://s3.example/a");
    }
}
