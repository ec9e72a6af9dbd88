//! gix's progress of a fetch, reduced to the bytes of the pack.

use gix::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, Unit};

use crate::progress::Meter;

/// The ID of gix's progress of reading a pack.
const READ_PACK_ID: Id = *b"BWRB";

/// Advances a task by the bytes of a pack, and ignores all other progress.
pub(super) struct FetchProgress {
    meter: Meter,
    id: Id,
    step: StepShared,
}

impl FetchProgress {
    pub fn new(meter: Meter) -> Self {
        Self { meter, id: gix::progress::UNKNOWN, step: StepShared::default() }
    }
}

impl Count for FetchProgress {
    fn set(&self, step: Step) {
        self.step.store(step, std::sync::atomic::Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.step.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        if self.id == READ_PACK_ID {
            self.meter.advance(step as u64);
        }
        self.step.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        StepShared::clone(&self.step)
    }
}

impl Progress for FetchProgress {
    fn init(&mut self, _: Option<Step>, _: Option<Unit>) {}

    fn set_name(&mut self, _: String) {}

    fn name(&self) -> Option<String> {
        None
    }

    fn id(&self) -> Id {
        self.id
    }

    fn message(&self, _: MessageLevel, _: String) {}
}

impl NestedProgress for FetchProgress {
    type SubProgress = Self;

    fn add_child(&mut self, _: impl Into<String>) -> Self {
        Self::new(self.meter.clone())
    }

    fn add_child_with_id(&mut self, _: impl Into<String>, id: Id) -> Self {
        Self { id, ..Self::new(self.meter.clone()) }
    }
}
