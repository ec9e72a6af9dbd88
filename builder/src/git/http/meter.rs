//! gix's progress, reduced to the bytes that it reads from the network.

use gix::progress::{Count, Id, MessageLevel, NestedProgress, Progress, Step, StepShared, Unit};

use crate::progress::Meter;

/// What gix calls the progress of reading a pack.
const READ_PACK: Id = *b"BWRB";

/// Passes the bytes of a pack on to a task, and nothing else.
pub(super) struct ReadBytes {
    meter: Meter,
    id: Id,
    step: StepShared,
}

impl ReadBytes {
    pub fn new(meter: Meter) -> Self {
        Self { meter, id: gix::progress::UNKNOWN, step: StepShared::default() }
    }
}

impl Count for ReadBytes {
    fn set(&self, step: Step) {
        self.step.store(step, std::sync::atomic::Ordering::Relaxed);
    }

    fn step(&self) -> Step {
        self.step.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn inc_by(&self, step: Step) {
        if self.id == READ_PACK {
            self.meter.advance(step as u64);
        }
        self.step.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
    }

    fn counter(&self) -> StepShared {
        StepShared::clone(&self.step)
    }
}

impl Progress for ReadBytes {
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

impl NestedProgress for ReadBytes {
    type SubProgress = Self;

    fn add_child(&mut self, _: impl Into<String>) -> Self {
        Self::new(self.meter.clone())
    }

    fn add_child_with_id(&mut self, _: impl Into<String>, id: Id) -> Self {
        Self { id, ..Self::new(self.meter.clone()) }
    }
}
