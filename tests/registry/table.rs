//! Tables of faults: each row is a test, and a line of `docs/registry-faults.md`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carafe::registry::{Registry, RegistryOptions, RetryOptions};

use crate::clock::QuickClock;
use crate::faulty::{FakeRegistry, Fault, Request, Response};
use crate::images::Image;

/// The size of a chunk.
pub const CHUNK: u64 = 5 << 20;
/// The size of the blob: two and a half chunks.
pub const SIZE: usize = (12 << 20) + (1 << 19);

/// The expected outcome. After a success the blob, the manifest and the tag are in the registry; after a
/// failure no tag has moved.
pub enum Outcome {
    /// Success; at most this number of bytes is sent again.
    Succeeds(u64),
    /// The same, after a pause of this number of seconds that the registry requested.
    Waits(u64, u64),
    /// The same, after a timeout. The client has a short one in this row.
    TimesOut(u64),
    /// Failure; the message contains these texts.
    Fails(&'static [&'static str]),
}

/// The fault of a request, if it has one.
pub type Script = Box<dyn Fn(&Request) -> Option<Fault> + Send + Sync>;

/// A row: its name, and the expected outcome.
pub type Row = (&'static str, fn() -> Outcome);

/// Generates a test for each row with `$run`, and a list of the rows.
macro_rules! faults {
    ($list:ident, $run:path; $($name:ident: $fault:expr => $outcome:expr;)*) => {
        $(#[test] fn $name() { $run($fault, $outcome) })*
        pub const $list: &[$crate::table::Row] = &[$((stringify!($name), || $outcome)),*];
    };
}
pub(crate) use faults;

/// `fault` for the request number `nth` (from 1) of this method with `part` in its target.
pub fn nth(
    nth: usize,
    method: &'static str,
    part: &'static str,
    fault: impl Fn() -> Fault + Send + Sync + 'static,
) -> Script {
    let count = AtomicUsize::new(0);
    Box::new(move |request| {
        let is_meant = request.is(method, part) && count.fetch_add(1, Ordering::Relaxed) + 1 == nth;
        is_meant.then(&fault)
    })
}

/// `fault` for each of them.
pub fn every(
    method: &'static str,
    part: &'static str,
    fault: impl Fn() -> Fault + Send + Sync + 'static,
) -> Script {
    Box::new(move |request| request.is(method, part).then(&fault))
}

/// The first of the two that applies.
pub fn both(one: Script, other: Script) -> Script {
    Box::new(move |request| one(request).or_else(|| other(request)))
}

/// A proxy's HTML page instead of the registry's response.
pub fn page(status: u16) -> Fault {
    Fault::Respond(Response::status(status).body("<html><h1>Bad Gateway</h1></html>"))
}

/// The registry processes the request, and its response is changed.
pub fn edit(edit: impl Fn(Response) -> Response + 'static) -> Fault {
    Fault::Edit(Box::new(edit))
}

/// A registry's error document.
pub fn error(status: u16, code: &str, message: &str) -> Fault {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Fault::Respond(Response::status(status).body(body))
}

/// A response with `Retry-After`, in one of its two forms.
pub fn retry_after(status: u16, after: &str) -> Fault {
    Fault::Respond(Response::status(status).with("Retry-After", after))
}

/// The bytes of a layer of three chunks, all different.
pub fn layer() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = vec![7; SIZE];
        for (index, mebibyte) in bytes.chunks_mut(1 << 20).enumerate() {
            mebibyte[index] = index as u8;
        }
        bytes
    })
}

/// An image with that layer.
pub fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Image::new(&[layer()]))
}

/// A client with the timeouts for this outcome, and its clock.
pub fn client_for(server: &FakeRegistry, outcome: &Outcome) -> (Registry, Arc<QuickClock>) {
    let (options, clock) = options_for(server, outcome);
    (Registry::new(options).unwrap(), clock)
}

/// The options of that client.
pub fn options_for(server: &FakeRegistry, outcome: &Outcome) -> (RegistryOptions, Arc<QuickClock>) {
    let clock = Arc::<QuickClock>::default();
    let retries = RetryOptions::default().with_clock(clock.clone());
    let retries = match outcome {
        Outcome::TimesOut(_) => retries.with_read_timeout(Duration::from_millis(500)),
        _ => retries,
    };
    let insecure = [server.address().to_owned()].into();
    (RegistryOptions { insecure, retries, ..RegistryOptions::default() }, clock)
}

/// Compares `result` (the number of bytes that were sent again, or the message) with `outcome`.
#[track_caller]
pub fn check(outcome: &Outcome, result: Result<u64, String>, clock: &QuickClock) {
    match (outcome, result) {
        (Outcome::Succeeds(max) | Outcome::TimesOut(max) | Outcome::Waits(_, max), Ok(again)) => {
            assert!(again <= *max, "{again} bytes were sent again");
        }
        (Outcome::Fails(words), Err(text)) => {
            assert!(words.iter().all(|words| text.contains(words)), "{text}");
        }
        (Outcome::Fails(_), Ok(_)) => panic!("it succeeded"),
        (_, Err(text)) => panic!("{text}"),
    }
    if let Outcome::Waits(seconds, _) = outcome {
        assert_eq!(clock.pauses(), [Duration::from_secs(*seconds)]);
    }
}
