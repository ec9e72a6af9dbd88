//! `carafe.record`: only its exact format is accepted.
#![no_main]

use carafe_builder::egress::Recording;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(recording) = Recording::parse(bytes) {
        assert_eq!(recording.to_bytes(), bytes);
    }
});
