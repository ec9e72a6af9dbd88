//! Progress as JSON lines, for machines.

use std::io::Write;

use carafe_builder::progress::{Event, Sink, Unit};
use serde::Serialize;
use serde_json::json;

use super::label;

/// Prints one object for each event to stdout. `docs/json.md` lists them.
pub struct Json;

impl Sink for Json {
    fn event(&self, event: Event) {
        let value = match event {
            Event::Started { task, stage, name, total, unit } => {
                let unit = match unit {
                    Unit::Bytes => "bytes",
                    Unit::Items => "items",
                };
                json!({"event": "started", "task": task.0, "stage": label(stage), "name": name, "total": total, "unit": unit})
            }
            Event::Advanced { task, amount } => {
                json!({"event": "advanced", "task": task.0, "amount": amount})
            }
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
