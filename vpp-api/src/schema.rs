//! The model of one API module: what an .api file, or its api.json, says.
//!
//! [`Api`] is what [`parse`](crate::parse) and [`json::read`](crate::json::read) both make, and what the
//! CRC, the codec, the message table and the generators work on. It is always sound: every type that a
//! field names exists, no type contains itself, sizes and expansions are within the limits of
//! [`limits`], and a part of variable length only ever stands last.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Bounds that keep hostile input from costing more than it is worth. VPP's own files stay far below
/// each.
pub mod limits {
    /// Longest accepted .api or api.json file, in bytes (VPP's longest .api file has 47,471).
    pub const FILE_BYTES: usize = 16 << 20;
    /// Most files that one module may import, directly and indirectly.
    pub const FILES: usize = 1024;
    /// Deepest chain of imports (VPP's deepest is 4).
    pub const IMPORT_DEPTH: usize = 32;
    /// Deepest nesting of types (VPP's deepest is 7).
    pub const TYPE_DEPTH: u32 = 32;
    /// Longest name, in bytes (VPP's longest has 57).
    pub const NAME_BYTES: usize = 255;
    /// Most fields, and entries of their enums, of a type once every nested type is written out (of VPP's
    /// messages the most is 330).
    pub const EXPANDED: u64 = 20_000;
    /// The same of all messages of a module together (VPP's most is 1138).
    pub const MODULE_EXPANDED: u64 = 1_000_000;
    /// Most definitions and imports that a module lists; a file imported twice counts twice (VPP's most
    /// is 72).
    pub const LISTED: usize = 100_000;
    /// Most options of one definition or field.
    pub const OPTIONS: usize = 256;
    /// Largest fixed part of a type or message, in bytes (VPP's longest message has 2,112).
    pub const FIXED_BYTES: u64 = 16 << 20;
    /// Most messages of a module: ids are 16 bits wide.
    pub const MESSAGES: usize = 65_535;
}

/// Which release of VPP a module is written for. Releases differ in how they compute CRCs, in the value
/// of an enum's entries that are not written out, and in the keys of api.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rules {
    /// Up to 20.05: a CRC takes in the first user type that is not an enum and stops there; an enum that
    /// starts without a value starts at 1.
    UpTo20_05,
    /// 20.09 to 22.02: a CRC takes in every user type; enum entries marked `backwards_compatible` are
    /// left out; an enum that starts without a value starts at 1. (20.09 and 21.01 also replaced the
    /// CRCs of some 280 of VPP's own messages by those of 20.05, from a list; that list is not
    /// reproduced here.)
    From20_09,
    /// 22.06 and later: as before, but an enum that starts without a value starts at 0.
    #[default]
    From22_06,
}

impl Rules {
    /// The rules of a release, such as `(20, 5)` for VPP 20.05.
    pub fn for_release(year: u32, month: u32) -> Rules {
        match (year, month) {
            r if r < (20, 9) => Rules::UpTo20_05,
            r if r < (22, 6) => Rules::From20_09,
            _ => Rules::From22_06,
        }
    }
}

impl std::str::FromStr for Rules {
    type Err = String;

    /// Reads a release's name, such as `26.06` or `v20.05.1`.
    fn from_str(s: &str) -> Result<Rules, String> {
        let bad = || format!("'{s}' is not a release of VPP such as 26.06");
        let mut parts = s.trim_start_matches('v').split('.');
        let mut number = || parts.next()?.parse::<u32>().ok();
        match (number(), number()) {
            (Some(year), Some(month)) if (1..=12).contains(&month) => {
                Ok(Rules::for_release(year, month))
            }
            _ => Err(bad()),
        }
    }
}

/// What stands after `=` in an option.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A whole number, from `i64::MIN` to `u64::MAX`.
    Int(i128),
    /// A number with a point; always finite.
    Float(f64),
    /// A string, a bare word, or `true` (vppapigen writes `true` as the string `"true"`).
    Text(String),
    /// `true` or `false` where they are booleans in api.json; from an .api file only `false` is.
    Bool(bool),
    /// An option without a value.
    None,
}

