//! Events and results as JSON lines, for programs: `docs/json.md` describes them.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_builder::progress::{Event, Progress, Sink, TaskId, Unit};
use serde::Serialize;

use super::columns::stage_name;
use super::result::{CommandResult, Outcome};

/// The version of the format. It changes when a member is removed, renamed or gets another meaning.
const SCHEMA_VERSION: u32 = 1;

/// The shortest time between two `task_advanced` events of one task.
const INTERVAL: Duration = Duration::from_millis(500);

/// Writes events to stdout as they arrive, and collects the warnings for the result.
#[derive(Default)]
pub struct Json {
    steps: Mutex<BTreeMap<TaskId, Steps>>,
    warnings: Mutex<Vec<String>>,
    /// The result is the last line: no event follows it.
    is_ended: AtomicBool,
}

/// The progress of a task since its last event.
struct Steps {
    amount: u64,
    last_event: Instant,
}

/// Writes events.
pub fn progress(json: &Arc<Json>) -> Progress {
    Progress::new(Arc::clone(json) as Arc<dyn Sink>)
}

/// Writes the result line. The data is serialized into stdout: it may be as large as both images of a
/// comparison have entries.
pub fn result<R: CommandResult>(json: &Json, outcome: &Outcome<'_, R>) -> io::Result<()> {
    json.is_ended.store(true, Ordering::Relaxed);
    let warnings = json.warnings.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stdout = BufWriter::new(io::stdout().lock());
    write_line(&mut stdout, &Envelope::new(outcome, &warnings))
}

/// A line of the output that is not the result.
#[derive(Serialize)]
struct EventLine<'a> {
    schema_version: u32,
    #[serde(flatten)]
    event: EventData<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventData<'a> {
    TaskStarted { task: u64, stage: &'static str, name: &'a str, total: Option<u64>, unit: &'static str },
    TaskExtended { task: u64, amount: u64 },
    TaskAwaited { task: u64 },
    TaskAdvanced { task: u64, amount: u64 },
    TaskOutput { task: u64, line: &'a str },
    TaskFinished { task: u64, summary: &'a str },
    TaskAbandoned { task: u64 },
    Warning { message: &'a str },
}

/// The last line of the output.
#[derive(Serialize)]
struct Envelope<'a, R> {
    schema_version: u32,
    event: &'static str,
    command: &'static str,
    status: Status,
    exit_code: u8,
    warnings: &'a [String],
    error: Option<ErrorData>,
    data: Option<&'a R>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct ErrorData {
    message: String,
    causes: Vec<String>,
    help: Option<String>,
}

impl<'a, R: CommandResult> Envelope<'a, R> {
    fn new(outcome: &Outcome<'a, R>, warnings: &'a [String]) -> Self {
        let has_warning = !warnings.is_empty() || outcome.result.is_some_and(R::has_warning);
        let status = match outcome.exit_code {
            0 if has_warning => Status::Warn,
            0 => Status::Ok,
            _ => Status::Fail,
        };
        let error = outcome.error.map(|error| ErrorData {
            message: error.to_string(),
            causes: error.chain().skip(1).map(ToString::to_string).collect(),
            help: error.help().map(|help| help.to_string()),
        });
        Self {
            schema_version: SCHEMA_VERSION,
            event: "result",
            command: outcome.command,
            status,
            exit_code: outcome.exit_code,
            warnings,
            error,
            data: outcome.result,
        }
    }
}

impl Json {
    fn begin(&self, task: TaskId) {
        let steps = Steps { amount: 0, last_event: Instant::now() };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(task, steps);
    }

    fn is_running(&self, task: TaskId) -> bool {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task)
    }

    /// Adds a step of a running task, and returns the amount to report now, if any.
    fn step(&self, task: TaskId, amount: u64) -> Option<u64> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = steps.get_mut(&task)?;
        steps.amount = steps.amount.saturating_add(amount);
        if steps.last_event.elapsed() < INTERVAL {
            return None;
        }
        steps.last_event = Instant::now();
        Some(std::mem::take(&mut steps.amount))
    }

    /// Ends a task, and returns the amount that was not reported yet, if any.
    fn end(&self, task: TaskId) -> Option<u64> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).remove(&task)?;
        Some(steps.amount).filter(|&amount| amount > 0)
    }

    fn data<'e>(&self, event: &'e Event) -> Option<EventData<'e>> {
        Some(match event {
            Event::Started { task, stage, name, total, unit } => {
                let unit = match unit {
                    Unit::Bytes => "bytes",
                    Unit::Items => "items",
                };
                let stage = stage_name(*stage);
                EventData::TaskStarted { task: task.0, stage, name, total: *total, unit }
            }
            Event::Extended { task, amount } => {
                self.is_running(*task).then_some(EventData::TaskExtended { task: task.0, amount: *amount })?
            }
            Event::Awaited { task } => EventData::TaskAwaited { task: task.0 },
            Event::Advanced { task, amount } => {
                EventData::TaskAdvanced { task: task.0, amount: self.step(*task, *amount)? }
            }
            Event::Finished { task, summary } => EventData::TaskFinished { task: task.0, summary },
            Event::Abandoned { task } => EventData::TaskAbandoned { task: task.0 },
            Event::Output { task, line } => EventData::TaskOutput { task: task.0, line },
            Event::Warning { message } => EventData::Warning { message },
        })
    }
}

