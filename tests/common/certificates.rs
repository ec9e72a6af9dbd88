//! Certificates, made by openssl.

use std::path::Path;
use std::process::Command;

/// The shortest keys to make, unencrypted.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";

pub fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.expect("openssl runs (the Debian package `openssl` has it)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA, and a certificate for 127.0.0.1 that it signed: `ca.pem`, `server.pem`, `server.key`.
pub fn authority(folder: &Path) {
    openssl(folder, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=test-ca"));
    pair(folder, "server", "CN=registry -addext subjectAltName=IP:127.0.0.1");
}

/// A certificate that the folder's CA signed, and its key: `NAME.pem`, `NAME.key`.
pub fn pair(folder: &Path, name: &str, subject: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 {KEY} -keyout {name}.key -out {name}.pem -CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:FALSE -subj /{subject}"
        ),
    );
}
