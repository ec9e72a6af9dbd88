//! `required_apps`: bench installs in the order it is given, and resolves nothing.

use std::fmt;

use super::python_literal::{Token, tokens};

/// An app, as far as others may need it.
#[derive(Clone, Copy, Debug)]
pub struct AppHooks<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it comes from: others may need it under its repository's name.
    pub url: Option<&'a str>,
    /// Its hooks.py.
    pub hooks: Option<&'a str>,
}

/// Apps that are needed and are not there, or come too late.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to order the apps: {}", list(problems))]
#[diagnostic(help("apps are installed in the order of apps.json: {}", advice(problems)))]
pub struct RequiredAppsError {
    /// All that is wrong, in the order of the apps.
    pub problems: Vec<RequiredApp>,
}

/// One app that another needs and does not find.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequiredApp {
    /// The app that needs another.
    pub app: String,
    /// What it needs, as its hooks.py says.
    pub needs: String,
    /// Where that comes in the list, if it is there, after the app.
    pub later: Option<String>,
}

impl fmt::Display for RequiredApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, needs, later } = self;
        let where_ = if later.is_some() { "comes after it" } else { "is not among the apps" };
        write!(f, "`{app}` needs `{needs}`, which {where_}")
    }
}

fn list(problems: &[RequiredApp]) -> String {
    problems.iter().map(RequiredApp::to_string).collect::<Vec<_>>().join("; ")
}

fn advice(problems: &[RequiredApp]) -> String {
    let advice = problems.iter().map(|RequiredApp { app, needs, later }| match later {
        Some(later) => format!("move `{later}` before `{app}`"),
        None => format!("add `{needs}` before `{app}`"),
    });
    advice.collect::<Vec<_>>().join("; ")
}

/// Checks that every app comes after those that its hooks.py names as `required_apps`. `apps` is
/// in the order of installation, frappe first.
///
/// The list is read, not run: one that is no literal is left alone, and a warning for the user
/// says so. All problems are reported at once.
pub fn check_required_apps(apps: &[AppHooks<'_>]) -> Result<Vec<String>, RequiredAppsError> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for (at, app) in apps.iter().enumerate() {
        let required = match app.hooks.map(required_apps).unwrap_or(Required::Names(Vec::new())) {
            Required::Names(names) => names,
            Required::NotLiteral => {
                warnings.push(format!(
                    "`required_apps` of `{}` is not a plain list: the order of apps is not checked for it",
                    app.name
                ));
                continue;
            }
        };
        for needs in required {
            let wanted = repository_name(&needs);
            match apps.iter().position(|other| is_called(other, wanted)) {
                Some(found) if found < at => {}
                found => problems.push(RequiredApp {
                    app: app.name.to_owned(),
                    later: found.map(|found| apps[found].name.to_owned()),
                    needs,
                }),
            }
        }
    }
    if problems.is_empty() { Ok(warnings) } else { Err(RequiredAppsError { problems }) }
}

fn is_called(app: &AppHooks<'_>, wanted: &str) -> bool {
    app.name == wanted || app.url.is_some_and(|url| repository_name(url) == wanted)
}

/// `hrms` of `hrms`, `frappe/hrms@develop`, `https://github.com/frappe/hrms.git` and
/// `git@github.com:frappe/hrms`, as frappe has it.
fn repository_name(app: &str) -> &str {
    let app = app.trim_end_matches('/');
    let last = app.rsplit(['/', ':']).next().unwrap_or(app);
    last.split(['.', '@', '#']).next().unwrap_or(last)
}

enum Required {
    Names(Vec<String>),
    NotLiteral,
}

/// The last assignment at the start of a line counts, as in python.
fn required_apps(hooks: &str) -> Required {
    let tokens = tokens(hooks);
    let is_it = |token: &Token| matches!(token, Token::Name(name, true) if name == "required_apps");
    let mut required = Required::Names(Vec::new());
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| is_it(token)) {
        let line = tokens[at + 1..].split(|token| *token == Token::End).next().unwrap_or_default();
        required = literal(line).map_or(Required::NotLiteral, Required::Names);
    }
    required
}

/// The strings of `= ["a", "b"]` (or a tuple), and nothing for anything else.
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
    fn an_app_comes_after_what_it_needs() {
        let frappe = app("frappe", "");
        let erpnext = app("erpnext", "app_name = \"erpnext\"\n# required_apps = [\"gone\"]\n");
        let hrms = app("hrms", "required_apps = [\n\t'frappe/erpnext',  # accounts\n]\n");
        assert!(check_required_apps(&[frappe, erpnext, hrms]).unwrap().is_empty());

        let error = check_required_apps(&[frappe, hrms, erpnext]).unwrap_err();
        let later = "failed to order the apps: `hrms` needs `frappe/erpnext`, which comes after it";
        assert_eq!(error.to_string(), later);
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.ends_with("move `erpnext` before `hrms`"), "{help}");

        let error = check_required_apps(&[frappe, hrms]).unwrap_err();
        assert!(error.to_string().ends_with("which is not among the apps"));
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(help.ends_with("add `frappe/erpnext` before `hrms`"), "{help}");
    }

    #[test]
    fn all_forms_of_a_name_are_known() {
        let shop =
            AppHooks { name: "shop", url: Some("https://git.example.com/me/web-shop.git"), hooks: None };
        for needs in
            ["shop", "web-shop", "me/web-shop@main", "https://x/me/web-shop", "git@x:me/web-shop.git"]
        {
            let hooks = format!("required_apps = (\"{needs}\",)");
            assert!(check_required_apps(&[shop, app("till", &hooks)]).is_ok(), "{needs}");
        }
        assert!(check_required_apps(&[shop, app("till", "required_apps=['sho']")]).is_err());
    }

    #[test]
    fn what_is_no_literal_is_a_warning() {
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
    fn an_app_that_needs_itself_is_told() {
        let error = check_required_apps(&[app("till", "required_apps = ['till']")]).unwrap_err();
        assert_eq!(error.problems.len(), 1);
    }
}
