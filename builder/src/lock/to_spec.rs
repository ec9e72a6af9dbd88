//! [`Lock`] → [`Spec`], for an image or a bundle that comes without its spec.

use super::app::{LockedApp, LockedSource};
use super::document::Lock;
use crate::git::{EmptySubmodules, Remote};
use crate::spec::{
    AppSource, AppSpec, DEFAULT_TIMEOUT, ImageSpec, Origin, Spec, SpecError, check_apps,
    check_build_variable, check_ref_name,
};

/// The name of the lock in messages.
const LOCK: &str = "the lock";

impl Lock {
    /// Returns a spec for building this lock: its apps at their commits, its images and its environment
    /// variables, without tags and credentials, with the default limits. Paths of apps are relative to
    /// [`Spec::directory`], which is empty.
    ///
    /// The lock is not trusted: its URLs, names and variables are checked like those of a spec. The checksum of
    /// the returned spec is different from [`Lock::spec`], because a lock does not have all settings of its spec.
    pub fn to_spec(&self) -> Result<Spec, SpecError> {
        let apps = self.apps.iter().map(app).collect::<Result<Vec<_>, _>>()?;
        if apps.is_empty() {
            return Err(Origin::document(LOCK, "").error("it has no apps", ""));
        }
        check_apps(&apps)?;
        for (name, value) in &self.env {
            check_build_variable(name, value, &Origin::document(LOCK, name))?;
        }
        let image = |reference: &String| ImageSpec {
            reference: reference.clone(),
            origin: Origin::document(LOCK, reference),
        };
        Ok(Spec {
            apps,
            build_image: image(&self.build_image.reference),
            base_image: image(&self.base_image.reference),
            tags: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            memory: None,
            env: self.env.clone(),
            registries: Default::default(),
            network: Default::default(),
            directory: Default::default(),
        })
    }
}

fn app(locked: &LockedApp) -> Result<AppSpec, SpecError> {
    let (source, origin) = match &locked.source {
        LockedSource::Git { url, reference } => {
            let origin = Origin::document(LOCK, url);
            let remote = Remote::parse(url).map_err(|error| origin.wrap(error))?;
            if remote.has_credential() {
                return Err(
                    origin.error("the URL has a credential, which carafe never writes into a lock", "")
                );
            }
            let name = reference.as_ref().map(|(_, name)| name.clone());
            if let Some(name) = &name {
                check_ref_name(name, &Origin::document(LOCK, name))?;
            }
            let commit = Some(locked.commit.clone());
            // Both settings were applied when the lock was made. They do not affect the fetched files.
            let (off_branch, without_submodules) = (true, EmptySubmodules::All);
            let remote = Box::new(remote);
            (AppSource::Git { remote, name, commit, off_branch, without_submodules }, origin)
        }
        LockedSource::Local { path } => {
            (AppSource::Local { path: path.clone() }, Origin::document(LOCK, path))
        }
    };
    Ok(AppSpec { source, without_required: Vec::new(), origin })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::document::tests::sample;

    #[test]
    fn has_everything_that_a_build_needs() {
        let lock = sample();
        let spec = lock.to_spec().unwrap();
        let labels: Vec<_> = spec.apps.iter().map(AppSpec::label).collect();
        assert_eq!(labels, ["https://github.com/frappe/frappe", "apps/local"]);
        let AppSource::Git { name, commit, .. } = &spec.apps[0].source else { panic!() };
        assert_eq!((name.as_deref(), commit.as_ref()), (Some("v15.55.1"), Some(&lock.apps[0].commit)));
        assert_eq!(spec.base_image.reference, lock.base_image.reference);
        assert_eq!(spec.env, lock.env);
    }

    #[test]
    fn rejects_what_a_spec_must_not_have() {
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
        for (lock, part) in [
            (url("ext::sh -c true"), "failed to parse"),
            (url("https://me:${TOKEN}@h/o/a"), "the URL has a credential"),
            (url("https://me:pass@h/o/a"), "the URL has a credential"),
            (named, "is not a name of an environment variable"),
            (valued, "has a control character"),
            (empty, "it has no apps"),
            (twice, "is listed twice"),
            (option, "--upload-pack"),
        ] {
            let error = lock.to_spec().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
