//! Text into tokens.

use crate::error::{ParseError, Place};
use crate::schema::{Literal, limits};

/// A token. Borrows from the file's text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A name or keyword.
    Word(&'a str),
    /// A number: `Literal::Int` or `Literal::Float`.
    Number(Literal),
    /// A string, without its quotes.
    Text(String),
    /// One of `{ } [ ] ; = , :` or `.`
    Mark(char),
    /// A comment, delimiters included.
    Comment(&'a str),
    /// The end of the file.
    End,
}

impl Token<'_> {
    /// The token as an error message names it.
    pub fn describe(&self) -> String {
        match self {
            Token::Word(w) => format!("'{w}'"),
            Token::Number(Literal::Int(n)) => format!("the number {n}"),
            Token::Number(_) => "a number with a point".to_owned(),
            Token::Text(_) => "a string".to_owned(),
            Token::Mark(c) => format!("'{c}'"),
            Token::Comment(_) => "a comment".to_owned(),
            Token::End => "the end of the file".to_owned(),
        }
    }
}

/// Turns one file into tokens, one at a time.
pub(super) struct Lexer<'a> {
    file: &'a str,
    text: &'a str,
    /// Byte offset of the next character.
    at: usize,
    place: Place,
}

impl<'a> Lexer<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Result<Lexer<'a>, ParseError> {
        let place = Place { line: 1, column: 1 };
        if text.len() > limits::FILE_BYTES {
            let message = format!("the file is longer than {} bytes", limits::FILE_BYTES);
            return Err(ParseError::new(file, place, message));
        }
        Ok(Lexer { file, text, at: 0, place })
    }

    fn rest(&self) -> &'a str {
        // `at` only ever moves by whole characters.
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self, c: char) {
        self.at += c.len_utf8();
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
    }

    /// Takes characters as long as they fit, and returns them.
    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let taken = rest.get(..end).unwrap_or("");
        for c in taken.chars() {
            self.advance(c);
        }
        taken
    }

    fn error(&self, place: Place, message: impl Into<String>) -> ParseError {
        ParseError::new(self.file, place, message)
    }

    /// The next token and where it begins. After the end it is [`Token::End`] for ever.
    pub fn next(&mut self) -> Result<(Token<'a>, Place), ParseError> {
        self.take_while(|c| c.is_ascii_whitespace());
        let place = self.place;
        let Some(c) = self.peek() else { return Ok((Token::End, place)) };
        let token = match c {
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
                if word.len() > limits::NAME_BYTES {
                    let message = format!("a name is longer than {} bytes", limits::NAME_BYTES);
                    return Err(self.error(place, message));
                }
                Token::Word(word)
            }
            '0'..='9' | '-' => self.number(place)?,
            '"' => self.string(place)?,
            '/' => self.comment(place)?,
            '{' | '}' | '[' | ']' | ';' | '=' | ',' | ':' | '.' => {
                self.advance(c);
                Token::Mark(c)
            }
            c => return Err(self.error(place, format!("unexpected character {c:?}"))),
        };
        Ok((token, place))
    }

    /// `0x1F`, `12`, `-3`, `1.5`: hexadecimal is without sign.
    fn number(&mut self, place: Place) -> Result<Token<'a>, ParseError> {
        let rest = self.rest();
        let hex = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        let parsed = if hex.is_some_and(|h| h.starts_with(|c: char| c.is_ascii_hexdigit())) {
            self.advance('0');
            self.advance('x');
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            i128::from_str_radix(digits, 16).ok().map(Literal::Int)
        } else {
            let start = self.at;
            if rest.starts_with('-') {
                self.advance('-');
            }
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                return Err(self.error(place, "expected a number after '-'"));
            }
            let point = self.peek() == Some('.');
            if point {
                self.advance('.');
                self.take_while(|c| c.is_ascii_digit());
            }
            let written = self.text.get(start..self.at).unwrap_or("");
            if point {
                written.parse().ok().filter(|x: &f64| x.is_finite()).map(Literal::Float)
            } else {
                written.parse().ok().map(Literal::Int)
            }
        };
        if self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(self.error(place, "malformed number"));
        }
        let fits = |n: &Literal| match n {
            Literal::Int(n) => (i64::MIN as i128..=u64::MAX as i128).contains(n),
            _ => true,
        };
        match parsed.filter(fits) {
            Some(number) => Ok(Token::Number(number)),
            None => Err(self.error(place, "the number is too large")),
        }
    }

    /// A string on one line. Backslashes stay, quotes go, even escaped ones: so does vppapigen.
    fn string(&mut self, place: Place) -> Result<Token<'a>, ParseError> {
        self.advance('"');
        let mut value = String::new();
        while let Some(c) = self.peek().filter(|c| *c != '\n') {
            self.advance(c);
            match c {
                '"' => return Ok(Token::Text(value)),
                '\\' => {
                    value.push('\\');
                    if let Some(next) = self.peek().filter(|c| *c != '\n') {
                        self.advance(next);
                        if next != '"' {
                            value.push(next);
                        }
                    }
                }
                c => value.push(c),
            }
        }
        Err(self.error(place, "the string is not closed on its line"))
    }

    fn comment(&mut self, place: Place) -> Result<Token<'a>, ParseError> {
        let rest = self.rest();
        if rest.starts_with("//") {
            return Ok(Token::Comment(self.take_while(|c| c != '\n')));
        }
        if !rest.starts_with("/*") {
            return Err(self.error(place, "unexpected character '/'"));
        }
        let body = rest.get(2..).unwrap_or("");
        let Some(end) = body.find("*/") else {
            return Err(self.error(place, "the comment is not closed"));
        };
        let comment = rest.get(..end + 4).unwrap_or("");
        for c in comment.chars() {
            self.advance(c);
        }
        Ok(Token::Comment(comment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
        let mut lexer = Lexer::new("t.api", text)?;
        let mut all = Vec::new();
        loop {
            match lexer.next()?.0 {
                Token::End => return Ok(all),
                token => all.push(token),
            }
        }
    }

    #[test]
    fn every_kind_of_token() {
        let got = tokens("u8 x_1[0x1F, 0XFF, -12 1.5 2.];// c\n/* d\n*/ \"a\\\"b\"").unwrap();
        let want = vec![
            Token::Word("u8"),
            Token::Word("x_1"),
            Token::Mark('['),
            Token::Number(Literal::Int(31)),
            Token::Mark(','),
            Token::Number(Literal::Int(255)),
            Token::Mark(','),
            Token::Number(Literal::Int(-12)),
            Token::Number(Literal::Float(1.5)),
            Token::Number(Literal::Float(2.0)),
            Token::Mark(']'),
            Token::Mark(';'),
            Token::Comment("// c"),
            Token::Comment("/* d\n*/"),
            Token::Text("a\\b".to_owned()),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn places_are_lines_and_characters() {
        let mut lexer = Lexer::new("t.api", "é").unwrap();
        assert_eq!(lexer.next().unwrap_err().to_string(), "t.api:1:1: unexpected character 'é'");
        let mut lexer = Lexer::new("t.api", "/* é\n é */ x").unwrap();
        lexer.next().unwrap();
        assert_eq!(lexer.next().unwrap().1, Place { line: 2, column: 7 });
    }

    #[test]
    fn what_is_no_token() {
        for (text, message) in [
            ("\"abc", "1:1: the string is not closed on its line"),
            ("\"abc\\", "1:1: the string is not closed on its line"),
            ("\n /* x", "2:2: the comment is not closed"),
            ("/x", "1:1: unexpected character '/'"),
            ("-", "1:1: expected a number after '-'"),
            ("1a", "1:1: malformed number"),
            ("0x", "1:1: malformed number"),
            ("18446744073709551616", "1:1: the number is too large"),
            ("0xfffffffffffffffffffffffffffffffffffffffff", "1:1: the number is too large"),
            ("#", "1:1: unexpected character '#'"),
            (&"x".repeat(256), "1:1: a name is longer than 255 bytes"),
        ] {
            assert_eq!(tokens(text).unwrap_err().to_string(), format!("t.api:{message}"));
        }
    }
}
