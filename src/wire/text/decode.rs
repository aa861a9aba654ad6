//! Reading the text grammar.

use std::error::Error;
use std::fmt;

use super::find_separator;

/// An event as the text grammar carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The event's name. UTF-8 by convention, not by promise, as everything here.
    pub name: Vec<u8>,
    /// The parameters' names and values, in order; the name of an unnamed one is empty.
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a datagram should have held, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// What was expected.
    pub expected: &'static str,
    /// Before which byte, counted from 0.
    pub at: usize,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}

impl Error for DecodeError {}

/// Reads one datagram.
///
/// It also reads those of OpenSIPS's own module, and sees in them what was meant, but for the
/// names and values that this module writes differently (see [`super`]).
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut reader = Reader { bytes, at: 0 };
    let after_name = "a newline after the event's name";
    let name = reader.text(after_name)?;
    reader.newline(after_name)?;
    let mut params = Vec::new();
    while reader.rest() != b"\n" {
        params.push(reader.param()?);
    }
    Ok(Decoded { name, params })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn param(&mut self) -> Result<(Vec<u8>, Vec<u8>), DecodeError> {
        let after = "a newline after the parameter";
        let (name, value) = match self.quoted()? {
            Some(name) if self.skip(b"::") => (name, self.text(after)?),
            Some(value) => (Vec::new(), value),
            None => {
                let line = self.line("a parameter, or the empty line that ends the event")?;
                match find_separator(line) {
                    // A name is not empty: what begins with `::` is a value.
                    None | Some(0) => (Vec::new(), self.text(after)?),
                    Some(len) => {
                        self.at += len + 2;
                        (line[..len].to_vec(), self.text(after)?)
                    }
                }
            }
        };
        self.newline(after)?;
        Ok((name, value))
    }

    /// Takes a quoted text, or what is left of this line.
    fn text(&mut self, expected: &'static str) -> Result<Vec<u8>, DecodeError> {
        if let Some(text) = self.quoted()? {
            return Ok(text);
        }
        let line = self.line(expected)?;
        self.at += line.len();
        Ok(line.to_vec())
    }

    /// Takes a quoted text, if there is one here.
    fn quoted(&mut self) -> Result<Option<Vec<u8>>, DecodeError> {
        if !self.skip(b"\"") {
            return Ok(None);
        }
        let mut text = Vec::new();
        while !self.skip(b"\"") {
            let escaped = self.skip(b"\\\"");
            match self.rest().first() {
                _ if escaped => text.push(b'"'),
                Some(&byte) => {
                    text.push(byte);
                    self.at += 1;
                }
                None => return Err(self.expected("a closing quote")),
            }
        }
        while self.skip(b"\\") {
            text.push(b'\\');
        }
        Ok(Some(text))
    }

    /// What is left of this line, without its newline; takes nothing.
    fn line(&self, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(len) => Ok(&rest[..len]),
            None => Err(DecodeError { expected, at: self.bytes.len() }),
        }
    }

    fn newline(&mut self, expected: &'static str) -> Result<(), DecodeError> {
        if self.skip(b"\n") { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn skip(&mut self, token: &[u8]) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn expected(&self, expected: &'static str) -> DecodeError {
        DecodeError { expected, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_expected_and_where() {
        let error = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(error(b""), "expected a newline after the event's name at byte 0");
        assert_eq!(error(b"E"), "expected a newline after the event's name at byte 1");
        assert_eq!(error(b"\"E\"x"), "expected a newline after the event's name at byte 3");
        let unended = "expected a parameter, or the empty line that ends the event at byte";
        assert_eq!(error(b"E\n"), format!("{unended} 2"));
        assert_eq!(error(b"E\na::b\n"), format!("{unended} 7"));
        assert_eq!(error(b"E\na"), format!("{unended} 3"));
        assert_eq!(error(b"E\na::\"b\\\"\n"), "expected a closing quote at byte 10");
        assert_eq!(error(b"E\na::\"b\"c\n\n"), "expected a newline after the parameter at byte 8");
        assert_eq!(error(b"E\n\"b\"\\:c\n\n"), "expected a newline after the parameter at byte 6");
        assert_eq!(error(b"E\n\"a\"::b"), "expected a newline after the parameter at byte 8");
    }

    #[test]
    fn a_value_that_begins_with_the_separator_is_read_as_stock_meant_it() {
        let event = Decoded { name: b"E".into(), params: vec![(b"".into(), b"::a::b".into())] };
        assert_eq!(decode(b"E\n::a::b\n\n"), Ok(event));
    }
}
