//! The forms of an app's `url` that bench accepts, and the secrets in them.

use super::environment::{Environment, expand_variables};
use super::error::{Origin, SpecError};
use crate::git::{self, Remote};
use crate::net::Credential;
use crate::secret::Secret;

/// The prefix that bench adds to a shorthand such as `frappe/payments`.
const SHORTHAND_HOST: &str = "https://github.com";
/// The organization of a shorthand without one.
const SHORTHAND_OWNER: &str = "frappe";

/// A repository, and the branch or tag of a shorthand (`payments@version-15`).
pub(super) struct AppUrl {
    pub remote: Remote,
    pub name: Option<String>,
}

/// Parses a `url` in any of bench's forms. `${NAME}` is replaced by an environment variable, in the credentials
/// only.
pub(super) fn parse(text: &str, origin: &Origin, env: Environment) -> Result<AppUrl, SpecError> {
    let (plain, credential) = split_credentials(text, origin, env)?;
    if plain.contains("${") {
        let help = "write the URL as https://${TOKEN}@host/org/repo, without other variables";
        return Err(origin.error("a variable is only supported in the credentials of a URL", help));
    }
    let (url, name) = expand_shorthand(&plain);
    let remote = Remote::parse(&url).map_err(|error| {
        let forms = "supported forms: https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo, \
                     file:///directory, org/repo[@ref]; for a directory of files use `path`";
        origin.error(error.to_string(), forms)
    })?;
    let remote = match credential {
        Some(credential) => remote.with_credential(credential).map_err(|error| origin.wrap(error))?,
        None => remote,
    };
    Ok(AppUrl { remote, name })
}

/// Splits credentials with `${…}` off an HTTP(S) URL. [`Remote::parse`] does this for literal ones.
fn split_credentials(
    text: &str,
    origin: &Origin,
    env: Environment,
) -> Result<(String, Option<Credential>), SpecError> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok((text.to_owned(), None)) };
    let authority = rest.split('/').next().unwrap_or_default();
    let Some((userinfo, _)) = authority.rsplit_once('@').filter(|(userinfo, _)| userinfo.contains("${"))
    else {
        return Ok((text.to_owned(), None));
    };
    let url = format!("{scheme}://{}", &rest[userinfo.len() + 1..]);
    let expand = |part: &str| expand_variables(part, origin, env);
    let credential = match userinfo.split_once(':') {
        Some((user, password)) => {
            Credential::Basic { user: expand(user)?, password: Secret::new(expand(password)?) }
        }
        None => Credential::Bearer(Secret::new(expand(userinfo)?)),
    };
    Ok((url, Some(credential)))
}

/// Expands `org/repo[@ref]` and `repo[@ref]` by bench's rules. Returns every other form unchanged.
fn expand_shorthand(text: &str) -> (String, Option<String>) {
    let is_url = text.contains("://") || text.contains(':') || text.starts_with(['/', '.', '~', '-']);
    if is_url || text.is_empty() {
        return (text.to_owned(), None);
    }
    let (path, name) = match text.split_once('@') {
        Some((path, name)) => (path, Some(name.to_owned())),
        None => (text, None),
    };
    let owner_and_repo = match path.contains('/') {
        true => path.to_owned(),
        false => format!("{SHORTHAND_OWNER}/{path}"),
    };
    (format!("{SHORTHAND_HOST}/{owner_and_repo}"), name)
}

/// Checks a branch or tag for `branch`: bench passes it to git through a shell-like split, so a name that git
/// would reject or bench would split is rejected here.
pub(crate) fn check_ref_name(name: &str, origin: &Origin) -> Result<(), SpecError> {
    if name.parse::<git::CommitId>().is_ok() {
        let help = format!("bench cannot clone a commit by `branch`; write `commit = \"{name}\"`");
        return Err(origin.error("`branch` must be a branch or a tag, not a commit", help));
    }
    git::check_ref_name(name).map_err(|error| origin.wrap(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AppUrl, SpecError> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cr@t/1".to_owned());
        parse(text, &Origin::document("apps.json", text), &env)
    }

    #[test]
    fn expands_a_shorthand_to_github() {
        for (text, url, name) in [
            ("frappe/payments@version-15", "https://github.com/frappe/payments", Some("version-15")),
            ("hrms", "https://github.com/frappe/hrms", None),
            ("https://h/o/r", "https://h/o/r", None),
        ] {
            let app = read(text).unwrap();
            assert_eq!((app.remote.url(), app.name.as_deref()), (url, name));
        }
    }

    #[test]
    fn expands_a_variable_to_a_secret_with_any_characters() {
        for text in ["https://${TOKEN}@h/o/r", "https://me:${TOKEN}@h/o/r"] {
            let app = read(text).unwrap();
            assert_eq!(app.remote.url(), "https://h/o/r");
            assert!(app.remote.secrets().any(|secret| secret.expose() == "s3cr@t/1"), "{text}");
            assert!(!format!("{:?}", app.remote).contains("s3cr"));
        }
    }

    #[test]
    fn rejects_a_variable_elsewhere_and_an_unset_one() {
        for (text, part) in [
            ("https://h/${TOKEN}/r", "credentials"),
            ("https://${MISSING}@h/o/r", "`MISSING` is not set"),
            ("https://${TOKEN@h/o/r", "no closing"),
            ("ext::sh -c true", "ext"),
        ] {
            let error = read(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
