//! Pushes and pulls with a registry that misbehaves.

use std::io::Read;

use carafe::registry::{CredentialFiles, Delivery, MountCandidates, Registry, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, Platform, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, resolve};

use crate::faulty::{FakeRegistry, Response};
use crate::images::Image;
use crate::push::push;
use crate::{client, client_with, name, shown, table};

fn image() -> Image {
    Image::new(&[b"first layer", b"second layer"])
}

#[test]
fn no_tag_moves_after_a_blob_was_rejected() {
    let layer = image().resolved().manifest.layers[1].digest.hex();
    let server = FakeRegistry::start(move |request| {
        request.is("PUT", &layer).then(|| Response::status(507).body("no space left"))
    });
    let targets = [server.image("a:1"), server.image("b:1")];
    let error =
        push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap_err();
    assert!(matches!(&error, RegistryError::Rejected { status: 507, .. }), "{error}");
    assert!(server.seen("PUT", "/manifests/").is_empty());
}

#[test]
fn no_tag_moves_after_the_last_repository_rejected_the_manifest() {
    let server = FakeRegistry::start(|request| {
        let body = r#"{"errors":[{"code":"DENIED","message":"the account is suspended"}]}"#;
        request.is("PUT", "/v2/b/manifests/").then(|| Response::status(403).body(body))
    });
    let targets = [server.image("a:1"), server.image("b:1")];
    let error =
        push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap_err();
    let text = shown(error);
    assert!(text.contains("is suspended") && text.contains("repository:b:pull,push"), "{text}");
    let by_digest = server.seen("PUT", "/v2/a/manifests/sha256:");
    assert_eq!(server.seen("PUT", "/v2/a/manifests/").len(), by_digest.len());
}

#[test]
fn the_order_is_layers_config_manifest_tags() {
    let (server, resolved) = (FakeRegistry::start(|_| None), image().resolved());
    let targets = [server.image("a:1"), server.image("a:2")];
    push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap();
    let puts: Vec<String> = server.seen("PUT", "").into_iter().map(|request| request.target).collect();
    let position = |part: &str| puts.iter().position(|target| target.contains(part)).unwrap();
    let config = position(&resolved.manifest.config.digest.hex());
    assert!(resolved.manifest.layers.iter().all(|layer| position(&layer.digest.hex()) < config));
    let manifest = position(&format!("/manifests/{}", resolved.descriptor.digest));
    assert!(config < manifest && manifest < position("/manifests/1") && manifest < position("/manifests/2"));
}

#[test]
fn a_second_push_opens_no_upload() {
    let server = FakeRegistry::start(|_| None);
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!((server.seen("POST", "").len(), server.seen("PUT", "/blobs/").len()), (3, 3));
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!(server.seen("POST", "").len(), 3);
}

#[test]
fn rejects_a_target_with_another_digest_before_sending_anything() {
    let (server, other) = (FakeRegistry::start(|_| None), Image::new(&[b"two"]).resolved().descriptor.digest);
    let targets = [server.image("a:1"), server.image(&format!("a@{other}"))];
    let error =
        push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    assert!(server.seen("HEAD", "").is_empty() && server.seen("POST", "").is_empty());
}

#[test]
fn a_declined_mount_sends_the_blob() {
    let server = FakeRegistry::start(|_| None);
    let mut candidates = MountCandidates::default();
    let layers: Vec<Digest> = image().resolved().manifest.layers.iter().map(|layer| layer.digest).collect();
    candidates.add(name(&server.image("base")).repository(), layers);
    let reports = client(server.address())
        .push(&image().resolved(), &image(), &[name(&server.image("a:1"))], &candidates, &Progress::silent())
        .unwrap();
    assert!(reports[0].blobs.iter().all(|blob| blob.delivery == Delivery::Sent));
    // The uploads that the registry opened are used; only the one for the config is opened in addition.
    assert_eq!((server.seen("POST", "mount=").len(), server.seen("POST", "").len()), (2, 3));
    assert_eq!(server.seen("PUT", "/blobs/").len(), 3);
}

/// ECR does this.
#[test]
fn accepts_a_stored_manifest_without_location() {
    let digest = image().resolved().descriptor.digest;
    let server = FakeRegistry::start(move |request| match request.method.as_str() {
        "PUT" if request.target.contains("/manifests/") => Some(Response::status(201)),
        "HEAD" if request.target.contains("/manifests/") => {
            let response = Response::status(200).with("Docker-Content-Digest", digest.to_string());
            Some(response.with("Content-Type", media_type::MANIFEST).with("Content-Length", "10"))
        }
        _ => None,
    });
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
}

#[test]
fn no_tag_moves_if_the_accepted_manifest_does_not_exist() {
    let server =
        FakeRegistry::start(|request| request.is("PUT", "/manifests/").then(|| Response::status(201)));
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(error.to_string().contains("does not have it"), "{error}");
    assert!(server.seen("PUT", "/manifests/1").is_empty());
}

#[test]
fn requests_the_challenge_of_an_open_registry_once() {
    let server = FakeRegistry::start(|_| None);
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!(server.seen("GET", "/v2/").iter().filter(|request| request.target == "/v2/").count(), 1);
}

