//! What a stage tells whoever watches: tasks that start, move and end, lines, warnings.
//!
//! The stages know nothing of terminals. A [`Sink`] shows the events (a progress bar, plain
//! lines, JSON); [`Progress`] is the handle that the stages pass on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where in the pipeline a task belongs, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Names become commits and digests.
    Lock,
    /// Apps and base images are brought here.
    Fetch,
    /// bench runs.
    Build,
    /// The tree becomes layers.
    Pack,
    /// Blobs and manifests go to a registry.
    Push,
}

/// What a task's numbers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: entries, apps.
    Items,
}

/// Names a task among all of one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A task began. `total` may be unknown.
    Started {
        /** Which. */
        task: TaskId,
        /** Where. */
        stage: Stage,
        /** Such as an app's name. */
        name: String,
        /** If known. */
        total: Option<u64>,
        /** Of the numbers. */
        unit: Unit,
    },
    /// There is more to do than was known: the total grows by `amount`.
    Extended {
        /** Which. */
        task: TaskId,
        /** How much more. */
        amount: u64,
    },
    /// What ran beside other things is waited for from here on: its time counts from now.
    Awaited {
        /** Which. */
        task: TaskId,
    },
    /// A task moved on by `amount`.
    Advanced {
        /** Which. */
        task: TaskId,
        /** How far since the last event. */
        amount: u64,
    },
    /// A task is done; `summary` says what came of it.
    Finished {
        /** Which. */
        task: TaskId,
        /** For people. */
        summary: String,
    },
    /// A task was dropped before it was done: an error follows elsewhere.
    Abandoned {
        /** Which. */
        task: TaskId,
    },
    /// A line of a child's output.
    Output {
        /** Which. */
        task: TaskId,
        /** Without line end. */
        line: String,
    },
    /// Something the user should know and may want to change.
    Warning {
        /** For people. */
        message: String,
    },
}

/// Shows events.
pub trait Sink: Send + Sync {
    /// Called from any thread; must not block for long.
    fn event(&self, event: Event);
}

/// The handle that stages pass on; cheap to clone.
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

    /// Begins a task.
    pub fn task(&self, stage: Stage, name: impl Into<String>, total: Option<u64>, unit: Unit) -> Task {
        let id = TaskId(self.next.fetch_add(1, Ordering::Relaxed));
        self.sink.event(Event::Started { task: id, stage, name: name.into(), total, unit });
        Task { sink: Arc::clone(&self.sink), id, done: false }
    }

    /// Tells the user something that is no failure.
    pub fn warn(&self, message: impl Into<String>) {
        self.sink.event(Event::Warning { message: message.into() });
    }
}

/// A task under way. Dropped before [`Task::finish`], it counts as abandoned.
pub struct Task {
    sink: Arc<dyn Sink>,
    id: TaskId,
    done: bool,
}

impl Task {
    /// Moves on by `amount`.
    pub fn advance(&self, amount: u64) {
        self.meter().advance(amount);
    }

    /// There is `amount` more to do than was said.
    pub fn extend(&self, amount: u64) {
        self.meter().extend(amount);
    }

    /// From here on somebody waits for it, and its time counts.
    pub fn awaited(&self) {
        self.sink.event(Event::Awaited { task: self.id });
    }

    /// A way to move this task on from somewhere that outlives no borrow of it.
    pub fn meter(&self) -> Meter {
        Meter { sink: Arc::clone(&self.sink), id: self.id }
    }

    /// Shows a line of a child's output.
    pub fn output(&self, line: impl Into<String>) {
        self.sink.event(Event::Output { task: self.id, line: line.into() });
    }

    /// Ends the task well.
    pub fn finish(mut self, summary: impl Into<String>) {
        self.done = true;
        self.sink.event(Event::Finished { task: self.id, summary: summary.into() });
    }
}

/// Moves a task on, and can do nothing else with it; cheap to clone. What it says of a task that
/// has ended is not heard.
#[derive(Clone)]
pub struct Meter {
    sink: Arc<dyn Sink>,
    id: TaskId,
}

impl Meter {
    /// Moves on by `amount`.
    pub fn advance(&self, amount: u64) {
        self.sink.event(Event::Advanced { task: self.id, amount });
    }

    /// There is `amount` more to do than was said.
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
