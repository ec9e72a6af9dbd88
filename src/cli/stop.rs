//! Ctrl-C and SIGTERM: cancels what runs, lets the stages clean up, and exits.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use carafe_builder::sandbox::CancelToken;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit;
use crate::output;

static CANCEL: OnceLock<CancelToken> = OnceLock::new();

/// The time that the stages have to clean up. The next run removes what they leave.
const GRACE: Duration = Duration::from_secs(5);

/// Whether a signal was received.
pub fn requested() -> bool {
    CANCEL.get().is_some_and(CancelToken::is_cancelled)
}

/// The token that a signal cancels. From the first call on, the first signal cancels, and the second
/// one exits at once.
pub fn token() -> CancelToken {
    CANCEL.get_or_init(listen).clone()
}

fn listen() -> CancelToken {
    let token = CancelToken::default();
    let cancel = token.clone();
    // Without a handler, a signal ends this process, and the kernel ends the sandbox with it.
    if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        thread::spawn(move || signals.forever().for_each(|_| stop(&cancel)));
    }
    token
}

fn stop(cancel: &CancelToken) {
    if cancel.is_cancelled() {
        std::process::exit(exit::STOPPED.into());
    }
    output::to_stderr("\nstopping; a second signal exits at once");
    cancel.cancel();
    thread::spawn(|| {
        thread::sleep(GRACE);
        std::process::exit(exit::STOPPED.into());
    });
}
