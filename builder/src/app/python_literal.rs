//! Reading python source without running it: just enough for a literal in hooks.py or setup.py.

/// A piece of python source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// A name, keyword or number; whether it is the first thing on a line, unindented.
    Name(String, bool),
    /// A string literal's value. Prefixes but `f` are allowed for.
    Text(String),
    /// Any other character.
    Symbol(char),
    /// The end of a logical line: not within brackets, not after a backslash.
    End,
}

/// The tokens of `source`. What is no python comes out as some tokens or other: whoever reads
/// them looks for a certain sequence and takes nothing else.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut scanner = Scanner { rest: source, depth: 0, fresh: true };
    let mut tokens: Vec<Token> = std::iter::from_fn(|| scanner.next()).collect();
    tokens.push(Token::End);
    tokens
}

struct Scanner<'a> {
    rest: &'a str,
    depth: u32,
    /// At the very start of a logical line.
    fresh: bool,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            let fresh = std::mem::take(&mut self.fresh);
            let first = self.rest.chars().next()?;
            match first {
                '#' => self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..],
                '\n' => {
                    self.rest = &self.rest[1..];
                    self.fresh = self.depth == 0;
                    if self.fresh {
                        return Some(Token::End);
                    }
                }
                '\\' => {
                    let after = self.rest[1..].chars().next().map_or(0, char::len_utf8);
                    self.rest = &self.rest[1 + after..];
                }
                _ if first.is_whitespace() => self.rest = &self.rest[first.len_utf8()..],
                '"' | '\'' => return Some(Token::Text(self.text(false))),
                _ if first.is_alphanumeric() || first == '_' => return Some(self.name(fresh)),
                _ => return Some(self.symbol(first)),
            }
        }
    }

    fn symbol(&mut self, symbol: char) -> Token {
        match symbol {
            '(' | '[' | '{' => self.depth += 1,
            ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.rest = &self.rest[symbol.len_utf8()..];
        Token::Symbol(symbol)
    }

    fn name(&mut self, fresh: bool) -> Token {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let prefix = name.to_ascii_lowercase();
        if rest.starts_with(['"', '\'']) && matches!(prefix.as_str(), "r" | "b" | "u" | "br" | "rb") {
            return Token::Text(self.text(prefix.contains('r')));
        }
        Token::Name(name.to_owned(), fresh)
    }

    /// A string literal's value, from its opening quote on.
    fn text(&mut self, raw: bool) -> String {
        let quote = &self.rest[..1];
        let triple = quote.repeat(3);
        let quotes = if self.rest.starts_with(&triple) { triple } else { quote.to_owned() };
        let mut rest = &self.rest[quotes.len()..];
        let mut value = String::new();
        while !rest.is_empty() && !rest.starts_with(&quotes) {
            let mut characters = rest.chars();
            match characters.next() {
                Some('\\') if !raw => match characters.next() {
                    Some('\n') | None => {}
                    Some(escaped @ ('\\' | '\'' | '"')) => value.push(escaped),
                    Some(other) => value.extend(['\\', other]),
                },
                Some('\n') if quotes.len() == 1 => break,
                Some(character) => value.push(character),
                None => break,
            }
            rest = characters.as_str();
        }
        self.rest = rest.strip_prefix(quotes.as_str()).unwrap_or(rest);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        let show = |token: &Token| match token {
            Token::Name(name, true) => format!("^{name}"),
            Token::Name(name, false) => name.clone(),
            Token::Text(text) => format!("{text:?}"),
            Token::Symbol(symbol) => symbol.to_string(),
            Token::End => ";".to_owned(),
        };
        tokens(source).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lines_brackets_and_comments() {
        let source = "# a = 1\na = [\n  'x',  # 'y'\n  \"z\"\n]\n  b = 2\nc \\\n = 3";
        assert_eq!(shown(source), "; ^a = [ \"x\" , \"z\" ] ; b = 2 ; ^c = 3 ;");
    }

    #[test]
    fn strings_of_all_kinds() {
        assert_eq!(
            shown(
                r#"r'\n' u"é\"" '''a
b''' 'it\'s' """c'"d""""#
            ),
            r#""\\n" "é\"" "a\nb" "it's" "c'\"d" ;"#
        );
        assert_eq!(shown("f'{x}' name"), "^f \"{x}\" name ;");
        assert_eq!(shown("'unclosed\nx"), "\"unclosed\" ; ^x ;");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(source in "[\\PC\n\t'\"\\\\\\[\\]#ru=]{0,60}") {
            tokens(&source);
        }
    }
}
