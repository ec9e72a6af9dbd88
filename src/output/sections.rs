//! Lists of differences, as text and as Markdown: what `diff` and `verify` share.

use std::io::{self, Write};

use serde::Serialize;

/// Differences of one kind that are shown where not all are asked for.
pub const MAX_SHOWN_ROWS: usize = 20;

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// For a terminal.
    Text,
    /// For a merge request.
    Markdown,
    /// For machines, always all of it. `docs/diff.md` and `docs/verify.md` have the members.
    Json,
}

impl Form {
    /// By the flags.
    pub fn of(json: bool, markdown: bool) -> Self {
        match (json, markdown) {
            (true, _) => Self::Json,
            (_, true) => Self::Markdown,
            _ => Self::Text,
        }
    }
}

/// Two images, `want` first: name and digest of each.
pub(crate) type Sides = [(String, String); 2];

/// What is said of two images. Serialised, it is all that machines get.
pub(crate) trait Report: Serialize {
    /// The images.
    fn sides(&self) -> Sides;
    /// Whether they are equal, in a line.
    fn verdict(&self) -> String;
    /// What differs.
    fn sections(&self) -> Vec<Section<'_>>;
}

/// Prints a report; at most [`MAX_SHOWN_ROWS`] of each section unless `all` are asked for.
pub(crate) fn write(report: &impl Report, out: &mut impl Write, form: Form, all: bool) -> io::Result<()> {
    let limit = if all { usize::MAX } else { MAX_SHOWN_ROWS };
    match form {
        Form::Text => text(report, out, limit),
        Form::Markdown => markdown(report, out, limit),
        Form::Json => {
            serde_json::to_writer(&mut *out, report)?;
            out.write_all(b"\n")
        }
    }
}

fn text(report: &impl Report, out: &mut impl Write, limit: usize) -> io::Result<()> {
    for (name, digest) in report.sides() {
        writeln!(out, "{digest}  {name}")?;
    }
    writeln!(out, "{}", report.verdict())?;
    for section in report.sections() {
        writeln!(out, "\n{} ({})", section.title, section.total)?;
        for row in section.rows.take(limit) {
            writeln!(out, "  {}", row.text(limit > MAX_SHOWN_ROWS).trim_end())?;
        }
        if section.total > limit {
            writeln!(out, "  {} more: --all shows them", section.total - limit)?;
        }
    }
    Ok(())
}

fn markdown(report: &impl Report, out: &mut impl Write, limit: usize) -> io::Result<()> {
    writeln!(out, "**{}**\n\n| | image | digest |\n|---|---|---|", report.verdict())?;
    for (side, (name, digest)) in ["want", "got"].iter().zip(report.sides()) {
        writeln!(out, "| {side} | {} | {} |", code(&name), code(&digest))?;
    }
    for section in report.sections() {
        let (title, total) = (&section.title, section.total);
        writeln!(out, "\n#### {title} ({total})\n\n| | name | want | got |\n|---|---|---|---|")?;
        for row in section.rows.take(limit) {
            let [name, want, got] = [&row.name, &row.want, &row.got].map(|cell| code(cell));
            writeln!(out, "| {} | {name} | {want} | {got} |", row.sign())?;
        }
        if total > limit {
            writeln!(out, "\n{} more: `--all` shows them", total - limit)?;
        }
    }
    Ok(())
}

/// Differences of one kind.
pub(crate) struct Section<'a> {
    pub title: String,
    pub total: usize,
    pub rows: Box<dyn Iterator<Item = Row> + 'a>,
}

impl<'a> Section<'a> {
    /// Of a list, a row for each.
    pub(crate) fn of<T>(title: &str, items: &'a [T], row: fn(&T) -> Row) -> Self {
        Self { title: title.to_owned(), total: items.len(), rows: Box::new(items.iter().map(row)) }
    }
}

/// One difference; a side that has nothing there is empty.
pub(crate) struct Row {
    pub name: String,
    pub want: String,
    pub got: String,
}

impl Row {
    fn sign(&self) -> char {
        match (self.want.is_empty(), self.got.is_empty()) {
            (true, false) => '+',
            (false, true) => '-',
            _ => '~',
        }
    }

    fn text(&self, full: bool) -> String {
        let arrow = if self.sign() == '~' && !self.want.is_empty() { " -> " } else { "" };
        let [want, got] = [&self.want, &self.got].map(|side| match full {
            true => side.clone(),
            false => short_digests(side),
        });
        format!("{} {}  {want}{arrow}{got}", self.sign(), self.name)
    }
}

/// Twelve digits of each digest are enough to tell two apart.
fn short_digests(text: &str) -> String {
    const ALGORITHM: &str = "sha256:";
    const SHORT: usize = 12;
    let mut parts = text.split(ALGORITHM);
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        short.extend([ALGORITHM, &part[..digits.min(SHORT)], &part[digits..]]);
    }
    short
}

/// A cell that is shown as it is, whatever is in it.
fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", text.replace('`', "'").replace('|', "\\|")),
    }
}
