//! A bundle is the same wherever it is made, and whole wherever it is read.

use std::fs;
use std::io::Read;
use std::sync::Arc;

use carafe::bundle::write::Delta;
use carafe::bundle::{Bundle, BundleError};
use carafe::registry::{Delivery, MountCandidates, PushReport, Registry, RegistryError, RegistryOptions};
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, resolve};

use crate::server::RegistryServer;
use crate::world::{BODIES, World, archive, layout, told, unpacked};

#[test]
fn two_machines_make_one_bundle() {
    let (one, other) = (World::new("x = 1\n", &[]), World::new("x = 1\n", &[]));
    assert_eq!(one.draft().digest(), other.draft().digest());
    assert_ne!(one.draft().digest(), World::new("x = 2\n", &[]).draft().digest());
    let read = |world: &World| fs::read(world.tar(None).0).unwrap();
    assert!(read(&one) == read(&other));
    let (directory, written) = one.directory(None);
    assert_eq!(written.digest, one.draft().digest());
    assert_eq!(layout(&directory).root().unwrap().0.digest, written.digest);
    assert_eq!(archive(&other.tar(None).0).root().unwrap().0.digest, written.digest);
}

/// Everything in the bundle is what went into it.
fn assert_whole(world: &World, sources: &[Arc<dyn ImageSource>]) {
    let (bundle, stores) = unpacked(sources).unwrap();
    assert_eq!((bundle.lock(), bundle.record()), (&world.lock, &world.record));
    assert_eq!(bundle.digest(), world.draft().digest());
    let apps = bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent()).unwrap();
    assert_eq!(apps[0].locked, world.apps[0].locked);
    let hooks = stores.commits.read_file(&apps[0].checkout, "frappe/hooks.py").unwrap();
    assert_eq!(hooks.as_deref(), Some(&b"x = 1\n"[..]));
    for body in BODIES {
        let mut read = Vec::new();
        stores.bodies.open(&Digest::of(body)).unwrap().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, body);
    }
    for (locked, (wanted, source)) in
        [&world.lock.build_image, &world.lock.base_image].into_iter().zip(&world.images)
    {
        let image = bundle.image(locked).unwrap().unwrap();
        let found = resolve(&*image, &Platform::host()).unwrap();
        assert_eq!((found.root.digest, &found.manifest_bytes), (locked.digest, &wanted.manifest_bytes));
        for layer in &found.manifest.layers {
            let [mut found, mut wanted] = [Vec::new(), Vec::new()];
            image.blob(layer).unwrap().read_to_end(&mut found).unwrap();
            source.blob(layer).unwrap().read_to_end(&mut wanted).unwrap();
            assert_eq!(found, wanted);
        }
    }
}

#[test]
fn a_directory_and_a_tar_are_whole() {
    let world = World::new("x = 1\n", &[]);
    assert_whole(&world, &[layout(&world.directory(None).0)]);
    assert_whole(&world, &[archive(&world.tar(None).0)]);
}

/// A registry of the test's own, and a client for it.
fn served() -> (RegistryServer, Registry) {
    let server = RegistryServer::start();
    let insecure = [server.address().to_owned()].into();
    let registry = Registry::new(RegistryOptions { insecure, ..Default::default() }).unwrap();
    (server, registry)
}

/// Pushes all that `source` stands for.
fn push(
    (server, registry): &(RegistryServer, Registry),
    source: &dyn ImageSource,
) -> Result<PushReport, RegistryError> {
    let (graph, target) = (Graph::read(source).unwrap(), server.image("bundles/erp:1").parse().unwrap());
    let (known, progress) = (MountCandidates::default(), Progress::silent());
    Ok(registry.push_graph(&graph, source, &[target], &known, &progress)?.remove(0))
}

#[test]
fn a_registry_takes_it_and_a_second_one_costs_what_changed() {
    let served = served();
    let first = World::new("x = 0\n", &[]);
    assert_eq!(push(&served, first.draft().source()).unwrap().digest, first.draft().digest());
    let world = World::new("x = 1\n", &[b"one more"]);
    let pushed = push(&served, world.draft().source()).unwrap();
    let sent = pushed.blobs.into_iter().filter(|blob| blob.delivery == Delivery::Sent);
    // The contents, the lock, the record, the app's commit, and the new body.
    assert_eq!(sent.count(), 5);
    let source = served.1.source(&served.0.image("bundles/erp:1").parse().unwrap());
    assert_whole(&world, &[Arc::new(source)]);
}

