//! Credentials: docker's config.json, a credential helper, the environment.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use carafe::registry::{CredentialFiles, Registry, RegistryError, RegistryOptions};

use crate::images::Image;
use crate::push::push;
use crate::server::{RegistryServer, Setup};
use crate::{client, client_with, in_environment, inside, name, shown};

const USER: &str = "robot$erp";
const PASSWORD: &str = "correct-horse:battery";
/// base64 of `USER:PASSWORD`, and of one with another password.
const RIGHT: &str = "cm9ib3QkZXJwOmNvcnJlY3QtaG9yc2U6YmF0dGVyeQ==";
const WRONG: &str = "cm9ib3QkZXJwOndyb25nLWhvcnNlLWJhdHRlcnk=";

fn server() -> RegistryServer {
    RegistryServer::with(Setup { login: Some((USER, PASSWORD)), ..Setup::default() })
}

fn config(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    path
}

fn auths(address: &str, auth: &str) -> String {
    format!(r#"{{"auths":{{"{address}":{{"auth":"{auth}"}}}}}}"#)
}

fn push_to(registry: &Registry, address: &str) -> Result<(), RegistryError> {
    push(registry, &Image::new(&[b"one"]), &[&format!("{address}/a:1")]).map(|_| ())
}

#[test]
fn reads_the_password_from_config_json() {
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let files = CredentialFiles::at([config(&directory, &auths(server.address(), RIGHT))]);
    push_to(&client_with(server.address(), files), server.address()).unwrap();
}

#[test]
fn does_not_show_a_wrong_password() {
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let files = CredentialFiles::at([config(&directory, &auths(server.address(), WRONG))]);
    let error = push_to(&client_with(server.address(), files), server.address()).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    let text = shown(error);
    assert!(text.contains(USER) && text.contains("config.json") && text.contains("docker login"), "{text}");
    assert!(!text.contains("wrong-horse") && !text.contains(WRONG), "{text}");
}

/// podman's file can have a login for a prefix of repositories.
#[test]
fn the_login_of_a_repository_prefix_takes_precedence() {
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let address = server.address();
    let text =
        format!(r#"{{"auths":{{"{address}":{{"auth":"{WRONG}"}},"{address}/team":{{"auth":"{RIGHT}"}}}}}}"#);
    let registry = client_with(address, CredentialFiles::at([config(&directory, &text)]));
    push_to(&registry, &format!("{address}/team")).unwrap();
    let error = push_to(&registry, &format!("{address}/teams")).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
}

/// A shell turns `-u "robot$erp"` into `robot`.
#[test]
fn explains_a_robot_account_name_that_a_shell_has_changed() {
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let text = auths(server.address(), "cm9ib3Q6Y29ycmVjdC1ob3JzZTpiYXR0ZXJ5");
    let files = CredentialFiles::at([config(&directory, &text)]);
    let text = shown(push_to(&client_with(server.address(), files), server.address()).unwrap_err());
    assert!(text.contains("user `robot` from") && text.contains("single quotes"), "{text}");
}

#[test]
fn the_message_mentions_missing_credentials() {
    let server = server();
    let error = push_to(&client(server.address()), server.address()).unwrap_err();
    let text = shown(error);
    assert!(text.contains("no credentials were found") && text.contains("CARAFE_USERNAME"), "{text}");
}

#[test]
fn uses_a_credential_helper() {
    if let Some(address) = inside() {
        let files = CredentialFiles::from_environment();
        return push_to(&client_with(&address, files), &address).unwrap();
    }
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    config(&directory, &format!(r#"{{"credHelpers":{{"{}":"carafe-test"}}}}"#, server.address()));
    let helper = directory.path().join("docker-credential-carafe-test");
    let script = format!(
        "#!/bin/sh\nread -r server\n[ \"$1 $server\" = \"get {}\" ] || exit 1\nprintf '%s' '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n",
        server.address()
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap());
    let directory = directory.path().to_str().unwrap();
    let variables = [("DOCKER_CONFIG", directory), ("PATH", &path)];
    in_environment("auth::uses_a_credential_helper", server.address(), &variables);
}

#[test]
fn reports_a_missing_credential_helper() {
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let text = format!(r#"{{"credHelpers":{{"{}":"no-such-helper"}}}}"#, server.address());
    let files = CredentialFiles::at([config(&directory, &text)]);
    let error = push_to(&client_with(server.address(), files), server.address()).unwrap_err();
    assert!(matches!(error, RegistryError::Credentials { .. }), "{error}");
}

#[test]
fn the_environments_credential_is_only_for_push_targets() {
    if let Some(address) = inside() {
        let target = name(&format!("{address}/a:1"));
        for (targets, is_used) in [(vec![target.repository()], true), (vec![], false)] {
            let insecure = [address.clone()].into();
            let options = RegistryOptions { insecure, ..RegistryOptions::from_environment(targets).unwrap() };
            assert_eq!(push_to(&Registry::new(options).unwrap(), &address).is_ok(), is_used);
        }
        return;
    }
    let (server, empty) = (server(), tempfile::tempdir().unwrap());
    let empty = empty.path().to_str().unwrap();
    let variables = [
        ("CARAFE_USERNAME", USER),
        ("CARAFE_PASSWORD", PASSWORD),
        ("DOCKER_CONFIG", empty),
        ("XDG_RUNTIME_DIR", empty),
        ("HOME", empty),
    ];
    in_environment(
        "auth::the_environments_credential_is_only_for_push_targets",
        server.address(),
        &variables,
    );
}
