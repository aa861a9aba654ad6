//! What can be wrong with a message.

use std::fmt;

/// Why a message could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    /// The field, such as `data.ue_id` or `entries[2].name`; empty for the message itself.
    pub field: String,
    /// What is wrong with it.
    pub fault: EncodeFault,
}

/// What is wrong with a value that was to be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncodeFault {
    /// The message has no such field.
    UnknownField,
    /// The enum has no entry of this name.
    UnknownEntry(Box<str>),
    /// The value is of another kind than the field; this is what the field takes.
    WrongKind(&'static str),
    /// The number does not fit in the field, which holds this type.
    OutOfRange(&'static str),
    /// Text or bytes are longer than the field.
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// An array of fixed length was given another number of elements.
    WrongCount {
        /// Elements given.
        given: usize,
        /// Elements needed.
        needed: usize,
    },
    /// A variable-length array has more elements than its count field can say.
    TooMany {
        /// Elements given.
        given: u64,
        /// The largest count that the count field holds.
        max: u64,
    },
    /// The count field was given, and is not the number of elements given.
    CountMismatch {
        /// The count given.
        count: i64,
        /// Elements given.
        given: u64,
    },
}

impl EncodeError {
    pub(super) fn new(field: impl Into<String>, fault: EncodeFault) -> EncodeError {
        EncodeError { field: field.into(), fault }
    }

    /// The same error as seen from outside a field.
    pub(super) fn within(mut self, name: &str) -> EncodeError {
        prefix(&mut self.field, name);
        self
    }
}

impl From<EncodeFault> for EncodeError {
    fn from(fault: EncodeFault) -> EncodeError {
        EncodeError { field: String::new(), fault }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field '{}': ", self.field)?;
        }
        match &self.fault {
            EncodeFault::UnknownField => f.write_str("the message has no such field"),
            EncodeFault::UnknownEntry(name) => write!(f, "the enum has no entry '{name}'"),
            EncodeFault::WrongKind(kind) => write!(f, "it takes {kind}"),
            EncodeFault::OutOfRange(ty) => write!(f, "the number does not fit in {ty}"),
            EncodeFault::TooLong { len, max } => write!(f, "{len} bytes do not fit in {max}"),
            EncodeFault::WrongCount { given, needed } => {
                write!(f, "{given} elements given, {needed} needed")
            }
            EncodeFault::TooMany { given, max } => {
                write!(f, "{given} elements given, but its count field holds {max} at most")
            }
            EncodeFault::CountMismatch { count, given } => {
                write!(f, "{given} elements given, but its count field was given {count}")
            }
        }
    }
}

impl std::error::Error for EncodeError {}

/// Why bytes are not the message that they are said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The field, such as `data.ue_id`; empty for the message itself.
    pub field: String,
    /// What is wrong there.
    pub fault: DecodeFault,
}

/// What is wrong with bytes that were to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFault {
    /// The message ends too early.
    Truncated {
        /// Bytes needed from here on.
        needed: u64,
        /// Bytes left.
        left: u64,
    },
    /// Bytes follow the message.
    Trailing {
        /// How many.
        extra: u64,
    },
    /// A count field holds a negative number.
    NegativeCount,
}

impl DecodeError {
    /// The same error as seen from outside a field.
    pub(super) fn within(mut self, name: &str) -> DecodeError {
        prefix(&mut self.field, name);
        self
    }
}

impl From<DecodeFault> for DecodeError {
    fn from(fault: DecodeFault) -> DecodeError {
        DecodeError { field: String::new(), fault }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field '{}': ", self.field)?;
        }
        match self.fault {
            DecodeFault::Truncated { needed, left } => {
                write!(f, "truncated: {needed} bytes needed, {left} left")
            }
            DecodeFault::Trailing { extra } => write!(f, "{extra} bytes too long"),
            DecodeFault::NegativeCount => f.write_str("a negative count"),
        }
    }
}

impl std::error::Error for DecodeError {}

fn prefix(path: &mut String, name: &str) {
    if !path.is_empty() && !path.starts_with('[') {
        path.insert(0, '.');
    }
    path.insert_str(0, name);
}
