//! What an unpacked image contained.

/// What an unpacked image contained, for reports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnpackStats {
    /// Number of entries that were read, whiteouts and implicit directories included.
    pub entries: u64,
    /// Bytes of the files that were written, those included that an upper layer hides.
    pub bytes: u64,
    /// Bytes of the layers' tars.
    pub tar_bytes: u64,
    /// Number of whiteouts, opaque ones included.
    pub whiteouts: u64,
    /// Number of skipped device nodes and named pipes, and of hard links to them.
    pub skipped: u64,
    /// Number of entries whose owner is not root; they belong to the current user.
    pub other_owners: u64,
    /// Number of entries whose setuid or setgid bit was dropped.
    pub set_ids_dropped: u64,
    /// Number of entries whose extended attributes (such as `security.capability`) were dropped.
    pub xattrs_dropped: u64,
}