impl Sink for Json {
    fn event(&self, event: Event) {
        if self.is_ended.load(Ordering::Relaxed) {
            return;
        }
        match &event {
            Event::Started { task, .. } => self.begin(*task),
            Event::Finished { task, .. } | Event::Abandoned { task } => {
                if let Some(amount) = self.end(*task) {
                    emit(EventData::TaskAdvanced { task: task.0, amount });
                }
            }
            Event::Warning { message } => {
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
            }
            _ => {}
        }
        if let Some(data) = self.data(&event) {
            emit(data);
        }
    }
}

/// Writes an event. A reader that closed stdout is not an error.
fn emit(event: EventData<'_>) {
    let line = EventLine { schema_version: SCHEMA_VERSION, event };
    let _ = write_line(&mut io::stdout().lock(), &line);
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::result::Content;
    use super::*;

    #[test]
    fn no_step_is_lost_and_few_are_reported() {
        let (json, task) = (Json::default(), TaskId(1));
        assert_eq!(json.step(task, 5), None, "of a task that does not run");
        json.begin(task);
        let reported: Vec<u64> = (0..1000).filter_map(|_| json.step(task, 3)).collect();
        let rest = json.end(task).unwrap_or_default();
        assert_eq!(reported.iter().sum::<u64>() + rest, 3000);
        assert!(reported.len() < 100);
        assert_eq!(json.end(task), None);
    }

    #[derive(Serialize)]
    struct Checks {
        is_slow: bool,
    }

    impl CommandResult for Checks {
        fn content(&self) -> Content<'_> {
            Content::Text { output: String::new(), summary: String::new() }
        }

        fn has_warning(&self) -> bool {
            self.is_slow
        }
    }

    #[test]
    fn the_status_follows_from_exit_code_and_warnings() {
        let warnings = ["slow".to_owned()];
        for (exit_code, warnings, is_slow, status) in [
            (0, &[][..], false, Status::Ok),
            (0, &warnings[..], false, Status::Warn),
            (0, &[][..], true, Status::Warn),
            (3, &[][..], false, Status::Fail),
            (1, &warnings[..], true, Status::Fail),
        ] {
            let checks = Checks { is_slow };
            let outcome = Outcome { command: "doctor", exit_code, result: Some(&checks), error: None };
            assert_eq!(Envelope::new(&outcome, warnings).status, status);
        }
    }

    #[test]
    fn an_error_has_its_causes_and_its_help() {
        let source = io::Error::other("connection refused");
        let error = miette::Report::from_err(source).wrap_err("failed to push");
        let outcome = Outcome::<Checks> { command: "push", exit_code: 1, result: None, error: Some(&error) };
        let mut line = Vec::new();
        write_line(&mut line, &Envelope::new(&outcome, &[])).unwrap();
        insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"{"schema_version":1,"event":"result","command":"push","status":"fail","exit_code":1,"warnings":[],"error":{"message":"failed to push","causes":["connection refused"],"help":null},"data":null}"#);
    }
}
