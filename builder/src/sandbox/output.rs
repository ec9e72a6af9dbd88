//! From the bytes of a step's output to lines that are safe to show.

use std::collections::VecDeque;
use std::io::{self, Write};

use carafe_layers::text::output_line;

use super::error::StepError;
use crate::secret::Redactor;

/// Splits a stream into lines, sanitizes and redacts them, and passes each to the log and to a
/// callback.
///
/// A line is valid UTF-8 without control characters and escape sequences, and has at most
/// [`Lines::MAX_LINE_BYTES`] bytes (a longer one is cut and ends with a note). After a carriage return
/// the line starts again, as on a terminal.
pub(super) struct Lines<'a> {
    redactor: &'a Redactor,
    on_line: &'a mut dyn FnMut(&str),
    log: &'a mut dyn Write,
    /// In bytes. This much more of a line is kept than is shown, so that no secret is cut before it
    /// is redacted.
    longest_secret: usize,
    line: Vec<u8>,
    cut: usize,
    after_return: bool,
    tail: VecDeque<String>,
}

impl<'a> Lines<'a> {
    /// The maximum length of a line.
    pub const MAX_LINE_BYTES: usize = 8 << 10;

    pub fn new(redactor: &'a Redactor, on_line: &'a mut dyn FnMut(&str), log: &'a mut dyn Write) -> Self {
        let lengths = redactor.secrets().iter().map(|secret| secret.expose().len());
        let longest_secret = lengths.max().unwrap_or(0);
        let (line, tail) = (Vec::new(), VecDeque::new());
        Self { redactor, on_line, log, longest_secret, line, cut: 0, after_return: false, tail }
    }

    /// Adds the next bytes. Fails only if the log cannot be written.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line()?,
                b'\r' => self.after_return = true,
                _ => self.push_byte(*byte),
            }
        }
        self.log.flush()
    }

    fn push_byte(&mut self, byte: u8) {
        if std::mem::take(&mut self.after_return) {
            self.line.clear();
            self.cut = 0;
        }
        if self.line.len() < Self::MAX_LINE_BYTES + self.longest_secret {
            self.line.push(byte);
        } else {
            self.cut += 1;
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let raw = std::mem::take(&mut self.line);
        let clean = self.redactor.redact(&output_line(&String::from_utf8_lossy(&raw)));
        // The cut may be within a secret.
        let safe = clean.len().saturating_sub(if self.cut > 0 { self.longest_secret } else { 0 });
        let shown = &clean[..clean.floor_char_boundary(safe.min(Self::MAX_LINE_BYTES))];
        let cut = self.cut + clean.len() - shown.len();
        let line = if cut > 0 { format!("{shown} [{cut} bytes cut]") } else { shown.to_owned() };
        (self.cut, self.after_return) = (0, false);
        writeln!(self.log, "{line}")?;
        (self.on_line)(&line);
        if !line.trim().is_empty() {
            self.tail.push_back(line);
        }
        if self.tail.len() > StepError::MAX_TAIL_LINES {
            self.tail.pop_front();
        }
        Ok(())
    }

    /// Ends the last line if it has no newline, and returns the last lines that are not blank.
    pub fn finish(mut self) -> io::Result<Vec<String>> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        self.log.flush()?;
        Ok(self.tail.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let redactor = Redactor::new([Secret::new("hunter22")]);
        let (mut seen, mut log) = (Vec::new(), Vec::new());
        let mut on_line = |line: &str| seen.push(line.to_owned());
        let mut lines = Lines::new(&redactor, &mut on_line, &mut log);
        chunks.iter().for_each(|chunk| lines.push(chunk).unwrap());
        lines.finish().unwrap();
        let logged = String::from_utf8(log).unwrap();
        assert!(logged.lines().eq(&seen), "the log differs: {logged}");
        seen
    }

    #[test]
    fn splits_at_every_kind_of_line_end() {
        assert_eq!(lines(&[b"a\nb\r\n\nla", b"st"]), ["a", "b", "", "last"]);
    }

    #[test]
    fn shows_the_last_state_of_a_progress_line() {
        assert_eq!(lines(&[b"10 %\r50 %\r", b"100 %\ndone\r\r\n"]), ["100 %", "done"]);
    }

    #[test]
    fn removes_escape_sequences_and_control_characters() {
        let text = b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x07\x08 \xc2\x9b2J\xff\tz";
        assert_eq!(lines(&[text]), ["red ab 2J\u{fffd}\tz"]);
    }

    #[test]
    fn redacts_a_secret_across_chunks_and_colors() {
        assert_eq!(lines(&[b"hunt", b"er22 hun\x1b[0mter22\n"]), ["*** ***"]);
    }

    #[test]
    fn cuts_a_long_line_and_never_within_a_secret() {
        let mut long = b"hunter22 hunter22 ".to_vec();
        long.resize(Lines::MAX_LINE_BYTES + 3, b'x');
        long.extend(b"hunter22 and more");
        long.extend([b'y'; 100]);
        let seen = lines(&[&long, b"\nnext\n"]);
        assert!(seen[0].len() < Lines::MAX_LINE_BYTES + 32 && seen[0].ends_with(" bytes cut]"));
        assert!(!seen[0].contains("hunt"), "{}", &seen[0][Lines::MAX_LINE_BYTES - 32..]);
        assert_eq!(seen[1], "next");
    }

    #[test]
    fn the_tail_is_bounded_and_has_no_blank_lines() {
        let redactor = Redactor::default();
        let (mut on_line, mut log) = (|_: &str| {}, Vec::new());
        let mut lines = Lines::new(&redactor, &mut on_line, &mut log);
        for number in 0..100 {
            lines.push(format!("{number}\n\n").as_bytes()).unwrap();
        }
        let tail = lines.finish().unwrap();
        assert_eq!((tail.len(), tail[0].as_str()), (StepError::MAX_TAIL_LINES, "80"));
    }
}
