//! A record of a build's network: only what is written exactly so is accepted.
#![no_main]

use carafe_builder::proxy::Record;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::parse(bytes) {
        assert_eq!(record.to_bytes(), bytes);
    }
});
