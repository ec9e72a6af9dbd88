//! The table of layers at the end of `build`, `push` and `inspect`.

use carafe_builder::spec::format_bytes;
use carafe_layers::digest::Digest;

/// One line of the table.
pub struct LayerRow {
    /// The layer's content, such as `env`; `base` for the base image's layers.
    pub name: String,
    /// Compressed size in bytes.
    pub size: u64,
    /// The compressed blob's digest.
    pub digest: Digest,
    /// What a push did for it: sent, mounted, skipped; empty without a push.
    pub delivery: String,
}

/// Hexadecimal digits of a digest that a table shows.
const SHORT_DIGEST: usize = 12;

/// The rows under a heading, their total, and the bytes that were sent to each repository (including
/// the image's config, which is not a layer). Every line ends with a line feed.
pub fn layer_table(rows: &[LayerRow], sent: &[(String, u64)]) -> String {
    let total = rows.iter().fold(0, |sum: u64, row| sum.saturating_add(row.size));
    let name_width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max("layer".len());
    let mut lines = vec![format!("{:<name_width$}  {:>8}  {:<SHORT_DIGEST$}", "layer", "size", "digest")];
    lines.extend(rows.iter().map(|row| {
        let hex = row.digest.hex();
        let size = format_bytes(row.size);
        format!("{:<name_width$}  {size:>8}  {}  {}", row.name, &hex[..SHORT_DIGEST], row.delivery)
    }));
    lines.push(format!("{:<name_width$}  {:>8}", "total", format_bytes(total)));
    lines.extend(sent.iter().map(|(repository, bytes)| {
        format!("{:<name_width$}  {:>8}  to {repository}", "sent", format_bytes(*bytes))
    }));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_and_adds_up_sizes() {
        let row = |name: &str, size, delivery: &str| LayerRow {
            name: name.into(),
            size,
            digest: Digest::of(name.as_bytes()),
            delivery: delivery.into(),
        };
        let table = layer_table(
            &[row("base", 98_000_000, "mounted"), row("node_modules/frappe", 1_234, "sent")],
            &[("localhost:5000/erp".into(), 2_345)],
        );
        insta::assert_snapshot!(table, @r"
        layer                    size  digest
        base                    98 MB  cae662172fd4  mounted
        node_modules/frappe    1.2 kB  91d41b6fb6bc  sent
        total                   98 MB
        sent                   2.3 kB  to localhost:5000/erp
        ");
    }
}
