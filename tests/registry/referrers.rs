//! Asking a registry what refers to an image, where it keeps track.

use carafe::registry::{MountCandidates, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::oci::Document;
use carafe_layers::oci::Index;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::referrers;
use carafe_layers::source::{ImageSource, SourceError};

use crate::faulty::{Answer, Fault, FaultyServer, Request};
use crate::images::Image;
use crate::{client, name, shown};

fn page(names: &[&str]) -> Answer {
    let entry = |name: &&str| Descriptor::of(media_type::MANIFEST, name.as_bytes());
    let index = Index::of(names.iter().map(entry).collect());
    Answer::status(200).with("content-type", media_type::INDEX).body(serde_json::to_vec(&index).unwrap())
}

fn ask(server: &FaultyServer) -> Result<Vec<Descriptor>, SourceError> {
    client(server.address()).source(&name(&server.image("a:1"))).referrers(&Digest::of(b"image"))
}

#[test]
fn an_answer_in_pages_is_read_to_its_end() {
    let server = FaultyServer::start(|request: &Request| {
        let rest = request.is("GET", "/referrers/").then(|| request.target.split_once('?'))?;
        Some(match rest {
            None => page(&["one", "two"])
                // Only the query is taken from it: it cannot lead to another host.
                .with("link", "<http://169.254.169.254/v2/x?last=2>; rel=\"next\""),
            Some((_, "last=2")) => page(&["three"]),
            _ => Answer::status(500),
        })
    });
    let found: Vec<Digest> = ask(&server).unwrap().into_iter().map(|entry| entry.digest).collect();
    assert_eq!(found, ["one", "two", "three"].map(|text| Digest::of(text.as_bytes())));
}

#[test]
fn an_answer_without_end_is_refused() {
    let server = FaultyServer::start(|request: &Request| {
        let answer = || page(&["one"]).with("link", "</v2/a/referrers/x?again>; rel=\"next\"");
        request.is("GET", "/referrers/").then(answer)
    });
    let said = shown(ask(&server).unwrap_err());
    assert!(said.contains("more than 100 pages"), "{said}");
}

#[test]
fn more_than_anybody_has_are_refused_before_they_are_held() {
    let names: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let server = FaultyServer::start(move |request: &Request| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let answer = || page(&names).with("link", "</v2/a/referrers/x?again>; rel=\"next\"");
        request.is("GET", "/referrers/").then(answer)
    });
    let said = shown(ask(&server).unwrap_err());
    assert!(said.contains("more than 10000 referrers"), "{said}");
}

#[test]
fn a_refusal_is_no_empty_list() {
    let server = FaultyServer::start(|request: &Request| {
        request.is("GET", "/referrers/").then(|| Answer::status(403))
    });
    assert!(shown(ask(&server).unwrap_err()).contains("denies it"));
    let garbage =
        |request: &Request| request.is("GET", "/referrers/").then(|| Answer::status(200).body("<html>"));
    let said = shown(ask(&FaultyServer::start(garbage)).unwrap_err());
    assert!(said.contains("no index"), "{said}");
}

/// An artifact about `image`, as a graph of its own.
fn artifact(image: &Image) -> Graph {
    let part = image.resolved();
    let mut manifest = part.manifest.clone();
    let subject = Descriptor::of(media_type::MANIFEST, b"an image");
    manifest.extra.insert("subject".to_owned(), serde_json::to_value(&subject).unwrap());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let root = Document { descriptor: Descriptor::of(media_type::MANIFEST, &bytes), bytes };
    Graph { root, ..Graph::of(&part) }
}

fn push(server: &FaultyServer) -> Result<(), RegistryError> {
    let image = Image::new(&[b"sbom"]);
    let target = format!("a@{}", artifact(&image).root.descriptor.digest);
    let (targets, known) = ([name(&server.image(&target))], MountCandidates::default());
    client(server.address())
        .push_graph(&artifact(&image), &image, &targets, &known, &Progress::silent())
        .map(drop)
}

#[test]
fn a_registry_that_keeps_track_gets_no_list() {
    let edit = |answer: Answer| answer.with("oci-subject", Digest::of(b"an image").to_string());
    let server = FaultyServer::scripted(move |request| {
        request.is("PUT", "/manifests/").then(|| Fault::Edit(Box::new(edit)))
    });
    push(&server).unwrap();
    assert_eq!(server.seen("PUT", "/manifests/").len(), 1);
}

#[test]
fn a_registry_that_does_not_gets_one_once() {
    let server = FaultyServer::scripted(|_| None);
    let list = format!("/manifests/{}", referrers::tag(&Digest::of(b"an image")));
    push(&server).unwrap();
    push(&server).unwrap();
    assert_eq!(server.seen("PUT", &list).len(), 1);
}
