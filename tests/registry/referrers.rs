//! The referrers of an image, with and without the referrers API.

use carafe::registry::{MountCandidates, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::oci::Document;
use carafe_layers::oci::Index;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::referrers;
use carafe_layers::source::{ImageSource, SourceError};

use crate::faulty::{FakeRegistry, Fault, Request, Response};
use crate::images::Image;
use crate::{client, name, shown};

fn page(names: &[&str]) -> Response {
    let entry = |name: &&str| Descriptor::of(media_type::MANIFEST, name.as_bytes());
    let index = Index::of(names.iter().map(entry).collect());
    Response::status(200).with("content-type", media_type::INDEX).body(serde_json::to_vec(&index).unwrap())
}

fn list_referrers(server: &FakeRegistry) -> Result<Vec<Descriptor>, SourceError> {
    client(server.address()).source(&name(&server.image("a:1"))).referrers(&Digest::of(b"image"))
}

#[test]
fn reads_all_pages_of_a_list() {
    let server = FakeRegistry::start(|request: &Request| {
        let rest = request.is("GET", "/referrers/").then(|| request.target.split_once('?'))?;
        Some(match rest {
            None => page(&["one", "two"])
                // Only its query is used: it cannot lead to another host.
                .with("link", "<http://169.254.169.254/v2/x?last=2>; rel=\"next\""),
            Some((_, "last=2")) => page(&["three"]),
            _ => Response::status(500),
        })
    });
    let found: Vec<Digest> = list_referrers(&server).unwrap().into_iter().map(|entry| entry.digest).collect();
    assert_eq!(found, ["one", "two", "three"].map(|text| Digest::of(text.as_bytes())));
}

#[test]
fn rejects_a_list_with_too_many_pages() {
    let server = FakeRegistry::start(|request: &Request| {
        let response = || page(&["one"]).with("link", "</v2/a/referrers/x?again>; rel=\"next\"");
        request.is("GET", "/referrers/").then(response)
    });
    let text = shown(list_referrers(&server).unwrap_err());
    assert!(text.contains("more than 100 pages"), "{text}");
}

#[test]
fn rejects_a_list_with_too_many_referrers() {
    let names: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let server = FakeRegistry::start(move |request: &Request| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let response = || page(&names).with("link", "</v2/a/referrers/x?again>; rel=\"next\"");
        request.is("GET", "/referrers/").then(response)
    });
    let text = shown(list_referrers(&server).unwrap_err());
    assert!(text.contains("more than 10000 referrers"), "{text}");
}

#[test]
fn a_rejection_is_not_an_empty_list() {
    let server = FakeRegistry::start(|request: &Request| {
        request.is("GET", "/referrers/").then(|| Response::status(403))
    });
    assert!(shown(list_referrers(&server).unwrap_err()).contains("denied access"));
    let garbage =
        |request: &Request| request.is("GET", "/referrers/").then(|| Response::status(200).body("<html>"));
    let text = shown(list_referrers(&FakeRegistry::start(garbage)).unwrap_err());
    assert!(text.contains("not an index"), "{text}");
}

/// An artifact whose subject is an image, as a graph.
fn artifact(image: &Image) -> Graph {
    let part = image.resolved();
    let mut manifest = part.manifest.clone();
    let subject = Descriptor::of(media_type::MANIFEST, b"an image");
    manifest.extra.insert("subject".to_owned(), serde_json::to_value(&subject).unwrap());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let root = Document { descriptor: Descriptor::of(media_type::MANIFEST, &bytes), bytes };
    Graph { root, ..Graph::of(&part) }
}

fn push(server: &FakeRegistry) -> Result<(), RegistryError> {
    let image = Image::new(&[b"sbom"]);
    let target = format!("a@{}", artifact(&image).root.descriptor.digest);
    let (targets, candidates) = ([name(&server.image(&target))], MountCandidates::default());
    client(server.address())
        .push_graph(&artifact(&image), &image, &targets, &candidates, &Progress::silent())
        .map(drop)
}

#[test]
fn does_not_write_the_referrers_tag_with_the_referrers_api() {
    let edit = |response: Response| response.with("oci-subject", Digest::of(b"an image").to_string());
    let server = FakeRegistry::scripted(move |request| {
        request.is("PUT", "/manifests/").then(|| Fault::Edit(Box::new(edit)))
    });
    push(&server).unwrap();
    assert_eq!(server.seen("PUT", "/manifests/").len(), 1);
}

#[test]
fn writes_the_referrers_tag_once_without_the_referrers_api() {
    let server = FakeRegistry::scripted(|_| None);
    let list = format!("/manifests/{}", referrers::tag(&Digest::of(b"an image")));
    push(&server).unwrap();
    push(&server).unwrap();
    assert_eq!(server.seen("PUT", &list).len(), 1);
}
