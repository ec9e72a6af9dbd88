//! Packs a tree on disk into an image in a layout, through the public interface.

mod archive;
mod fixture;
mod golden;
mod hostile;
mod layout;
mod purity;
