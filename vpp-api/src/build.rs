//! Puts a module together, from an .api file or from api.json, and keeps [`Api`] sound while doing so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::schema::{
    Api, Base, CounterPath, CounterSet, Enum, EnumEntry, Extent, Field, Length, Message, Options, Rules,
    Scalar, Service, Type, TypeId, TypeKind, limits,
};

/// Python's keywords. A field cannot be called by one: vppapigen refuses it, since vpp_papi could not
/// name it.
const PYTHON_KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in",
    "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// What is wrong with a list of fields or entries: which one (if it is one), and what.
#[derive(Debug)]
pub(crate) struct Fault {
    pub at: Option<usize>,
    pub message: String,
}

impl Fault {
    fn at(at: usize, message: impl Into<String>) -> Fault {
        Fault { at: Some(at), message: message.into() }
    }

    pub(crate) fn whole(message: impl Into<String>) -> Fault {
        Fault { at: None, message: message.into() }
    }
}

/// A module in the making.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub types: Vec<Type>,
    pub type_index: HashMap<Arc<str>, TypeId>,
    pub messages: Vec<Message>,
    pub message_index: HashMap<Arc<str>, usize>,
    pub services: Vec<Service>,
    pub options: Options,
    pub imports: Vec<String>,
    pub listed: Vec<TypeId>,
    pub counters: Vec<CounterSet>,
    pub paths: Vec<Vec<CounterPath>>,
    /// Fields of all messages, nested types written out.
    expanded: u64,
}

impl Builder {
    /// What a name in a field's type position stands for.
    pub fn base(&self, name: &str) -> Result<Base, String> {
        if name == "string" {
            return Ok(Base::String);
        }
        if let Some(scalar) = Scalar::from_name(name) {
            return Ok(Base::Scalar(scalar));
        }
        let bare = name.strip_prefix("vl_api_").and_then(|n| n.strip_suffix("_t"));
        if let Some(id) = bare.and_then(|n| self.type_index.get(n)) {
            return Ok(Base::User(*id));
        }
        Err(match self.type_index.contains_key(name) {
            true => format!("unknown type '{name}': write vl_api_{name}_t"),
            false => format!("unknown type '{name}'"),
        })
    }

    /// Adds a type after checking and measuring it.
    pub fn add_type(&mut self, mut ty: Type) -> Result<TypeId, Fault> {
        if self.type_index.contains_key(&ty.name) {
            return Err(Fault::whole(format!("the type '{}' is already defined", ty.name)));
        }
        let mut extent = match &ty.kind {
            TypeKind::Struct(fields) => self.measure(fields)?,
            TypeKind::Union(fields) => self.measure_union(fields)?,
            TypeKind::Enum(e) => {
                check_enum(e)?;
                // The CRC of every message that has it takes its entries in.
                let expanded = e.entries.len().max(1) as u64;
                Extent { fixed: e.base.size(), expanded, ..Extent::default() }
            }
            TypeKind::Alias(base, length) => {
                self.extent(*base, length).map_err(|m| Fault { at: None, message: m })?
            }
        };
        extent.depth += 1;
        if extent.depth > limits::TYPE_DEPTH {
            return Err(Fault::whole(format!("types nest deeper than {}", limits::TYPE_DEPTH)));
        }
        ty.extent = extent;
        let id = TypeId(self.types.len() as u32);
        self.type_index.insert(ty.name.clone(), id);
        self.types.push(ty);
        Ok(id)
    }

    /// Measures the fields of a message, and bounds what all messages cost together.
    pub fn measure_message(&mut self, fields: &[Field]) -> Result<Extent, Fault> {
        let extent = self.measure(fields)?;
        self.expanded = self.expanded.saturating_add(extent.expanded);
        if self.expanded > limits::MODULE_EXPANDED {
            let most = limits::MODULE_EXPANDED;
            let message = format!(
                "with nested types written out the messages have over {most} fields and entries"
            );
            return Err(Fault::whole(message));
        }
        Ok(extent)
    }

    /// Adds a message whose extent was measured.
    pub fn add_message(&mut self, message: Message) -> Result<(), String> {
        if self.messages.len() >= limits::MESSAGES {
            return Err(format!("a module cannot have more than {} messages", limits::MESSAGES));
        }
        if self.message_index.contains_key(&message.name) {
            return Err(format!("the message '{}' is already defined", message.name));
        }
        self.message_index.insert(message.name.clone(), self.messages.len());
        self.messages.push(message);
        Ok(())
    }

    /// Checks the fields of a message or typedef and adds up their extents.
    fn measure(&self, fields: &[Field]) -> Result<Extent, Fault> {
        let mut seen: HashSet<&str> = HashSet::with_capacity(fields.len());
        let (mut total, mut size) = (Extent::default(), 0u64);
        for (i, field) in fields.iter().enumerate() {
            if total.open {
                let open = fields.get(i.wrapping_sub(1)).map_or("", |f| &*f.name);
                let message = format!("'{open}' is of variable length and must be the last field");
                return Err(Fault::at(i.wrapping_sub(1), message));
            }
            if let Length::Counted(count) = &field.length {
                check_count(fields.get(..i).unwrap_or(&[]), count).map_err(|m| Fault::at(i, m))?;
            }
            let extent = self.field_extent(field, &mut seen).map_err(|m| Fault::at(i, m))?;
            size += u64::from(extent.fixed);
            total.expanded = total.expanded.saturating_add(extent.expanded);
            total.depth = total.depth.max(extent.depth);
            (total.open, total.rest) = (extent.open, extent.rest);
            total.fixed = within(size).map_err(|m| Fault::at(i, m))?;
        }
        expanded_within(total)
    }

