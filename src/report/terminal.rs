//! Progress as bars, for people.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use carafe_builder::progress::{Event, Sink, Stage, TaskId, Unit};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::label;

/// One bar for each task that runs, and a line for each that is done.
#[derive(Default)]
pub struct Terminal {
    bars: MultiProgress,
    running: Mutex<BTreeMap<TaskId, Running>>,
}

struct Running {
    title: String,
    bar: ProgressBar,
}

const TICK: Duration = Duration::from_millis(120);
const BYTES: &str =
    "{spinner} {prefix:<34} {bar:24.cyan/dim} {bytes:>10} of {total_bytes:<10} {bytes_per_sec}";
const ITEMS: &str = "{spinner} {prefix:<34} {bar:24.cyan/dim} {pos:>10} of {len}";
const BYTES_OPEN: &str = "{spinner} {prefix:<34} {bytes:>10} {elapsed:>5} {wide_msg:.dim}";
const ITEMS_OPEN: &str = "{spinner} {prefix:<34} {elapsed:>5} {wide_msg:.dim}";

impl Terminal {
    fn start(&self, stage: Stage, name: &str, total: Option<u64>, unit: Unit) -> Running {
        let template = match (unit, total) {
            (Unit::Bytes, Some(_)) => BYTES,
            (Unit::Items, Some(_)) => ITEMS,
            (Unit::Bytes, None) => BYTES_OPEN,
            (Unit::Items, None) => ITEMS_OPEN,
        };
        let style = ProgressStyle::with_template(template).expect("a constant template");
        let title = format!("{:<5} {name}", label(stage));
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(style.progress_chars("━╸ ").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_prefix(title.clone());
        bar.enable_steady_tick(TICK);
        Running { title, bar }
    }

    /// Leaves a line above the bars. A bar that is gone must not be drawn again.
    fn end(&self, running: Running, mark: &str, summary: &str) {
        let elapsed = running.bar.elapsed().as_secs_f32();
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        let _ = self.bars.println(format!("{mark} {:<34} {summary} ({elapsed:.1} s)", running.title));
    }
}

impl Sink for Terminal {
    fn event(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(|poison| poison.into_inner());
        match event {
            Event::Started { task, stage, name, total, unit } => {
                running.insert(task, self.start(stage, &name, total, unit));
            }
            Event::Advanced { task, amount } => {
                if let Some(task) = running.get(&task) {
                    task.bar.inc(amount);
                }
            }
            Event::Output { task, line } => {
                if let Some(task) = running.get(&task) {
                    task.bar.set_message(line);
                }
            }
            Event::Finished { task, summary } => {
                if let Some(task) = running.remove(&task) {
                    self.end(task, "✓", &summary);
                }
            }
            Event::Abandoned { task } => {
                if let Some(task) = running.remove(&task) {
                    self.end(task, "✗", "stopped");
                }
            }
            Event::Warning { message } => {
                let _ = self.bars.println(format!("warning: {message}"));
            }
        }
    }
}
