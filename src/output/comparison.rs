//! Comparisons of two images, as `diff` and `verify` print them: a verdict and lists of differences.

/// The number of rows of one section that is printed without `--all`.
pub const MAX_SHOWN_ROWS: usize = 20;

/// Two images, the first one first: name and digest of each.
pub type Sides = [(String, String); 2];

/// A comparison of two images.
pub trait Comparison {
    /// The images.
    fn sides(&self) -> Sides;
    /// Whether they are equal, in one line.
    fn verdict(&self) -> String;
    /// What differs.
    fn sections(&self) -> Vec<Section<'_>>;
}

/// Differences of one kind.
pub struct Section<'a> {
    /// What differs.
    pub title: String,
    /// The number of rows.
    pub total: usize,
    /// The rows; they may be as many as both images have entries.
    pub rows: Box<dyn Iterator<Item = Row> + 'a>,
}

impl<'a> Section<'a> {
    /// One row for each element of a list.
    pub fn of<T>(title: &str, items: &'a [T], row: fn(&T) -> Row) -> Self {
        Self { title: title.to_owned(), total: items.len(), rows: Box::new(items.iter().map(row)) }
    }
}

/// One difference. The value of a side that does not have it is empty.
pub struct Row {
    /// What differs: a package, a path.
    pub name: String,
    /// The first image's value.
    pub want: String,
    /// The second image's value.
    pub got: String,
}

impl Row {
    pub(super) fn sign(&self) -> char {
        match (self.want.is_empty(), self.got.is_empty()) {
            (true, false) => '+',
            (false, true) => '-',
            _ => '~',
        }
    }

    pub(super) fn text(&self, full: bool) -> String {
        let arrow = if self.sign() == '~' && !self.want.is_empty() { " -> " } else { "" };
        let [want, got] = [&self.want, &self.got].map(|side| match full {
            true => side.clone(),
            false => short_digests(side),
        });
        format!("{} {}  {want}{arrow}{got}", self.sign(), self.name)
    }
}

/// The text with each digest shortened to 12 digits, which are enough to distinguish two.
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
