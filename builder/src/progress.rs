//! Progress events: tasks that start, advance and end, lines of output, warnings.
//!
//! The pipeline's stages do not depend on terminals. A [`Sink`] shows the events (a progress bar, plain
//! lines, JSON); the stages pass on a [`Progress`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The stages of the pipeline, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Pins names to commits and digests.
    Lock,
    /// Fetches apps and images.
    Fetch,
    /// Runs bench.
    Build,
    /// Packs the tree into layers.
    Pack,
    /// Uploads blobs and manifests to registries.
    Push,
}

/// The unit of a task's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Items: entries, apps.
    Items,
}

/// Identifies a task within one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u64);

/// A progress event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A task started.
    Started {
        /** The task. */
        task: TaskId,
        /** Its stage. */
        stage: Stage,
        /** Its name, such as an app's. */
        name: String,
        /** The total amount, if it is known. */
        total: Option<u64>,
        /** The unit of the amounts. */
        unit: Unit,
    },
    /// The total of a task grew by `amount`.
    Extended {
        /** The task. */
        task: TaskId,
        /** The additional amount. */
        amount: u64,
    },
    /// The pipeline now waits for a task that ran in the background: its time counts from here.
    Awaited {
        /** The task. */
        task: TaskId,
    },
    /// A task advanced by `amount`.
    Advanced {
        /** The task. */
        task: TaskId,
        /** The amount since the last event. */
        amount: u64,
    },
    /// A task finished successfully.
    Finished {
        /** The task. */
        task: TaskId,
        /** The result, for people. */
        summary: String,
    },
    /// A task was dropped before it finished: its error is reported elsewhere.
    Abandoned {
        /** The task. */
        task: TaskId,
    },
    /// A line of a child process's output.
    Output {
        /** The task. */
        task: TaskId,
        /** The line, without its line end. */
        line: String,
    },
    /// A warning for the user.
    Warning {
        /** The text. */
        message: String,
    },
}

/// Shows events.
pub trait Sink: Send + Sync {
    /// Shows an event. Called from any thread; must not block for long.
    fn event(&self, event: Event);
}

/// Starts tasks and sends warnings; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    sink: Arc<dyn Sink>,
    next: Arc<AtomicU64>,
}

impl Progress {
    /// Shows events through `sink`.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, next: Arc::default() }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        struct Silent;
        impl Sink for Silent {
            fn event(&self, _: Event) {}
        }
        Self::new(Arc::new(Silent))
    }

    /// Starts a task.
    pub fn task(&self, stage: Stage, name: impl Into<String>, total: Option<u64>, unit: Unit) -> Task {
        let id = TaskId(self.next.fetch_add(1, Ordering::Relaxed));
        self.sink.event(Event::Started { task: id, stage, name: name.into(), total, unit });
        Task { sink: Arc::clone(&self.sink), id, done: false }
    }

    /// Shows a warning.
    pub fn warn(&self, message: impl Into<String>) {
        self.sink.event(Event::Warning { message: message.into() });
    }
}

/// A task in progress. If it is dropped before [`Task::finish`], it counts as abandoned.
pub struct Task {
    sink: Arc<dyn Sink>,
    id: TaskId,
    done: bool,
}

impl Task {
    /// Advances by `amount`.
    pub fn advance(&self, amount: u64) {
        self.meter().advance(amount);
    }

    /// Increases the total by `amount`.
    pub fn extend(&self, amount: u64) {
        self.meter().extend(amount);
    }

    /// Counts the task's time from here: the pipeline now waits for it.
    pub fn awaited(&self) {
        self.sink.event(Event::Awaited { task: self.id });
    }

    /// A handle to advance this task that does not borrow it.
    pub fn meter(&self) -> Meter {
        Meter { sink: Arc::clone(&self.sink), id: self.id }
    }

    /// Shows a line of a child process's output.
    pub fn output(&self, line: impl Into<String>) {
        self.sink.event(Event::Output { task: self.id, line: line.into() });
    }

    /// Ends the task successfully.
    pub fn finish(mut self, summary: impl Into<String>) {
        self.done = true;
        self.sink.event(Event::Finished { task: self.id, summary: summary.into() });
    }
}

/// Advances a task, and can do nothing else with it; cheap to clone. Events of a task that has ended
/// are ignored.
#[derive(Clone)]
pub struct Meter {
    sink: Arc<dyn Sink>,
    id: TaskId,
}

impl Meter {
    /// Advances by `amount`.
    pub fn advance(&self, amount: u64) {
        self.sink.event(Event::Advanced { task: self.id, amount });
    }

    /// Increases the total by `amount`.
    pub fn extend(&self, amount: u64) {
        self.sink.event(Event::Extended { task: self.id, amount });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.done {
            self.sink.event(Event::Abandoned { task: self.id });
        }
    }
}
