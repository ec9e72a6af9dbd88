//! Certificates, made by openssl.

use std::path::Path;
use std::process::Command;

/// The shortest keys to make, unencrypted.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";

pub fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let output = output.expect("openssl runs (the Debian package `openssl` has it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, and a certificate for 127.0.0.1 that it signed: `ca.pem`, `server.pem`, `server.key`.
pub fn authority(directory: &Path) {
    openssl(directory, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=test-ca"));
    pair(directory, "server", "CN=registry -addext subjectAltName=IP:127.0.0.1");
}

/// A certificate that the directory's CA signed, and its key: `NAME.pem`, `NAME.key`.
pub fn pair(directory: &Path, name: &str, subject: &str) {
    openssl(
        directory,
        &format!(
            "req -x509 {KEY} -keyout {name}.key -out {name}.pem -CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -subj /{subject}"
        ),
    );
}
