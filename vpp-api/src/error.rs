//! What is wrong with an .api file, and where.

use std::fmt;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// Why an .api file was refused. Prints as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file, as it was named or imported.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl ParseError {
    pub(crate) fn new(file: &str, place: Place, message: impl Into<String>) -> ParseError {
        ParseError { file: file.to_owned(), place, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column } = self.place;
        write!(f, "{}:{line}:{column}: {}", self.file, self.message)
    }
}

impl std::error::Error for ParseError {}