#[test]
fn a_presigned_upload_url_is_not_shown_and_gets_no_password() {
    let storage = FakeRegistry::start(|request| {
        request.is("PUT", "").then(|| Response::status(500).body("see http://x.example/b?X-Signature=s3cret"))
    });
    let location = format!("http://{}/bucket?X-Signature=s3cret", storage.address());
    let server = FakeRegistry::start(move |request| {
        if request.target == "/v2/" {
            return Some(Response::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        request.is("POST", "/uploads/").then(|| Response::status(202).with("Location", location.clone()))
    });
    let (_directory, registry) = logged_in(&server);
    let error = push(&registry, &image(), &[&server.image("a:1")]).unwrap_err();
    let text =
        shown(error) + &format!("{:?}", push(&registry, &image(), &[&server.image("a:1")]).unwrap_err());
    assert!(text.contains("status 500") && !text.contains("s3cret"), "{text}");
    let sent = storage.seen("PUT", "X-Signature");
    assert!(!sent.is_empty() && sent.iter().all(|request| !request.headers.contains_key("authorization")));
    assert!(server.seen("POST", "").iter().all(|request| request.headers.contains_key("authorization")));
}

#[test]
fn an_object_store_without_chunks_gets_no_password() {
    let storage = FakeRegistry::start(|request| {
        Some(Response::status(if request.method == "PATCH" { 405 } else { 201 }))
    });
    let location = format!("http://{}/bucket?X-Signature=s1gned", storage.address());
    let server = FakeRegistry::start(move |request| {
        if request.target == "/v2/" {
            return Some(Response::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        request.is("POST", "/uploads/").then(|| Response::status(202).with("Location", location.clone()))
    });
    let (_directory, registry) = logged_in(&server);
    push(&registry, table::image(), &[&server.image("a:1")]).unwrap();
    let sent = storage.seen("PUT", "X-Signature=s1gned&digest=");
    assert!(sent.iter().any(|request| request.headers["content-length"] == table::SIZE.to_string()));
    assert!(storage.seen("", "").iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn a_redirected_download_gets_no_password() {
    let blob = Descriptor::of(media_type::LAYER_TAR, b"the bytes");
    let storage = FakeRegistry::start(|_| Some(Response::status(200).body("the bytes")));
    let location = format!("http://{}/bucket", storage.address());
    let server = FakeRegistry::start(move |request| {
        if request.target == "/v2/" {
            return Some(Response::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        Some(Response::status(307).with("Location", location.clone()))
    });
    let (_directory, registry) = logged_in(&server);
    let source = registry.source(&name(&server.image("a:1")));
    source.blob(&blob).unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(server.seen("GET", "/blobs/")[0].headers.contains_key("authorization"));
    assert!(!storage.seen("GET", "/bucket")[0].headers.contains_key("authorization"));
}

#[test]
fn does_not_show_a_password_that_the_registry_sends_back() {
    let server = FakeRegistry::start(|request| {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        let body = format!("hunter22 is wrong, and so is {sent}");
        let response = Response::status(401).with("WWW-Authenticate", r#"Basic realm="x""#);
        Some(response.body(body))
    });
    let (_directory, registry) = logged_in(&server);
    let text = shown(registry.source(&name(&server.image("a:1"))).root().unwrap_err());
    assert!(text.contains("is wrong, and so is Basic ***"), "{text}");
    assert!(!text.contains("hunter22") && !text.contains("bWU6"), "{text}");
}

/// A client with the user name `me` and the password `hunter22`.
fn logged_in(server: &FakeRegistry) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aHVudGVyMjI="}}}}}}"#, server.address());
    std::fs::write(&config, text).unwrap();
    let registry = client_with(server.address(), CredentialFiles::at([config]));
    (directory, registry)
}

#[test]
fn explains_the_body_limit_of_a_proxy() {
    let server = FakeRegistry::start(|request| {
        request.is("PUT", "/blobs/").then(|| Response::status(413).body("<html>Too Large</html>"))
    });
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { size: 11..=12, .. }), "{error}");
    assert!(shown(error).contains("client_max_body_size"));
}

/// A registry with a token server at the same address; `grant` responds to token requests.
fn with_tokens(grant: impl Fn(&str) -> Response + Send + Sync + 'static) -> FakeRegistry {
    FakeRegistry::start(move |request| {
        if request.target.starts_with("/token?") {
            return Some(grant(&request.target));
        }
        if request.headers.get("authorization").is_some_and(|value| value == "Bearer t0ken") {
            return None;
        }
        let host = &request.headers["host"];
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="harbor""#);
        Some(Response::status(401).with("WWW-Authenticate", challenge))
    })
}

#[test]
fn one_token_covers_the_push_and_the_mount() {
    let server = with_tokens(|_| Response::status(200).body(r#"{"token":"t0ken","expires_in":300}"#));
    let mut candidates = MountCandidates::default();
    let layer = image().resolved().manifest.layers[0].digest;
    candidates.add(name(&server.image("base/debian")).repository(), [layer]);
    client(server.address())
        .push(&image().resolved(), &image(), &[name(&server.image("a:1"))], &candidates, &Progress::silent())
        .unwrap();
    let requests = server.seen("GET", "/token?");
    assert_eq!(requests.len(), 1, "{requests:?}");
    let scopes = ["repository%3Aa%3Apull%2Cpush", "repository%3Abase%2Fdebian%3Apull"];
    assert!(scopes.iter().all(|scope| requests[0].target.contains(scope)), "{requests:?}");
}

#[test]
fn a_base_image_without_read_permission_does_not_stop_the_push() {
    let server = with_tokens(|target| match target.contains("base") {
        true => Response::status(403),
        false => Response::status(200).body(r#"{"token":"t0ken"}"#),
    });
    let mut candidates = MountCandidates::default();
    candidates
        .add(name(&server.image("base/debian")).repository(), [image().resolved().manifest.layers[0].digest]);
    let pushed = client(server.address()).push(
        &image().resolved(),
        &image(),
        &[name(&server.image("a:1"))],
        &candidates,
        &Progress::silent(),
    );
    pushed.unwrap();
}

#[test]
fn exchanges_an_identity_token() {
    let server = FakeRegistry::start(|request| {
        if request.is("POST", "/token") {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let is_right = ["grant_type=refresh_token", "refresh_token=r3fresh", "service=harbor"];
            return Some(match is_right.iter().all(|part| form.contains(part)) {
                true => Response::status(200).body(r#"{"access_token":"t0ken"}"#),
                false => Response::status(400).body(form),
            });
        }
        let is_known = request.headers.get("authorization").is_some_and(|value| value == "Bearer t0ken");
        let challenge =
            format!(r#"Bearer realm="http://{}/token",service="harbor""#, request.headers["host"]);
        (!is_known).then(|| Response::status(401).with("WWW-Authenticate", challenge))
    });
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{}":{{"identitytoken":"r3fresh"}}}}}}"#, server.address());
    std::fs::write(&config, text).unwrap();
    let registry = client_with(server.address(), CredentialFiles::at([config]));
    push(&registry, &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!(server.seen("POST", "/token").len(), 1);
}

#[test]
fn a_rejected_token_request_shows_the_servers_message() {
    let server = with_tokens(|_| {
        Response::status(401).body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"account locked"}]}"#)
    });
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unauthorized { message, .. } if message.contains("account locked"))
    );
}

#[test]
fn a_token_that_no_header_can_contain_is_an_error() {
    let server = with_tokens(|_| Response::status(200).body(r#"{"token":"t0\nken"}"#));
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}

#[test]
fn rejects_manifests_with_a_wrong_digest_or_size() {
    let valid = image().resolved();
    let (digest, bytes) = (valid.descriptor.digest, valid.manifest_bytes.clone());
    let server = FakeRegistry::start(move |request| {
        let response = Response::status(200).with("Content-Type", media_type::MANIFEST);
        match request.target.as_str() {
            "/v2/a/manifests/wrong" => {
                Some(response.with("Docker-Content-Digest", digest.to_string()).body("{}"))
            }
            "/v2/a/manifests/huge" => Some(response.body(vec![b' '; MAX_DOCUMENT_BYTES as usize + 1])),
            "/v2/a/manifests/plain" => {
                Some(Response::status(200).with("Content-Type", "application/json").body(bytes.clone()))
            }
            target if target.contains("/manifests/sha256:") => Some(response.body("{}")),
            _ => None,
        }
    });
    let registry = client(server.address());
    let root = |reference: &str| registry.source(&name(&server.image(reference))).root();
    assert!(shown(root("a:wrong").unwrap_err()).contains("expected sha256:"));
    assert!(shown(root(&format!("a@{digest}")).unwrap_err()).contains("expected sha256:"));
    assert!(shown(root("a:huge").unwrap_err()).contains("larger than 4 MiB"));
    assert_eq!(root("a:plain").unwrap().0, valid.descriptor);
}

#[test]
fn a_reader_of_a_wrong_or_incomplete_blob_fails() {
    let blob = Descriptor::of(media_type::LAYER_TAR, b"the right bytes");
    let server = FakeRegistry::start(move |request| {
        let response = Response::status(200);
        match request.target.split('/').nth(2)? {
            "wrong" => Some(response.body("the wrong bytes")),
            "short" => Some(response.body("the right")),
            "long" => Some(response.body("the right bytes and more")),
            "cut" => Some(response.with("Content-Length", "15").body("the right")),
            "right" => Some(response.body("the right bytes")),
            _ => None,
        }
    });
    let registry = client(server.address());
    for repository in ["wrong", "short", "long", "cut", "right"] {
        let source = registry.source(&name(&server.image(&format!("{repository}:1"))));
        let read = source.blob(&blob).unwrap().read_to_end(&mut Vec::new());
        assert_eq!(read.is_ok(), repository == "right", "{repository}: {read:?}");
    }
    let gone = registry.source(&name(&server.image("gone:1")));
    assert!(resolve(&gone, &Platform::host()).is_err());
}
