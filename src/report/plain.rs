//! Progress as lines, for logs: each task when it starts and when it ends, and what it prints.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use carafe_builder::progress::{Event, Sink, TaskId};

use super::label;

/// Prints lines to stderr.
#[derive(Default)]
pub struct Plain {
    quiet: bool,
    running: Mutex<BTreeMap<TaskId, (String, Instant)>>,
}

impl Plain {
    /// Prints warnings alone.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    fn line(&self, event: Event) -> Option<String> {
        let mut running = self.running.lock().unwrap_or_else(|poison| poison.into_inner());
        match event {
            Event::Started { task, stage, name, .. } => {
                let title = format!("{:<5} {name}", label(stage));
                running.insert(task, (title.clone(), Instant::now()));
                Some(title)
            }
            Event::Finished { task, summary } => {
                let (title, since) = running.remove(&task)?;
                Some(format!("{title}: {summary} ({:.1} s)", since.elapsed().as_secs_f32()))
            }
            Event::Abandoned { task } => running.remove(&task).map(|(title, _)| format!("{title}: stopped")),
            Event::Output { task, line } => running.get(&task).map(|_| format!("      | {line}")),
            Event::Warning { .. } | Event::Advanced { .. } => None,
        }
    }
}

impl Sink for Plain {
    fn event(&self, event: Event) {
        if let Event::Warning { message } = &event {
            eprintln!("warning: {message}");
        } else if !self.quiet
            && let Some(line) = self.line(event)
        {
            eprintln!("{line}");
        }
    }
}
