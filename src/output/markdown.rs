//! Comparisons as Markdown tables, for a merge request. Everything else is text.

use std::io::{self, BufWriter, Write};

use super::comparison::{Comparison, MAX_SHOWN_ROWS};
use super::result::{CommandResult, Content, Outcome};
use super::text;

/// Prints the result; of a comparison at most [`MAX_SHOWN_ROWS`] rows of each section unless `all` is
/// set.
pub fn result<R: CommandResult>(outcome: &Outcome<'_, R>, all: bool) -> io::Result<()> {
    match outcome.result.map(CommandResult::content) {
        Some(Content::Text { output, summary }) => text::lines(&output, &summary),
        Some(Content::Comparison(comparison)) => {
            let mut stdout = BufWriter::new(io::stdout().lock());
            write_comparison(comparison, &mut stdout, all)?;
            stdout.flush()
        }
        None => Ok(()),
    }
}

/// Writes a comparison as tables.
pub fn write_comparison(comparison: &dyn Comparison, out: &mut dyn Write, all: bool) -> io::Result<()> {
    let limit = if all { usize::MAX } else { MAX_SHOWN_ROWS };
    writeln!(out, "**{}**\n\n| | image | digest |\n|---|---|---|", comparison.verdict())?;
    for (side, (name, digest)) in ["want", "got"].iter().zip(comparison.sides()) {
        writeln!(out, "| {side} | {} | {} |", code(&name), code(&digest))?;
    }
    for section in comparison.sections() {
        let (title, total) = (&section.title, section.total);
        writeln!(out, "\n#### {title} ({total})\n\n| | name | want | got |\n|---|---|---|---|")?;
        for row in section.rows.take(limit) {
            let [name, want, got] = [&row.name, &row.want, &row.got].map(|cell| code(cell));
            writeln!(out, "| {} | {name} | {want} | {got} |", row.sign())?;
        }
        if total > limit {
            writeln!(out, "\n{} more: use `--all` to print them", total - limit)?;
        }
    }
    Ok(())
}

/// A cell that is shown literally, whatever it contains.
fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('`', "'").replace('|', "\\|")),
    }
}
