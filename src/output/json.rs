//! Progress as JSON lines, for machines.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_builder::progress::{Event, Sink, TaskId, Unit};
use serde::Serialize;
use serde_json::json;

use super::label;

/// A task's steps are summed up and told no more often than this.
const INTERVAL: Duration = Duration::from_millis(500);

/// Prints one object for each event to stdout. `docs/json.md` lists them.
#[derive(Default)]
pub struct Json {
    steps: Mutex<BTreeMap<TaskId, Steps>>,
}

/// How far a task moved since it was last told, and when that was.
struct Steps {
    amount: u64,
    told: Instant,
}

impl Json {
    fn begin(&self, task: TaskId) {
        let steps = Steps { amount: 0, told: Instant::now() };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(task, steps);
    }

    fn is_running(&self, task: TaskId) -> bool {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task)
    }

    /// Takes a step of a running task in, and returns what is to be told now, if anything.
    fn step(&self, task: TaskId, amount: u64) -> Option<u64> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = steps.get_mut(&task)?;
        steps.amount = steps.amount.saturating_add(amount);
        if steps.told.elapsed() < INTERVAL {
            return None;
        }
        steps.told = Instant::now();
        Some(std::mem::take(&mut steps.amount))
    }

    /// What was not told yet of a task that ends.
    fn rest(&self, task: TaskId) -> Option<u64> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).remove(&task)?;
        Some(steps.amount).filter(|&amount| amount > 0)
    }
}

fn advanced(task: TaskId, amount: u64) -> serde_json::Value {
    json!({"event": "advanced", "task": task.0, "amount": amount})
}

impl Sink for Json {
    fn event(&self, event: Event) {
        if let Event::Started { task, .. } = &event {
            self.begin(*task);
        }
        if let Event::Finished { task, .. } | Event::Abandoned { task } = &event
            && let Some(amount) = self.rest(*task)
        {
            emit(&advanced(*task, amount));
        }
        let value = match event {
            Event::Started { task, stage, name, total, unit } => {
                let unit = match unit {
                    Unit::Bytes => "bytes",
                    Unit::Items => "items",
                };
                json!({"event": "started", "task": task.0, "stage": label(stage), "name": name, "total": total, "unit": unit})
            }
            Event::Extended { task, amount } if self.is_running(task) => {
                json!({"event": "extended", "task": task.0, "amount": amount})
            }
            Event::Extended { .. } => return,
            Event::Awaited { task } => json!({"event": "awaited", "task": task.0}),
            Event::Advanced { task, amount } => match self.step(task, amount) {
                Some(amount) => advanced(task, amount),
                None => return,
            },
            Event::Finished { task, summary } => {
                json!({"event": "finished", "task": task.0, "summary": summary})
            }
            Event::Abandoned { task } => json!({"event": "abandoned", "task": task.0}),
            Event::Output { task, line } => json!({"event": "output", "task": task.0, "line": line}),
            Event::Warning { message } => json!({"event": "warning", "message": message}),
        };
        emit(&value);
    }
}

/// Prints a value on one line of stdout. A reader that went away is no failure.
pub fn emit(value: &impl Serialize) {
    let Ok(mut line) = serde_json::to_vec(value) else { return };
    line.push(b'\n');
    let _ = std::io::stdout().lock().write_all(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_step_is_lost_and_few_are_told() {
        let (json, task) = (Json::default(), TaskId(1));
        assert_eq!(json.step(task, 5), None, "of a task that is not there");
        json.begin(task);
        let told: Vec<u64> = (0..1000).filter_map(|_| json.step(task, 3)).collect();
        let rest = json.rest(task).unwrap_or_default();
        assert_eq!(told.iter().sum::<u64>() + rest, 3000);
        assert!(told.len() < 100);
        assert_eq!(json.rest(task), None);
    }
}
