//! The names of the directories and links in a sandbox's scratch directory.

/// A symbolic link to the rootfs: the overlay's lower directory.
pub(super) const LOWER: &str = "lower";
/// The overlay's upper directory.
pub(super) const UPPER: &str = "upper";
/// The overlay's work directory.
pub(super) const WORK: &str = "work";
/// The mount point of the overlay.
pub(super) const MERGED: &str = "merged";
/// The `/tmp` of the steps.
pub(super) const TMP: &str = "tmp";
