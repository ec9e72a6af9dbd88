//! The forms in which bench takes an app, and the secrets in them.

use crate::git::Remote;
use crate::net::Credential;
use crate::secret::Secret;

use super::{Origin, SpecError};

/// What bench puts before a shorthand such as `frappe/payments`.
const SHORTHAND_HOST: &str = "https://github.com";
/// The organisation of a shorthand that names none.
const SHORTHAND_OWNER: &str = "frappe";

/// Reads the value of an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A repository, and the branch or tag that a shorthand named (`payments@version-15`).
pub(super) struct AppUrl {
    pub remote: Remote,
    pub name: Option<String>,
}

/// Reads a `url` in any of bench's forms. `${NAME}` stands for an environment variable, in the
/// credentials alone, where a secret belongs.
pub(super) fn parse(text: &str, origin: &Origin, env: Environment) -> Result<AppUrl, SpecError> {
    let (plain, credential) = split_credentials(text, origin, env)?;
    if plain.contains("${") {
        let help = "write it as https://${TOKEN}@host/org/repo; everything else is written out";
        return Err(origin.error("a variable can only stand in the credentials of a URL", help));
    }
    let (url, name) = expand_shorthand(&plain);
    let remote = Remote::parse(&url).map_err(|error| {
        let forms = "forms: https://host/org/repo, ssh://git@host/org/repo, git@host:org/repo, \
                     file:///directory, org/repo[@ref]; a directory of files is `path = …`";
        origin.error(error.to_string(), forms)
    })?;
    let remote = match credential {
        Some(credential) => remote.with_credential(credential).map_err(|error| origin.wrap(error))?,
        None => remote,
    };
    Ok(AppUrl { remote, name })
}

/// Takes `${…}` credentials out of an http(s) URL; literal ones are left to [`Remote::parse`].
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
    let expand = |part: &str| expand(part, origin, env);
    let credential = match userinfo.split_once(':') {
        Some((user, password)) => {
            Credential::Basic { user: expand(user)?, password: Secret::new(expand(password)?) }
        }
        None => Credential::Bearer(Secret::new(expand(userinfo)?)),
    };
    Ok((url, Some(credential)))
}

/// Puts the environment's values in the place of `${NAME}`.
pub(super) fn expand(text: &str, origin: &Origin, env: Environment) -> Result<String, SpecError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        let Some((name, tail)) = after.split_once('}') else {
            return Err(origin.error("a `${` without its `}`", "write ${NAME}"));
        };
        let value = env(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            origin.error(
                format!("the environment variable `{name}` is not set"),
                "set it before you run carafe",
            )
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// `org/repo[@ref]` and `repo[@ref]` as bench has them; every other form as it is.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AppUrl, SpecError> {
        let env = |name: &str| (name == "TOKEN").then(|| "s3cr@t/1".to_owned());
        parse(text, &Origin::whole("apps.json", text), &env)
    }

    #[test]
    fn shorthand_means_github() {
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
    fn a_variable_becomes_a_secret_whatever_is_in_it() {
        for text in ["https://${TOKEN}@h/o/r", "https://me:${TOKEN}@h/o/r"] {
            let app = read(text).unwrap();
            assert_eq!(app.remote.url(), "https://h/o/r");
            assert!(app.remote.secrets().any(|secret| secret.expose() == "s3cr@t/1"), "{text}");
            assert!(!format!("{:?}", app.remote).contains("s3cr"));
        }
    }

    #[test]
    fn a_variable_elsewhere_or_unset_is_refused() {
        for (text, word) in [
            ("https://h/${TOKEN}/r", "credentials"),
            ("https://${MISSING}@h/o/r", "`MISSING` is not set"),
            ("https://${TOKEN@h/o/r", "without its"),
            ("ext::sh -c true", "ext"),
        ] {
            let error = read(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
