//! An .api file as written, before names are looked up.

use crate::error::Place;
use crate::schema::{CounterPath, CounterSet, Flags, Literal, Options};

/// A name and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Name<'a> {
    pub text: &'a str,
    pub place: Place,
}

/// What the brackets after a field's name say.
#[derive(Debug)]
pub(super) enum Brackets<'a> {
    None,
    /// `[]`
    Empty(Place),
    /// `[N]`
    Number(Literal, Place),
    /// `[name]`
    Name(Name<'a>),
    /// `[name=value …]`
    Options(Options),
}

#[derive(Debug)]
pub(super) struct Field<'a> {
    pub ty: Name<'a>,
    pub name: Name<'a>,
    pub brackets: Brackets<'a>,
}

#[derive(Debug)]
pub(super) struct EnumEntry<'a> {
    pub name: Name<'a>,
    pub value: Option<(Literal, Place)>,
    pub backwards_compatible: bool,
}

/// `define`, `typedef { }` or `union`.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub name: Name<'a>,
    pub flags: Flags,
    pub fields: Vec<Field<'a>>,
    pub options: Options,
    pub comment: Option<&'a str>,
}

#[derive(Debug)]
pub(super) struct Service<'a> {
    pub request: Name<'a>,
    /// `None` is `null`.
    pub reply: Option<Name<'a>>,
    pub stream: bool,
    pub stream_message: Option<Name<'a>>,
    pub events: Vec<Name<'a>>,
}

#[derive(Debug)]
pub(super) enum Statement<'a> {
    Import(String, Place),
    Option(String, Literal, Place),
    Define(Block<'a>),
    Struct(Block<'a>),
    Union(Block<'a>),
    Alias(Flags, Field<'a>),
    Enum { name: Name<'a>, flags: bool, base: &'a str, entries: Vec<EnumEntry<'a>> },
    Services(Vec<Service<'a>>),
    Counters(CounterSet),
    Paths(Vec<CounterPath>),
}
