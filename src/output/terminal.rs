//! Progress as bars, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use carafe_builder::progress::{Event, Sink, Stage, TaskId, Unit};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::columns::{self, MIN_NAME_WIDTH, NAME_WIDTH};
use super::screen::Screen;

/// One bar for each task that runs, and one line for each task that ended.
pub struct Terminal {
    bars: MultiProgress,
    running: Mutex<BTreeMap<TaskId, Running>>,
}

struct Running {
    title: String,
    bar: ProgressBar,
}

const TICK: Duration = Duration::from_millis(120);
/// The most redraws in a second.
const MAX_DRAWS_PER_SECOND: u8 = 20;
/// Columns of a bar's line without the name.
const BAR_WIDTH: usize = Screen::MAX_WIDTH - NAME_WIDTH;
/// Columns before the output of a step: the spinner, the title of a build, the duration.
const OUTPUT_INDENT: usize = 25;

const BAR: &str = "{spinner:.cyan} {prefix} {bar:18.cyan/dim} {amount}";
const OPEN: &str = "{spinner:.cyan} {prefix} {elapsed_time:>7} {amount}";
const OUTPUT: &str = "{spinner:.cyan} {prefix} {elapsed_time:>7}  {msg:.dim}";

impl Terminal {
    /// Draws on stderr, in color if stderr is a terminal (stdout may be a file) and the user allows it.
    pub fn new() -> Self {
        console::set_colors_enabled(console::colors_enabled_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::new()), MAX_DRAWS_PER_SECOND);
        Self { bars: MultiProgress::with_draw_target(target), running: Mutex::default() }
    }

    fn start(&self, stage: Stage, name: &str, total: Option<u64>, unit: Unit) -> Running {
        let name_width = terminal_width().saturating_sub(BAR_WIDTH).clamp(MIN_NAME_WIDTH, NAME_WIDTH);
        let title = columns::title(stage, name, name_width);
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style(unit, total.is_some()));
        let has_output = total.is_none() && unit == Unit::Items;
        bar.set_prefix(if has_output { title.trim_end().to_owned() } else { title.clone() });
        bar.enable_steady_tick(TICK);
        Running { title, bar }
    }

    /// Replaces a bar by a line. The bar must not be drawn again.
    fn end(&self, running: Running, mark: &str, summary: &str) {
        let ended = columns::ended(&running.title, running.bar.elapsed(), summary);
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        self.print(&format!("{mark} {}", columns::truncate(&ended, terminal_width().saturating_sub(2))));
    }

    /// Prints a line above the bars. It ends with a line feed, so that other output can follow the last
    /// line; `MultiProgress::println` leaves the cursor at the right edge instead.
    fn print(&self, line: &str) {
        self.bars.suspend(|| super::streams::to_stderr(line));
    }

    fn show(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, stage, name, total, unit } => {
                running.insert(task, self.start(stage, &name, total, unit));
            }
            Event::Extended { task, amount } => {
                if let Some(task) = running.get(&task) {
                    task.bar.inc_length(amount);
                }
            }
            Event::Awaited { task } => {
                if let Some(task) = running.get(&task) {
                    task.bar.reset_elapsed();
                }
            }
            Event::Advanced { task, amount } => {
                if let Some(task) = running.get(&task) {
                    task.bar.inc(amount);
                }
            }
            Event::Output { task, line } => {
                if let Some(task) = running.get(&task)
                    && !line.trim().is_empty()
                {
                    let width = terminal_width().min(Screen::MAX_WIDTH).saturating_sub(OUTPUT_INDENT);
                    task.bar.set_message(columns::truncate(line.trim(), width));
                }
            }
            Event::Finished { task, summary } => {
                if let Some(task) = running.remove(&task) {
                    let mark = console::style("✓").for_stderr().green().to_string();
                    self.end(task, &mark, &summary);
                }
            }
            Event::Abandoned { task } => {
                if let Some(task) = running.remove(&task) {
                    let mark = console::style("✗").for_stderr().red().to_string();
                    self.end(task, &mark, "stopped");
                }
            }
            Event::Warning { message } => {
                let word = console::style("warning").for_stderr().yellow();
                self.print(&format!("{word}: {message}"));
            }
        }
    }
}

impl Sink for Terminal {
    fn event(&self, event: Event) {
        self.show(event);
    }
}

/// The current width of the terminal, in columns.
fn terminal_width() -> usize {
    Term::stderr().size().1.into()
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (has_total, unit) {
        (true, _) => BAR,
        (false, Unit::Bytes) => OPEN,
        (false, Unit::Items) => OUTPUT,
    };
    let amount = move |state: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&columns::amount(unit, state.pos(), state.len()));
    };
    let elapsed = |state: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&columns::elapsed_time(state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .expect("a constant template")
        .with_key("amount", amount)
        .with_key("elapsed_time", elapsed)
        .progress_chars("━╸ ")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fit_into_the_narrowest_common_terminal() {
        for (unit, has_total) in [(Unit::Bytes, true), (Unit::Items, true), (Unit::Bytes, false)] {
            style(unit, has_total); // panics if the template is invalid
        }
        let widest = format!(
            "⠋ {} {} {}",
            columns::title(Stage::Push, "x", NAME_WIDTH),
            "━".repeat(18),
            "999 MB of 999 MB"
        );
        assert!(console::measure_text_width(&widest) <= Screen::MAX_WIDTH, "{widest}");
    }
}
