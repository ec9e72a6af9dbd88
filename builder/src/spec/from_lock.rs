//! From a [`Lock`] alone back to a [`Spec`], for whoever has an image or a bundle and no spec.

use super::load::{check_apps, check_variable};
use super::network::Network;
use super::{AppSource, AppSpec, DEFAULT_TIMEOUT, ImageSpec, Origin, Spec, SpecError, file};
use crate::git::{EmptySubmodules, Remote};
use crate::lock::{Lock, LockedApp, LockedSource};

/// What a lock is called in messages.
const LOCK: &str = "the lock";

impl Spec {
    /// The spec that a build of `lock` needs: its apps at their commits, its images, its variables;
    /// no tags, no credentials, the default limits. A directory among the apps is relative to
    /// [`Spec::directory`], which is left empty.
    ///
    /// The lock may come from a stranger: addresses, names and variables are checked as a spec's
    /// are. Its checksum is not this spec's, since a lock does not hold every wish.
    pub fn from_lock(lock: &Lock) -> Result<Self, SpecError> {
        let apps = lock.apps.iter().map(app).collect::<Result<Vec<_>, _>>()?;
        if apps.is_empty() {
            return Err(Origin::whole(LOCK, "").error("it has no app, not even frappe", ""));
        }
        check_apps(&apps)?;
        for (name, value) in &lock.env {
            check_variable(name, value, &Origin::whole(LOCK, name))?;
        }
        let image = |reference: &String| ImageSpec {
            reference: reference.clone(),
            origin: Origin::whole(LOCK, reference),
        };
        Ok(Self {
            apps,
            build_image: image(&lock.build_image.reference),
            base_image: image(&lock.base_image.reference),
            tags: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            memory: None,
            env: lock.env.clone(),
            registries: Default::default(),
            network: Default::default(),
            directory: Default::default(),
        })
    }

    /// The same, reached over this network: a lock holds public addresses alone.
    pub fn reached_over(mut self, network: Network) -> Result<Self, SpecError> {
        self.apps = network.locate_all(self.apps)?;
        self.network = network;
        Ok(self)
    }
}

fn app(locked: &LockedApp) -> Result<AppSpec, SpecError> {
    let (source, origin) = match &locked.source {
        LockedSource::Git { url, reference } => {
            let origin = Origin::whole(LOCK, url);
            let remote = Remote::parse(url).map_err(|error| origin.wrap(error))?;
            if remote.has_credential() {
                return Err(origin.error("a credential stands in it, and carafe writes none", ""));
            }
            let name = reference.as_ref().map(|(_, name)| name.clone());
            if let Some(name) = &name {
                file::check_name(name, &Origin::whole(LOCK, name))?;
            }
            let commit = Some(locked.commit.clone());
            // Both were checked when the lock was made, and change no byte of what is fetched.
            let (off_branch, without_submodules) = (true, EmptySubmodules::All);
            let remote = Box::new(remote);
            (AppSource::Git { remote, name, commit, off_branch, without_submodules }, origin)
        }
        LockedSource::Local { path } => (AppSource::Local { path: path.clone() }, Origin::whole(LOCK, path)),
    };
    Ok(AppSpec { source, without_required: Vec::new(), origin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::sample;

    #[test]
    fn a_lock_names_all_that_a_build_needs() {
        let lock = sample();
        let spec = Spec::from_lock(&lock).unwrap();
        let labels: Vec<_> = spec.apps.iter().map(AppSpec::label).collect();
        assert_eq!(labels, ["https://github.com/frappe/frappe", "apps/local"]);
        let AppSource::Git { name, commit, .. } = &spec.apps[0].source else { panic!() };
        assert_eq!((name.as_deref(), commit.as_ref()), (Some("v15.55.1"), Some(&lock.apps[0].commit)));
        assert_eq!(spec.base_image.reference, lock.base_image.reference);
        assert_eq!(spec.env, lock.env);
    }

    #[test]
    fn a_strangers_lock_is_checked_as_a_spec_is() {
        let url = |url: &str| {
            let mut lock = sample();
            lock.apps[0].source = LockedSource::Git { url: url.into(), reference: None };
            lock
        };
        let mut named = sample();
        named.env.insert("A=B".into(), "x".into());
        let mut valued = sample();
        valued.env.insert("A".into(), "x\ny".into());
        let mut empty = sample();
        empty.apps.clear();
        let mut twice = sample();
        twice.apps.push(twice.apps[1].clone());
        let mut option = url("https://h/o/a");
        let reference = Some((crate::git::RefKind::Branch, "--upload-pack=x".into()));
        option.apps[0].source = LockedSource::Git { url: "https://h/o/a".into(), reference };
        for (lock, word) in [
            (url("ext::sh -c true"), "failed to parse"),
            (url("https://me:${TOKEN}@h/o/a"), "a credential stands in it"),
            (url("https://me:pass@h/o/a"), "a credential stands in it"),
            (named, "no environment variable"),
            (valued, "no environment variable"),
            (empty, "no app"),
            (twice, "stands here twice"),
            (option, "--upload-pack"),
        ] {
            let error = Spec::from_lock(&lock).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
