//! `carafe.lock`: an accepted lock is written again as the same lock.
#![no_main]

use carafe_builder::lock::Lock;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(lock) = Lock::parse("carafe.lock", text) else { return };
    let written = lock.to_toml();
    assert_eq!(Lock::parse("carafe.lock", &written).unwrap().to_toml(), written);
});
