//! From a tree to the bytes of an OCI image, and back.
//!
//! The way through, writing: [`walk`] lists a tree in canonical order, [`plan`] assigns each
//! entry to a layer, [`pack`] writes each layer in one pass (canonical tar, both digests, gzip)
//! into a [`layout`], [`image`] derives the config and the manifest from the base image's.
//! Reading: an [`source::ImageSource`] ([`layout`], [`archive`], a registry elsewhere) yields a
//! verified [`source::ResolvedImage`], and [`unpack`] lays its layers down beneath a root;
//! [`graph`] is all that an image or an index leads to, to be copied.
//!
//! This crate reads and writes files that it is told about and nothing else: no network, no
//! process, no clock, no environment. A test holds it to that.

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
pub mod tarball;
pub mod time;
pub mod tree;
pub mod unpack;
pub mod untar;
pub mod verified;
pub mod walk;
