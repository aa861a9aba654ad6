//! Statements into a module: imports are read, names looked up, everything checked.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{self, Brackets, Name, Statement};
use super::{check, grammar, module_name};
use crate::build::{Builder, Fault};
use crate::crc::{self, crc32};
use crate::error::{ParseError, Place};
use crate::schema::{
    Api, Base, Enum, EnumEntry, Extent, Field, Flags, Length, Literal, Message, Options, Rules, Scalar,
    Type, TypeId, TypeKind, limits,
};
use crate::source::Source;

/// What a file defines, in order, as far as importers and the CRC of the file care.
#[derive(Debug, Clone)]
enum Item {
    Import(Arc<str>),
    Type(TypeId),
    Message(usize),
    Option(String),
}

/// Parses a module.
pub(super) fn module(
    file: &str,
    text: &str,
    source: &dyn Source,
    rules: Rules,
) -> Result<Api, ParseError> {
    let mut resolver = Resolver {
        source,
        rules,
        builder: Builder::default(),
        imported: HashMap::new(),
        open: HashSet::new(),
        places: Vec::new(),
        type_places: Vec::new(),
        services: Vec::new(),
    };
    let items = resolver.file(file, None, text, 0)?;
    let mut file_crc = 0;
    resolver.list(file, &items, false, &mut file_crc)?;
    let Resolver { mut builder, places, type_places, services, .. } = resolver;
    check::services(&mut builder, file, &places, &services, rules)?;
    check::unions(&builder, file, &places, &type_places)?;
    Ok(builder.finish(module_name(file), rules, file_crc))
}

struct Resolver<'s> {
    source: &'s dyn Source,
    rules: Rules,
    builder: Builder,
    /// Files that were read, by the path that imports name.
    imported: HashMap<Arc<str>, Rc<Vec<Item>>>,
    /// Files that are being read.
    open: HashSet<Arc<str>>,
    /// Where each message stands.
    places: Vec<Place>,
    /// Where each type stands.
    type_places: Vec<Place>,
    /// The services as written, with the places of their names.
    services: Vec<check::Written>,
}

