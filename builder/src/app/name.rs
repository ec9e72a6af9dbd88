//! The name of an app, which is also the name of its directory in `apps/`, without running bench.

use super::python_literal::{Token, tokens};

/// Maximum length of an app's name, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Files that every app's Python package contains: frappe reads them, and bench recognizes an app by them.
const PACKAGE_FILES: [&str; 3] = ["hooks.py", "modules.txt", "patches.txt"];

/// Why the name of an app could not be determined.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AppNameError {
    /// None of the three files has a name.
    #[error("failed to find the app's name in pyproject.toml, setup.cfg or setup.py")]
    #[diagnostic(help(
        "check that the repository contains a frappe app: its pyproject.toml must have `name` in `[project]`"
    ))]
    Missing,
    /// pyproject.toml is not valid TOML.
    #[error("failed to parse the app's pyproject.toml")]
    Parse {
        /// The parser's error, with its position.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The name is not a valid Python package name.
    #[error("failed to use `{name}` as the name of an app: it is not a valid Python package name")]
    #[diagnostic(help(
        "frappe imports the app by this name: use letters, digits and underscores, and no digit first; change `name` in the app's {file}"
    ))]
    NotAPackage {
        /// The name, shortened and escaped.
        name: String,
        /// The file that has it.
        file: &'static str,
    },
    /// The package of that name is missing, or is not an app.
    #[error("failed to find `{name}/{missing}` in the app `{name}`")]
    #[diagnostic(help(
        "the name of an app must be the name of the directory that contains its hooks.py, modules.txt and patches.txt"
    ))]
    NotAnApp {
        /// The app's name.
        name: String,
        /// The first missing file.
        missing: &'static str,
    },
}

/// Returns the name of an app. `read` returns the content of a file in its repository, if it exists.
///
/// The same rule as in bench: `project.name` in pyproject.toml, else the name in setup.cfg, else the one in
/// setup.py. bench renames the app's directory to this name, and frappe imports it, so it must be a valid
/// Python package name, and the package must exist.
pub fn app_name(read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<String, AppNameError> {
    let text = |path| read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (name, file) =
        if let Some(name) = text("pyproject.toml").map(|text| pyproject(&text)).transpose()?.flatten() {
            (name, "pyproject.toml")
        } else if let Some(name) = text("setup.cfg").and_then(|text| setup_cfg(&text)) {
            (name, "setup.cfg")
        } else if let Some(name) = text("setup.py").and_then(|text| setup_py(&text)) {
            (name, "setup.py")
        } else {
            return Err(AppNameError::Missing);
        };
    if !is_package_name(&name) {
        let name = carafe_layers::text::escape_bytes(name.as_bytes());
        return Err(AppNameError::NotAPackage { name, file });
    }
    match PACKAGE_FILES.into_iter().find(|file| read(&format!("{name}/{file}")).is_none()) {
        Some(missing) => Err(AppNameError::NotAnApp { name, missing }),
        None => Ok(name),
    }
}

/// Returns whether frappe can import an app with this name.
pub(crate) fn is_package_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.len() <= MAX_NAME_BYTES
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

fn pyproject(text: &str) -> Result<Option<String>, AppNameError> {
    let table: toml::Table =
        toml::from_str(text).map_err(|source| AppNameError::Parse { source: Box::new(source) })?;
    let name = table.get("project").and_then(|project| project.get("name")).and_then(toml::Value::as_str);
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

fn setup_cfg(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim_end).skip_while(|line| *line != "[metadata]").skip(1);
    let name = lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let (key, value) = line.split_once(['=', ':'])?;
        (key.trim() == "name").then(|| value.trim().to_owned())
    });
    name.filter(|name| !name.is_empty())
}

/// The literal argument `name=` of a call of `setup` at the start of a line.
fn setup_py(text: &str) -> Option<String> {
    let tokens = tokens(text);
    let is_setup =
        |pair: &[Token]| matches!(pair, [Token::Name(name, true), Token::Symbol('(')] if name == "setup");
    let call = &tokens[tokens.windows(2).position(is_setup)?..];
    let end = call.iter().position(|token| *token == Token::End).unwrap_or(call.len());
    call[..end].windows(4).find_map(|window| match window {
        [Token::Symbol('(' | ','), Token::Name(key, _), Token::Symbol('='), Token::Text(value)]
            if key == "name" =>
        {
            Some(value.clone())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_in(files: &[(&str, &str)]) -> Result<String, AppNameError> {
        let read = |path: &str| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, content)| content.as_bytes().to_vec())
        };
        app_name(&read)
    }

    const PACKAGE: [(&str, &str); 3] =
        [("shop/hooks.py", ""), ("shop/modules.txt", ""), ("shop/patches.txt", "")];

    fn shop(file: &str, content: &str) -> Result<String, AppNameError> {
        name_in(&[&PACKAGE[..], &[(file, content)]].concat())
    }

    #[test]
    fn reads_the_name_from_each_of_the_three_files() {
        assert_eq!(shop("pyproject.toml", "[project]\nname = \"shop\"\n").unwrap(), "shop");
        let cfg = "[options]\nname = no\n[metadata]\nversion = 1\nname = shop\n";
        assert_eq!(shop("setup.cfg", cfg).unwrap(), "shop");
        let setup = "from setuptools import setup\n\nsetup(\n\tversion=version,\n\tname='shop',  # here\n)\n";
        assert_eq!(shop("setup.py", setup).unwrap(), "shop");
        let poetry = [&PACKAGE[..], &[("pyproject.toml", "[build-system]\n"), ("setup.py", setup)]].concat();
        assert_eq!(name_in(&poetry).unwrap(), "shop");
    }

    #[test]
    fn rejects_hostile_and_unusable_names() {
        for name in ["..", "a/b", "-rf", "in-dia", "1st", "a b", "naïve", &"x".repeat(101)] {
            let error = shop("pyproject.toml", &format!("[project]\nname = \"{name}\"\n")).unwrap_err();
            assert!(matches!(error, AppNameError::NotAPackage { .. }), "{name}: {error}");
        }
        for (file, content) in [
            ("README.md", ""),
            ("pyproject.toml", "[project]\nname = \"\"\n"),
            ("setup.py", "def setup(name='x'): pass\nsetup(name=NAME)\n"),
            ("setup.cfg", "[metadata]\n[other]\nname = shop\n"),
        ] {
            assert!(matches!(shop(file, content), Err(AppNameError::Missing)), "{file}");
        }
        assert!(matches!(shop("pyproject.toml", "[project"), Err(AppNameError::Parse { .. })));
    }

    #[test]
    fn requires_that_the_package_is_an_app() {
        let error = shop("pyproject.toml", "[project]\nname = \"other\"\n").unwrap_err();
        assert_eq!(error.to_string(), "failed to find `other/hooks.py` in the app `other`");
    }
}
