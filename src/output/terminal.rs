//! Progress as bars, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use carafe_builder::progress::{Event, Sink, Stage, TaskId, Unit};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::line::{self, NAME, NARROW_NAME};
use super::screen::Screen;

/// One bar for each task that runs, and a line for each that is done.
pub struct Terminal {
    bars: MultiProgress,
    running: Mutex<BTreeMap<TaskId, Running>>,
}

struct Running {
    title: String,
    bar: ProgressBar,
}

const TICK: Duration = Duration::from_millis(120);
/// So often a second is drawn at most.
const DRAWS: u8 = 20;
/// Columns of a bar line beside the name.
const BESIDE_NAME: usize = Screen::MAX_WIDTH - NAME;
/// Columns before a step's output: the spinner, the title of a build, the clock.
const BESIDE_OUTPUT: usize = 25;

const BAR: &str = "{spinner:.cyan} {prefix} {bar:18.cyan/dim} {amount}";
const OPEN: &str = "{spinner:.cyan} {prefix} {clock:>7} {amount}";
const OUTPUT: &str = "{spinner:.cyan} {prefix} {clock:>7}  {msg:.dim}";

impl Terminal {
    /// Draws on stderr, in colour if stderr (whatever stdout is) and the user take it.
    pub fn new() -> Self {
        console::set_colors_enabled(console::colors_enabled_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Screen::new()), DRAWS);
        Self { bars: MultiProgress::with_draw_target(target), running: Mutex::default() }
    }

    fn start(&self, stage: Stage, name: &str, total: Option<u64>, unit: Unit) -> Running {
        let name_width = columns().saturating_sub(BESIDE_NAME).clamp(NARROW_NAME, NAME);
        let title = line::title(stage, name, name_width);
        let bar = self.bars.add(total.map_or_else(ProgressBar::no_length, ProgressBar::new));
        bar.set_style(style(unit, total.is_some()));
        let has_output = total.is_none() && unit == Unit::Items;
        bar.set_prefix(if has_output { title.trim_end().to_owned() } else { title.clone() });
        bar.enable_steady_tick(TICK);
        Running { title, bar }
    }

    /// Leaves a line behind. A bar that is gone must not be drawn again.
    fn end(&self, running: Running, mark: &str, summary: &str) {
        let ended = line::ended(&running.title, running.bar.elapsed(), summary);
        running.bar.finish_and_clear();
        self.bars.remove(&running.bar);
        self.print(&format!("{mark} {}", line::cut(&ended, columns().saturating_sub(2))));
    }

    /// A line above the bars. It ends with a line feed, so that others can print after the last
    /// one; `MultiProgress::println` leaves the cursor at the right edge instead.
    fn print(&self, line: &str) {
        self.bars.suspend(|| super::lines::to_stderr(format_args!("{line}")));
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
                    let room = columns().min(Screen::MAX_WIDTH).saturating_sub(BESIDE_OUTPUT);
                    task.bar.set_message(line::cut(line.trim(), room));
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

/// Of the terminal, now.
fn columns() -> usize {
    Term::stderr().size().1.into()
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (has_total, unit) {
        (true, _) => BAR,
        (false, Unit::Bytes) => OPEN,
        (false, Unit::Items) => OUTPUT,
    };
    let amount = move |state: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&line::amount(unit, state.pos(), state.len()));
    };
    let clock = |state: &ProgressState, to: &mut dyn Write| {
        let _ = to.write_str(&line::clock(state.elapsed()));
    };
    ProgressStyle::with_template(template)
        .expect("a constant template")
        .with_key("amount", amount)
        .with_key("clock", clock)
        .progress_chars("━╸ ")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bar_is_wider_than_the_narrowest_common_terminal() {
        for (unit, has_total) in [(Unit::Bytes, true), (Unit::Items, true), (Unit::Bytes, false)] {
            style(unit, has_total); // a template that is wrong would panic
        }
        let widest =
            format!("⠋ {} {} {}", line::title(Stage::Push, "x", NAME), "━".repeat(18), "999 MB of 999 MB");
        assert!(console::measure_text_width(&widest) <= Screen::MAX_WIDTH, "{widest}");
    }
}
