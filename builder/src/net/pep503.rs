//! Names of Python packages.

/// The normalized form of a package's name (PEP 503): lower case, and each run of `-`, `_` and `.`
/// as one `-`. Two names are the same package if their normalized forms are equal.
pub fn normalize(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normalized.ends_with('-') => {}
            '-' | '_' | '.' => normalized.push('-'),
            c => normalized.extend(c.to_lowercase()),
        }
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn spellings_of_one_name_are_equal() {
        for name in ["zope.interface", "zope-interface", "Zope_Interface", "zope-._interface"] {
            assert_eq!(normalize(name), "zope-interface");
        }
        assert_eq!(normalize("_private."), "-private-");
        assert_eq!(normalize(""), "");
    }
}
