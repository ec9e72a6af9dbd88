//! What a push or a pull makes of a registry that misbehaves.

use std::io::Read;

use carafe::registry::{CredentialFiles, Delivery, MountCandidates, Registry, RegistryError};
use carafe_builder::progress::Progress;
use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, Platform, media_type};
use carafe_layers::source::{ImageSource, MAX_DOCUMENT_BYTES, resolve};

use crate::faulty::{Answer, FaultyServer};
use crate::images::Image;
use crate::push::push;
use crate::{client, client_with, name, shown, table};

fn image() -> Image {
    Image::new(&[b"first layer", b"second layer"])
}

#[test]
fn no_tag_moves_when_a_blob_is_refused() {
    let layer = image().resolved().manifest.layers[1].digest.hex();
    let server = FaultyServer::start(move |request| {
        request.is("PUT", &layer).then(|| Answer::status(507).body("no space left"))
    });
    let targets = [server.image("a:1"), server.image("b:1")];
    let error =
        push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap_err();
    assert!(matches!(&error, RegistryError::Rejected { status: 507, .. }), "{error}");
    assert!(server.seen("PUT", "/manifests/").is_empty());
}

#[test]
fn no_tag_moves_when_the_last_repository_refuses_the_manifest() {
    let server = FaultyServer::start(|request| {
        let body = r#"{"errors":[{"code":"DENIED","message":"the account is suspended"}]}"#;
        request.is("PUT", "/v2/b/manifests/").then(|| Answer::status(403).body(body))
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
    let (server, resolved) = (FaultyServer::start(|_| None), image().resolved());
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
    let server = FaultyServer::start(|_| None);
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!((server.seen("POST", "").len(), server.seen("PUT", "/blobs/").len()), (3, 3));
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!(server.seen("POST", "").len(), 3);
}

#[test]
fn a_target_with_another_digest_is_refused_before_anything_is_sent() {
    let (server, other) = (FaultyServer::start(|_| None), Image::new(&[b"two"]).resolved().descriptor.digest);
    let targets = [server.image("a:1"), server.image(&format!("a@{other}"))];
    let error =
        push(&client(server.address()), &image(), &targets.each_ref().map(String::as_str)).unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    assert!(server.seen("HEAD", "").is_empty() && server.seen("POST", "").is_empty());
}

#[test]
fn a_mount_answered_202_sends_the_blob() {
    let server = FaultyServer::start(|_| None);
    let mut known = MountCandidates::default();
    let layers: Vec<Digest> = image().resolved().manifest.layers.iter().map(|layer| layer.digest).collect();
    known.add(name(&server.image("base")).repository(), layers);
    let reports = client(server.address())
        .push(&image().resolved(), &image(), &[name(&server.image("a:1"))], &known, &Progress::silent())
        .unwrap();
    assert!(reports[0].blobs.iter().all(|blob| blob.delivery == Delivery::Sent));
    // The uploads that came with the answers serve: only the config's was opened besides.
    assert_eq!((server.seen("POST", "mount=").len(), server.seen("POST", "").len()), (2, 3));
    assert_eq!(server.seen("PUT", "/blobs/").len(), 3);
}

/// AWS's registry answers so.
#[test]
fn a_manifest_stored_without_location_is_stored() {
    let digest = image().resolved().descriptor.digest;
    let server = FaultyServer::start(move |request| match request.method.as_str() {
        "PUT" if request.target.contains("/manifests/") => Some(Answer::status(201)),
        "HEAD" if request.target.contains("/manifests/") => {
            let answer = Answer::status(200).with("Docker-Content-Digest", digest.to_string());
            Some(answer.with("Content-Type", media_type::MANIFEST).with("Content-Length", "10"))
        }
        _ => None,
    });
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
}

#[test]
fn no_tag_moves_when_the_manifest_was_taken_and_is_not_there() {
    let server = FaultyServer::start(|request| request.is("PUT", "/manifests/").then(|| Answer::status(201)));
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(error.to_string().contains("does not have it"), "{error}");
    assert!(server.seen("PUT", "/manifests/1").is_empty());
}

#[test]
fn an_open_registry_is_asked_for_its_challenge_once() {
    let server = FaultyServer::start(|_| None);
    push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap();
    assert_eq!(server.seen("GET", "/v2/").iter().filter(|request| request.target == "/v2/").count(), 1);
}

#[test]
fn a_signed_upload_url_is_not_shown_and_gets_no_password() {
    let storage = FaultyServer::start(|request| {
        request.is("PUT", "").then(|| Answer::status(500).body("see http://x.example/b?X-Signature=s3cret"))
    });
    let location = format!("http://{}/bucket?X-Signature=s3cret", storage.address());
    let server = FaultyServer::start(move |request| {
        if request.target == "/v2/" {
            return Some(Answer::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        request.is("POST", "/uploads/").then(|| Answer::status(202).with("Location", location.clone()))
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
fn a_storage_that_takes_no_chunks_gets_no_password() {
    let storage = FaultyServer::start(|request| {
        Some(Answer::status(if request.method == "PATCH" { 405 } else { 201 }))
    });
    let location = format!("http://{}/bucket?X-Signature=s1gned", storage.address());
    let server = FaultyServer::start(move |request| {
        if request.target == "/v2/" {
            return Some(Answer::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        request.is("POST", "/uploads/").then(|| Answer::status(202).with("Location", location.clone()))
    });
    let (_directory, registry) = logged_in(&server);
    push(&registry, table::image(), &[&server.image("a:1")]).unwrap();
    let sent = storage.seen("PUT", "X-Signature=s1gned&digest=");
    assert!(sent.iter().any(|request| request.headers["content-length"] == table::SIZE.to_string()));
    assert!(storage.seen("", "").iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn a_download_that_is_redirected_gets_no_password() {
    let blob = Descriptor::of(media_type::LAYER_TAR, b"the bytes");
    let storage = FaultyServer::start(|_| Some(Answer::status(200).body("the bytes")));
    let location = format!("http://{}/bucket", storage.address());
    let server = FaultyServer::start(move |request| {
        if request.target == "/v2/" {
            return Some(Answer::status(401).with("WWW-Authenticate", r#"Basic realm="x""#));
        }
        Some(Answer::status(307).with("Location", location.clone()))
    });
    let (_directory, registry) = logged_in(&server);
    let source = registry.source(&name(&server.image("a:1")));
    source.blob(&blob).unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(server.seen("GET", "/blobs/")[0].headers.contains_key("authorization"));
    assert!(!storage.seen("GET", "/bucket")[0].headers.contains_key("authorization"));
}

#[test]
fn a_password_that_the_registry_sends_back_is_not_shown() {
    let server = FaultyServer::start(|request| {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        let body = format!("hunter22 is wrong, and so is {sent}");
        let answer = Answer::status(401).with("WWW-Authenticate", r#"Basic realm="x""#);
        Some(answer.body(body))
    });
    let (_directory, registry) = logged_in(&server);
    let text = shown(registry.source(&name(&server.image("a:1"))).root().unwrap_err());
    assert!(text.contains("is wrong, and so is Basic ***"), "{text}");
    assert!(!text.contains("hunter22") && !text.contains("bWU6"), "{text}");
}

/// A client that knows the user `me` and the password `hunter22`.
fn logged_in(server: &FaultyServer) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"bWU6aHVudGVyMjI="}}}}}}"#, server.address());
    std::fs::write(&config, text).unwrap();
    let registry = client_with(server.address(), CredentialFiles::at([config]));
    (directory, registry)
}

#[test]
fn a_proxys_limit_is_named() {
    let server = FaultyServer::start(|request| {
        request.is("PUT", "/blobs/").then(|| Answer::status(413).body("<html>Too Large</html>"))
    });
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { size: 11..=12, .. }), "{error}");
    assert!(shown(error).contains("client_max_body_size"));
}

/// A registry with a token server of its own address; `grant` answers the token requests.
fn with_tokens(grant: impl Fn(&str) -> Answer + Send + Sync + 'static) -> FaultyServer {
    FaultyServer::start(move |request| {
        if request.target.starts_with("/token?") {
            return Some(grant(&request.target));
        }
        if request.headers.get("authorization").is_some_and(|value| value == "Bearer t0ken") {
            return None;
        }
        let host = &request.headers["host"];
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="harbor""#);
        Some(Answer::status(401).with("WWW-Authenticate", challenge))
    })
}

#[test]
fn one_token_covers_the_push_and_the_mount() {
    let server = with_tokens(|_| Answer::status(200).body(r#"{"token":"t0ken","expires_in":300}"#));
    let mut known = MountCandidates::default();
    let layer = image().resolved().manifest.layers[0].digest;
    known.add(name(&server.image("base/debian")).repository(), [layer]);
    client(server.address())
        .push(&image().resolved(), &image(), &[name(&server.image("a:1"))], &known, &Progress::silent())
        .unwrap();
    let asked = server.seen("GET", "/token?");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let scopes = ["repository%3Aa%3Apull%2Cpush", "repository%3Abase%2Fdebian%3Apull"];
    assert!(scopes.iter().all(|scope| asked[0].target.contains(scope)), "{asked:?}");
}

#[test]
fn a_base_that_is_not_ours_to_read_does_not_stop_the_push() {
    let server = with_tokens(|target| match target.contains("base") {
        true => Answer::status(403),
        false => Answer::status(200).body(r#"{"token":"t0ken"}"#),
    });
    let mut known = MountCandidates::default();
    known
        .add(name(&server.image("base/debian")).repository(), [image().resolved().manifest.layers[0].digest]);
    let pushed = client(server.address()).push(
        &image().resolved(),
        &image(),
        &[name(&server.image("a:1"))],
        &known,
        &Progress::silent(),
    );
    pushed.unwrap();
}

#[test]
fn an_identity_token_is_exchanged() {
    let server = FaultyServer::start(|request| {
        if request.is("POST", "/token") {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let is_right = ["grant_type=refresh_token", "refresh_token=r3fresh", "service=harbor"];
            return Some(match is_right.iter().all(|part| form.contains(part)) {
                true => Answer::status(200).body(r#"{"access_token":"t0ken"}"#),
                false => Answer::status(400).body(form),
            });
        }
        let is_known = request.headers.get("authorization").is_some_and(|value| value == "Bearer t0ken");
        let challenge =
            format!(r#"Bearer realm="http://{}/token",service="harbor""#, request.headers["host"]);
        (!is_known).then(|| Answer::status(401).with("WWW-Authenticate", challenge))
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
fn a_refused_token_is_said_with_the_servers_word() {
    let server = with_tokens(|_| {
        Answer::status(401).body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"account locked"}]}"#)
    });
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unauthorized { message, .. } if message.contains("account locked"))
    );
}

#[test]
fn a_token_that_fits_no_header_is_no_panic() {
    let server = with_tokens(|_| Answer::status(200).body(r#"{"token":"t0\nken"}"#));
    let error = push(&client(server.address()), &image(), &[&server.image("a:1")]).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}

#[test]
fn lying_manifests_are_refused() {
    let honest = image().resolved();
    let (digest, bytes) = (honest.descriptor.digest, honest.manifest_bytes.clone());
    let server = FaultyServer::start(move |request| {
        let answer = Answer::status(200).with("Content-Type", media_type::MANIFEST);
        match request.target.as_str() {
            "/v2/a/manifests/lying" => {
                Some(answer.with("Docker-Content-Digest", digest.to_string()).body("{}"))
            }
            "/v2/a/manifests/huge" => Some(answer.body(vec![b' '; MAX_DOCUMENT_BYTES as usize + 1])),
            "/v2/a/manifests/plain" => {
                Some(Answer::status(200).with("Content-Type", "application/json").body(bytes.clone()))
            }
            target if target.contains("/manifests/sha256:") => Some(answer.body("{}")),
            _ => None,
        }
    });
    let registry = client(server.address());
    let root = |reference: &str| registry.source(&name(&server.image(reference))).root();
    assert!(shown(root("a:lying").unwrap_err()).contains("wanted sha256:"));
    assert!(shown(root(&format!("a@{digest}")).unwrap_err()).contains("wanted sha256:"));
    assert!(shown(root("a:huge").unwrap_err()).contains("over 4194304 bytes"));
    assert_eq!(root("a:plain").unwrap().0, honest.descriptor);
}

#[test]
fn a_blob_that_lies_or_ends_early_is_an_error_to_its_reader() {
    let blob = Descriptor::of(media_type::LAYER_TAR, b"the right bytes");
    let server = FaultyServer::start(move |request| {
        let answer = Answer::status(200);
        match request.target.split('/').nth(2)? {
            "lying" => Some(answer.body("the wrong bytes")),
            "short" => Some(answer.body("the right")),
            "long" => Some(answer.body("the right bytes and more")),
            "cut" => Some(answer.with("Content-Length", "15").body("the right")),
            "right" => Some(answer.body("the right bytes")),
            _ => None,
        }
    });
    let registry = client(server.address());
    for repository in ["lying", "short", "long", "cut", "right"] {
        let source = registry.source(&name(&server.image(&format!("{repository}:1"))));
        let read = source.blob(&blob).unwrap().read_to_end(&mut Vec::new());
        assert_eq!(read.is_ok(), repository == "right", "{repository}: {read:?}");
    }
    let gone = registry.source(&name(&server.image("gone:1")));
    assert!(resolve(&gone, &Platform::host()).is_err());
}
