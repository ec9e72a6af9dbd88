//! Text for people: progress as bars or lines, results as lines and lists.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;

use carafe_builder::progress::Progress;

use super::comparison::{Comparison, MAX_SHOWN_ROWS};
use super::plain::Plain;
use super::result::{CommandResult, Content, Outcome};
use super::streams;
use super::terminal::Terminal;

/// Draws bars on a terminal, and prints lines elsewhere.
pub fn progress() -> Progress {
    match io::stderr().is_terminal() {
        true => Progress::new(Arc::new(Terminal::new())),
        false => Progress::new(Arc::new(Plain::default())),
    }
}

/// Prints the summary, then the result; of a comparison at most [`MAX_SHOWN_ROWS`] rows of each
/// section unless `all` is set.
pub fn result<R: CommandResult>(outcome: &Outcome<'_, R>, all: bool) -> io::Result<()> {
    match outcome.result.map(CommandResult::content) {
        Some(Content::Text { output, summary }) => lines(&output, &summary),
        Some(Content::Comparison(comparison)) => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            write_comparison(comparison, &mut stdout, all)?;
            stdout.flush()
        }
        None => Ok(()),
    }
}

/// Prints `summary` to stderr and `output` to stdout.
pub fn lines(output: &str, summary: &str) -> io::Result<()> {
    if !summary.is_empty() {
        streams::to_stderr(summary.trim_end_matches('\n'));
    }
    streams::to_stdout(output)
}

/// Writes a comparison as lists.
pub fn write_comparison(comparison: &dyn Comparison, out: &mut dyn Write, all: bool) -> io::Result<()> {
    let limit = if all { usize::MAX } else { MAX_SHOWN_ROWS };
    for (name, digest) in comparison.sides() {
        writeln!(out, "{digest}  {name}")?;
    }
    writeln!(out, "{}", comparison.verdict())?;
    for section in comparison.sections() {
        writeln!(out, "\n{} ({})", section.title, section.total)?;
        for row in section.rows.take(limit) {
            writeln!(out, "  {}", row.text(all).trim_end())?;
        }
        if section.total > limit {
            writeln!(out, "  {} more: use --all to print them", section.total - limit)?;
        }
    }
    Ok(())
}
