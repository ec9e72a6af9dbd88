//! The terminal that progress bars are drawn on.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::TermLike;

/// stderr, with lines that are as long as their text.
///
/// indicatif pads each line to the terminal's width and relies on the terminal to wrap there. When the
/// terminal becomes narrower, it wraps each padded line into two, of which one is never cleared. This
/// type replaces the padding by a line feed before the next line.
#[derive(Debug)]
pub struct Screen {
    term: Term,
    at_line_end: AtomicBool,
}

impl Screen {
    /// Columns of the narrowest common terminal, without the last one: some terminals wrap after
    /// writing to it. No line that is redrawn should be wider.
    pub const MAX_WIDTH: usize = 79;

    /// Draws on stderr; all changes appear together when they are flushed.
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
        // The cursor stays at the end of the last line, where the next redraw expects it.
        self.at_line_end.store(false, Ordering::Relaxed);
        self.term.flush()
    }
}
