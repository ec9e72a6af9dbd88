//! `required_apps` in hooks.py: bench installs apps in the given order and does not resolve dependencies,
//! so the order is checked here.

use std::fmt;

use super::python_literal::{Token, tokens};

/// The properties of an app by which other apps can require it.
#[derive(Clone, Copy, Debug)]
pub struct AppHooks<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its URL: other apps can require it by the name of its repository.
    pub url: Option<&'a str>,
    /// The content of its hooks.py.
    pub hooks: Option<&'a str>,
}

/// Apps are missing, or listed after an app that requires them.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to order the apps: {}", list(problems))]
#[diagnostic(help("apps are installed in the order of their list: {}", advice(problems)))]
pub struct RequiredAppsError {
    /// All problems, in the order of the apps.
    pub problems: Vec<RequiredApp>,
}

/// A required app that is missing, or listed too late.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequiredApp {
    /// The app that requires the other.
    pub app: String,
    /// The required app, as written in hooks.py.
    pub requires: String,
    /// The name of the required app, if it is listed, but not before `app`.
    pub listed_later: Option<String>,
}

impl fmt::Display for RequiredApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, requires, listed_later } = self;
        let problem = if listed_later.is_some() { "is listed after it" } else { "is not listed" };
        write!(f, "`{app}` requires `{requires}`, which {problem}")
    }
}

fn list(problems: &[RequiredApp]) -> String {
    problems.iter().map(RequiredApp::to_string).collect::<Vec<_>>().join("; ")
}

fn advice(problems: &[RequiredApp]) -> String {
    let advice = problems.iter().map(|RequiredApp { app, requires, listed_later }| match listed_later {
        Some(required) => format!("move `{required}` before `{app}`"),
        None => format!("add `{requires}` before `{app}`"),
    });
    advice.collect::<Vec<_>>().join("; ")
}

/// Checks that every app is listed after the apps in the `required_apps` of its hooks.py. `apps` is in the
/// order of installation, frappe first. Returns warnings for the user.
///
/// hooks.py is parsed, not executed: a list that is not a literal is not checked, which is a warning. All
/// problems are reported at once.
pub fn check_required_apps(apps: &[AppHooks<'_>]) -> Result<Vec<String>, RequiredAppsError> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for (at, app) in apps.iter().enumerate() {
        let required = match app.hooks.map(required_apps).unwrap_or(Required::Names(Vec::new())) {
            Required::Names(names) => names,
            Required::NotLiteral => {
                warnings.push(format!(
                    "`required_apps` of `{}` is not a literal list: its required apps are not checked",
                    app.name
                ));
                continue;
            }
        };
        for requires in required {
            let wanted = repository_name(&requires);
            match apps.iter().position(|other| has_name(other, wanted)) {
                Some(found) if found < at => {}
                found => problems.push(RequiredApp {
                    app: app.name.to_owned(),
                    listed_later: found.map(|found| apps[found].name.to_owned()),
                    requires,
                }),
            }
        }
    }
    if problems.is_empty() { Ok(warnings) } else { Err(RequiredAppsError { problems }) }
}

fn has_name(app: &AppHooks<'_>, wanted: &str) -> bool {
    app.name == wanted || app.url.is_some_and(|url| repository_name(url) == wanted)
}

/// `hrms` for `hrms`, `frappe/hrms@develop`, `https://github.com/frappe/hrms.git` and
/// `git@github.com:frappe/hrms`, by frappe's rule.
fn repository_name(app: &str) -> &str {
    let app = app.trim_end_matches('/');
    let last = app.rsplit(['/', ':']).next().unwrap_or(app);
    last.split(['.', '@', '#']).next().unwrap_or(last)
}

enum Required {
    Names(Vec<String>),
    NotLiteral,
}

/// The value of the last assignment at the start of a line, as in Python.
fn required_apps(hooks: &str) -> Required {
    let tokens = tokens(hooks);
    let is_required_apps =
        |token: &Token| matches!(token, Token::Name(name, true) if name == "required_apps");
    let mut required = Required::Names(Vec::new());
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| is_required_apps(token)) {
        let line = tokens[at + 1..].split(|token| *token == Token::End).next().unwrap_or_default();
        required = literal(line).map_or(Required::NotLiteral, Required::Names);
    }
    required
}

/// The strings in `= ["a", "b"]`, or in a tuple. `None` for anything else.
fn literal(line: &[Token]) -> Option<Vec<String>> {
    let [Token::Symbol('='), Token::Symbol('[' | '('), items @ .., Token::Symbol(']' | ')')] = line else {
        return None;
    };
    let mut names = Vec::new();
    for item in items.split(|token| *token == Token::Symbol(',')) {
        match item {
            [Token::Text(name)] => names.push(name.clone()),
            [] => {}
            _ => return None,
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app<'a>(name: &'a str, hooks: &'a str) -> AppHooks<'a> {
        AppHooks { name, url: None, hooks: Some(hooks) }
    }

    #[test]
    fn requires_that_an_app_is_listed_after_its_required_apps() {
        let frappe = app("frappe", "");
        let erpnext = app("erpnext", "app_name = \"erpnext\"\n# required_apps = [\"gone\"]\n");
        let hrms = app("hrms", "required_apps = [\n\t'frappe/erpnext',  # accounts\n]\n");
        assert!(check_required_apps(&[frappe, erpnext, hrms]).unwrap().is_empty());

        let error = check_required_apps(&[frappe, hrms, erpnext]).unwrap_err();
        let later = "failed to order the apps: `hrms` requires `frappe/erpnext`, which is listed after it";
        assert_eq!(error.to_string(), later);
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.ends_with("move `erpnext` before `hrms`"), "{help}");

        let error = check_required_apps(&[frappe, hrms]).unwrap_err();
        assert!(error.to_string().ends_with("which is not listed"));
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.ends_with("add `frappe/erpnext` before `hrms`"), "{help}");
    }

    #[test]
    fn accepts_all_forms_of_a_name() {
        let shop =
            AppHooks { name: "shop", url: Some("https://git.example.com/me/web-shop.git"), hooks: None };
        for requires in
            ["shop", "web-shop", "me/web-shop@main", "https://x/me/web-shop", "git@x:me/web-shop.git"]
        {
            let hooks = format!("required_apps = (\"{requires}\",)");
            assert!(check_required_apps(&[shop, app("till", &hooks)]).is_ok(), "{requires}");
        }
        assert!(check_required_apps(&[shop, app("till", "required_apps=['sho']")]).is_err());
    }

    #[test]
    fn warns_about_a_list_that_is_not_a_literal() {
        for hooks in [
            "required_apps = get()",
            "required_apps += ['x']",
            "required_apps = ['x'] + more",
            "required_apps = [f'{x}']",
        ] {
            assert_eq!(check_required_apps(&[app("till", hooks)]).unwrap().len(), 1, "{hooks}");
        }
        for hooks in ["def f():\n    required_apps = ['x']", "required_apps = []", "x.required_apps = ['y']"]
        {
            assert!(check_required_apps(&[app("till", hooks)]).unwrap().is_empty(), "{hooks}");
        }
    }

    #[test]
    fn reports_an_app_that_requires_itself() {
        let error = check_required_apps(&[app("till", "required_apps = ['till']")]).unwrap_err();
        assert_eq!(error.problems.len(), 1);
    }
}
