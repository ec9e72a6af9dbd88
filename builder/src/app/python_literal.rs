//! A tokenizer for Python source: enough to read a literal in hooks.py or setup.py without running it.

/// A token of Python source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// A name, keyword or number, and whether it is the first, unindented token of a logical line.
    Name(String, bool),
    /// The value of a string literal. All prefixes except `f` are supported.
    Text(String),
    /// Any other character.
    Symbol(char),
    /// The end of a logical line: a line end that is not within brackets and not after a backslash.
    End,
}

/// Returns the tokens of `source`. Text that is not Python gives arbitrary tokens, without an error: callers
/// look for one exact sequence and ignore everything else.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut scanner = Scanner { rest: source, depth: 0, is_line_start: true };
    let mut tokens: Vec<Token> = std::iter::from_fn(|| scanner.next()).collect();
    tokens.push(Token::End);
    tokens
}

struct Scanner<'a> {
    rest: &'a str,
    depth: u32,
    /// Whether the scanner is at the start of a logical line.
    is_line_start: bool,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            let is_line_start = std::mem::take(&mut self.is_line_start);
            let first = self.rest.chars().next()?;
            match first {
                '#' => self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..],
                '\n' => {
                    self.rest = &self.rest[1..];
                    self.is_line_start = self.depth == 0;
                    if self.is_line_start {
                        return Some(Token::End);
                    }
                }
                '\\' => {
                    let after = self.rest[1..].chars().next().map_or(0, char::len_utf8);
                    self.rest = &self.rest[1 + after..];
                }
                _ if first.is_whitespace() => self.rest = &self.rest[first.len_utf8()..],
                '"' | '\'' => return Some(Token::Text(self.text(false))),
                _ if first.is_alphanumeric() || first == '_' => return Some(self.name(is_line_start)),
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

    fn name(&mut self, is_line_start: bool) -> Token {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let prefix = name.to_ascii_lowercase();
        if rest.starts_with(['"', '\'']) && matches!(prefix.as_str(), "r" | "b" | "u" | "br" | "rb") {
            return Token::Text(self.text(prefix.contains('r')));
        }
        Token::Name(name.to_owned(), is_line_start)
    }

    /// Reads a string literal, which starts with its opening quote.
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

    fn render(source: &str) -> String {
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
    fn separates_lines_brackets_and_comments() {
        let source = "# a = 1\na = [\n  'x',  # 'y'\n  \"z\"\n]\n  b = 2\nc \\\n = 3";
        assert_eq!(render(source), "; ^a = [ \"x\" , \"z\" ] ; b = 2 ; ^c = 3 ;");
    }

    #[test]
    fn reads_all_kinds_of_strings() {
        assert_eq!(
            render(
                r#"r'\n' u"é\"" '''a
b''' 'it\'s' """c'"d""""#
            ),
            r#""\\n" "é\"" "a\nb" "it's" "c'\"d" ;"#
        );
        assert_eq!(render("f'{x}' name"), "^f \"{x}\" name ;");
        assert_eq!(render("'unclosed\nx"), "\"unclosed\" ; ^x ;");
    }

    proptest::proptest! {
        #[test]
        fn does_not_panic_on_arbitrary_text(source in "[\\PC\n\t'\"\\\\\\[\\]#ru=]{0,60}") {
            tokens(&source);
        }
    }
}