#[test]
fn a_delta_becomes_whole_in_a_registry_that_has_its_base() {
    let (first, second) = (World::new("x = 0\n", &[]), World::new("x = 1\n", &[]));
    let base = layout(&first.directory(None).0);
    let delta = archive(&second.tar(Some(&Delta::against(&*base).unwrap())).0);
    let served = served();
    assert!(push(&served, &*delta).is_err());
    push(&served, &*base).unwrap();
    push(&served, &*delta).unwrap();
    let source = served.1.source(&served.0.image("bundles/erp:1").parse().unwrap());
    assert_whole(&second, &[Arc::new(source)]);
}

#[test]
fn a_delta_has_what_its_base_has_not() {
    let first = World::new("x = 0\n", &[]);
    let second = World::new("x = 1\n", &[b"one more"]);
    let base = layout(&first.directory(None).0);
    let delta = Delta::against(&*base).unwrap();
    let (directory, written) = second.directory(Some(&delta));
    assert_eq!(written.digest, second.draft().digest());
    // Two bodies (an empty one is no blob), three layers.
    assert_eq!(written.left_out, 5);

    let error = unpacked(&[layout(&directory)]).map(|_| ()).unwrap_err();
    let BundleError::Missing { blobs, bases, .. } = &error else { panic!("{error:?}") };
    assert_eq!((blobs.len(), &bases[..]), (5, &[first.draft().digest()][..]));
    let text = told(&error);
    assert!(text.contains("it is a delta") && text.contains(&first.draft().digest().to_string()), "{text}");

    assert_whole(&second, &[layout(&directory), Arc::clone(&base)]);
    assert_whole(&second, &[archive(&second.tar(Some(&delta)).0), base]);
}

#[test]
fn a_delta_put_into_its_bases_directory_is_whole() {
    let first = World::new("x = 0\n", &[]);
    let second = World::new("x = 1\n", &[b"one more"]);
    let (directory, _) = first.directory(None);
    let delta = Delta::against(&*layout(&directory)).unwrap();
    let (draft, progress) = (second.draft(), Progress::silent());
    carafe::bundle::write::to_directory(&draft, &directory, Some(&delta), &progress).unwrap();
    assert_whole(&second, &[layout(&directory)]);
}

#[test]
fn what_was_recorded_elsewhere_cannot_be_bundled_here() {
    let world = World::new("x = 1\n", &[]);
    let body = world.stores.root.join("bodies-v1").join(Digest::of(BODIES[0]).hex());
    fs::remove_file(body).unwrap();
    let error = carafe::bundle::BundleBuilder::gather(&world.ingredients(), world.directory.path())
        .map(|_| ())
        .unwrap_err();
    assert!(told(&error).contains(&Digest::of(BODIES[0]).to_string()));
}

#[test]
fn what_was_damaged_on_this_machine_is_brought_again() {
    let world = World::new("x = 1\n", &[]);
    let (bundle, stores) = unpacked(&[layout(&world.directory(None).0)]).unwrap();
    let body = stores.root.join("bodies-v1").join(Digest::of(BODIES[0]).hex());
    fs::write(&body, "a wheeL").unwrap();
    bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent()).unwrap();
    assert_eq!(fs::read(&body).unwrap(), BODIES[0]);
}

#[test]
fn every_blob_hangs_on_the_index() {
    let world = World::new("x = 1\n", &[]);
    let (directory, written) = world.directory(None);
    let graph = Graph::read(&*layout(&directory)).unwrap();
    assert_eq!(graph.blobs().count(), written.blobs);
    let files = fs::read_dir(directory.join("blobs/sha256")).unwrap().count();
    assert_eq!(files, graph.blobs().count() + graph.documents().count());
    assert!(Bundle::open(layout(&directory), []).is_ok());
}
