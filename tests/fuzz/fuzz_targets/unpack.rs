//! A layer that is unpacked: nothing outside of its directory is created or changed.
#![no_main]

#[path = "../../../layers/tests/unpack_support/mod.rs"]
mod unpack_support;

use std::fs;

use carafe_layers::digest::Digest;
use carafe_layers::oci::media_type;
use carafe_layers::unpack::UnpackLimits;
use unpack_support::Memory;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("secret"), "untouched").unwrap();
    let image = Memory::stored(vec![(media_type::LAYER_TAR, bytes.to_vec(), Digest::of(bytes))]);
    let limits = UnpackLimits { bytes: 1 << 20, entries: 1000, ..UnpackLimits::default() };
    let _ = image.unpack_within(&root, &limits);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"untouched");
});
