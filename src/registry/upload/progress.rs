//! The progress of an upload.

use std::cell::Cell;

use carafe_builder::progress::Meter;

/// Reports the progress of one blob to a meter. It never goes back while the blob is sent, even if a
/// part is sent again.
pub(super) struct UploadProgress<'a> {
    meter: &'a Meter,
    reached: Cell<u64>,
}

impl<'a> UploadProgress<'a> {
    pub(super) fn new(meter: &'a Meter) -> Self {
        Self { meter, reached: Cell::new(0) }
    }

    /// The first `offset` bytes were sent.
    pub(super) fn reach(&self, offset: u64) {
        let reached = self.reached.replace(self.reached.get().max(offset));
        if offset > reached {
            self.meter.advance(offset - reached);
        }
    }

    /// The upload failed: all bytes that were reported remain to be sent.
    pub(super) fn reset(&self) {
        self.meter.extend(self.reached.take());
    }
}
