//! Limits on what a repository may send or contain, as protection against hostile input.

/// Branches and tags that a server may list.
pub(super) const MAX_REFS: usize = 500_000;
/// Bytes of the list of branches and tags.
pub(super) const MAX_REF_LIST_BYTES: u64 = 150 << 20;
/// Bytes that a server may send for one commit, or for the history of a branch.
pub(super) const MAX_PACK_BYTES: u64 = 16 << 30;
/// Bytes of a single object.
pub(super) const MAX_OBJECT_BYTES: u64 = 1 << 30;
/// Commits in the history of a branch.
pub(super) const MAX_COMMITS: u64 = 5_000_000;
/// Entries of a commit's tree, counted as a checkout creates them.
pub(super) const MAX_TREE_ENTRIES: u64 = 1_000_000;
/// Directories on the path of a file.
pub(super) const MAX_TREE_DEPTH: u64 = 200;
/// Bytes of all files of a checkout.
pub(super) const MAX_CHECKOUT_BYTES: u64 = 8 << 30;
/// Submodules of a commit.
pub(super) const MAX_SUBMODULES: u64 = 1000;
/// Bytes of a file that is read without a checkout.
pub(super) const MAX_READ_BYTES: u64 = 16 << 20;
/// Bytes of a file of a local app.
pub(super) const MAX_LOCAL_FILE_BYTES: u64 = 1 << 30;
/// Bytes of the output of `git ls-files` for a local app.
pub(super) const MAX_FILE_LIST_BYTES: u64 = 256 << 20;

/// A limit as an error shows it: `16 MiB`.
pub(super) fn bytes(limit: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let mut rest = limit;
    let mut unit = 0;
    while rest >= 1024 && rest.is_multiple_of(1024) && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

/// A limit as an error shows it: `1,000,000 entries`.
pub(super) fn count(limit: u64, items: &str) -> String {
    let digits = limit.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {items}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_limits_for_people() {
        assert_eq!(bytes(MAX_PACK_BYTES), "16 GiB");
        assert_eq!(bytes(MAX_REF_LIST_BYTES), "150 MiB");
        assert_eq!(bytes(1025), "1025 bytes");
        assert_eq!(count(MAX_COMMITS, "commits"), "5,000,000 commits");
        assert_eq!(count(200, "nested directories"), "200 nested directories");
    }
}
