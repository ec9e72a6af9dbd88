//! Turns a tree into the bytes of an OCI image, and reads images back.
//!
//! Writing: [`walk`] lists a tree in canonical order, [`plan`] assigns each entry to a layer, [`pack`]
//! writes each layer in one pass (canonical tar, both digests, gzip) into a [`layout`], and [`image`]
//! derives the config and the manifest from those of the base image.
//! Reading: a [`source::ImageSource`] ([`layout`], [`archive`], or a registry in another crate) gives a
//! verified [`source::ResolvedImage`], and [`unpack`] unpacks its layers below a root directory.
//! [`graph`] is everything that an image or an index references, to copy it.
//!
//! This crate reads and writes only the files that its caller names: no network, no process, no clock, no
//! environment. `tests/pack/purity.rs` checks this.
//!
//! # Order of the modules
//!
//! A module imports only modules before it in this order, and there are no import cycles between files.
//! `tests/layering.rs` checks both.
//!
//! 1. Text, digests, encodings: [`text`], [`digest`], [`format`], [`json`], [`time`]
//! 2. Documents of the OCI specifications: [`oci`], [`verified`], [`source`], [`referrers`], [`graph`]
//! 3. Entries of a tree: [`path`], [`pattern`], [`mtime`], [`tree`], [`walk`], [`plan`]
//! 4. Tar and gzip: [`tar_writer`], [`tar_reader`], [`gzip`]
//! 5. Images on disk: [`layout`], [`unpack`], [`archive`]
//! 6. Packing: [`scan`], `read_ahead`, [`pack`], [`image`]
//! 7. Comparison: [`diff`]

#![forbid(unsafe_code)]

pub mod archive;
pub mod diff;
pub mod digest;
pub mod format;
pub mod graph;
pub mod gzip;
pub mod image;
pub mod json;
pub mod layout;
pub mod mtime;
pub mod oci;
pub mod pack;
pub mod path;
pub mod pattern;
pub mod plan;
mod read_ahead;
pub mod referrers;
pub mod scan;
pub mod source;
pub mod tar_reader;
pub mod tar_writer;
pub mod text;
pub mod time;
pub mod tree;
pub mod unpack;
pub mod verified;
pub mod walk;
