//! Redirects to presigned URLs of object stores. The signature is valid for a few minutes, different
//! each time, and must not be in the recording.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::net::PublicUrl;

/// Maximum number of presigned URLs that are kept; further ones are recorded unchanged.
const MAX_PRESIGNED_URLS: usize = 10_000;
/// Query parameters that make a URL a presigned one.
const SIGNATURE_PARAMETERS: [&str; 4] = ["x-amz-signature", "x-goog-signature", "sig", "signature"];
/// Query parameters that belong to a signature: the key, its scope, its expiry.
const OTHER_PARAMETERS: [&str; 19] = [
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

/// The presigned URLs of this build, by the URL without the signature.
#[derive(Default)]
pub(super) struct PresignedUrls(Mutex<BTreeMap<PublicUrl, PublicUrl>>);

impl PresignedUrls {
    /// Removes the signature of a redirect's target. The presigned URL is kept for a later request
    /// of the plain one.
    pub fn strip(&self, location: PublicUrl) -> PublicUrl {
        let Some(plain) = without_signature(&location) else { return location };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_PRESIGNED_URLS && !kept.contains_key(&plain) {
            return location;
        }
        kept.insert(plain.clone(), location);
        plain
    }

    /// The presigned URL that was kept for `plain`, or `plain` itself.
    pub fn find(&self, plain: &PublicUrl) -> PublicUrl {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(plain).unwrap_or(plain).clone()
    }
}

fn without_signature(url: &PublicUrl) -> Option<PublicUrl> {
    let query: Vec<&str> = url.as_url().query()?.split('&').collect();
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
    if !query.iter().any(|pair| SIGNATURE_PARAMETERS.contains(&&*name(pair))) {
        return None;
    }
    let is_part = |name: &str| {
        name.starts_with("x-amz-")
            || name.starts_with("x-goog-")
            || SIGNATURE_PARAMETERS.contains(&name)
            || OTHER_PARAMETERS.contains(&name)
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
    fn removes_the_signature_and_keeps_the_parameters_of_the_object() {
        let presigned = PresignedUrls::default();
        let strip = |url: &str| presigned.strip(url.parse().unwrap()).to_string();
        let s3 = "https://s3.example/a?X-Amz-Date=2026&id=7&X-Amz-Signature=00";
        assert_eq!(strip(s3), "https://s3.example/a?id=7");
        assert_eq!(strip("https://blob.example/a?sp=r&se=2026&sr=b&sig=0%3D"), "https://blob.example/a");
        for plain in ["https://host/a?se=1", "https://host/a", "https://host/a?version=2&expires=never"] {
            assert_eq!(strip(plain), plain);
        }
        assert_eq!(presigned.find(&"https://s3.example/a?id=7".parse().unwrap()).as_str(), s3);
        assert_eq!(presigned.find(&"https://s3.example/a".parse().unwrap()).as_str(), "https://s3.example/a");
    }
}
