//! Environment variables: `${NAME}` in the spec, and the variables that the spec sets for bench.

use super::error::{Origin, SpecError};

/// Returns the value of an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces each `${NAME}` by the value of that environment variable. One that is unset or empty is an error.
pub(super) fn expand_variables(text: &str, origin: &Origin, env: Environment) -> Result<String, SpecError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        let Some((name, tail)) = after.split_once('}') else {
            return Err(origin.error("`${` has no closing `}`", "write it as ${NAME}"));
        };
        let value = env(name);
        let state = if value.is_some() { "empty" } else { "not set" };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("the environment variable `{name}` is {state}");
            origin.error(message, "set it before you run carafe")
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Checks an environment variable for bench: a name as in shells, and a value without control characters.
pub(crate) fn check_build_variable(name: &str, value: &str, origin: &Origin) -> Result<(), SpecError> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    let message = match (is_name, value.contains(char::is_control)) {
        (true, false) => return Ok(()),
        (true, true) => format!("the value of the environment variable `{name}` has a control character"),
        (false, _) => format!("`{}` is not a name of an environment variable", name.escape_debug()),
    };
    Err(origin.error(message, "write it as NAME = \"value\""))
}