/// Options in the order they were first given; a repeated one keeps its place and takes the last value.
pub type Options = Vec<(String, Literal)>;

/// The scalar types, with their size on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Scalar {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    /// IEEE 754 double, little-endian on the wire in every implementation of the VPP API.
    F64,
    /// One byte; any value but 0 reads as true.
    Bool,
}

impl Scalar {
    /// Every scalar type.
    pub const ALL: [Scalar; 10] = [
        Scalar::U8,
        Scalar::U16,
        Scalar::U32,
        Scalar::U64,
        Scalar::I8,
        Scalar::I16,
        Scalar::I32,
        Scalar::I64,
        Scalar::F64,
        Scalar::Bool,
    ];

    /// The scalar of this name in an .api file.
    pub fn from_name(name: &str) -> Option<Scalar> {
        Scalar::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Its name in an .api file.
    pub const fn name(self) -> &'static str {
        match self {
            Scalar::U8 => "u8",
            Scalar::U16 => "u16",
            Scalar::U32 => "u32",
            Scalar::U64 => "u64",
            Scalar::I8 => "i8",
            Scalar::I16 => "i16",
            Scalar::I32 => "i32",
            Scalar::I64 => "i64",
            Scalar::F64 => "f64",
            Scalar::Bool => "bool",
        }
    }

    /// Bytes on the wire.
    pub const fn size(self) -> u32 {
        match self {
            Scalar::U8 | Scalar::I8 | Scalar::Bool => 1,
            Scalar::U16 | Scalar::I16 => 2,
            Scalar::U32 | Scalar::I32 => 4,
            Scalar::U64 | Scalar::I64 | Scalar::F64 => 8,
        }
    }

    /// The smallest and largest whole number it holds; `None` for `f64` and `bool`.
    pub const fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Scalar::U8 => (0, u8::MAX as i128),
            Scalar::U16 => (0, u16::MAX as i128),
            Scalar::U32 => (0, u32::MAX as i128),
            Scalar::U64 => (0, u64::MAX as i128),
            Scalar::I8 => (i8::MIN as i128, i8::MAX as i128),
            Scalar::I16 => (i16::MIN as i128, i16::MAX as i128),
            Scalar::I32 => (i32::MIN as i128, i32::MAX as i128),
            Scalar::I64 => (i64::MIN as i128, i64::MAX as i128),
            Scalar::F64 | Scalar::Bool => return None,
        })
    }

    /// Whether it holds negative whole numbers.
    pub const fn signed(self) -> bool {
        matches!(self, Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64)
    }
}

/// A user type's place in [`Api::types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

impl TypeId {
    /// The index into [`Api::types`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a field is made of, before its brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A scalar.
    Scalar(Scalar),
    /// Text; always with brackets.
    String,
    /// A type defined in this module or one that it imports.
    User(TypeId),
}

/// What the brackets after a field's name say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Length {
    /// No brackets: one value.
    One,
    /// `[N]`, at least 1. Of `string`: N bytes, NUL-padded.
    Fixed(u32),
    /// `[name]`: as many elements as the earlier field of this name says.
    Counted(Arc<str>),
    /// `[0]`, or `[]` of `string`. Of `string`: a u32 length and the bytes. Of another type: elements to
    /// the end of the message, a form that VPP calls old style.
    Open,
}

/// A field of a message, a typedef or a union.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Arc<str>,
    /// What it is made of.
    pub base: Base,
    /// How many of it.
    pub length: Length,
    /// What stands in brackets with `=`, such as `[default=1]`; only on fields that are no arrays.
    pub options: Options,
}

/// An entry of an enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnumEntry {
    /// Its name.
    pub name: Arc<str>,
    /// Its value, within the range of the enum's base type.
    pub value: i64,
    /// Whether it is marked `[backwards_compatible]` and so no part of the CRC. Not in api.json.
    pub backwards_compatible: bool,
}

