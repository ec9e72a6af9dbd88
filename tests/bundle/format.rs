//! Bundles are reproducible, and complete in every form.

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
use crate::world::{BODIES, World, archive, error_text, layout, unpacked};

#[test]
fn two_machines_create_the_same_bundle() {
    let (one, other) = (World::new("x = 1\n", &[]), World::new("x = 1\n", &[]));
    assert_eq!(one.builder().digest(), other.builder().digest());
    assert_ne!(one.builder().digest(), World::new("x = 2\n", &[]).builder().digest());
    let read = |world: &World| fs::read(world.tar(None).0).unwrap();
    assert!(read(&one) == read(&other));
    let (directory, written) = one.directory(None);
    assert_eq!(written.digest, one.builder().digest());
    assert_eq!(layout(&directory).root().unwrap().0.digest, written.digest);
    assert_eq!(archive(&other.tar(None).0).root().unwrap().0.digest, written.digest);
}

/// Asserts that the bundle contains exactly its inputs.
fn assert_complete(world: &World, sources: &[Arc<dyn ImageSource>]) {
    let (bundle, stores) = unpacked(sources).unwrap();
    assert_eq!((bundle.lock(), bundle.recording()), (&world.lock, &world.recording));
    assert_eq!(bundle.digest(), world.builder().digest());
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
fn a_directory_and_a_tar_are_complete() {
    let world = World::new("x = 1\n", &[]);
    assert_complete(&world, &[layout(&world.directory(None).0)]);
    assert_complete(&world, &[archive(&world.tar(None).0)]);
}

/// A registry for one test, and a client for it.
fn start_registry() -> (RegistryServer, Registry) {
    let server = RegistryServer::start();
    let insecure = [server.address().to_owned()].into();
    let registry = Registry::new(RegistryOptions { insecure, ..Default::default() }).unwrap();
    (server, registry)
}

/// Pushes everything in `source`.
fn push(
    (server, registry): &(RegistryServer, Registry),
    source: &dyn ImageSource,
) -> Result<PushReport, RegistryError> {
    let (graph, target) = (Graph::read(source).unwrap(), server.image("bundles/erp:1").parse().unwrap());
    let (known, progress) = (MountCandidates::default(), Progress::silent());
    Ok(registry.push_graph(&graph, source, &[target], &known, &progress)?.remove(0))
}

#[test]
fn a_second_push_sends_only_the_changes() {
    let registry = start_registry();
    let first = World::new("x = 0\n", &[]);
    assert_eq!(push(&registry, first.builder().source()).unwrap().digest, first.builder().digest());
    let world = World::new("x = 1\n", &[b"one more"]);
    let pushed = push(&registry, world.builder().source()).unwrap();
    let sent = pushed.blobs.into_iter().filter(|blob| blob.delivery == Delivery::Sent);
    // The contents, the lock, the recording, the app's commit, and the new body.
    assert_eq!(sent.count(), 5);
    let source = registry.1.source(&registry.0.image("bundles/erp:1").parse().unwrap());
    assert_complete(&world, &[Arc::new(source)]);
}

#[test]
fn a_delta_is_complete_in_a_registry_that_has_its_base() {
    let (first, second) = (World::new("x = 0\n", &[]), World::new("x = 1\n", &[]));
    let base = layout(&first.directory(None).0);
    let delta = archive(&second.tar(Some(&Delta::against(&*base).unwrap())).0);
    let registry = start_registry();
    assert!(push(&registry, &*delta).is_err());
    push(&registry, &*base).unwrap();
    push(&registry, &*delta).unwrap();
    let source = registry.1.source(&registry.0.image("bundles/erp:1").parse().unwrap());
    assert_complete(&second, &[Arc::new(source)]);
}

#[test]
fn a_delta_contains_only_the_blobs_that_its_base_lacks() {
    let first = World::new("x = 0\n", &[]);
    let second = World::new("x = 1\n", &[b"one more"]);
    let base = layout(&first.directory(None).0);
    let delta = Delta::against(&*base).unwrap();
    let (directory, written) = second.directory(Some(&delta));
    assert_eq!(written.digest, second.builder().digest());
    // Two bodies (the empty one is not a blob) and three layers.
    assert_eq!(written.omitted, 5);

    let error = unpacked(&[layout(&directory)]).map(|_| ()).unwrap_err();
    let BundleError::Missing { blobs, bases, .. } = &error else { panic!("{error:?}") };
    assert_eq!((blobs.len(), &bases[..]), (5, &[first.builder().digest()][..]));
    let text = error_text(&error);
    assert!(
        text.contains("the bundle is a delta") && text.contains(&first.builder().digest().to_string()),
        "{text}"
    );

    assert_complete(&second, &[layout(&directory), Arc::clone(&base)]);
    assert_complete(&second, &[archive(&second.tar(Some(&delta)).0), base]);
}

#[test]
fn a_delta_written_into_the_directory_of_its_base_is_complete() {
    let first = World::new("x = 0\n", &[]);
    let second = World::new("x = 1\n", &[b"one more"]);
    let (directory, _) = first.directory(None);
    let delta = Delta::against(&*layout(&directory)).unwrap();
    let (builder, progress) = (second.builder(), Progress::silent());
    carafe::bundle::write::to_directory(&builder, &directory, Some(&delta), &progress).unwrap();
    assert_complete(&second, &[layout(&directory)]);
}

#[test]
fn rejects_a_recording_whose_bodies_are_on_another_machine() {
    let world = World::new("x = 1\n", &[]);
    let body = world.stores.root.join("bodies-v1").join(Digest::of(BODIES[0]).hex());
    fs::remove_file(body).unwrap();
    let error = carafe::bundle::BundleBuilder::gather(&world.inputs(), world.directory.path())
        .map(|_| ())
        .unwrap_err();
    assert!(error_text(&error).contains(&Digest::of(BODIES[0]).to_string()));
}

#[test]
fn unpacking_replaces_a_damaged_body() {
    let world = World::new("x = 1\n", &[]);
    let (bundle, stores) = unpacked(&[layout(&world.directory(None).0)]).unwrap();
    let body = stores.root.join("bodies-v1").join(Digest::of(BODIES[0]).hex());
    fs::write(&body, "a wheeL").unwrap();
    bundle.unpack(&stores.commits, &stores.bodies, &Progress::silent()).unwrap();
    assert_eq!(fs::read(&body).unwrap(), BODIES[0]);
}

#[test]
fn every_blob_is_reachable_from_the_index() {
    let world = World::new("x = 1\n", &[]);
    let (directory, written) = world.directory(None);
    let graph = Graph::read(&*layout(&directory)).unwrap();
    assert_eq!(graph.blobs().count(), written.blobs);
    let files = fs::read_dir(directory.join("blobs/sha256")).unwrap().count();
    assert_eq!(files, graph.blobs().count() + graph.documents().count());
    assert!(Bundle::open(layout(&directory), []).is_ok());
}
