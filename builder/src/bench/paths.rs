//! The paths of the bench. They are the same in the sandbox and in the image, because a bench has many
//! absolute paths in its files.

/// The bench directory, in the sandbox and in the image.
pub const BENCH_DIR: &str = "/home/frappe/frappe-bench";

/// The home directory of the user `frappe`, in the sandbox and in the image.
pub const HOME_DIR: &str = "/home/frappe";