/// An enum or enumflag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enum {
    /// `enumflag`: no entry has more than one bit set.
    pub flags: bool,
    /// The integer that it is on the wire; `u32` unless said.
    pub base: Scalar,
    /// Its entries, in the order of definition.
    pub entries: Vec<EnumEntry>,
}

/// What a user type is.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeKind {
    /// `typedef name { … }`
    Struct(Vec<Field>),
    /// `union name { … }`: as long as its longest member.
    Union(Vec<Field>),
    /// `enum` or `enumflag`
    Enum(Enum),
    /// `typedef u8 name[6]`: another name for a type or an array of it.
    Alias(Base, Length),
}

/// What is written before `define`, `typedef` or `union`; of use to VPP's own C generator only, except
/// `autoreply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[allow(missing_docs)]
pub struct Flags {
    pub autoreply: bool,
    pub autoendian: bool,
    pub manual_print: bool,
    pub manual_endian: bool,
    pub dont_trace: bool,
    pub typeonly: bool,
}

impl Flags {
    /// Each flag by name, in the order in which they are printed.
    pub fn list(&self) -> [(&'static str, bool); 6] {
        [
            ("autoreply", self.autoreply),
            ("autoendian", self.autoendian),
            ("manual_print", self.manual_print),
            ("manual_endian", self.manual_endian),
            ("dont_trace", self.dont_trace),
            ("typeonly", self.typeonly),
        ]
    }
}

/// How much room a type takes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Bytes of the part whose length is known from the schema.
    pub fixed: u32,
    /// Whether a part of variable length follows.
    pub open: bool,
    /// Whether that part runs to the end of the message ([`Length::Open`] of another type than
    /// `string`).
    pub rest: bool,
    /// Levels of user types, itself included.
    pub(crate) depth: u32,
    /// Fields, and entries of their enums, once every nested type is written out.
    pub(crate) expanded: u64,
}

/// A user type.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    /// Its name as written after `typedef`, `enum` …; a field names it `vl_api_<name>_t`.
    pub name: Arc<str>,
    /// What it is.
    pub kind: TypeKind,
    /// The flags before it.
    pub flags: Flags,
    /// The comment right before a typedef, delimiters included.
    pub comment: Option<String>,
    /// The import that brought it, as written; `None` for the module's own types.
    pub origin: Option<Arc<str>>,
    /// Room on the wire.
    pub extent: Extent,
}

impl Type {
    /// The members of a typedef or union; none for enums and aliases.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            TypeKind::Struct(f) | TypeKind::Union(f) => f,
            TypeKind::Enum(_) | TypeKind::Alias(..) => &[],
        }
    }

    /// Its name as a field writes it: `vl_api_<name>_t`.
    pub fn reference(&self) -> String {
        format!("vl_api_{}_t", self.name)
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its name.
    pub name: Arc<str>,
    /// Its fields, without the u16 message id that precedes them on the wire.
    pub fields: Vec<Field>,
    /// Its CRC: computed if it comes from an .api file, as found if it comes from api.json.
    pub crc: u32,
    /// `option` lines inside it; an autoreply has those of its request.
    pub options: Options,
    /// The flags before it.
    pub flags: Flags,
    /// The comment right before it, delimiters included.
    pub comment: Option<String>,
    /// Whether it was made by `autoreply` rather than written out.
    pub implied: bool,
    /// Room on the wire, the message id excluded.
    pub extent: Extent,
}

impl Message {
    /// The name under which the message table lists it: `<name>_<crc as 8 hex digits>`.
    pub fn name_crc(&self) -> String {
        format!("{}_{:08x}", self.name, self.crc)
    }

    /// Its field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| &*f.name == name)
    }
}

/// What follows a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The request.
    pub request: Arc<str>,
    /// The reply, or of a dump its details; `None` is `returns null`.
    pub reply: Option<Arc<str>>,
    /// Whether several of [`stream_message`](Self::stream_message), or without one of
    /// [`reply`](Self::reply), come back.
    pub stream: bool,
    /// Of the newer form with a cursor, `returns X_get_reply stream X_details`: the details.
    pub stream_message: Option<Arc<str>>,
    /// The events that a `want_…` request enables.
    pub events: Vec<Arc<str>>,
    /// Whether it follows from the messages' names rather than from a `service` block.
    pub implied: bool,
}

