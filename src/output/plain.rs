//! Progress as lines, for logs: the output of build steps, and each task when it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_builder::progress::{Event, Sink, Stage, TaskId, Unit};

use super::columns::{self, NAME_WIDTH};

/// The shortest time between two lines about the progress of one task.
const INTERVAL: Duration = Duration::from_secs(15);

/// Prints lines to stderr.
#[derive(Default)]
pub struct Plain {
    quiet: bool,
    running: Mutex<BTreeMap<TaskId, Running>>,
}

struct Running {
    title: String,
    since: Instant,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    last_line: Instant,
}

impl Plain {
    /// Prints warnings only.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    fn line(&self, event: Event) -> Option<String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, stage, name, total, unit } => {
                let title = columns::title(stage, &name, NAME_WIDTH.max(name.chars().count()));
                let has_output = stage == Stage::Build;
                let begins = has_output.then(|| title.trim_end().to_owned());
                let now = Instant::now();
                running.insert(task, Running { title, since: now, unit, done: 0, total, last_line: now });
                begins
            }
            Event::Finished { task, summary } => running.remove(&task).map(|task| task.ended(&summary)),
            Event::Abandoned { task } => running.remove(&task).map(|task| task.ended("stopped")),
            Event::Extended { task, amount } => {
                if let Some(task) = running.get_mut(&task) {
                    task.total = Some(task.total.unwrap_or(0).saturating_add(amount));
                }
                None
            }
            Event::Awaited { task } => {
                if let Some(task) = running.get_mut(&task) {
                    task.since = Instant::now();
                }
                None
            }
            Event::Advanced { task, amount } => running.get_mut(&task).and_then(|task| task.advance(amount)),
            Event::Output { line, .. } => (!line.trim().is_empty()).then(|| format!("      | {line}")),
            Event::Warning { .. } => None,
        }
    }
}

impl Running {
    fn ended(&self, summary: &str) -> String {
        columns::ended(&self.title, self.since.elapsed(), summary)
    }

    fn advance(&mut self, amount: u64) -> Option<String> {
        self.done = self.done.saturating_add(amount);
        if self.last_line.elapsed() < INTERVAL {
            return None;
        }
        self.last_line = Instant::now();
        Some(self.ended(&format!("{} so far", columns::amount(self.unit, self.done, self.total))))
    }
}

impl Sink for Plain {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = &event {
            super::streams::to_stderr(format_args!("warning: {message}"));
        } else if !self.quiet
            && let Some(line) = self.line(event)
        {
            super::streams::to_stderr(format_args!("{line}"));
        }
    }
}
