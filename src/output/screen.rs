//! The terminal that bars are drawn on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::TermLike;

/// Stderr, where a line is as long as its text.
///
/// indicatif fills each line up to the terminal's width and lets the terminal break it there. When
/// the terminal becomes narrower, it breaks each such line in two, and one of the two stays behind.
/// Here the filling becomes a line feed before the next line.
#[derive(Debug)]
pub struct Screen {
    term: Term,
    at_line_end: AtomicBool,
}

impl Screen {
    /// Columns of the narrowest terminal that is common, but for the last one, in which some
    /// terminals break the line already. No line that is drawn again should be wider.
    pub const MAX_WIDTH: usize = 79;

    /// Stderr; what is drawn appears at once, when it is flushed.
    pub fn new() -> Self {
        Self { term: Term::buffered_stderr(), at_line_end: AtomicBool::new(false) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte == b' ') {
            self.at_line_end.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.at_line_end.swap(false, Ordering::Relaxed) {
            self.term.write_str("\n")?;
        }
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // The cursor stays behind the last line, where the next drawing expects it.
        self.at_line_end.store(false, Ordering::Relaxed);
        self.term.flush()
    }
}
