//! Memory use does not grow with a blob.

use std::io::{self, Read};

use carafe::registry::MountCandidates;
use carafe_builder::progress::Progress;
use carafe_layers::digest::Hashing;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::{ImageSource, SourceError};

use crate::images::Image;
use crate::server::RegistryServer;
use crate::{client, in_environment, inside, name};

/// The size of the blob.
const BLOB_BYTES: u64 = 256 << 20;
/// Maximum memory use of a push and a pull, in addition to an idle process. Measured with 512 MiB:
/// 7 MiB.
const MAX_MEMORY_KIB: u64 = 64 << 10;

/// An image whose layer is generated while it is read.
struct Large {
    documents: Image,
    layer: Descriptor,
}

fn bytes() -> impl Read + Send {
    io::repeat(7).take(BLOB_BYTES)
}

impl ImageSource for Large {
    fn name(&self) -> String {
        "a large image".to_owned()
    }

    fn root(&self) -> Result<(Descriptor, Vec<u8>), SourceError> {
        self.documents.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        self.documents.manifest(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, SourceError> {
        match descriptor.digest == self.layer.digest {
            true => Ok(Box::new(bytes())),
            false => self.documents.blob(descriptor),
        }
    }
}

/// The peak memory use of this process in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_use_does_not_grow_with_a_blob() {
    let Some(address) = inside() else {
        let server = RegistryServer::start();
        return in_environment("memory::memory_use_does_not_grow_with_a_blob", server.address(), &[]);
    };
    let mut hashing = Hashing::new(bytes());
    io::copy(&mut hashing, &mut io::sink()).unwrap();
    let layer = Descriptor::new(media_type::LAYER_TAR, hashing.finish().1, BLOB_BYTES);
    let image = Large { documents: Image::around(layer.clone()), layer };
    let (registry, target) = (client(&address), name(&format!("{address}/large:1")));
    let before = peak();
    let (resolved, targets) = (image.documents.resolved(), std::slice::from_ref(&target));
    registry.push(&resolved, &image, targets, &MountCandidates::default(), &Progress::silent()).unwrap();
    let pushed = peak() - before;
    let mut pulled = registry.source(&target).blob(&image.layer).unwrap();
    assert_eq!(io::copy(&mut pulled, &mut io::sink()).unwrap(), BLOB_BYTES);
    let both = peak() - before;
    println!("{before} KiB idle, {pushed} more to push, {both} more to pull too");
    assert!(both < MAX_MEMORY_KIB, "{both} KiB");
}
