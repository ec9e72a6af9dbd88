//! An image's documents: an accepted document is written in canonical form, and parsing that yields the
//! same document.
#![no_main]

use carafe_layers::json::canonical_json;
use carafe_layers::oci::{ImageConfig, Index, Manifest};
use serde::{Serialize, de::DeserializeOwned};

fn check<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<T>(bytes) else { return };
    let written = canonical_json(&document);
    let again: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(canonical_json(&again), written);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check::<Manifest>(bytes);
    check::<Index>(bytes);
    check::<ImageConfig>(bytes);
});
