//! Many pushes to the real registry (htpasswd, behind nginx with a private CA, a body limit and short
//! timeouts) while nginx is killed and restarted at random. All images are pulled and compared.
//! `scripts/registry-endurance` runs it at full length.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carafe::registry::{MountCandidates, Registry, RegistryOptions, RetryOptions, TlsFiles};
use carafe_builder::net::Credential;
use carafe_builder::progress::Progress;
use carafe_builder::secret::Secret;
use carafe_layers::digest::Digest;
use carafe_layers::oci::Platform;
use carafe_layers::source::{ImageSource, resolve};

use crate::images::Image;
use crate::name;
use crate::nginx::Nginx;
use crate::retry::Warnings;
use crate::server::{RegistryServer, Setup};

const USER: &str = "robot$erp";
const PASSWORD: &str = "correct-horse:battery";

/// A number in the environment, or its default.
pub fn setting(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// A pseudo-random sequence for a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        for eight in bytes.chunks_mut(8) {
            eight.copy_from_slice(&self.next().to_le_bytes()[..eight.len()]);
        }
        bytes
    }

    fn pause(&mut self, milliseconds: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(milliseconds.start + self.next() % (milliseconds.end - milliseconds.start))
    }
}

/// Pushes each image, pulls it, and removes its blobs from the registry.
fn push_all(options: &dyn Fn() -> RegistryOptions, address: &str, storage: &Path) {
    let (pushes, size) =
        (setting("CARAFE_ENDURANCE_PUSHES", 5), setting("CARAFE_ENDURANCE_MB", 12) * 1_000_000);
    for round in 0..pushes {
        let warnings = Arc::<Warnings>::default();
        let retries = RetryOptions::new(Progress::new(Arc::clone(&warnings) as _));
        let registry = Registry::new(RegistryOptions { retries, ..options() }).unwrap();
        let image = Image::new(&[&Random(round as u64 + 1).bytes(size)]);
        let (resolved, target) = (image.resolved(), name(&format!("{address}/erp/{round}:1")));
        let start = Instant::now();
        let (candidates, silent) = (MountCandidates::default(), Progress::silent());
        registry
            .push(&resolved, &image, std::slice::from_ref(&target), &candidates, &silent)
            .unwrap_or_else(|error| panic!("{error:?}, after {:#?}", warnings.all()));
        let pushed = start.elapsed();
        let source = registry.source(&target);
        assert_eq!(resolve(&source, &Platform::host()).unwrap().descriptor, resolved.descriptor);
        let layer = &resolved.manifest.layers[0];
        let mut bytes = Vec::new();
        source.blob(layer).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(Digest::of(&bytes), layer.digest);
        let (pulled, again) = (start.elapsed() - pushed, warnings.all().len());
        println!("push {round}: {pushed:.1?}, pulled in {pulled:.1?}, {again} retries");
        std::fs::remove_dir_all(storage.join("docker/registry/v2/blobs")).unwrap();
    }
}

#[test]
fn pushes_survive_restarts_of_a_proxy() {
    let server = RegistryServer::with(Setup { login: Some((USER, PASSWORD)), ..Setup::default() });
    let mut nginx = Nginx::in_front_of(server.address());
    let address = nginx.address().to_owned();
    let files = TlsFiles { ca: vec![nginx.authority()], ..TlsFiles::default() };
    let password = Credential::Basic { user: USER.to_owned(), password: Secret::new(PASSWORD) };
    let options = || RegistryOptions {
        credentials: BTreeMap::from([(address.clone(), password.clone())]),
        tls: BTreeMap::from([(address.clone(), files.clone())]),
        ..RegistryOptions::default()
    };
    let (mut random, mut restarts) = (Random(20_261_121), 0);
    let longest = setting("CARAFE_ENDURANCE_PAUSE_MS", 1500) as u64;
    // Few in the short version: on a busy machine not every attempt may be interrupted.
    let limit = setting("CARAFE_ENDURANCE_RESTARTS", 4);
    std::thread::scope(|scope| {
        let pushes = scope.spawn(|| push_all(&options, &address, &server.storage()));
        loop {
            std::thread::sleep(random.pause(100..longest));
            if pushes.is_finished() {
                return pushes.join().unwrap();
            }
            if restarts == limit {
                continue;
            }
            nginx.kill();
            std::thread::sleep(random.pause(1..300));
            nginx.start();
            restarts += 1;
        }
    });
    println!("nginx was killed and restarted {restarts} times");
    assert!(nginx.log().contains("HTTP/2.0 PATCH"), "HTTP/2 was not used");
}
