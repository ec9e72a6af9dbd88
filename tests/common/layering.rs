//! Checks the imports between the modules of a crate: their order, and that no files import each other
//! in a cycle. Each crate has a test that includes this file with `#[path]`, so it uses only `std`.
//!
//! It reads tokens and not types. It sees `use` declarations and inline paths that start with `crate`,
//! `self`, `super`, `$crate` or a child module. It ignores comments, strings, `#[cfg(test)]` items, the
//! declarations of modules, `pub(in …)`, and macros at the crate root (`crate::name!`). A path through a
//! re-export counts as an import of the file that re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module path without `crate`: `["registry", "http"]`. The crate root is empty.
type Module = Vec<String>;

/// One import: the module of the importing file, that of the imported file, and where it is.
struct Import {
    from: Module,
    to: Module,
    /// `registry/http.rs:12: crate::registry::error::RegistryError`.
    location: String,
}

/// The violations in the crate at `src_dir`, one message each; none if all imports are in order.
///
/// `order` lists the modules from the lowest to the highest: top-level modules (`"digest"`) or nested
/// ones (`"registry::http"`). The longest entry that is a prefix of a module applies to it. A file may
/// import from its own entry and from lower ones. Every module must have an entry, and every entry a
/// module. Nothing may import from the crate root (`lib.rs`, `main.rs`), which may import everything.
///
/// A child may import from its parents' `mod.rs`, which may import from the child: this is not a cycle
/// for this function, but it is for [`check_strict`].
#[allow(dead_code)] // each crate uses one of the two
pub fn check(src_dir: &Path, order: &[&str]) -> Vec<String> {
    check_with(src_dir, order, |import| !import.from.starts_with(&import.to))
}

/// [`check`], with all cycles between files.
#[allow(dead_code)] // each crate uses one of the two
pub fn check_strict(src_dir: &Path, order: &[&str]) -> Vec<String> {
    check_with(src_dir, order, |_| true)
}

fn check_with(src_dir: &Path, order: &[&str], is_counted: fn(&Import) -> bool) -> Vec<String> {
    let files = source_files(src_dir);
    let entries: Vec<Module> = order.iter().map(|entry| module(entry)).collect();
    let mut problems = check_entries(&entries, &files);
    let imports: Vec<Import> = files.iter().flat_map(|(from, file)| imports(from, file, &files)).collect();
    for import in imports.iter().filter(|import| !import.from.is_empty()) {
        let (from, to) = (position(&entries, &import.from), position(&entries, &import.to));
        if import.to.is_empty() {
            problems.push(format!("{} imports from the crate root", import.location));
        } else if from < to {
            let [from, to] = [&import.from, &import.to].map(|module| module.join("::"));
            problems.push(format!("{}: `{from}` is below `{to}` in the order", import.location));
        }
    }
    problems.extend(cycles(imports.iter().filter(|import| is_counted(import))));
    problems
}

fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

/// The position in the order; `None` for a module without an entry, which [`check_entries`] reports.
fn position(entries: &[Module], module: &Module) -> Option<usize> {
    let matching = entries.iter().enumerate().filter(|(_, entry)| module.starts_with(entry));
    matching.max_by_key(|(_, entry)| entry.len()).map(|(at, _)| at)
}

fn check_entries(entries: &[Module], files: &BTreeMap<Module, File>) -> Vec<String> {
    let mut problems = Vec::new();
    for (module, file) in files.iter().filter(|(module, _)| !module.is_empty()) {
        if position(entries, module).is_none() {
            problems.push(format!("{}: module `{}` is not in the order", file.name, module.join("::")));
        }
    }
    for (at, entry) in entries.iter().enumerate() {
        if !files.contains_key(entry) {
            problems.push(format!("the order contains `{}`, which does not exist", entry.join("::")));
        }
        if entries[..at].contains(entry) {
            problems.push(format!("the order contains `{}` twice", entry.join("::")));
        }
    }
    problems
}