/// A set of counters: `counters name { … };`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterSet {
    /// Its name.
    pub name: String,
    /// Its counters.
    pub counters: Vec<Counter>,
}

/// One counter of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: String,
    /// `severity`, `type`, `units` and `description`, in the order given.
    pub attributes: Vec<(String, String)>,
}

/// One line of a `paths` block: where in the statistics segment a counter set appears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterPath {
    /// Path in the statistics segment.
    pub path: String,
    /// The counter set.
    pub counter: String,
}

/// One API module.
#[derive(Debug, Clone, PartialEq)]
pub struct Api {
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) types: Vec<Type>,
    /// The types in the order in which vppapigen lists them: a file that is imported twice is listed
    /// twice.
    pub(crate) listed: Vec<TypeId>,
    pub(crate) messages: Vec<Message>,
    pub(crate) services: Vec<Service>,
    pub(crate) options: Options,
    pub(crate) imports: Vec<String>,
    pub(crate) counters: Vec<CounterSet>,
    pub(crate) paths: Vec<Vec<CounterPath>>,
    pub(crate) file_crc: u32,
    pub(crate) type_index: HashMap<Arc<str>, TypeId>,
    pub(crate) message_index: HashMap<Arc<str>, usize>,
}

impl Api {
    /// The module's name: its file's name without `.api`, dots turned into underscores.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules by which its CRCs were computed.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Every type that it defines or imports, each once, a type after those that it is made of.
    pub fn types(&self) -> &[Type] {
        &self.types
    }

    /// The messages in the order of definition, each autoreply right after its request: the order of
    /// their ids.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The services, those written out first, then those that follow from names.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The `option` lines outside messages.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The imports as vppapigen lists them: nested ones after the one that brings them, repeats
    /// repeated.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// The counter sets.
    pub fn counters(&self) -> &[CounterSet] {
        &self.counters
    }

    /// The `paths` blocks.
    pub fn paths(&self) -> &[Vec<CounterPath>] {
        &self.paths
    }

    /// The CRC of the whole file, `vl_api_version` in api.json.
    pub fn file_crc(&self) -> u32 {
        self.file_crc
    }

    /// `option version`, as `(major, minor, patch)`; parts that are missing or no numbers are 0.
    pub fn version(&self) -> (u32, u32, u32) {
        let text = self.options.iter().find(|(n, _)| n == "version");
        let Some((_, Literal::Text(text))) = text else { return (0, 0, 0) };
        let mut parts = text.split('.').map(|p| p.trim().parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// A type by its place.
    ///
    /// # Panics
    /// If the id comes from another module.
    pub fn ty(&self, id: TypeId) -> &Type {
        &self.types[id.index()]
    }

    /// A type by its name, without `vl_api_` and `_t`.
    pub fn type_named(&self, name: &str) -> Option<(TypeId, &Type)> {
        let id = *self.type_index.get(name)?;
        Some((id, self.ty(id)))
    }

    /// A message by its name.
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.get(*self.message_index.get(name)?)
    }

    /// The service that a request starts.
    pub fn service(&self, request: &str) -> Option<&Service> {
        // vppapigen keeps the last of several.
        self.services.iter().rev().find(|s| &*s.request == request)
    }

    /// A field's type as an .api file writes it: `u32`, `string`, `vl_api_mac_address_t`.
    pub fn base_name(&self, base: Base) -> String {
        match base {
            Base::Scalar(s) => s.name().to_owned(),
            Base::String => "string".to_owned(),
            Base::User(id) => self.ty(id).reference(),
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Rules::UpTo20_05 => "up to 20.05",
            Rules::From20_09 => "20.09 to 22.02",
            Rules::From22_06 => "22.06 and later",
        })
    }
}
