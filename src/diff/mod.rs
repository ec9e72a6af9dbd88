//! Two images → what differs: first in Frappe's terms, then in layers and entries.
//!
//! Import order, lowest first: `opened`, `inventory`, `reading`, `frappe`, `distance`, `report`.

pub mod distance;
mod frappe;
mod inventory;
mod opened;
mod reading;
pub mod report;

pub use self::frappe::{AppChange, FrappeChanges, NameChange, frappe_changes};
pub(crate) use self::inventory::node_package;
pub use self::opened::{OpenError, Opened};
pub use self::reading::{read, read_both, reading};
