//! Tables of named faults: each row is a test, and a line of `docs/registry-faults.md`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carafe::registry::{Registry, RegistryOptions, RetryOptions};

use crate::clock::QuickClock;
use crate::faulty::{Answer, Fault, FaultyServer, Request};
use crate::images::Image;

/// What the client sends at once.
pub const CHUNK: u64 = 5 << 20;
/// Of the blob: two whole chunks and a half.
pub const SIZE: usize = (12 << 20) + (1 << 19);

/// What is to come of a fault. In each case that ends well the blob, the manifest and the tag are
/// there; in each that fails no tag has moved.
pub enum Outcome {
    /// It goes on; at most so many bytes are sent again.
    Done(u64),
    /// The same, after a pause of so many seconds that the registry asked for.
    Waits(u64, u64),
    /// The same, after a time-out. The client's are short in this row.
    TimesOut(u64),
    /// It fails, and says so, with these words.
    Fails(&'static [&'static str]),
}

/// Answers a request, if the fault concerns it.
pub type Script = Box<dyn Fn(&Request) -> Option<Fault> + Send + Sync>;

/// A row: what happens, and what is to come of it.
pub type Row = (&'static str, fn() -> Outcome);

/// Makes a test of each row with `$run`, and a list of them.
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
    let seen_hosts = AtomicUsize::new(0);
    Box::new(move |request| {
        let is_meant = request.is(method, part) && seen_hosts.fetch_add(1, Ordering::Relaxed) + 1 == nth;
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

/// The first of the two that has something to say.
pub fn both(one: Script, other: Script) -> Script {
    Box::new(move |request| one(request).or_else(|| other(request)))
}

/// A proxy's page instead of an answer.
pub fn page(status: u16) -> Fault {
    Fault::Say(Answer::status(status).body("<html><h1>Bad Gateway</h1></html>"))
}

/// It is carried out, and its answer changed.
pub fn edit(edit: impl Fn(Answer) -> Answer + 'static) -> Fault {
    Fault::Edit(Box::new(edit))
}

/// A registry's error.
pub fn refusal(status: u16, code: &str, message: &str) -> Fault {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Fault::Say(Answer::status(status).body(body))
}

/// "Come back later", in one of the header's two forms.
pub fn later(status: u16, after: &str) -> Fault {
    Fault::Say(Answer::status(status).with("Retry-After", after))
}

/// The bytes of a layer of three chunks that are not alike.
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

/// A client, as patient as the outcome wants it, and its clock.
pub fn client_for(server: &FaultyServer, outcome: &Outcome) -> (Registry, Arc<QuickClock>) {
    let (options, clock) = options_for(server, outcome);
    (Registry::new(options).unwrap(), clock)
}

/// The same client's options.
pub fn options_for(server: &FaultyServer, outcome: &Outcome) -> (RegistryOptions, Arc<QuickClock>) {
    let clock = Arc::<QuickClock>::default();
    let retries = RetryOptions::default().with_clock(clock.clone());
    let retries = match outcome {
        Outcome::TimesOut(_) => retries.with_read_timeout(Duration::from_millis(500)),
        _ => retries,
    };
    let insecure = [server.address().to_owned()].into();
    (RegistryOptions { insecure, retries, ..RegistryOptions::default() }, clock)
}

/// Holds `result` (how many bytes were sent again, or what a user is told) against `outcome`.
#[track_caller]
pub fn check(outcome: &Outcome, result: Result<u64, String>, clock: &QuickClock) {
    match (outcome, result) {
        (Outcome::Done(most) | Outcome::TimesOut(most) | Outcome::Waits(_, most), Ok(again)) => {
            assert!(again <= *most, "{again} bytes were sent again");
        }
        (Outcome::Fails(words), Err(text)) => {
            assert!(words.iter().all(|words| text.contains(words)), "{text}");
        }
        (Outcome::Fails(_), Ok(_)) => panic!("it ended well"),
        (_, Err(text)) => panic!("{text}"),
    }
    if let Outcome::Waits(seconds, _) = outcome {
        assert_eq!(clock.pauses(), [Duration::from_secs(*seconds)]);
    }
}