struct File {
    /// Relative to the source directory.
    name: String,
    tokens: Vec<Token>,
}

/// All files by module, without those of `#[cfg(test)] mod name;`.
fn source_files(src_dir: &Path) -> BTreeMap<Module, File> {
    let (mut files, mut test_modules) = (BTreeMap::new(), BTreeSet::new());
    for path in list(src_dir) {
        let relative = path.strip_prefix(src_dir).expect("it was listed below the directory");
        let mut module: Module =
            relative.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let text = fs::read_to_string(&path).expect("source files are readable text");
        let (tokens, tests) = without_tests(tokens(&text));
        test_modules.extend(tests.into_iter().map(|name| [module.as_slice(), &[name]].concat()));
        files.insert(module, File { name: relative.display().to_string(), tokens });
    }
    files.retain(|module, _| !test_modules.iter().any(|test| module.starts_with(test)));
    files
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the source directory is readable");
    let paths = entries.map(|entry| entry.expect("the source directory is readable").path());
    let paths = paths.flat_map(|path| if path.is_dir() { list(&path) } else { vec![path] });
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// An identifier, or a symbol: `::` or one character.
#[derive(Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The tokens of a source text without comments, literals and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            ':' if rest.starts_with("::") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        if is_word(c) && token.chars().all(is_word)
            || token == "::"
            || length == 1 && c.is_ascii_punctuation()
        {
            tokens.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a block comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..text.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string literal, which may span lines.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of a character literal or of the quote of a lifetime.
fn character(text: &str) -> usize {
    let mut rest = text[1..].char_indices();
    match (rest.next(), rest.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let after = 1 + at + c.len_utf8();
            text[after..].find('\'').map_or(1, |quote| after + quote + 1)
        }
        (Some(_), Some((at, '\''))) => at + 2,
        _ => 1,
    }
}

/// The length of a raw string literal, if the text starts with one.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let hashes = text[prefix.len()..].find('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    Some(text[start..].find(&end).map_or(text.len(), |at| start + at + end.len()))
}

/// Removes the items with `#[cfg(test)]`, and returns the names of their modules.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let is_test = ATTRIBUTE.iter().enumerate().all(|(n, text)| text_at(&tokens, at + n) == *text);
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += ATTRIBUTE.len();
        let end = item_end(&tokens, at);
        let item = &tokens[at..end];
        let name = item.windows(3).find(|window| window[0].text == "mod" && window[2].text == ";");
        modules.extend(name.map(|window| window[1].text.clone()));
        at = end;
    }
    (kept, modules)
}

/// The end of the item at `at`: after its block, or after its semicolon.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" | "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

