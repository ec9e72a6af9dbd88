//! Cancelling running steps from another thread.

use std::collections::BTreeMap;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ends all running steps, from any thread, and prevents new ones from starting. Cheap to clone.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    next_id: u64,
    /// The pipes of running launchers. A launcher kills its processes when its pipe is closed.
    lifelines: BTreeMap<u64, ChildStdin>,
}

impl CancelToken {
    /// Kills every step that runs with this token; they fail with
    /// [`ExitReason::Cancelled`](super::ExitReason::Cancelled). Returns at once.
    pub fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        state.lifelines.clear();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Keeps the lifeline of a running launcher open until the guard is dropped or the token is
    /// cancelled.
    pub(super) fn hold(&self, lifeline: ChildStdin) -> Lifeline {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        if !state.cancelled {
            state.lifelines.insert(id, lifeline);
        }
        Lifeline { token: self.clone(), id }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`CancelToken::hold`].
pub(super) struct Lifeline {
    token: CancelToken,
    id: u64,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.token.state().lifelines.remove(&self.id);
    }
}