    /// Checks the members of a union: it is as long as the longest.
    fn measure_union(&self, fields: &[Field]) -> Result<Extent, Fault> {
        let mut seen: HashSet<&str> = HashSet::with_capacity(fields.len());
        let mut total = Extent::default();
        for (i, field) in fields.iter().enumerate() {
            let extent = self.field_extent(field, &mut seen).map_err(|m| Fault::at(i, m))?;
            if extent.open || matches!(field.length, Length::Counted(_)) {
                let message = format!("'{}' is of variable length and cannot be in a union", field.name);
                return Err(Fault::at(i, message));
            }
            total.fixed = total.fixed.max(extent.fixed);
            total.expanded = total.expanded.saturating_add(extent.expanded);
            total.depth = total.depth.max(extent.depth);
        }
        expanded_within(total)
    }

    fn field_extent<'f>(&self, field: &'f Field, seen: &mut HashSet<&'f str>) -> Result<Extent, String> {
        let name = &*field.name;
        if PYTHON_KEYWORDS.contains(&name) {
            return Err(format!("a field cannot be called '{name}', a keyword of Python"));
        }
        if !seen.insert(name) {
            return Err(format!("the field '{name}' is already defined"));
        }
        self.extent(field.base, &field.length)
    }

    /// The room that a base with brackets takes.
    fn extent(&self, base: Base, length: &Length) -> Result<Extent, String> {
        let mut extent = match base {
            Base::Scalar(s) => Extent { fixed: s.size(), expanded: 1, ..Extent::default() },
            Base::String => return text_extent(length),
            Base::User(id) => match self.types.get(id.index()) {
                Some(ty) => ty.extent,
                None => return Err("unknown type".to_owned()),
            },
        };
        if *length != Length::One && extent.rest {
            return Err("an array cannot be of elements that run to the end of the message".to_owned());
        }
        match length {
            Length::One => {}
            Length::Fixed(n) => extent.fixed = within(u64::from(extent.fixed) * u64::from(*n))?,
            Length::Counted(_) | Length::Open => {
                extent.fixed = 0;
                extent.open = true;
                extent.rest = *length == Length::Open;
            }
        }
        Ok(extent)
    }

    /// The finished module.
    pub fn finish(self, name: String, rules: Rules, file_crc: u32) -> Api {
        Api {
            name,
            rules,
            types: self.types,
            listed: self.listed,
            messages: self.messages,
            services: self.services,
            options: self.options,
            imports: self.imports,
            counters: self.counters,
            paths: self.paths,
            file_crc,
            type_index: self.type_index,
            message_index: self.message_index,
        }
    }
}

fn text_extent(length: &Length) -> Result<Extent, String> {
    let extent = Extent { expanded: 1, ..Extent::default() };
    match length {
        Length::One => Err("a string needs brackets: string name[64] or string name[]".to_owned()),
        Length::Counted(_) => Err("the length of a string is a number or nothing".to_owned()),
        Length::Fixed(n) => Ok(Extent { fixed: within(u64::from(*n))?, ..extent }),
        // Its u32 length.
        Length::Open => Ok(Extent { fixed: 4, open: true, ..extent }),
    }
}

/// The count field of a variable-length array: an integer before it, in the same message or type.
fn check_count(before: &[Field], count: &str) -> Result<(), String> {
    let Some(field) = before.iter().find(|f| &*f.name == count) else {
        return Err(format!("no field '{count}' before it says how many elements there are"));
    };
    match (field.base, &field.length) {
        (Base::Scalar(s), Length::One) if s.range().is_some() => Ok(()),
        _ => Err(format!("'{count}' is no whole number and so cannot say how many elements there are")),
    }
}

fn within(bytes: u64) -> Result<u32, String> {
    match u32::try_from(bytes) {
        Ok(n) if bytes <= limits::FIXED_BYTES => Ok(n),
        _ => Err(format!("it would be longer than {} bytes", limits::FIXED_BYTES)),
    }
}

fn expanded_within(extent: Extent) -> Result<Extent, Fault> {
    if extent.expanded > limits::EXPANDED {
        let most = limits::EXPANDED;
        let message = format!("with nested types written out it has over {most} fields and entries");
        return Err(Fault::whole(message));
    }
    Ok(extent)
}

fn check_enum(e: &Enum) -> Result<(), Fault> {
    let (min, max) = e.base.range().unwrap_or((0, 0));
    let mut names: HashSet<&str> = HashSet::with_capacity(e.entries.len());
    let mut compatible: Option<&EnumEntry> = None;
    for (i, entry) in e.entries.iter().enumerate() {
        let (name, value) = (&entry.name, entry.value);
        if !names.insert(name) {
            return Err(Fault::at(i, format!("the entry '{name}' is already defined")));
        }
        if !(min..=max).contains(&i128::from(value)) {
            let message = format!("the value {value} of '{name}' does not fit in {}", e.base.name());
            return Err(Fault::at(i, message));
        }
        if e.flags && value.count_ones() > 1 {
            let message = format!("'{name}' = {value} has more than one bit set, in an enumflag");
            return Err(Fault::at(i, message));
        }
        match (entry.backwards_compatible, compatible) {
            (true, _) => compatible = Some(entry),
            (false, Some(earlier)) => {
                let message = format!(
                    "'{name}' comes after '{}', but entries marked backwards_compatible must be last",
                    earlier.name
                );
                return Err(Fault::at(i, message));
            }
            (false, None) => {}
        }
    }
    Ok(())
}