/// All imports of a file from other files of the crate.
fn imports(from: &Module, file: &File, files: &BTreeMap<Module, File>) -> Vec<Import> {
    let tokens = &file.tokens;
    let (mut imports, mut at, mut depth) = (Vec::new(), 0, 0);
    // The modules that are written inline, with the depth of their blocks.
    let mut inline: Vec<(String, usize)> = Vec::new();
    while at < tokens.len() {
        let inner: Module = from.iter().chain(inline.iter().map(|(name, _)| name)).cloned().collect();
        let is_path_start = at == 0 || !matches!(text_at(tokens, at - 1), "::" | "." | "mod");
        match text_at(tokens, at) {
            "mod" if text_at(tokens, at + 2) == "{" => {
                inline.push((text_at(tokens, at + 1).to_owned(), depth))
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, outer)| *outer < depth);
            }
            "pub" if text_at(tokens, at + 1) == "(" => {
                at += tokens[at..].iter().take_while(|token| token.text != ")").count();
            }
            _ if is_path_start => {
                let line = tokens[at].line;
                let mut paths = Vec::new();
                at = path(tokens, at, Vec::new(), &mut paths);
                for path in paths {
                    let Some(target) = resolve(&inner, &path, files) else { continue };
                    if target != *from {
                        let location = format!("{}:{line}: {}", file.name, path.join("::"));
                        imports.push(Import { from: from.clone(), to: target, location });
                    }
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    imports
}

/// Reads a path, or a tree of paths such as `crate::a::{b, c::d}`, and returns the position after it.
fn path(tokens: &[Token], mut at: usize, mut prefix: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    loop {
        match text_at(tokens, at) {
            "{" if !prefix.is_empty() => {
                at += 1;
                while !matches!(text_at(tokens, at), "}" | "") {
                    at = path(tokens, at, prefix.clone(), paths).max(at + 1);
                    if text_at(tokens, at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            text if text.starts_with(is_word) => {
                prefix.push(text.to_owned());
                at += 1;
                if text_at(tokens, at) == "as" {
                    at += 2;
                }
            }
            _ => break,
        }
        match text_at(tokens, at) {
            "::" => at += 1,
            // A macro at the crate root.
            "!" if prefix.len() == 2 => return at,
            _ => break,
        }
    }
    if prefix.is_empty() {
        return at + 1;
    }
    paths.push(prefix);
    at
}

/// The module of the file that a path refers to; `None` for a path outside of the crate.
fn resolve(inner: &Module, path: &[String], files: &BTreeMap<Module, File>) -> Option<Module> {
    let mut base: Module = match path[0].as_str() {
        "crate" => Vec::new(),
        "self" | "super" => inner.clone(),
        child if path.len() > 1 && files.contains_key(&[inner.as_slice(), &[child.to_owned()]].concat()) => {
            [inner.as_slice(), &[child.to_owned()]].concat()
        }
        _ => return None,
    };
    let supers = path.iter().take_while(|name| matches!(name.as_str(), "self" | "super"));
    for _ in supers.filter(|name| *name == "super") {
        base.pop();
    }
    if path.len() == 1 {
        return None;
    }
    for name in path[1..].iter().skip_while(|name| *name == "super") {
        base.push(name.clone());
    }
    while !files.contains_key(&base) && !base.is_empty() {
        base.pop();
    }
    Some(base)
}

/// One message for each group of files that import each other, with one import for each step of a cycle.
fn cycles<'a>(imports: impl Iterator<Item = &'a Import>) -> Vec<String> {
    let mut edges: BTreeMap<&Module, BTreeMap<&Module, &Import>> = BTreeMap::new();
    for import in imports.filter(|import| !import.from.is_empty() && !import.to.is_empty()) {
        edges.entry(&import.from).or_default().entry(&import.to).or_insert(import);
    }
    let (mut messages, mut reported) = (Vec::new(), BTreeSet::new());
    for start in edges.keys() {
        let Some(cycle) = shortest_cycle(start, &edges) else { continue };
        if !cycle.iter().any(|import| reported.contains(&import.from)) {
            let steps: Vec<&str> = cycle.iter().map(|import| import.location.as_str()).collect();
            messages.push(format!("files import each other in a cycle:\n    {}", steps.join("\n    ")));
        }
        reported.extend(cycle.iter().map(|import| &import.from));
    }
    messages
}

/// The imports of a shortest cycle through `start`, found breadth-first.
fn shortest_cycle<'a>(
    start: &'a Module,
    edges: &BTreeMap<&'a Module, BTreeMap<&'a Module, &'a Import>>,
) -> Option<Vec<&'a Import>> {
    let mut paths: Vec<Vec<&Import>> = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            let at = path.last().map_or(start, |import| &import.to);
            for import in edges.get(at).into_iter().flat_map(BTreeMap::values) {
                let next = [path.as_slice(), &[import]].concat();
                if import.to == *start {
                    return Some(next);
                }
                if seen.insert(&import.to) {
                    longer.push(next);
                }
            }
        }
        paths = longer;
    }
    None
}