impl Resolver<'_> {
    /// Takes in a file; `origin` is the import that named it, `None` for the module's own file.
    fn file(
        &mut self,
        file: &str,
        origin: Option<&Arc<str>>,
        text: &str,
        depth: usize,
    ) -> Result<Vec<Item>, ParseError> {
        let mut items = Vec::new();
        for statement in grammar::parse(file, text)? {
            let own = origin.is_none();
            match statement {
                Statement::Import(path, place) => {
                    items.push(Item::Import(self.import(file, &path, place, depth)?));
                }
                Statement::Option(name, value, place) if own => {
                    items.push(Item::Option(name.clone()));
                    grammar::set_option(file, place, &mut self.builder.options, name, value)?;
                }
                Statement::Struct(block) => {
                    if let Some((name, _)) = block.options.first() {
                        let message = format!("a typedef has no options, found 'option {name}'");
                        return Err(ParseError::new(file, block.name.place, message));
                    }
                    items.push(Item::Type(self.record(file, origin, block, TypeKind::Struct)?));
                }
                Statement::Union(block) => {
                    if let Some((name, _)) = block.options.first() {
                        let message = format!("a union has no options, found 'option {name}'");
                        return Err(ParseError::new(file, block.name.place, message));
                    }
                    items.push(Item::Type(self.record(file, origin, block, TypeKind::Union)?));
                }
                Statement::Alias(flags, field) => {
                    items.push(Item::Type(self.alias(file, origin, flags, field)?));
                }
                Statement::Enum { name, flags, base, entries } => {
                    let id = self.enumeration(file, origin, &name, flags, base, &entries)?;
                    items.push(Item::Type(id));
                }
                // What follows is no business of importers, except that it must be well-formed.
                Statement::Define(block) if own => self.message(file, block, &mut items)?,
                Statement::Services(services) if own => {
                    self.services.extend(services.iter().map(check::Written::new));
                }
                Statement::Counters(set) if own => self.builder.counters.push(set),
                Statement::Paths(paths) if own => self.builder.paths.push(paths),
                Statement::Option(..)
                | Statement::Define(_)
                | Statement::Services(_)
                | Statement::Counters(_)
                | Statement::Paths(_) => {}
            }
        }
        Ok(items)
    }

    fn import(
        &mut self,
        file: &str,
        path: &str,
        place: Place,
        depth: usize,
    ) -> Result<Arc<str>, ParseError> {
        let error = |message: String| Err(ParseError::new(file, place, message));
        let path: Arc<str> = path.into();
        if self.imported.contains_key(&path) {
            return Ok(path);
        }
        if self.open.contains(&path) {
            return error(format!("'{path}' imports itself, by way of this import"));
        }
        if depth >= limits::IMPORT_DEPTH {
            return error(format!("imports nest deeper than {}", limits::IMPORT_DEPTH));
        }
        if self.imported.len() + self.open.len() >= limits::FILES {
            return error(format!("more than {} files are imported", limits::FILES));
        }
        let text = match self.source.read(&path) {
            Ok(Some(text)) => text,
            Ok(None) => return error(format!("cannot find the imported file '{path}'")),
            Err(why) => return error(format!("cannot read the imported file '{path}': {why}")),
        };
        self.open.insert(path.clone());
        let items = self.file(&path, Some(&path), &text, depth + 1)?;
        self.open.remove(&path);
        self.imported.insert(path.clone(), Rc::new(items));
        Ok(path)
    }

    /// Lists types and imports as vppapigen does, importing a file as often as it is named, and
    /// computes the CRC of the file on the way.
    fn list(
        &mut self,
        file: &str,
        items: &[Item],
        imported: bool,
        crc: &mut u32,
    ) -> Result<(), ParseError> {
        for item in items {
            match item {
                Item::Import(path) => {
                    self.builder.imports.push(path.to_string());
                    if let Some(items) = self.imported.get(path).cloned() {
                        self.list(file, &items, true, crc)?;
                    }
                }
                Item::Type(id) => {
                    self.builder.listed.push(*id);
                    if let Some(ty) = self.builder.types.get(id.index()) {
                        let text = crc::type_text_in_file(ty, &self.builder.types, self.rules);
                        *crc = crc32(text.as_bytes(), *crc);
                    }
                }
                Item::Message(at) if !imported => {
                    if let Some(message) = self.builder.messages.get(*at) {
                        let text = crc::fields_text(&message.fields, &self.builder.types);
                        *crc = crc32(text.as_bytes(), *crc);
                    }
                }
                Item::Option(name) if !imported => *crc = crc32(name.as_bytes(), *crc),
                Item::Message(_) | Item::Option(_) => {}
            }
            let listed = self.builder.listed.len() + self.builder.imports.len();
            if listed > limits::LISTED {
                let message = format!("its imports bring over {} definitions", limits::LISTED);
                return Err(ParseError::new(file, Place { line: 1, column: 1 }, message));
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        file: &str,
        origin: Option<&Arc<str>>,
        block: ast::Block<'_>,
        kind: fn(Vec<Field>) -> TypeKind,
    ) -> Result<TypeId, ParseError> {
        let fields = self.fields(file, &block.fields)?;
        let ty = Type {
            name: block.name.text.into(),
            kind: kind(fields),
            flags: block.flags,
            comment: block.comment.map(str::to_owned),
            origin: origin.cloned(),
            extent: Extent::default(),
        };
        let places: Vec<Place> = block.fields.iter().map(|f| f.name.place).collect();
        self.add_type(file, ty, &places, block.name.place)
    }

    fn add_type(
        &mut self,
        file: &str,
        ty: Type,
        places: &[Place],
        place: Place,
    ) -> Result<TypeId, ParseError> {
        self.type_places.push(place);
        self.builder.add_type(ty).map_err(|fault| locate(file, &fault, places, place))
    }

    fn alias(
        &mut self,
        file: &str,
        origin: Option<&Arc<str>>,
        flags: Flags,
        field: ast::Field<'_>,
    ) -> Result<TypeId, ParseError> {
        let place = field.name.place;
        if let Brackets::Name(name) = &field.brackets {
            let message = format!("expected a number, found '{}': an alias has no fields", name.text);
            return Err(ParseError::new(file, name.place, message));
        }
        let name: Arc<str> = field.name.text.into();
        let (base, length, _) = self.parts(file, &field)?;
        let ty = Type {
            name,
            kind: TypeKind::Alias(base, length),
            flags,
            comment: None,
            origin: origin.cloned(),
            extent: Extent::default(),
        };
        self.add_type(file, ty, &[], place)
    }

    fn enumeration(
        &mut self,
        file: &str,
        origin: Option<&Arc<str>>,
        name: &Name<'_>,
        flags: bool,
        base: &str,
        written: &[ast::EnumEntry<'_>],
    ) -> Result<TypeId, ParseError> {
        let mut value: i64 = if self.rules >= Rules::From22_06 { -1 } else { 0 };
        let mut entries = Vec::with_capacity(written.len());
        for entry in written {
            value = match &entry.value {
                None => value.saturating_add(1),
                Some((Literal::Int(n), place)) => i64::try_from(*n).map_err(|_| {
                    ParseError::new(file, *place, format!("the value {n} does not fit in {base}"))
                })?,
                Some((_, place)) => {
                    let message = "expected a whole number, found a number with a point";
                    return Err(ParseError::new(file, *place, message));
                }
            };
            entries.push(EnumEntry {
                name: entry.name.text.into(),
                value,
                backwards_compatible: entry.backwards_compatible,
            });
        }
        let base = Scalar::from_name(base).unwrap_or(Scalar::U32);
        let ty = Type {
            name: name.text.into(),
            kind: TypeKind::Enum(Enum { flags, base, entries }),
            flags: Flags::default(),
            comment: None,
            origin: origin.cloned(),
            extent: Extent::default(),
        };
        let places: Vec<Place> = written.iter().map(|e| e.name.place).collect();
        self.add_type(file, ty, &places, name.place)
    }

    fn message(
        &mut self,
        file: &str,
        block: ast::Block<'_>,
        items: &mut Vec<Item>,
    ) -> Result<(), ParseError> {
        let place = block.name.place;
        let fields = self.fields(file, &block.fields)?;
        let places: Vec<Place> = block.fields.iter().map(|f| f.name.place).collect();
        let extent =
            self.builder.measure_message(&fields).map_err(|f| locate(file, &f, &places, place))?;
        let message = Message {
            name: block.name.text.into(),
            crc: crc::message(&fields, &self.builder.types, self.rules),
            fields,
            options: block.options,
            flags: block.flags,
            comment: block.comment.map(str::to_owned),
            implied: false,
            extent,
        };
        let reply = message.flags.autoreply.then(|| self.autoreply(&message));
        items.push(Item::Message(self.builder.messages.len()));
        // A reply is no part of the file's CRC, so it is no item.
        for message in [Some(message), reply].into_iter().flatten() {
            self.builder.add_message(message).map_err(|m| ParseError::new(file, place, m))?;
            self.places.push(place);
        }
        Ok(())
    }

    /// `X_reply { u32 context; i32 retval; }`, with the options of X.
    fn autoreply(&self, request: &Message) -> Message {
        let field = |name: &str, scalar| Field {
            name: name.into(),
            base: Base::Scalar(scalar),
            length: Length::One,
            options: Options::new(),
        };
        let fields = vec![field("context", Scalar::U32), field("retval", Scalar::I32)];
        Message {
            name: format!("{}_reply", request.name).into(),
            crc: crc::message(&fields, &[], self.rules),
            fields,
            options: request.options.clone(),
            flags: Flags::default(),
            comment: None,
            implied: true,
            extent: Extent { fixed: 8, expanded: 2, ..Extent::default() },
        }
    }

    fn fields(&self, file: &str, written: &[ast::Field<'_>]) -> Result<Vec<Field>, ParseError> {
        let mut fields = Vec::with_capacity(written.len());
        for field in written {
            let (base, length, options) = self.parts(file, field)?;
            fields.push(Field { name: field.name.text.into(), base, length, options });
        }
        Ok(fields)
    }

    fn parts(&self, file: &str, field: &ast::Field<'_>) -> Result<(Base, Length, Options), ParseError> {
        let base = self
            .builder
            .base(field.ty.text)
            .map_err(|message| ParseError::new(file, field.ty.place, message))?;
        let mut options = Options::new();
        let length = match &field.brackets {
            Brackets::None => Length::One,
            Brackets::Options(given) => {
                options.clone_from(given);
                Length::One
            }
            Brackets::Empty(_) if base == Base::String => Length::Open,
            Brackets::Empty(place) => {
                let message = "expected a length: only a string may do without";
                return Err(ParseError::new(file, *place, message));
            }
            Brackets::Name(count) => Length::Counted(count.text.into()),
            Brackets::Number(Literal::Int(0), _) => Length::Open,
            Brackets::Number(number, place) => match number {
                Literal::Int(n) => match u32::try_from(*n) {
                    Ok(n) => Length::Fixed(n),
                    Err(_) => {
                        let message = format!("an array cannot have {n} elements");
                        return Err(ParseError::new(file, *place, message));
                    }
                },
                _ => {
                    let message = "expected a whole number, found a number with a point";
                    return Err(ParseError::new(file, *place, message));
                }
            },
        };
        Ok((base, length, options))
    }
}

/// A fault with its place: that of the field or entry, or of the whole definition.
fn locate(file: &str, fault: &Fault, places: &[Place], whole: Place) -> ParseError {
    let place = fault.at.and_then(|i| places.get(i)).copied().unwrap_or(whole);
    ParseError::new(file, place, fault.message.clone())
}
