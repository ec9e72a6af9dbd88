//! Ctrl-C and SIGTERM: end what runs, let the stages clean up, and leave.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use carafe_builder::sandbox::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit;
use crate::output;

static CANCEL: OnceLock<CancelToken> = OnceLock::new();

/// How long the stages have for cleaning up. What they leave, the next run sweeps.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the user asked us to stop.
pub fn requested() -> bool {
    CANCEL.get().is_some_and(CancelToken::is_cancelled)
}

/// What a signal cancels. From the first call on, a first signal stops in order, and a second one
/// at once.
pub fn token() -> CancelToken {
    CANCEL.get_or_init(listen).clone()
}

fn listen() -> CancelToken {
    let token = CancelToken::default();
    let cancel = token.clone();
    // Without a handler a signal ends this process, and the sandbox dies with it.
    if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        thread::spawn(move || signals.forever().for_each(|_| stop(&cancel)));
    }
    token
}

fn stop(cancel: &CancelToken) {
    if cancel.is_cancelled() {
        std::process::exit(exit::STOPPED.into());
    }
    output::to_stderr(format_args!("\nstopping; once more to leave at once"));
    cancel.cancel();
    thread::spawn(|| {
        thread::sleep(GRACE);
        std::process::exit(exit::STOPPED.into());
    });
}
